"""Private keys of logs and witnesses in files."""

from pathlib import Path
from typing import Any, TypeVar

from foundation.ledger.notes import MalformedKey, PrivateKey
from foundation.mute import Secret
from foundation.settings import SettingsError, read_secret

K = TypeVar("K", bound=PrivateKey[Any])


def private_key_in(file: Path, kind: type[K], what: str) -> K:
    """`what`: whose key it is to be, or for what. Raises SettingsError."""
    try:
        return kind.parse(Secret(read_secret(file).reveal().decode("utf-8")))
    except (MalformedKey, UnicodeDecodeError) as exc:
        raise SettingsError(f"secret file {file} holds no key {what}: {exc}") from exc


def named_key_in(file: Path, kind: type[K], what: str, *, name: str, setting: str) -> K:
    """The same of a key whose name is stated by a setting. Raises SettingsError."""
    key = private_key_in(file, kind, what)
    if key.verifier.name != name:
        raise SettingsError(f"secret file {file} holds the key of {key.verifier.name}, and {setting} is {name}")
    return key

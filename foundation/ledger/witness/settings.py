"""Settings of a witness process (docs/architecture.md, "Settings"), and the reading of witnesses' keys."""

from pathlib import Path

import msgspec

from foundation.ledger.key_files import named_key_in
from foundation.ledger.notes import MalformedKey, Verifier
from foundation.ledger.witness.cosignatures import Cosigner, WitnessKey
from foundation.settings import SettingsError
from foundation.tls import Tls


class WitnessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: the witness's, a URL without scheme that is its own for ever. `key_file`: its private key (mode 0600). `folder`: what it has
    cosigned, made when it is not there; never one put back from a backup. `logs`: files with the public keys of the logs that it knows."""

    host: str
    port: int
    name: str
    key_file: str
    folder: str
    logs: list[str]
    tls: Tls | None = None

    def cosigner(self) -> Cosigner:
        """Raises SettingsError."""
        return named_key_in(Path(self.key_file), Cosigner, "of a witness", name=self.name, setting="name")

    def known(self) -> list[Verifier]:
        """Raises SettingsError."""
        found = [verifier_in(Path(path)) for path in self.logs]
        if len({one.name for one in found}) < len(found):
            raise SettingsError("logs has two keys of one log")
        return found


def verifier_in(file: Path) -> Verifier:
    """A log's public key. Raises SettingsError."""
    try:
        return Verifier.parse(_text_in(file, "the log's public key"))
    except MalformedKey as exc:
        raise SettingsError(f"{file} holds no public key of a log: {exc}") from exc


def witness_key_in(file: Path) -> WitnessKey:
    """A witness's public key. Raises SettingsError."""
    try:
        return WitnessKey.parse(_text_in(file, "a witness's public key"))
    except MalformedKey as exc:
        raise SettingsError(f"{file} holds no public key of a witness: {exc}") from exc


def _text_in(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
    except OSError as exc:
        raise SettingsError(f"{file} cannot be read ({exc.strerror}); it holds {what}") from exc

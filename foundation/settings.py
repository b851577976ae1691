"""Configuration: one frozen value, read once at the root of a process.

A settings file is TOML; its shape is a frozen `msgspec.Struct`. An unknown key is an error that names the nearest key, a missing or
wrong one is an error that names its place. Secrets are never in the settings: they name files (mode 0600) or environment variables.
"""

import base64
import difflib
import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from foundation.mute import Secret

S = TypeVar("S", bound=msgspec.Struct)


class SettingsError(Exception):
    """The configuration cannot be used; the message says where and what to do."""


def load(path: Path, shape: type[S]) -> S:
    """Reads `path` into `shape`. Raises SettingsError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path}: not TOML: {exc}") from exc
    return convert(document, shape, where=str(path))


def convert(document: Any, shape: type[S], *, where: str) -> S:
    """Strictly turns parsed TOML, YAML or JSON into `shape`. Raises SettingsError naming `where` and the key."""
    unknown = _unknown_key(document, shape, "")
    if unknown is not None:
        raise SettingsError(f"{where}: {unknown}")
    try:
        return msgspec.convert(document, shape, strict=True, dec_hook=_from_text)
    except msgspec.ValidationError as exc:
        raise SettingsError(f"{where}: {exc}") from exc


def _from_text(shape: type[Any], value: Any) -> Any:
    """Values that msgspec does not know: paths are written as text."""
    if shape is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"expected {shape.__name__}, got {type(value).__name__}")


def _unknown_key(document: Any, shape: Any, at: str) -> str | None:
    """The first key that `shape` does not have, in words, or None. Looks into nested structs, unions, lists and maps of structs."""
    origin = get_origin(shape)
    if origin is Annotated:
        return _unknown_key(document, get_args(shape)[0], at)
    if origin in (Union, UnionType):
        return _unknown_to_all(document, get_args(shape), at)
    if isinstance(document, dict):
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            return _unknown_in_struct(document, shape, at)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return _first((value, get_args(shape)[1], f"{at}{key}.") for key, value in document.items())
    if isinstance(document, list) and isinstance(origin, type):
        members = [member for member in get_args(shape) if member is not Ellipsis]
        fixed = origin is tuple and Ellipsis not in get_args(shape)
        pairs = zip(document, members if fixed else members[:1] * len(document), strict=False)
        return _first((value, member, f"{at.rstrip('.')}[{index}].") for index, (value, member) in enumerate(pairs))
    return None


def _unknown_in_struct(document: dict[Any, Any], shape: type[msgspec.Struct], at: str) -> str | None:
    fields: dict[str, Any] = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    tag = shape.__struct_config__.tag_field
    for key in document:
        if key not in fields and (tag is None or key != tag):
            return f"unknown key {at}{key!s}{_nearest(str(key), list(fields))}"
    return _first((value, fields.get(key), f"{at}{key}.") for key, value in document.items())


def _unknown_to_all(document: Any, members: tuple[Any, ...], at: str) -> str | None:
    """Of a union: None as soon as one member that can hold such a document has all its keys."""
    found = [_unknown_key(document, member, at) for member in members if _can_hold(member, document)]
    return found[0] if found and all(found) else None


def _can_hold(shape: Any, document: Any) -> bool:
    plain = get_origin(shape) or shape
    if isinstance(document, dict):
        return isinstance(plain, type) and issubclass(plain, msgspec.Struct | Mapping)
    if isinstance(document, list):
        return isinstance(plain, type) and issubclass(plain, list | tuple | set | frozenset)
    return False


def _first(places: Iterable[tuple[Any, Any, str]]) -> str | None:
    return next((found for found in (_unknown_key(*place) for place in places) if found is not None), None)


def _nearest(key: str, names: list[str]) -> str:
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; the keys here are {', '.join(sorted(names))}"


def read_secret(path: Path) -> Secret[bytes]:
    """The bytes of a secret file. Raises SettingsError if it is missing, or readable by group or others."""
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"secret file {path}: cannot be read ({exc.strerror})") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise SettingsError(f"secret file {path} is open to others; run chmod 600 on it")
    return Secret(content)


def stamp(path: Path) -> tuple[int, int, int]:
    """Changes with the file's content; zeros where it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size


def secret_from_env(name: str) -> Secret[str]:
    """A secret out of the environment. Raises SettingsError when it is not set."""
    value = os.environ.get(name)
    if not value:
        raise SettingsError(f"environment variable {name} is not set")
    return Secret(value)


class KeyringFile(msgspec.Struct, frozen=True, kw_only=True):
    """A secrets file of one kind of key, JSON: generations by kid (base64url), and which one signs."""

    current: str
    keys: dict[str, str]


def read_keyring(path: Path) -> tuple[tuple[str, Secret[bytes]], ...]:
    """(kid, key) pairs of a keyring file, the current one first. Raises SettingsError."""
    try:
        ring = msgspec.json.decode(read_secret(path).reveal(), type=KeyringFile)
        keys = {kid: Secret(_unbase64(text)) for kid, text in ring.keys.items()}
    except (msgspec.MsgspecError, ValueError) as exc:
        raise SettingsError(f"secret file {path} is not a keyring") from exc
    if ring.current not in keys:
        raise SettingsError(f"secret file {path}: current kid {ring.current!r} is not among its keys")
    return ((ring.current, keys[ring.current]), *((kid, key) for kid, key in keys.items() if kid != ring.current))


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

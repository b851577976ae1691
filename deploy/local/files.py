"""Files that are there whole or not at all: written beside their place and renamed. Secrets are 0600 in a folder of 0700."""

import os
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from foundation.settings import SettingsError

S = TypeVar("S")

SECRET = 0o600
OPEN = 0o644


def write(path: Path, content: bytes | str, *, mode: int = SECRET) -> None:
    """Replaces `path` by `content`; a reader sees the old or the new file. Raises OSError."""
    raw = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(raw)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, content: str, *, mode: int = SECRET) -> None:
    """The same, leaving a file alone that already says so."""
    try:
        if path.read_text(encoding="utf-8") == content:
            return
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    write(path, content, mode=mode)


def read_json(path: Path, shape: type[S]) -> S | None:
    """The file's value, or None when there is none. Raises SettingsError when it is something else."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read ({exc.strerror})") from exc
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.MsgspecError as exc:
        raise SettingsError(f"{path} is damaged ({exc}); `domicile reset` makes a new state folder") from exc


def sweep_partials(folder: Path) -> None:
    """Removes what a writer that was killed left beside its place."""
    for leftover in folder.glob(".*.*"):
        if leftover.is_file() and len(leftover.name.rsplit(".", 1)[-1]) == 12:
            leftover.unlink(missing_ok=True)

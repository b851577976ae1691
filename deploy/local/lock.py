"""One supervisor a state folder: an advisory lock (flock(2)) that the system releases with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.settings import SettingsError


class AlreadyRunning(SettingsError):
    """Another supervisor holds this state folder."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock while the block runs; the file says who does. Raises AlreadyRunning."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning(_message(path)) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _message(path: Path) -> str:
    owner = holder(path)
    return (
        f"a stack runs in {path.parent} already{f' (pid {owner})' if owner else ''}: "
        f"see `domicile status`, or end it with `domicile down`"
    )


def refuse_if_held(path: Path) -> None:
    """Raises AlreadyRunning; for a starter that leaves holding the lock to a process of its own."""
    if is_held(path):
        raise AlreadyRunning(_message(path))


def is_held(path: Path) -> bool:
    """Whether a supervisor runs on this state folder just now."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(path: Path) -> int | None:
    """The process id that the lock file names; true only while the lock is held."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None

"""A log's files on a disk: written whole beside their place and renamed, made durable together, one process at a time."""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

_PARTIAL = ".partial"

datasync = getattr(os, "fdatasync", os.fsync)
"""fdatasync where there is one."""


class LogBusy(Exception):
    """Another process, or another part of this one, writes this log."""


class LogDamaged(Exception):
    """The files of a log contradict each other or what it has signed; the message names the first thing found. Nothing was signed."""


class FolderLock:
    """Held from its making to `release`, and gone with the process. On a network's file system nobody promises that."""

    def __init__(self, folder: Path) -> None:
        """Raises LogBusy, OSError."""
        self._held = (folder / "lock").open("ab")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._held.close()
            if isinstance(exc, BlockingIOError):
                raise LogBusy(f"{folder} is written by another process") from exc
            raise

    def release(self) -> None:
        self._held.close()


class Files:
    """Writes below a folder, which is not made anew where it was removed. After `sync` of what is `unsynced` a power cut takes nothing
    back. Each call raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.written = 0
        """Files since `unsynced` was asked last, each as often as it was."""
        self._unsynced: dict[str, None] = {}

    def write(self, name: str, content: bytes) -> None:
        """Whoever reads sees the file as it was or as it is."""
        self._replace(name, content, durably=False)
        self._unsynced[name] = None
        self.written += 1

    def write_durably(self, name: str, content: bytes) -> None:
        """As `write`, and the content is on the disk before its name is."""
        self._replace(name, content, durably=True)

    def write_unseen(self, name: str, content: bytes) -> None:
        """In place: a file of which no checkpoint speaks yet, so nobody reads it, or one that holds the same."""
        self.put(name, 0, content)
        self.cut(name, len(content))
        self.written += 1

    def put(self, name: str, at: int, content: bytes) -> None:
        """Makes a file hold `content` from byte `at` on. What it holds already is written again, too: after a fault of the disk nobody
        knows whether what can be read is on it."""
        descriptor = self._opened(name, os.O_WRONLY | os.O_CREAT)
        try:
            put_at(descriptor, content, at)
        finally:
            os.close(descriptor)
        self._unsynced[name] = None

    def forget(self, name: str) -> None:
        """A file that needs not be made durable any more, since a later one holds what it holds."""
        self._unsynced.pop(name, None)

    def size(self, name: str) -> int:
        """0 for a file that is not there."""
        try:
            return os.stat(f"{self._folder}/{name}").st_size  # noqa: PTH116 - as its neighbours
        except FileNotFoundError:
            return 0

    def cut(self, name: str, size: int) -> None:
        """Cuts off what a file has beyond `size` bytes."""
        if self.size(name) > size:
            os.truncate(f"{self._folder}/{name}", size)
            self._unsynced[name] = None

    def unsynced(self) -> list[str]:
        """What was written since this was asked last, for `sync`; from now on somebody else's to make durable."""
        names = list(self._unsynced)
        self._unsynced.clear()
        self.written = 0
        return names

    def _replace(self, name: str, content: bytes, *, durably: bool) -> None:
        partial = name + _PARTIAL
        descriptor = self._opened(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            put_at(descriptor, content, 0)
            if durably:
                datasync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(f"{self._folder}/{partial}", f"{self._folder}/{name}")  # noqa: PTH105 - paths as text cost a tenth

    def _opened(self, name: str, flags: int) -> int:
        path = f"{self._folder}/{name}"
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            for above in reversed(Path(name).parents[:-1]):
                Path(self._folder, above).mkdir(mode=0o700, exist_ok=True)
            return os.open(path, flags, 0o666)


def put_at(descriptor: int, content: bytes | bytearray | memoryview, at: int) -> None:
    """All of it, from byte `at` of a file on. Raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.pwrite(descriptor, rest, at + len(content) - len(rest)) :]


def sync(folder: Path, names: Iterable[str]) -> None:
    """Makes files below a log's folder durable, with the names that lead to them. Raises OSError.

    One after the other, though begun together they would take half the time: a sync waits for all that the disk was given before, and an
    append's shall wait for one of these alone.
    """
    folders = {folder: None}
    for name in names:
        sync_path(folder / name)
        folders |= dict.fromkeys(folder / above for above in Path(name).parents)
    for one in folders:
        sync_path(one)


def replace_durably(path: Path, content: bytes) -> None:
    """As `write_durably`, in a folder that is made where there is none. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(path, content)


def write_durably(path: Path, content: bytes) -> None:
    """A small file by itself, as it was or as it is for whoever reads, on the disk with its name on return. Raises OSError."""
    partial = path.with_name(path.name + _PARTIAL)
    with partial.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """fsync of a file or folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

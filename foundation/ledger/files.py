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
    """Writes below a folder. Readers see each file as it was or as it is; after `sync` of what is `unsynced` a power cut takes none of them
    back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written = 0
        """Files since `unsynced` was asked last, each as often as it was."""
        self._unsynced: dict[Path, None] = {}

    def write(self, name: str, content: bytes) -> None:
        """Raises OSError."""
        path = self._place(name)
        partial = path.with_name(path.name + _PARTIAL)
        partial.write_bytes(content)
        partial.replace(path)
        self._unsynced[path] = None
        self.written += 1

    def forget(self, name: str) -> None:
        """A file that needs not be made durable any more, since a later one holds what it holds."""
        self._unsynced.pop(self._folder / name, None)

    def write_durably(self, name: str, content: bytes) -> None:
        """As `write`, and the content is on the disk before its name is. Raises OSError."""
        path = self._place(name)
        partial = path.with_name(path.name + _PARTIAL)
        with partial.open("wb") as out:
            out.write(content)
            out.flush()
            datasync(out.fileno())
        partial.replace(path)

    def put(self, name: str, at: int, content: bytes) -> None:
        """Makes a file hold `content` from byte `at` on; what is there already is not written again. Raises OSError."""
        path = self._place(name)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.pread(descriptor, len(content), at) != content:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.pwrite(descriptor, rest, at + len(content) - len(rest)) :]
        finally:
            os.close(descriptor)
        self._unsynced[path] = None

    def size(self, name: str) -> int:
        """0 for a file that is not there. Raises OSError."""
        try:
            return (self._folder / name).stat().st_size
        except FileNotFoundError:
            return 0

    def cut(self, name: str, size: int) -> None:
        """Cuts off what a file has beyond `size` bytes. Raises OSError."""
        if self.size(name) > size:
            os.truncate(self._folder / name, size)
            self._unsynced[self._folder / name] = None

    def unsynced(self) -> list[Path]:
        """What was written since this was asked last, for `sync`; from now on somebody else's to make durable."""
        paths = list(self._unsynced)
        self._unsynced.clear()
        self.written = 0
        return paths

    def _place(self, name: str) -> Path:
        """Makes the folders below the log's own, which is not made anew where it was removed. Raises OSError."""
        path = self._folder / name
        if not path.parent.is_dir():
            for above in reversed(path.relative_to(self._folder).parents[:-1]):
                (self._folder / above).mkdir(mode=0o700, exist_ok=True)
        return path


def sync(folder: Path, paths: Iterable[Path]) -> None:
    """Makes files below a log's folder durable, with the names that lead to them. Raises OSError."""
    folders = {folder: None}
    for path in paths:
        sync_path(path)
        folders |= dict.fromkeys(folder / one for one in path.relative_to(folder).parents)
    for one in folders:
        sync_path(one)


def sync_path(path: Path) -> None:
    """fsync of a file or folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

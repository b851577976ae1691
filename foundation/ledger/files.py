"""A log's files on a disk: written whole beside their place and renamed, made durable together, one process at a time."""

import fcntl
import os
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
    """Writes below a folder. Readers see each file as it was or as it is; after `sync` a power cut takes none of them back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written = 0
        """Files since the last `sync`, each as often as it was."""
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
        """A file that `sync` need not make durable any more, since a later one holds what it holds."""
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

    def append(self, name: str, content: bytes) -> None:
        """Raises OSError."""
        path = self._place(name)
        with path.open("ab") as out:
            out.write(content)
        self._unsynced[path] = None

    def cut(self, name: str, size: int) -> None:
        """Cuts a file that is there to `size` bytes. Raises OSError, and LogDamaged for one that is shorter or missing."""
        path = self._folder / name
        try:
            if path.stat().st_size < size:
                raise LogDamaged(f"{name} is shorter than it was")
            os.truncate(path, size)
        except FileNotFoundError:
            if size:
                raise LogDamaged(f"{name} is missing") from None
        else:
            self._unsynced[path] = None

    def sync(self) -> None:
        """Raises OSError."""
        folders: dict[Path, None] = {}
        for path in self._unsynced:
            sync_path(path)
            folders |= dict.fromkeys(self._folder / one for one in path.relative_to(self._folder).parents)
        for folder in folders:
            sync_path(folder)
        self._unsynced.clear()
        self.written = 0

    def _place(self, name: str) -> Path:
        path = self._folder / name
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


def replace_durably(path: Path, content: bytes) -> None:
    """A small file by itself, as it was or as it is for whoever reads, on the disk with its name on return. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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

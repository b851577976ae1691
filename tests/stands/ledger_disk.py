"""A disk under a log: what a power cut leaves of it, and a process that stops, or a sync that fails, at any step towards it."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundation.ledger import files, payloads, settling, wal
from foundation.ledger import log as log_module

PAGE_BYTES = 4_096


class Crash(BaseException):
    """The process is gone."""


class Disk:
    """What a power cut leaves of a folder: names as their folder had them when it was synced, of each file the content that was synced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[int, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._held: list[int] = []
        """Descriptors, so that no number of a file is given again."""
        for path in [folder, *folder.rglob("*")]:
            self.synced(path)

    def synced(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        self._held.append(descriptor)
        number = os.fstat(descriptor).st_ino
        if path.is_dir():
            self._names[number] = {one.name: one.stat().st_ino for one in path.iterdir()}
            for one in path.iterdir():
                if one.is_dir():
                    self._names.setdefault(one.stat().st_ino, {})
        else:
            self._contents[number] = self._durable(number, path.read_bytes())

    def _durable(self, number: int, content: bytes) -> bytes:
        """Of a file that is synced while it holds that."""
        return content

    def written(self, descriptor: int, at: int | None, size: int) -> None:
        """Into a file, from byte `at` on, or where its descriptor stands."""

    def failed(self, path: Path) -> None:
        """A sync of it."""

    def left(self, to: Path, *, names: bool) -> Path:
        """Lays it out in a new folder; `names`: with names as they are, not as they were synced."""
        if names:
            for path in [self._folder, *self._folder.rglob("*")]:
                if path.is_dir():
                    self.synced(path)
        self._lay(self._folder.stat().st_ino, to)
        return to

    def _lay(self, number: int, to: Path) -> None:
        to.mkdir()
        for name, inner in self._names.get(number, {}).items():
            if inner in self._names:
                self._lay(inner, to / name)
            elif inner in self._contents:
                (to / name).write_bytes(self._contents[inner])
            elif name != "lock":
                (to / name).touch()  # the name was synced and nothing of its content

    def close(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)


class Forgetful(Disk):
    """Under a system that takes a failed sync for done: of what was to be written then no later sync writes anything, unless it is written
    into the file again."""

    def __init__(self, folder: Path) -> None:
        self._pages: dict[int, set[int]] = {}
        """Of each file that was ever written, those that a sync has to write."""
        super().__init__(folder)

    def written(self, descriptor: int, at: int | None, size: int) -> None:
        told = os.fstat(descriptor)
        if not stat.S_ISREG(told.st_mode) or not size:
            return
        begin = os.lseek(descriptor, 0, os.SEEK_CUR) if at is None else at
        pages = range(begin // PAGE_BYTES, (begin + size - 1) // PAGE_BYTES + 1)
        self._pages.setdefault(told.st_ino, set()).update(pages)

    def failed(self, path: Path) -> None:
        if path.is_file():
            self._pages[path.stat().st_ino] = set()

    def _durable(self, number: int, content: bytes) -> bytes:
        pages = self._pages.get(number)
        if pages is None:
            return content
        held = bytearray(self._contents.get(number, b"")[: len(content)].ljust(len(content), b"\x00"))
        for page in pages:
            part = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
            held[part] = content[part]
        pages.clear()
        return bytes(held)


class Steps:
    """Counts what goes to the disk, and stops the process at one such step; a write stops half way."""

    def __init__(self, patch: pytest.MonkeyPatch, until: int, disk: Disk, *, ill: int = -1) -> None:
        """`ill`: which sync fails, counted from 0."""
        self.left = until
        self._until_ill = ill
        self.taken = 0
        self.synced: list[tuple[int, str]] = []
        """After how many steps each sync came, and of what."""
        self._disk = disk
        sync_path = files.sync_path

        def sync(path: Path) -> None:
            self._step()
            self._fail_in_turn(path)
            sync_path(path)
            disk.synced(path)

        def datasync(descriptor: int) -> None:
            self._step()
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            self._fail_in_turn(path)
            disk.synced(path)

        for module in (files, wal, log_module, settling):
            patch.setattr(module, "sync_path", sync)
        for module in (files, wal, payloads):
            patch.setattr(module, "datasync", datasync)
        patch.setattr(os, "replace", self._counted(os.replace))
        patch.setattr(Path, "unlink", self._counted(Path.unlink))
        patch.setattr(shutil, "rmtree", self._counted(shutil.rmtree))
        write, pwrite = os.write, os.pwrite
        patch.setattr(os, "write", lambda to, raw: self._half(raw, to, None, lambda part: write(to, part)))
        patch.setattr(os, "pwrite", lambda to, raw, at: self._half(raw, to, at, lambda part: pwrite(to, part, at)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **more: Any) -> Any:
            self._step()
            return call(*given, **more)

        return counted

    def _half(self, raw: bytes, to: int, at: int | None, write: Callable[[bytes], int]) -> int:
        self._disk.written(to, at, len(raw))
        if self.left == 0:
            write(raw[: len(raw) // 2])
        self._step()
        return write(raw)

    def _step(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1
        self.taken += 1

    def _fail_in_turn(self, path: Path) -> None:
        self.synced.append((self.taken, path.name))
        self._until_ill -= 1
        if self._until_ill == -1:
            self._disk.failed(path)
            raise OSError(errno.EIO, "the disk is ill", str(path))

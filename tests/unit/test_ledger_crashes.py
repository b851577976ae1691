"""A log whose writer stops at any step towards the disk: opened again it has what was acknowledged and goes on from what was signed.

With everything that was written, as after a kill; and with no content but what was synced, as after a power cut at its worst: under the
names that were synced, or under those that there were, since a disk may write names down before anybody asks.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from foundation.ledger import ahead, files, payloads, settling, wal
from foundation.ledger import log as log_module
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.files import LogDamaged
from foundation.ledger.log import Log
from tests.stands.ledger import SIGNER, Later, copied, reader, rows, unsynced, written


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


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
            self._contents[number] = path.read_bytes()

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


class Steps:
    """Counts what goes to the disk, and stops the process at one such step; a write stops half way."""

    def __init__(self, patch: pytest.MonkeyPatch, until: int, disk: Disk) -> None:
        self.left = until
        sync_path = files.sync_path

        def sync(path: Path) -> None:
            self._step()
            sync_path(path)
            disk.synced(path)

        def datasync(descriptor: int) -> None:
            self._step()
            disk.synced(Path(f"/proc/self/fd/{descriptor}").readlink())

        for module in (files, wal, log_module, settling):
            patch.setattr(module, "sync_path", sync)
        for module in (files, wal, payloads):
            patch.setattr(module, "datasync", datasync)
        patch.setattr(os, "replace", self._counted(os.replace))
        patch.setattr(Path, "unlink", self._counted(Path.unlink))
        patch.setattr(shutil, "rmtree", self._counted(shutil.rmtree))
        write, pwrite = os.write, os.pwrite
        patch.setattr(os, "write", lambda to, raw: self._half(raw, lambda part: write(to, part)))
        patch.setattr(os, "pwrite", lambda to, raw, at: self._half(raw, lambda part: pwrite(to, part, at)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **more: Any) -> Any:
            self._step()
            return call(*given, **more)

        return counted

    def _half(self, raw: bytes, write: Callable[[bytes], int]) -> int:
        if self.left == 0:
            write(raw[: len(raw) // 2])
        self._step()
        return write(raw)

    def _step(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1


class Writer:
    """What a process does, and what it has told so far: kept, signed, erased."""

    def __init__(self, folder: Path, later: int) -> None:
        self.folder = folder
        self.later = later
        self.kept = 0
        self.signed: list[Checkpoint] = []
        self.erased: list[int] = []

    def run(self) -> None:
        with Log(self.folder, SIGNER, aside=lambda: Later(self.later)) as log:
            self.kept = log.size
            self.signed.append(log.checkpoint)
            for count in (3, 10, 1, 2):
                log.append({"s1": rows(log.size + 1, count)})
                self.kept = log.size
                self.signed.append(log.publish())


class Eraser(Writer):
    def run(self) -> None:
        with Log(self.folder, SIGNER, aside=lambda: Later(self.later)) as log:
            for index in (3, 252, 255):
                log.append({"s1": rows(log.size + 1, 3)})
                self.kept = log.size
                log.publish()
                log.erase(index)
                self.erased.append(index)


@contextmanager
def stopped(
    folder: Path, step: int, later: int = 0, made: Callable[[Path, int], Writer] = Writer
) -> Iterator[tuple[Writer, Disk, bool]]:
    """A writer stopped at that step, what a power cut would leave, and whether it came so far. `later`: how often it looks whether its
    tiles are durable until they are made so."""
    writer, disk, came = made(folder, later), Disk(folder), False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "FILES_MAX", 4)
        Steps(patch, step, disk)
        try:
            writer.run()
        except Crash:
            came = True
    yield writer, disk, came
    disk.close()


def holds(writer: Writer, folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        assert log.size >= writer.kept
        assert log.seen("s1").position == log.size
        log.append({"s1": rows(log.size + 1, 1)})
        log.publish()
    earlier = writer.signed[-1] if writer.signed else None
    assert reader(folder).verify(earlier, folder).without == 0


@pytest.mark.parametrize(("begun", "later", "pages_ahead"), [(0, 0, 0), (250, 0, 0), (250, 4, 0), (0, 0, 2)])
def test_whatever_the_step_at_which_a_writer_is_killed_or_the_power_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int, later: int, pages_ahead: int
) -> None:
    if pages_ahead:
        monkeypatch.setattr(wal, "AHEAD_FROM_BYTES", 0)
        monkeypatch.setattr(wal, "AHEAD_BYTES_MAX", pages_ahead * wal.PAGE_BYTES)
    base = tmp_path / "base"
    if begun:
        written(base, begun)
    else:
        base.mkdir()
    step, came = 0, True
    while came:
        with stopped(copied(base, tmp_path / f"{step}"), step, later) as (writer, disk, came):
            holds(writer, disk.left(tmp_path / f"{step}-power", names=False))
            holds(writer, disk.left(tmp_path / f"{step}-names", names=True))
            holds(writer, writer.folder)
        step += 1
    assert step > 30, "the writer takes more steps than that"


def test_what_was_erased_is_not_brought_back_by_a_kill_or_the_power(tmp_path: Path) -> None:
    base = tmp_path / "base"
    written(base, 250)
    step, came, seen = 0, True, set[int]()
    while came:
        with stopped(copied(base, tmp_path / f"{step}"), step, 3, Eraser) as (writer, disk, came):
            erased_in(writer, disk.left(tmp_path / f"{step}-power", names=step % 2 == 0))
            erased_in(writer, writer.folder)
            seen |= set(writer.erased)
        step += 1
    assert seen == {3, 252, 255}


def erased_in(writer: Writer, folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        assert log.size >= writer.kept
    assert [payloads.read(folder, index) for index in writer.erased] == [None] * len(writer.erased)
    assert reader(folder).verify(folder=folder).without <= len(writer.erased) + 1


def never_synced(folder: Path, names: Iterable[str]) -> None:
    return None


def removed_too_soon(folder: Path, written: Sequence[str], older: Sequence[Path], outgrown: Sequence[Path]) -> None:
    for path in older:
        path.unlink()
    files.sync_path(folder)
    files.sync(folder, written)


def dropped_too_soon(folder: Path, written: Sequence[str], older: Sequence[Path], outgrown: Sequence[Path]) -> None:
    for path in outgrown:
        shutil.rmtree(path, ignore_errors=True)
    files.sync_path(folder)
    settled(folder, written, older, ())


settled = settling.settle


@pytest.mark.parametrize(
    ("owner", "name", "planted"),
    [(files, "sync", never_synced), (settling, "settle", removed_too_soon), (settling, "settle", dropped_too_soon)],
)
def test_a_log_that_forgets_to_sync_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: ModuleType, name: str, planted: object
) -> None:
    written(tmp_path / "base", 250)

    def found_at(step: int) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, planted)
            with stopped(copied(tmp_path / "base", tmp_path / f"{step}"), step) as (writer, disk, _):
                left = disk.left(tmp_path / f"{step}-power", names=step % 2 == 0)
        try:
            holds(writer, left)
        except LogDamaged:
            return True
        return False

    assert any(found_at(step) for step in range(60))


def test_a_second_stop_while_the_first_is_made_good(tmp_path: Path) -> None:
    base = tmp_path / "base"
    written(base, 250)
    for first in range(1, 60, 14):
        for second in range(1, 22, 5):
            folder = copied(base, tmp_path / f"{first}-{second}")
            with stopped(folder, first, later=second % 4) as (before, disk, _):
                after_power = disk.left(tmp_path / f"{first}-{second}-power", names=second % 2 == 0)
            for name, place in (("kill", folder), ("power", after_power)):
                with stopped(place, second) as (after, disk, _):
                    after.kept = max(before.kept, after.kept)
                    after.signed = before.signed + after.signed
                    holds(after, disk.left(tmp_path / f"{first}-{second}-{name}-again", names=second % 2 == 1))

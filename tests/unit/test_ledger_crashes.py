"""A log whose writer stops at any step towards the disk: opened again it has what was acknowledged and goes on from what was signed.

With everything that was written, as after a kill; and with no content but what was synced, as after a power cut at its worst: under the
names that were synced, or under those that there were, since a disk may write names down before anybody asks.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from foundation.ledger import ahead, files, payloads, settling, wal
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.files import LogDamaged
from foundation.ledger.log import Log
from tests.stands.ledger import SIGNER, Later, copied, reader, rows, unsynced, written
from tests.stands.ledger_disk import Crash, Disk, Steps


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


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


@pytest.mark.parametrize(("begun", "later", "pages_ahead"), [(0, 0, 0), (250, 0, 0), (250, 4, 0), (0, 0, 2), (0, 4, 2)])
def test_whatever_the_step_at_which_a_writer_is_killed_or_the_power_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int, later: int, pages_ahead: int
) -> None:
    if pages_ahead:
        monkeypatch.setattr(ahead, "ZEROS_FROM_BYTES", 0)
        monkeypatch.setattr(ahead, "PIECE_BYTES", pages_ahead * wal.PAGE_BYTES)
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

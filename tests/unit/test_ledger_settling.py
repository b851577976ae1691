"""Tiles are made durable beside the writer: it goes on meanwhile, not without end, and hears of a fault."""

import errno
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import TypeAlias

import pytest

from foundation.ledger import ahead, files, segments, wal
from foundation.ledger.ahead import BEHIND_MAX
from foundation.ledger.log import Log
from tests.stands.ledger import SIGNER, Later, reader, rows, unsynced, written
from tests.stands.ledger_faults import Written

SEGMENT_PAGES = 4
Sync: TypeAlias = Callable[[Path, Iterable[str]], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)
    monkeypatch.setattr(ahead, "SEGMENT_BYTES_MAX", SEGMENT_PAGES * wal.PAGE_BYTES)


def test_the_writer_goes_on_while_tiles_are_made_durable_up_to_a_bound(tmp_path: Path) -> None:
    folder, never = tmp_path / "log", 1 << 30
    pages, files_most = list[int](), 0
    with Log(folder, SIGNER, aside=lambda: Later(never)) as log:
        for _ in range(60):
            log.append({"s1": rows(log.size + 1, 3)})
            log.publish()
            held = segments.segments_in(folder)
            assert log._ahead.current is not None
            pages.append(log._ahead.current.size // wal.PAGE_BYTES)
            files_most = max(files_most, len(held))
    assert files_most == 2
    assert SEGMENT_PAGES + 1 < max(pages) <= BEHIND_MAX * SEGMENT_PAGES + 1
    assert len(segments.segments_in(folder)) == 1, "closing waits for it"
    assert reader(folder).verify(folder=folder).payloads == 180


@pytest.mark.parametrize("later", [0, 1, 5])
def test_a_fault_while_tiles_are_made_durable_stops_the_writer_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    log = Written(tmp_path / "log")
    written(log.folder, 250)

    def ill(_: Path, __: Iterable[str]) -> None:
        raise OSError(errno.EIO, "the disk is ill")

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", spared(files.sync, ill, times=1))
        assert log.until_it_fails(lambda: Later(later)).errno == errno.EIO
    assert log.kept > 250
    log.goes_on()


def spared(well: Sync, ill: Sync, *, times: int) -> Sync:
    """`well` so many times (a log settles when it is opened), then `ill`."""
    turns = chain([well] * times, repeat(ill))

    def sync(folder: Path, names: Iterable[str]) -> None:
        next(turns)(folder, names)

    return sync


def test_erasing_waits_until_no_write_ahead_file_holds_the_payload(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Log(folder, SIGNER, aside=lambda: Later(1 << 30)) as log:
        for _ in range(10):
            log.append({"s1": rows(log.size + 1, 3)})
            log.publish()
        assert b'"event:7"' in b"".join(path.read_bytes() for path in segments.segments_in(folder))
        assert log.erase(6)
        assert b'"event:7"' not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())

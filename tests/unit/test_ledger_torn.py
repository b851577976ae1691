"""Write-ahead files that broke off or lost a sector, at every place: what was acknowledged is there, or the log is not opened.

The last record is the exception that no file can be without: whole or broken off, what was never signed for looks alike.
"""

import ast
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foundation.ledger import (
    ahead,
    draining,
    entries,
    files,
    growing,
    merkle,
    opening,
    payloads,
    segments,
    settling,
    tiles,
    wal,
)
from foundation.ledger import log as log_module
from foundation.ledger.files import LogDamaged
from foundation.ledger.log import Log
from tests.stands.ledger import SIGNER, copied, reader, rows, unsynced

SECTOR_BYTES = 512
SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda raw: bytes(byte ^ 0xFF for byte in raw),
    "zeros": lambda raw: bytes(len(raw)),
    "chance": lambda raw: random.Random(len(raw)).randbytes(len(raw)),
    "one bit": lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A log of 250 entries that are signed for, and 30 + 10 that are acknowledged and not: records of several pages."""
    folder = tmp_path / "whole"
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(1, 250)})
        log.publish()
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(251, 30)})
        log.append({"s1": rows(281, 10)})
    return folder


def opened_with(folder: Path, raw: bytes) -> int:
    """Entries of the log whose one write-ahead file holds that, after it went on to 300."""
    (path,) = segments.segments_in(folder)
    path.write_bytes(raw)
    with Log(folder, SIGNER) as log:
        found = log.size
        log.append({"s1": rows(251, 50)})
        log.publish()
    assert reader(folder).verify(folder=folder).payloads == 300
    return found


def places(raw: bytes) -> list[tuple[int, int]]:
    """Where each record begins, and where its body ends."""
    found, at = list[tuple[int, int]](), 0
    for body in wal.parse(raw, "wal").bodies:
        found.append((at, at + wal.HEAD_BYTES + len(body)))
        at += len(wal.framed(body))
    return found


def test_every_prefix_of_the_file_holds_the_records_that_are_whole_in_it(whole: Path) -> None:
    (path,) = segments.segments_in(whole)
    raw = path.read_bytes()
    ends = [end for _, end in places(raw)]
    for cut in range(len(raw) + 1):
        assert len(wal.parse(raw[:cut], "wal").bodies) == sum(end <= cut for end in ends), cut


def test_every_prefix_of_the_last_record_is_as_if_it_had_not_begun(whole: Path, tmp_path: Path) -> None:
    raw = segments.segments_in(whole)[0].read_bytes()
    begin, end = places(raw)[-1]
    step = int(os.environ.get("LEDGER_TORN_STEP", "61"))
    for cut in [*range(begin, end, step), end - 1, end, len(raw)]:
        assert opened_with(copied(whole, tmp_path / f"{cut}"), raw[:cut]) == (290 if cut >= end else 280), cut


def test_what_a_torn_record_holds_is_not_copied_for_each_beginning_that_it_shows() -> None:
    """A statement's text may be full of them: their lengths, in letters, go beyond the file."""

    class Watched(bytes):
        copied = 0

        def __getitem__(self, key: Any) -> Any:
            found = super().__getitem__(key)
            Watched.copied += len(found) if isinstance(key, slice) else 0
            return found

    whole = wal.framed(b"whole")
    torn = wal.framed((wal.MAGIC + b"    ") * 2_000)[:-5_000]
    assert wal.parse(Watched(whole + torn), "wal").bodies == [b"whole"]
    assert Watched.copied < 2 * len(whole + torn)


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_a_spoiled_sector_spoils_no_other_record_and_is_noticed_before_the_last(
    whole: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    raw = segments.segments_in(whole)[0].read_bytes()
    records = places(raw)
    outcomes = list[str]()
    for at in range(0, len(raw), SECTOR_BYTES):
        sector = raw[at : at + SECTOR_BYTES]
        spoiled = raw[:at] + spoil(sector) + raw[at + SECTOR_BYTES :]
        hit = [number for number, (begin, end) in enumerate(records) if begin < at + SECTOR_BYTES and at < end]
        place = copied(whole, tmp_path / f"{at}")
        if not hit or spoiled[at : records[hit[0]][1]] == raw[at : records[hit[0]][1]]:
            assert opened_with(place, spoiled) == 290
            outcomes.append("none")
        elif hit == [len(records) - 1]:
            assert opened_with(place, spoiled) == 280
            outcomes.append("last")
        else:
            assert len(hit) == 1, "a sector belongs to one record"
            with pytest.raises(LogDamaged):
                opened_with(place, spoiled)
            outcomes.append("before")
    assert set(outcomes) == {"none", "last", "before"}


def test_a_last_record_that_was_signed_for_is_missed(whole: Path, tmp_path: Path) -> None:
    with Log(whole, SIGNER) as log:
        log.append({"s1": rows(291, 10)})
        log.publish()
    raw = segments.segments_in(whole)[0].read_bytes()
    begin, end = places(raw)[-1]
    for number, cut in enumerate((begin, begin + 5, end - 1)):
        with pytest.raises(LogDamaged, match="300 entries were signed for, and 290 are here"):
            opened_with(copied(whole, tmp_path / f"{number}"), raw[:cut])


# --- two write-ahead files: tiles were being made durable ------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of 290 entries in two write-ahead files, since the tiles of the first were not durable yet: a process killed just then."""
    folder = tmp_path / "two"
    with Log(folder, SIGNER) as log, monkeypatch.context() as patch:
        patch.setattr(ahead, "FILES_MAX", 1)
        patch.setattr(settling, "settle", lambda *_: None)
        log.append({"s1": rows(1, 250)})
        log.publish()
        log.append({"s1": rows(251, 40)})
    assert len(segments.segments_in(folder)) == 2
    return folder


def test_a_log_goes_on_from_two_write_ahead_files_without_any_tile(two: Path) -> None:
    for path in (two / "tile").rglob("*"):
        if path.is_file():
            path.unlink()
    with Log(two, SIGNER) as log:
        assert (log.size, log.seen("s1").position) == (290, 290)
    assert reader(two).verify(folder=two).payloads == 290
    assert len(segments.segments_in(two)) == 1


def test_the_newer_file_alone_is_enough_once_the_older_was_removed(two: Path) -> None:
    segments.segments_in(two)[0].unlink()
    with Log(two, SIGNER) as log:
        assert log.size == 290
    assert reader(two).verify(folder=two).payloads == 290


def test_a_newer_file_without_a_header_leaves_the_older_in_force(two: Path) -> None:
    older, newer = segments.segments_in(two)
    newer.write_bytes(newer.read_bytes()[:20])
    with Log(two, SIGNER) as log:
        assert log.size == 250
    assert older not in segments.segments_in(two)


@pytest.mark.parametrize("record", [0, 1])
def test_a_broken_record_of_the_older_file_is_noticed(two: Path, record: int) -> None:
    older, _ = segments.segments_in(two)
    raw = bytearray(older.read_bytes())
    raw[places(bytes(raw))[record][0] + 20] ^= 1
    older.write_bytes(raw)
    before = (two / "checkpoint").read_bytes()
    with pytest.raises(LogDamaged):
        Log(two, SIGNER).__enter__()
    assert (two / "checkpoint").read_bytes() == before


# --- clocks ------------------------------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_changes_neither_order_nor_what_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    times = [1_800_000_000_000_000 - 3_600_000_000 * number for number in range(40)]
    given = [msgspec.structs.replace(row, at_us=at) for row, at in zip(rows(1, 40), times, strict=True)]
    for begin in range(0, 40, 10):
        with Log(folder, SIGNER) as log:
            assert log.append({"s1": given[begin : begin + 10]}) == range(begin, begin + 10)
            log.publish()
        for path in folder.rglob("*"):
            os.utime(path, (times[begin] / 1e6, times[begin] / 1e6))  # files from before 1990 beside ones from today
    found = list(reader(folder).newest())[::-1]
    assert [one.entry.position for one in found] == list(range(1, 41))
    assert [one.entry.at_us for one in found] == times
    assert reader(folder).verify(folder=folder).payloads == 40


@pytest.mark.parametrize(
    "module",
    [ahead, draining, entries, files, growing, log_module, merkle, opening, payloads, segments, settling, tiles, wal],
)
def test_nothing_that_writes_a_log_reads_a_clock(module: object) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert imported.isdisjoint({"time", "datetime", "foundation.clock"})
    assert read.isdisjoint({"st_mtime", "st_mtime_ns", "st_ctime", "st_atime"})

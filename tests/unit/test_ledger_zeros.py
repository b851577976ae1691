"""Zeros written ahead into the next write-ahead file: appends are written over them, wait for none of it, and lose nothing by it."""

import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foundation.ledger import ahead, segments, wal
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.wal import PAGE_BYTES
from tests.stands.ledger import SIGNER, Later, copied, reader, rows, unsynced

WAIT_S_MAX = 20
SEGMENT_PAGES = 16
WHOLE = SEGMENT_PAGES + SEGMENT_PAGES // 4
"""Pages of zeros in a file that has all that it may get."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros from a file's third page on, four pages for each that comes."""
    unsynced(monkeypatch)
    monkeypatch.setattr(ahead, "SEGMENT_BYTES_MAX", SEGMENT_PAGES * PAGE_BYTES)
    monkeypatch.setattr(ahead, "ZEROS_FROM_BYTES", 3 * PAGE_BYTES)
    monkeypatch.setattr(ahead, "PIECE_BYTES", 2 * PAGE_BYTES)


def opened(folder: Path) -> Log:
    return Log(folder, SIGNER, aside=lambda: Later(0))


def one_more(log: Log) -> None:
    """A record of a page, signed for."""
    log.append({"s1": rows(log.size + 1, 3)})
    log.publish()


def pages_in(folder: Path) -> list[int]:
    """Of each write-ahead file."""
    return [path.stat().st_size // PAGE_BYTES for path in segments.segments_in(folder)]


def test_the_next_file_is_filled_for_what_comes_and_takes_over_from_one_without_zeros(tmp_path: Path) -> None:
    seen = list[list[int]]()
    with opened(tmp_path) as log:
        for _ in range(7):
            one_more(log)
            seen.append(pages_in(tmp_path))
    # What is due for the first three pages comes with the third, and the log goes on in that file; then it prepares another.
    assert seen == [[2], [12], [12], [12, 12], [12, 16], [12, 20], [12, 20]]
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 21


def test_an_append_is_written_over_zeros_once_there_are_any(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for _ in range(8):
            one_more(log)
        lengths = set[int]()
        for _ in range(3):
            log.append({"s1": rows(log.size + 1, 3)})
            lengths.add(segments.segments_in(tmp_path)[0].stat().st_size)
        assert len(lengths) == 1, "the file is as long as it was"
        killed = copied(tmp_path, tmp_path.with_name("killed"))
    with opened(killed) as again:
        assert (again.size, again.seen("s1").position) == (33, 33)
    assert len(segments.segments_in(killed)) == 1, "the one that was prepared is gone"


def test_the_file_that_is_full_gives_way_to_one_that_has_all_its_zeros(tmp_path: Path) -> None:
    most = 0
    with opened(tmp_path) as log:
        for _ in range(60):
            one_more(log)
            assert log._ahead.current is not None
            most = max(most, log._ahead.current.size // PAGE_BYTES)
            assert len(segments.segments_in(tmp_path)) <= 2
            assert max(pages_in(tmp_path)) <= WHOLE
    assert most == SEGMENT_PAGES
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 180


def test_closing_leaves_no_file_in_which_nothing_stands(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for _ in range(6):
            one_more(log)
        assert len(segments.segments_in(tmp_path)) == 2
    assert len(segments.segments_in(tmp_path)) == 1
    with opened(tmp_path) as again:
        assert again.size == 18


def test_closing_takes_no_file_that_another_log_has_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with opened(folder) as log:
        for _ in range(6):
            one_more(log)
        _, following = segments.segments_in(folder)
        folder.rename(tmp_path / "elsewhere")
        folder.mkdir()
        following.write_bytes(b"another log's")
    assert following.read_bytes() == b"another log's"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("more", [0, 100])
def test_zeros_that_find_no_room_are_given_back_and_fail_no_record(tmp_path: Path, more: int) -> None:
    with opened(tmp_path) as log:
        with files_of_at_most(5 * PAGE_BYTES + more):
            for _ in range(4):
                one_more(log)
            assert pages_in(tmp_path) == [5, 0]
            with pytest.raises(OSError, match="File too large"):
                one_more(log)
        kept = log.size
    assert kept == 12
    with opened(tmp_path) as again:
        assert again.size == 12


def test_where_a_disk_has_little_room_no_zeros_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "FREE_BYTES_MIN", 1 << 62)
    with opened(tmp_path) as log:
        for _ in range(6):
            one_more(log)
        assert pages_in(tmp_path) == [7]


def test_a_log_that_is_written_little_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "ZEROS_FROM_BYTES", 65_536)
    monkeypatch.setattr(ahead, "SEGMENT_BYTES_MAX", 8 << 20)
    with opened(tmp_path) as log:
        for _ in range(14):
            one_more(log)
        assert pages_in(tmp_path) == [15]


def when_zeros_are_synced(patch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """Those of the second file: the first one's syncs are records'."""

    def sync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == segments.name_of(2):
            then()

    patch.setattr(wal, "datasync", sync)


def test_appends_and_checkpoints_go_on_while_zeros_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, going = threading.Event(), threading.Event()

    def stalled() -> None:
        begun.set()
        assert going.wait(WAIT_S_MAX)

    with Log(tmp_path, SIGNER) as log, monkeypatch.context() as patch:
        when_zeros_are_synced(patch, stalled)
        try:
            for _ in range(SEGMENT_PAGES + 4):
                one_more(log)
            assert begun.wait(WAIT_S_MAX)
            assert log.checkpoint.size == log.size == 3 * (SEGMENT_PAGES + 4)
            assert segments.segments_in(tmp_path)[0].stat().st_size > SEGMENT_PAGES * PAGE_BYTES, "it gives way later"
        finally:
            going.set()
        log.erase(0)  # waits for the zeros, too
        one_more(log)
    assert reader(tmp_path).verify(folder=tmp_path).without == 1


def many_more(log: Log) -> None:
    for _ in range(6):
        one_more(log)


def test_a_fault_of_the_zeros_stops_the_log_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ill() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(tmp_path) as log:
        with monkeypatch.context() as patch:
            when_zeros_are_synced(patch, ill)
            with pytest.raises(OSError, match="Input/output"):
                many_more(log)
        kept = log.size
        for call in (log.publish, lambda: log.append({"s1": rows(kept + 1, 1)})):
            with pytest.raises(LogBroken):
                call()
    assert kept >= 6
    with opened(tmp_path) as again:
        assert again.size == kept
        one_more(again)
    assert reader(tmp_path).verify(folder=tmp_path).payloads == kept + 3

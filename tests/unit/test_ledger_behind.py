"""Tiles that take their time: appends go on meanwhile, up to a bound, beyond which they are refused and the log is as it was."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from foundation.ledger import ahead, segments, wal
from foundation.ledger import log as log_module
from foundation.ledger.ahead import BEHIND_MAX, LogBehind
from foundation.ledger.committing import Committer, NotCommitted
from foundation.ledger.draining import BATCH_MAX, Drain, Writer
from foundation.ledger.growing import Write
from foundation.ledger.log import Log
from foundation.ledger.port import Event, Kind
from tests.stands.ledger import SIGNER, Outbox, reader, rows, sources_in, unsynced

pytestmark = pytest.mark.anyio
WAIT_S_MAX = 20
SEGMENT_PAGES = 4


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)
    monkeypatch.setattr(ahead, "SEGMENT_BYTES_MAX", SEGMENT_PAGES * wal.PAGE_BYTES)


class Stalled:
    """Writing of tiles that waits, from the `first` time on that it is asked for."""

    def __init__(self, first: int) -> None:
        self.begun, self.going = threading.Event(), threading.Event()
        self._left = first

    def __call__(self, writes: Iterable[Write]) -> None:
        self._left -= 1
        if self._left <= 0:
            self.begun.set()
            assert self.going.wait(WAIT_S_MAX)
        for one in writes:
            one()


@contextmanager
def stalled(monkeypatch: pytest.MonkeyPatch, first: int = 1) -> Iterator[Stalled]:
    writing = Stalled(first)
    with monkeypatch.context() as patch:
        patch.setattr(log_module, "write", writing)
        try:
            yield writing
        finally:
            writing.going.set()


def until_refused(log: Log) -> None:
    with pytest.raises(LogBehind):
        append_for_ever(log)


def append_for_ever(log: Log) -> None:
    while True:
        log.append({"s1": rows(log.size + 1, 3)})


def pages(folder: Path) -> int:
    """That are written of the newest write-ahead file, without the zeros that lie ahead."""
    path = segments.segments_in(folder)[-1]
    return wal.parse(path.read_bytes(), path.name).end // wal.PAGE_BYTES


def test_appends_go_on_while_tiles_stall_up_to_a_bound_and_there_is_room_again_once_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(tmp_path, SIGNER) as log, ThreadPoolExecutor(1) as aside, stalled(monkeypatch) as writing:
        log.append({"s1": rows(1, 3)})
        publishing = aside.submit(log.publish)
        assert writing.begun.wait(WAIT_S_MAX)
        until_refused(log)
        kept = log.size
        assert pages(tmp_path) == BEHIND_MAX * SEGMENT_PAGES + 1
        with pytest.raises(LogBehind):
            log.append({"s1": rows(kept + 1, 1)})
        assert (log.size, log.broken, log.seen("s1").position) == (kept, False, kept)
        writing.going.set()
        assert publishing.result(WAIT_S_MAX).size == kept, "of what came meanwhile, too"
        assert log.append({"s1": rows(kept + 1, 2)}) == range(kept, kept + 2)
        assert log.publish().size == kept + 2
    assert reader(tmp_path).verify(folder=tmp_path).payloads == kept + 2
    with Log(tmp_path, SIGNER) as again:
        assert again.size == kept + 2


def test_appends_go_on_while_a_file_that_gave_way_waits_for_the_tiles_of_what_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "FILES_MAX", 1)
    with Log(tmp_path, SIGNER) as log, ThreadPoolExecutor(2) as aside, stalled(monkeypatch, first=2) as writing:
        log.append({"s1": rows(1, 300)})
        publishing = aside.submit(log.publish)
        assert writing.begun.wait(WAIT_S_MAX)
        assert len(segments.segments_in(tmp_path)) == 2
        assert aside.submit(log.append, {"s1": rows(301, 4)}).result(WAIT_S_MAX) == range(300, 304)
        writing.going.set()
        assert publishing.result(WAIT_S_MAX).size == 300
        assert log.publish().size == 304
    assert reader(tmp_path).verify(folder=tmp_path).payloads == 304


async def test_what_the_log_has_no_room_for_stays_in_its_outbox_until_there_is(tmp_path: Path) -> None:
    outbox, most, one = Outbox(rows(1, 4 * BATCH_MAX + 100)), 0, 0
    with Log(tmp_path, SIGNER) as log:
        drained, more = Drain(log, tmp_path), True
        while more:
            before = log.size
            more = await drained.once({"s1": outbox})
            held = segments.segments_in(tmp_path)[-1].stat().st_size
            one, most = max(one, held if log.size == BATCH_MAX else 0), max(most, held if log.size > before else 0)
    assert most < one + 2 * wal.PAGE_BYTES, "no file has more than one record beyond its bound"
    assert [position for _, position, _ in sources_in(tmp_path)] == list(range(1, 4 * BATCH_MAX + 101))


async def test_what_is_committed_is_refused_while_there_is_no_room(tmp_path: Path) -> None:
    writer = Writer()
    with Log(tmp_path, SIGNER) as log:
        writer.log = log
        until_refused(log)
        kept, committer = log.size, Committer(writer, "access.door")
        async with asyncio.TaskGroup() as group:
            task = group.create_task(committer.run())
            with pytest.raises(NotCommitted) as refused:
                await committer.commit(event(1))
            assert isinstance(refused.value.__cause__, LogBehind)
            log.publish()
            assert await committer.commit(event(2)) == kept
            task.cancel()


def event(number: int) -> Event:
    return Event(id=f"event:{number}", at=1_800_000_000.0, kind=Kind.STATEMENT, actor="engineer:ann")

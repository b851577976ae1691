"""What goes straight into the log is durable when it was told so, shares writes, and is refused where the disk takes no more."""

import asyncio
import os
import resource
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest

from foundation.ledger import committing, sharing, wal
from foundation.ledger.committing import Committer, NotCommitted
from foundation.ledger.draining import Drain, Writer, drain
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.port import Kind, Spelled
from foundation.tasks import Backoff
from tests.stands.ledger import SIGNER, Outbox, reader, rows, sources_in
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
SOURCE = "access.door"


def event(number: int, text: str = "") -> Spelled:
    details = msgspec.Raw(msgspec.json.encode({"t": text}))
    return Spelled(id=f"event:{number}", at=1_800_000_000.0, kind=Kind.STATEMENT, actor="engineer:ann", details=details)


@asynccontextmanager
async def committing_to(writer: Writer) -> AsyncIterator[Committer]:
    committer = Committer(writer, SOURCE)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(committer.run())
        yield committer
        task.cancel()


@contextmanager
def files_of_at_most(bytes_max: int) -> Iterator[None]:
    """The kernel takes a part of a write, then none."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def told(committer: Committer, number: int) -> object:
    """The index, or the exception."""
    return (await asyncio.gather(committer.commit(event(number)), return_exceptions=True))[0]


async def until_refused(committer: Committer, kept: list[int]) -> None:
    while True:
        kept.append(await committer.commit(event(len(kept) + 1, "x" * 3_000)))


async def test_what_was_committed_is_there_when_nothing_was_published(folder: Path) -> None:
    writer = Writer()
    with Log(folder / "log", SIGNER) as log:
        writer.log = log
        async with committing_to(writer) as committer:
            indexes = await asyncio.gather(*(committer.commit(event(number)) for number in range(20)))
            assert sorted(indexes) == list(range(20))
            (folder / "copy").mkdir()
            # As a killed process leaves it.
            for path in (folder / "log").glob("wal-*"):
                (folder / "copy" / path.name).write_bytes(path.read_bytes())
    with Log(folder / "copy", SIGNER) as again:
        assert (again.size, again.seen(SOURCE).position) == (20, 20)


async def test_those_who_wait_while_the_disk_writes_share_the_next_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, writes, gate = Writer(), list[int](), threading.Event()
    with Log(folder, SIGNER) as log:
        writer.log = log

        def counted(descriptor: int) -> None:
            writes.append(descriptor)
            gate.wait(10)
            os.fdatasync(descriptor)

        monkeypatch.setattr(wal, "datasync", counted)
        async with committing_to(writer) as committer, asyncio.TaskGroup() as group:
            group.create_task(committer.commit(event(0)))
            await eventually(lambda: writes)
            for number in range(1, 40):
                group.create_task(committer.commit(event(number)))
            await eventually(lambda: len(committer._queue) == 39)
            gate.set()
    assert len(writes) == 2
    assert [position for _, position, _ in sources_in(folder)] == []
    with Log(folder, SIGNER) as log:
        assert log.size == 40


@contextmanager
def gated_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[int], threading.Event]]:
    """(a number for each sync of the write-ahead file, what they wait for)"""
    writes, gate = list[int](), threading.Event()

    def gated(descriptor: int) -> None:
        writes.append(descriptor)
        gate.wait(30)
        os.fdatasync(descriptor)

    monkeypatch.setattr(wal, "datasync", gated)
    try:
        yield writes, gate
    finally:
        gate.set()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is waited for is waited for until they come."""
    monkeypatch.setattr(sharing, "WAIT_S_MIN", 3_600.0)
    monkeypatch.setattr(sharing, "WAIT_S_MAX", 3_600.0)
    monkeypatch.setattr(committing, "COMMIT_S_MAX", 60.0)


@pytest.mark.usefixtures("patient")
async def test_those_whom_a_write_lets_go_share_the_next_one_with_whoever_waits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer()
    with Log(folder, SIGNER) as log, gated_disk(monkeypatch) as (writes, gate):
        writer.log = log
        async with committing_to(writer) as committer, asyncio.TaskGroup() as group:
            first = group.create_task(committer.commit(event(0), again=True))
            await eventually(lambda: writes)
            for number in range(1, 4):
                group.create_task(committer.commit(event(number), again=True))
            await eventually(lambda: len(committer._queue) == 3)
            gate.set()
            assert await first == 0
            result = group.create_task(committer.commit(event(4)))  # whose result it is does not come back for it
            await eventually(lambda: len(committer._queue) == 4)
            assert (log.size, result.done()) == (1, False)
            assert await committer.commit(event(5), again=True) == 5
        assert (len(writes), log.size) == (2, 6)


async def test_who_does_not_come_back_keeps_nobody_waiting_for_good(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer()
    with Log(folder, SIGNER) as log, gated_disk(monkeypatch) as (writes, gate):
        writer.log = log
        async with committing_to(writer) as committer, asyncio.TaskGroup() as group:
            group.create_task(committer.commit(event(0), again=True))
            await eventually(lambda: writes)
            second = group.create_task(committer.commit(event(1), again=True))
            await eventually(lambda: len(committer._queue) == 1)
            gate.set()
            assert await second == 1


@pytest.mark.usefixtures("patient")
async def test_who_asks_alone_is_written_at_once_and_so_is_a_crowd(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "SHARED_ENOUGH", 3)
    writer = Writer()
    with Log(folder, SIGNER) as log, gated_disk(monkeypatch) as (writes, gate):
        writer.log = log
        async with committing_to(writer) as committer, asyncio.TaskGroup() as group:
            gate.set()
            assert [await committer.commit(event(number), again=True) for number in range(5)] == [*range(5)]
            gate.clear()
            group.create_task(committer.commit(event(5), again=True))
            await eventually(lambda: len(writes) == 6)
            crowd = [group.create_task(committer.commit(event(number), again=True)) for number in range(6, 9)]
            await eventually(lambda: len(committer._queue) == 3)
            gate.set()
            assert sorted(await asyncio.gather(*crowd)) == [6, 7, 8]


async def test_a_disk_that_does_not_answer_refuses_in_time_and_who_gave_up_waiting_is_not_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "COMMIT_S_MAX", 0.05)
    writer, gate = Writer(), threading.Event()
    with Log(folder, SIGNER) as log:
        writer.log = log
        real = wal.datasync

        def stalled(descriptor: int) -> None:
            gate.wait(10)
            real(descriptor)

        monkeypatch.setattr(wal, "datasync", stalled)
        async with committing_to(writer) as committer:
            both = await asyncio.gather(told(committer, 1), told(committer, 2))
            assert [type(one) for one in (*both, await told(committer, 3))] == [NotCommitted] * 3
            gate.set()
            monkeypatch.setattr(committing, "COMMIT_S_MAX", 5.0)
            await committer.commit(event(4))
        log.publish()
    events = [position for _, position, _ in sources_in(folder)]
    # The first was being written when it was given up; the second and third never were.
    assert events == [1, 2]


async def test_one_timer_tells_each_who_waits_when_its_own_time_is_over_whoever_begins_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, gate, real = Writer(), threading.Event(), wal.datasync
    first, second, third = list[object](), list[object](), list[object]()

    def stalled(descriptor: int) -> None:
        gate.wait(60)
        real(descriptor)

    def within(seconds: float) -> None:
        monkeypatch.setattr(committing, "COMMIT_S_MAX", seconds)

    with Log(folder, SIGNER) as log:
        writer.log = log
        monkeypatch.setattr(wal, "datasync", stalled)
        async with committing_to(writer) as committer:

            def begins_anew(what: object) -> None:
                first.append(what)
                within(600)
                committer.begin(event(3), third.append)

            within(0.02)
            committer.begin(event(1), begins_anew)
            within(0.3)
            committer.begin(event(2), second.append)
            try:
                await eventually(lambda: second)
                assert ([type(one) for one in (*first, *second)], third) == ([NotCommitted] * 2, [])
            finally:
                gate.set()
            await eventually(lambda: third)
            assert isinstance(third[0], int)


async def test_who_gives_up_hears_nothing_and_is_not_written_unless_it_was_being_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, writing, gate, real = Writer(), threading.Event(), threading.Event(), wal.datasync
    heard = list[object]()

    def stalled(descriptor: int) -> None:
        writing.set()
        gate.wait(10)
        real(descriptor)

    with Log(folder, SIGNER) as log:
        writer.log = log
        monkeypatch.setattr(wal, "datasync", stalled)
        async with committing_to(writer) as committer:
            first = committer.begin(event(1), heard.append)
            await eventually(writing.is_set)
            second = committer.begin(event(2), heard.append)
            first.give_up()
            second.give_up()
            gate.set()
            assert await committer.commit(event(3)) == 1
    assert heard == []


async def test_a_full_disk_refuses_and_the_drain_opens_the_log_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def soon(_: object) -> float:
        return 0.01

    monkeypatch.setattr(Backoff, "next_s", soon)
    writer, kept = Writer(), list[int]()
    outbox = Outbox(rows(1, 3))
    async with asyncio.TaskGroup() as group:
        draining = group.create_task(drain(folder / "log", SIGNER, lambda: {"s1": outbox}, None, writer))
        await eventually(lambda: writer.looks > 0)
        async with committing_to(writer) as committer:
            with files_of_at_most(30_000), pytest.raises(NotCommitted):
                await until_refused(committer, kept)
            broken = writer.log
            await eventually(lambda: writer.log is not None and writer.log is not broken)
            kept.append(await committer.commit(event(len(kept) + 2)))
            await eventually(lambda: reader(folder / "log").checkpoint.size > kept[-1])
        draining.cancel()
    assert len(kept) > 2
    entries = {index: source for index, (source, _, _) in enumerate(sources_in(folder / "log"))}
    assert all(entries[index] == SOURCE for index in kept)
    assert reader(folder / "log").verify(folder=folder / "log").without == 0


async def test_a_log_that_is_not_open_and_too_many_that_wait_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer()
    async with committing_to(writer) as committer:
        with pytest.raises(NotCommitted):
            await committer.commit(event(1))
    monkeypatch.setattr(committing, "WAITING_MAX", 0)
    with Log(folder, SIGNER) as log:
        writer.log = log
        async with committing_to(writer) as committer:
            with pytest.raises(NotCommitted):
                await committer.commit(event(1))
        assert log.size == 0


async def test_whoever_waits_is_told_when_the_process_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, writing, gate, real = Writer(), threading.Event(), threading.Event(), wal.datasync

    def stalled(descriptor: int) -> None:
        writing.set()
        gate.wait(10)
        real(descriptor)

    with Log(folder, SIGNER) as log:
        writer.log = log
        monkeypatch.setattr(wal, "datasync", stalled)
        committer = Committer(writer, SOURCE)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(committer.run())
            waiting = [group.create_task(told(committer, 1))]
            await eventually(writing.is_set)
            waiting.append(group.create_task(told(committer, 2)))
            await eventually(lambda: committer._queue)
            running.cancel()
            threading.Timer(0.05, gate.set).start()  # the end of the process waits for the write under way
        assert [type(one.result()) for one in waiting] == [NotCommitted, NotCommitted]
        assert log.size == 1


async def test_the_drain_signs_for_what_others_append_and_notices_a_log_that_they_broke(folder: Path) -> None:
    with Log(folder, SIGNER) as log:
        drained = Drain(log, folder)
        log.append({SOURCE: rows(1, 5)})
        await drained.once({})
        assert reader(folder).checkpoint.size == 5
        with files_of_at_most(10), pytest.raises(OSError, match="File too large"):
            log.append({SOURCE: rows(6, 5)})
        with pytest.raises(LogBroken):
            await drained.once({})

"""The small parts of the directory's clients: circuit, batches, following the feed, and what they may import."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from directory.client.batching import Batcher, TooManyWaiting
from directory.client.circuit import PROBE_S_MAX, Circuit
from directory.client.remote import DirectoryUnavailable
from directory.feed.client import FeedFollower, FeedReader
from directory.placement.core import FeedPage, PlacementEvent
from foundation.clock import ManualClock, SystemClock
from foundation.words import FeedSeq
from tests.stands.memory_directory import MemoryDirectory, a_key, a_subject, placed
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


def test_clients_of_the_directory_never_load_a_database_driver() -> None:
    code = (
        "import sys, directory.client.client, directory.feed.client, directory.client.second_level.valkey\n"
        "sys.exit(any(name == 'asyncpg' or name.endswith('.store') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# --- circuit -----------------------------------------------------------------------------------------------------------------


def test_a_circuit_opens_after_three_failures_in_a_row_and_lets_one_probe_through() -> None:
    circuit = Circuit(failures_max=3, first_s=1.0, max_s=4.0, chance=lambda: 1.0)
    for _ in range(2):
        circuit.failed(0.0)
    circuit.succeeded()
    for _ in range(3):
        assert circuit.allows(0.0)
        circuit.failed(0.0)
    assert circuit.open
    assert [circuit.allows(at) for at in (0.5, 1.0, 1.1, 2.9, 3.0)] == [False, True, False, False, True]
    circuit.succeeded()
    assert circuit.allows(3.1)
    assert circuit.allows(3.1)


def test_nobody_asks_beside_a_probe_until_its_outcome_is_known_or_it_is_given_up() -> None:
    circuit = Circuit(first_s=1.0, max_s=4.0, chance=lambda: 0.0)
    circuit.failed(0.0, refused=True)
    assert [circuit.allows(at) for at in (0.4, 0.5, 0.6, 1.9)] == [False, True, False, False]
    circuit.failed(2.0)
    assert [circuit.allows(at) for at in (2.9, 3.0, 3.0 + PROBE_S_MAX - 0.1)] == [False, True, False]
    assert circuit.allows(3.0 + PROBE_S_MAX)


def test_failures_of_what_was_asked_before_do_not_put_a_probe_off() -> None:
    circuit = Circuit(first_s=1.0, max_s=4.0, chance=lambda: 1.0)
    for _ in range(4):
        circuit.failed(0.0, refused=True)
    assert circuit.allows(1.0)


def test_a_refused_connection_opens_the_circuit_at_once() -> None:
    circuit = Circuit(chance=lambda: 0.5)
    circuit.failed(0.0, refused=True)
    assert not circuit.allows(0.05)


# --- batches -----------------------------------------------------------------------------------------------------------------


async def test_who_is_answered_early_does_not_wait_for_the_rest() -> None:
    late = asyncio.Event()

    async def answer(ids: list[int]) -> AsyncIterator[dict[int, str]]:
        yield {id_: "near" for id_ in ids if id_ < 10}
        await late.wait()
        yield {id_: "far" for id_ in ids if id_ >= 10}

    batcher = Batcher(answer)
    async with asyncio.TaskGroup() as group:
        far = group.create_task(batcher.ask(10))
        assert await batcher.ask(1) == "near"
        assert not far.done()
        late.set()
    assert far.result() == "far"


async def test_batches_are_bounded_and_so_is_the_queue() -> None:
    gate, batches = asyncio.Event(), []

    async def answer(ids: list[int]) -> AsyncIterator[dict[int, int]]:
        batches.append(len(ids))
        await gate.wait()
        yield {id_: id_ for id_ in ids}

    batcher = Batcher(answer, batch_max=2, batches_max=2, waiting_max=3)
    async with asyncio.TaskGroup() as group:
        first = [group.create_task(batcher.ask(number)) for number in range(3)]
        await eventually(lambda: batches == [2, 1])
        more = [group.create_task(batcher.ask(number)) for number in range(3, 6)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaiting):
            await batcher.ask(6)
        again = group.create_task(batcher.ask(5))  # joining needs no room
        gate.set()
    assert [task.result() for task in (*first, *more, again)] == [0, 1, 2, 3, 4, 5, 5]
    assert batches == [2, 1, 2, 1]


async def test_a_fault_reaches_every_waiter_and_a_caller_that_leaves_stops_nobody() -> None:
    gate = asyncio.Event()

    async def answer(ids: list[int]) -> AsyncIterator[dict[int, int]]:
        await gate.wait()
        if 13 in ids:
            raise ZeroDivisionError
        yield {id_: id_ for id_ in ids}

    batcher = Batcher(answer)
    leaving, staying = (asyncio.get_running_loop().create_task(batcher.ask(7)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    assert await staying == 7
    with pytest.raises(ZeroDivisionError):
        await batcher.ask(13)
    gate.clear()
    stuck = asyncio.get_running_loop().create_task(batcher.ask(1))
    await asyncio.sleep(0)
    await batcher.aclose()
    with pytest.raises(asyncio.CancelledError):
        await stuck


# --- following ---------------------------------------------------------------------------------------------------------------


class Script:
    """A feed that says what it is told to, page by page, and then nothing new."""

    def __init__(self, *pages: FeedPage | str) -> None:
        self.pages = list(pages)
        self.asked: list[int] = []
        self.idle = asyncio.Event()

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage:
        self.asked.append(after)
        if not self.pages:
            self.idle.set()
            await asyncio.Event().wait()
        page = self.pages.pop(0)
        if isinstance(page, str):
            raise DirectoryUnavailable(page)
        return page


def page(*seqs: int, head: int) -> FeedPage:
    subject_id = a_subject()
    events = (PlacementEvent(seq=FeedSeq(seq), at=0.0, placement=placed(subject_id, seq + 1)) for seq in seqs)
    return FeedPage(events=tuple(events), head=FeedSeq(head))


async def followed(script: Script, *, start: int | None = 0) -> tuple[FeedFollower, list[int]]:
    """The follower after it has taken in the script, and the numbers it handed on."""
    heard: list[int] = []
    follower = FeedFollower(script, SystemClock(), start=None if start is None else FeedSeq(start))  # type: ignore[arg-type]
    follower.listeners.append(lambda event: heard.append(event.seq))
    task = asyncio.get_running_loop().create_task(follower.run())
    await eventually(script.idle.is_set)
    task.cancel()
    return follower, heard


async def test_each_event_is_heard_once_and_in_order_through_gaps_repetitions_and_disorder() -> None:
    script = Script(
        page(1, 2, head=4),
        page(4, head=4),  # a gap
        page(3, 3, 4, head=4),  # a repetition
        page(5, 4, head=5),  # disorder: 4 is missing and comes late
        "timeout",
        page(4, 5, 7, head=7),
        page(6, 7, head=7),
    )
    follower, heard = await followed(script)
    assert heard == [1, 2, 3, 4, 5, 6, 7]
    assert follower.position == 7
    assert not follower.restored
    assert script.asked == [0, 2, 2, 3, 3, 3, 5, 7]


async def test_only_a_page_that_reaches_the_head_confirms() -> None:
    follower, _ = await followed(Script(page(1, head=2)))
    assert follower.age_s() == float("inf")
    follower, _ = await followed(Script(page(1, head=2), page(2, head=2)))
    assert follower.age_s() < 60


async def test_without_a_start_it_begins_at_the_head() -> None:
    follower, heard = await followed(Script("refused", page(1, head=41), page(42, head=42)), start=None)
    assert heard == [42]
    assert follower.position == 42


async def test_a_head_below_the_position_ends_all_trust() -> None:
    follower, heard = await followed(Script(page(1, 2, head=2), page(head=1), page(3, head=3)))
    assert follower.restored
    assert follower.age_s() == float("inf")
    assert heard == [1, 2]


async def test_a_page_without_the_events_its_head_promises_does_not_confirm() -> None:
    follower, _ = await followed(Script(page(head=3)))
    assert follower.age_s() == float("inf")


async def test_a_listener_that_fails_ends_the_follower_at_the_event_before() -> None:
    directory = MemoryDirectory()
    for _ in range(3):
        directory.place(a_key())
    follower = FeedFollower(directory, ManualClock(), start=FeedSeq(0))
    heard = []

    def listener(event: PlacementEvent) -> None:
        heard.append(event.seq)
        if event.seq == 3:
            raise ZeroDivisionError

    follower.listeners.append(listener)
    with pytest.raises(ZeroDivisionError):
        await follower.run()
    assert heard == [1, 2, 3]
    assert follower.position == 2


async def test_pages_go_on_where_the_last_good_event_was_and_end_when_the_feed_went_back() -> None:
    script = Script(
        page(1, 2, head=4), page(3, 5, head=5), "timeout", page(4, 5, head=5), page(head=2), page(6, head=6)
    )
    reader, taken = FeedReader(script), []

    async def read() -> None:
        async for one in reader.pages(FeedSeq(0), wait_ms=1000):
            taken.append(([event.seq for event in one.events], one.position, one.current))  # noqa: PERF401 - it never ends

    task = asyncio.get_running_loop().create_task(read())
    await eventually(script.idle.is_set)
    task.cancel()
    assert taken == [([1, 2], 2, False), ([3], 3, False), ([4, 5], 5, True)]
    assert reader.restored

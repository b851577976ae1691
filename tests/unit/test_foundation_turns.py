"""Turns and rates: nobody goes before who waits longer, no place is lost, and what is over is said."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.rates import Buckets, Rate, per_minute
from foundation.turns import Crowded, Turns

pytestmark = pytest.mark.anyio


async def settled() -> None:
    """Lets every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_waits_longest_is_let_in_first() -> None:
    turns, order = Turns(at_once=1, waiters_max=10, wait_s=5), list[int]()

    async def one(number: int) -> None:
        await turns.enter()
        order.append(number)

    await turns.enter()
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(one(number))
        await settled()
        assert order == []
        for expected in range(4):
            turns.leave()
            # Whoever comes at this very moment goes behind those who wait.
            latecomer = group.create_task(one(100 + expected))
            await settled()
            assert order[expected] == expected
            latecomer.cancel()
            await settled()
    assert order == [0, 1, 2, 3]
    turns.leave()
    assert turns.idle


async def test_beyond_the_line_and_beyond_the_time_it_is_crowded() -> None:
    turns = Turns(at_once=1, waiters_max=1, wait_s=0.02)
    await turns.enter()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(refused(turns))
        await settled()
        with pytest.raises(Crowded):
            await turns.enter()
        assert await waiting
    turns.leave()
    assert turns.idle
    await turns.enter()


async def refused(turns: Turns) -> bool:
    try:
        await turns.enter()
    except Crowded:
        return True
    return False


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_or_made_however_people_leave(seed: int) -> None:
    """Tasks are cancelled at any moment: in the line, as their turn comes, inside."""
    chance, turns, inside = random.Random(seed), Turns(at_once=3, waiters_max=1_000, wait_s=5), set[int]()

    async def one(number: int) -> None:
        await turns.enter()
        try:
            inside.add(number)
            assert len(inside) <= 3
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            inside.discard(number)
            turns.leave()

    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(60):
            tasks.append(group.create_task(one(number)))
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                chance.choice(tasks).cancel()
    assert turns.idle
    for _ in range(3):
        await turns.enter()
    waiting = asyncio.ensure_future(turns.enter())  # noqa: TID251 - ended in sight, two lines below
    await settled()
    assert not waiting.done()
    waiting.cancel()


RATES = st.builds(Rate, st.sampled_from([0.5, 1.0, 7.0, 1_000.0]), st.integers(1, 50))


@given(RATES, st.lists(st.floats(0, 5_000), max_size=200))
def test_no_window_lets_more_through_than_burst_and_rate(rate: Rate, gaps: list[float]) -> None:
    buckets, now, passed = Buckets(names_max=10), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if buckets.take("a", rate, now) == 0:
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            window = passed[last] - passed[first]
            assert last - first + 1 <= rate.burst + window / rate.interval_ms + 0.01


@given(RATES, st.integers(1, 100))
def test_the_wait_that_is_told_is_enough(rate: Rate, asked: int) -> None:
    buckets = Buckets(names_max=10)
    looks_and_waits = [(buckets.wait_ms("a", rate, 0.0), buckets.take("a", rate, 0.0)) for _ in range(asked)]
    waits = [wait for _, wait in looks_and_waits]
    assert [look for look, _ in looks_and_waits] == waits  # looking counts nothing
    assert waits[: rate.burst] == [0.0] * min(asked, rate.burst)
    assert all(wait > 0 for wait in waits[rate.burst :])
    if asked > rate.burst:
        assert buckets.take("a", rate, waits[-1] + 0.01) == 0
    assert buckets.take("b", rate, 0.0) == 0


def test_names_are_bounded_and_the_oldest_is_forgotten() -> None:
    buckets, once = Buckets(names_max=2), Rate(1_000_000, 1)
    assert [buckets.take(name, once, 0.0) for name in ("a", "b", "a", "c")] == [0, 0, 1_000_000, 0]
    assert buckets.take("a", once, 0.0) > 0
    assert buckets.take("b", once, 0.0) == 0
    assert per_minute(60) == Rate(1_000, 60)

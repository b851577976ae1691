"""Absences that may have ended: asked for again before anybody is told, and not more often than stated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from directory.client.client import ABSENT_SURE_S, ClientLimits, DirectoryClient, Known
from directory.client.said import Said
from directory.client.table import ABSENT
from directory.feed.client import FeedFollower
from foundation.clock import ManualClock
from foundation.words import Epoch
from tests.stands.memory_directory import MemoryDirectory, a_key
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

NOTHING = Epoch(0)


@asynccontextmanager
async def deaf_client(directory: MemoryDirectory, clock: ManualClock) -> AsyncIterator[DirectoryClient]:
    """A client that has followed the feed so far, and hears no more of it."""
    follower = FeedFollower(directory, clock)
    client = DirectoryClient(directory, follower, clock, limits=ClientLimits(stale_s_max=60.0))
    following = asyncio.get_running_loop().create_task(follower.run())
    await eventually(lambda: client.problem() is None)
    following.cancel()
    yield client
    await client.aclose()


async def test_a_home_that_the_feed_has_not_told_yet_is_found_by_asking_the_directory_anew() -> None:
    directory, clock, key = MemoryDirectory(), ManualClock(), a_key()
    async with deaf_client(directory, clock) as client:
        assert await client.resolve(key) is ABSENT
        home = directory.place(key)
        clock.advance(ABSENT_SURE_S)
        assert client.lookup(key) is ABSENT
        assert await client.refresh_key(key, newer_than=NOTHING) == Known(home)
        assert client.lookup(key) == home


async def test_what_the_directory_said_just_now_is_not_asked_for_again() -> None:
    directory, clock, key = MemoryDirectory(), ManualClock(), a_key()
    async with deaf_client(directory, clock) as client:
        assert await client.resolve(key) is ABSENT
        for _ in range(10):
            assert await client.refresh_key(key, newer_than=NOTHING) is ABSENT
        assert directory.questions == [1]
        clock.advance(ABSENT_SURE_S)
        for _ in range(10):
            assert await client.refresh_key(key, newer_than=NOTHING) is ABSENT
        assert directory.questions == [1, 1]


def test_what_was_said_is_forgotten_when_it_counts_no_more_and_beyond_the_bound() -> None:
    said = Said(entries_max=3, for_s=1.0)
    keys = [a_key() for _ in range(5)]
    for at, key in enumerate(keys[:4]):
        said.note(key, at / 10)
    assert [said.lately(key, 0.9) for key in keys] == [False, True, True, True, False]
    said.note(keys[1], 0.5)
    assert [said.lately(key, 1.4) for key in keys[1:4]] == [True, False, False]
    said.note(keys[4], 1.45)
    assert len(said) == 2

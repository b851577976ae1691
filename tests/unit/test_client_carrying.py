"""What is carried over into the second level is not kept here as well."""

import asyncio

import pytest

from directory.client.client import ClientLimits, DirectoryClient, SecondLevelSettings
from directory.client.second_level.sealed import Seal
from directory.feed.client import FeedFollower
from foundation.clock import SystemClock
from foundation.mute import Secret
from tests.stands.memory_directory import MemoryDirectory, a_key
from tests.stands.memory_second_level import MemoryStore
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


def heard(client: DirectoryClient) -> int:
    """How many events are held to be carried over."""
    second = client._second
    assert second is not None
    return len(second._carrier._recent)


async def test_events_are_held_until_the_second_level_has_them_and_no_longer() -> None:
    directory, store, clock = MemoryDirectory(), MemoryStore(), SystemClock()
    follower = FeedFollower(directory, clock, wait_ms=50)
    client = DirectoryClient(
        directory,
        follower,
        clock,
        limits=ClientLimits(stale_s_max=60.0),
        second_level=SecondLevelSettings(store=store, seal=Seal([("k1", Secret(b"k" * 32))])),
    )
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(follower.run()), group.create_task(client.run())]
        await eventually(lambda: client.problem() is None)
        for _ in range(50):
            directory.place(a_key())
        await eventually(lambda: client.table.position == directory.head and heard(client) == 0)
        store.down = True
        for _ in range(50):
            directory.place(a_key())
        await eventually(lambda: client.table.position == directory.head)
        assert heard(client) == 50
        store.down = False
        await eventually(lambda: heard(client) == 0)
        for worker in workers:
            worker.cancel()
    await client.aclose()

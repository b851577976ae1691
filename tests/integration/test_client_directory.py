"""The directory's client on real sockets: few questions, changes seen, and calm when the directory or Valkey goes away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.valkey import ValkeyServer
from directory.client.client import ClientLimits, DirectoryClient, Known, SecondLevelSettings, Unknown, Why
from directory.client.remote import RESOLVE_S_MAX, HttpDirectory
from directory.client.second_level.sealed import Seal, encode_body
from directory.client.second_level.valkey import SecondLevelStore, valkey_store
from directory.client.table import ABSENT
from directory.feed.client import FeedFollower
from directory.placement.core import State
from foundation.clock import Clock, ManualClock, SystemClock
from foundation.http import client as http_client
from foundation.mute import Secret
from foundation.words import FeedSeq
from tests.stands.memory_directory import MemoryDirectory, a_key, a_subject, placed
from tests.stands.servers import free_port, listens, running, serving
from tests.stands.waiting import eventually, wait_for

pytestmark = pytest.mark.anyio

STALE_S_MAX = 60.0
PATIENT_S = 20.0
"""For a thousand questions at once, beside whatever else runs."""
KEYRING = [("k1", Secret(b"k" * 32))]


class Gateway:
    """A client and its follower, running."""

    def __init__(self, client: DirectoryClient, follower: FeedFollower) -> None:
        self.client = client
        self.follower = follower

    async def caught_up(self, directory: MemoryDirectory) -> None:
        await eventually(lambda: self.client.table.position == directory.head)


@asynccontextmanager
async def gateway(
    port: int,
    *,
    store: SecondLevelStore | None = None,
    clock: Clock | None = None,
    prefix: str = "t",
    resolve_s_max: float = RESOLVE_S_MAX,
) -> AsyncIterator[Gateway]:
    clock = clock or SystemClock()
    second = SecondLevelSettings(store=store, seal=Seal(KEYRING), prefix=prefix) if store else None
    async with http_client(f"http://127.0.0.1:{port}") as http, asyncio.TaskGroup() as group:
        directory = HttpDirectory(http, resolve_s_max=resolve_s_max)
        follower = FeedFollower(directory, clock, wait_ms=300)
        client = DirectoryClient(
            directory,
            follower,
            clock,
            limits=ClientLimits(stale_s_max=STALE_S_MAX, resolve_s_max=resolve_s_max),
            second_level=second,
        )
        workers = [group.create_task(follower.run()), group.create_task(client.run())]
        try:
            await eventually(lambda: client.problem() is None)
            yield Gateway(client, follower)
        finally:
            await client.aclose()
            for worker in workers:
                worker.cancel()


async def test_a_thousand_concurrent_misses_of_one_key_are_one_question() -> None:
    directory, port, key = MemoryDirectory(), free_port(), a_key()
    placement = directory.place(key)
    async with serving(directory.app(), port=port), gateway(port, resolve_s_max=PATIENT_S) as here:
        answers = await asyncio.gather(*(here.client.resolve(key) for _ in range(1000)))
        assert answers == [Known(placement)] * 1000
        assert directory.questions == [1]
        assert here.client.lookup(key) == placement


async def test_a_thousand_different_keys_at_once_are_one_question() -> None:
    directory, port = MemoryDirectory(), free_port()
    keys = [a_key() for _ in range(1000)]
    for key in keys[:500]:
        directory.place(key)
    async with serving(directory.app(), port=port), gateway(port, resolve_s_max=PATIENT_S) as here:
        answers = await asyncio.gather(*(here.client.resolve(key) for key in keys))
        assert [answer is ABSENT for answer in answers] == [False] * 500 + [True] * 500
        assert directory.questions == [1000]
        assert here.client.lookup(keys[-1]) is ABSENT


async def test_changes_reach_the_table_through_the_feed_alone() -> None:
    directory, port, key, stranger = MemoryDirectory(), free_port(), a_key(), a_key()
    placement = directory.place(key)
    async with serving(directory.app(), port=port), gateway(port) as here:
        await here.client.resolve(key)
        assert await here.client.resolve(stranger) is ABSENT
        asked = list(directory.questions)
        moved = directory.move(placement.subject_id, "us-va")
        arrived = directory.place(stranger)
        await here.caught_up(directory)
        assert here.client.lookup(key) == moved
        assert here.client.lookup(stranger) == arrived
        assert directory.questions == asked


async def test_an_answer_overtaken_on_its_way_is_asked_for_again() -> None:
    directory, port, key = MemoryDirectory(), free_port(), a_key()
    placement = directory.place(key)
    async with serving(directory.app(), port=port), gateway(port) as here, asyncio.TaskGroup() as group:
        directory.hold = asyncio.Event()
        asking = group.create_task(here.client.resolve(key))
        await eventually(lambda: directory.questions == [1])
        moved = directory.move(placement.subject_id, "us-va")
        await here.caught_up(directory)
        directory.hold.set()
        assert await asking == Known(moved)
        assert directory.questions == [1, 1]


async def test_a_refresh_asks_the_directory_until_the_epoch_is_newer() -> None:
    directory, port, key = MemoryDirectory(), free_port(), a_key()
    placement = directory.place(key)
    async with serving(directory.app(), port=port), gateway(port) as here:
        await here.client.resolve(key)
        same = await here.client.refresh(placement.subject_id, newer_than=placement.epoch)
        assert same == Known(placement)
        assert directory.questions == [1, 1, 1]
        moved = directory.move(placement.subject_id, "us-va")
        answers = await asyncio.gather(
            *(here.client.refresh(placement.subject_id, newer_than=placement.epoch) for _ in range(100)),
            *(here.client.refresh_key(key, newer_than=placement.epoch) for _ in range(100)),
        )
        assert answers == [Known(moved)] * 200
        assert len(directory.questions) <= 5


async def test_while_the_directory_is_gone_the_known_is_served_and_the_unknown_refused() -> None:
    directory, port, key, stranger = MemoryDirectory(), free_port(), a_key(), a_key()
    placement = directory.place(key)
    directory.place(stranger)
    clock = ManualClock()
    async with serving(directory.app(), port=port):
        keeper = gateway(port, clock=clock)
        here = await keeper.__aenter__()
        await here.client.resolve(key)
    try:
        assert here.client.lookup(key) == placement
        assert await here.client.resolve(key) == Known(placement)
        assert await here.client.subject(placement.subject_id) == Known(placement)
        assert await here.client.resolve(stranger) == Unknown(Why.DIRECTORY_DOWN)
        clock.advance(STALE_S_MAX - 10)
        assert here.client.lookup(key) == placement
        assert here.client.problem() is None
        clock.advance(20)
        assert here.client.lookup(key) is None
        assert await here.client.resolve(key) == Unknown(Why.FEED_STALE)
        assert here.client.problem() is not None
        moved = directory.move(placement.subject_id, "us-va")
        async with serving(directory.app(), port=port):
            clock.advance(5)  # past the circuit's wait
            await eventually(lambda: here.client.problem() is None)
            await here.caught_up(directory)
            assert here.client.lookup(key) == moved
            assert isinstance(await here.client.resolve(stranger), Known)
    finally:
        await keeper.__aexit__(None, None, None)


async def test_a_refused_connection_is_not_tried_again_for_every_request() -> None:
    directory, clock = MemoryDirectory(), ManualClock()
    follower = FeedFollower(directory, clock)
    client = DirectoryClient(directory, follower, clock, limits=ClientLimits(stale_s_max=STALE_S_MAX))
    calls = 0

    async def refusing(keys: list[str]) -> None:
        nonlocal calls
        calls += 1
        await MemoryDirectory.resolve(directory, keys)  # raises

    directory.down = "refused"
    directory.resolve = refusing  # type: ignore[method-assign,assignment]
    for _ in range(50):
        assert isinstance(await client.resolve(a_key()), Unknown)
    assert calls == 1
    clock.advance(0.2)
    for _ in range(50):
        await client.resolve(a_key())
    assert calls == 2
    await client.aclose()


async def test_a_directory_that_went_back_and_does_not_know_it_is_trusted_by_nobody() -> None:
    directory, port, key = MemoryDirectory(marks=False), free_port(), a_key()
    for _ in range(3):
        directory.place(a_key())
    placement = directory.place(key)
    async with serving(directory.app(), port=port), gateway(port) as here:
        await here.client.resolve(key)
        directory.restore(FeedSeq(2))
        await eventually(lambda: here.follower.restored)
        assert here.client.lookup(key) is None
        assert await here.client.resolve(key) == Unknown(Why.FEED_RESTORED)
        assert await here.client.subject(placement.subject_id) == Unknown(Why.FEED_RESTORED)
        assert here.client.problem() is not None
        for _ in range(10):
            directory.place(a_key())  # the new history grows past the old number: still another history
        assert await here.client.resolve(key) == Unknown(Why.FEED_RESTORED)


@pytest.mark.parametrize("grown", [0, 10])
async def test_after_a_restoration_a_client_drops_what_it_holds_and_follows_the_new_history(grown: int) -> None:
    directory, port, kept, key = MemoryDirectory(), free_port(), a_key(), a_key()
    directory.place(a_key())
    held = directory.place(kept)
    directory.place(key)
    moved = directory.move(held.subject_id, "us-va")
    async with serving(directory.app(), port=port), gateway(port) as here:
        assert await here.client.resolve(kept) == Known(moved)
        directory.restore(FeedSeq(2))
        for _ in range(grown):  # past the number at which the client stands, before anybody asks
            directory.place(a_key())
        await eventually(lambda: here.follower.history == directory.history != "h0")
        await here.caught_up(directory)
        assert here.client.problem() is None
        assert await here.client.resolve(kept) == Known(held)
        assert await here.client.resolve(key) is ABSENT
        again = directory.move(held.subject_id, "us-va")
        assert again.epoch > moved.epoch
        await here.caught_up(directory)
        assert here.client.lookup(kept) == again


async def test_a_client_that_slept_past_what_is_kept_begins_anew() -> None:
    directory, key = MemoryDirectory(), a_key()
    placement = directory.place(key)
    follower = FeedFollower(directory, SystemClock(), wait_ms=50)
    client = DirectoryClient(directory, follower, SystemClock(), limits=ClientLimits(stale_s_max=STALE_S_MAX))
    async with asyncio.TaskGroup() as group:
        awake = group.create_task(follower.run())
        await eventually(lambda: client.problem() is None)
        await client.resolve(key)
        awake.cancel()
        moved = directory.move(placement.subject_id, "us-va")
        directory.place(a_key())
        directory.prune(directory.head)
        awake = group.create_task(follower.run())
        await eventually(lambda: client.table.position == directory.head)
        assert client.lookup(key) is None
        assert await client.resolve(key) == Known(moved)
        awake.cancel()
        await client.aclose()


# --- with Valkey -------------------------------------------------------------------------------------------------------------


async def holds(store: SecondLevelStore, prefix: str, *ids: str) -> bool:
    """Whether entries for all of these ids stand in the store."""
    position = (await store.read([f"{prefix}:position"]))[0]
    entry = position and Seal(KEYRING).open(f"{prefix}:position", position)
    if not entry:
        return False
    generation = entry.body.split(b'"')[3].decode()
    values = await store.read([f"{prefix}:{generation}:{id_}" for id_ in ids])
    return all(value is not None and value.startswith(b"D1:") for value in values)


async def carried(store: SecondLevelStore, prefix: str, directory: MemoryDirectory) -> bool:
    position = (await store.read([f"{prefix}:position"]))[0]
    return position is not None and Seal(KEYRING).open(f"{prefix}:position", position).as_of == directory.head


async def test_a_second_gateway_learns_from_valkey_what_the_first_asked(
    valkey_server: ValkeyServer, folder: Path
) -> None:
    directory, port, key, stranger = MemoryDirectory(), free_port(), a_key(), a_key()
    placement, prefix = directory.place(key), folder.name
    async with (
        serving(directory.app(), port=port),
        valkey_store(valkey_server.url()) as store,
        gateway(port, store=store, prefix=prefix) as first,
    ):
        assert await first.client.resolve(key) == Known(placement)
        assert await first.client.resolve(stranger) is ABSENT
        await eventually(lambda: holds(store, prefix, key, placement.subject_id, stranger))
        async with gateway(port, store=store, prefix=prefix) as second:
            asked = list(directory.questions)
            assert await second.client.resolve(key) == Known(placement)
            assert await second.client.resolve(stranger) is ABSENT
            assert directory.questions == asked
        moved = directory.move(placement.subject_id, "us-va")
        arrived = directory.place(stranger)
        await eventually(lambda: carried(store, prefix, directory))
        async with gateway(port, store=store, prefix=prefix) as third:
            asked = list(directory.questions)
            assert await third.client.subject(placement.subject_id) == Known(moved)
            assert await third.client.resolve(key) == Known(moved)
            assert directory.questions == asked
            assert await third.client.resolve(stranger) == Known(arrived)


async def test_without_valkey_everything_is_slower_and_nothing_fails(folder: Path) -> None:
    server = ValkeyServer(folder=folder / "valkey", port=free_port(), password=Secret("secret"))
    server.prepare()
    directory, port = MemoryDirectory(), free_port()
    keys = [a_key() for _ in range(6)]
    for key in keys:
        directory.place(key)
    async with (
        serving(directory.app(), port=port),
        valkey_store(server.url()) as store,
        gateway(port, store=store) as here,
    ):
        assert isinstance(await here.client.resolve(keys[0]), Known)  # it was never there
        with running(server.command()):
            wait_for(lambda: listens(server.port))
            await eventually(lambda: carried(store, "t", directory))
            assert isinstance(await here.client.resolve(keys[1]), Known)
            await eventually(lambda: holds(store, "t", keys[1]))
        for key in keys[2:4]:
            assert isinstance(await here.client.resolve(key), Known)  # it went away
        moved = directory.move((await here.client.resolve(keys[1])).placement.subject_id, "us-va")
        await here.caught_up(directory)
        with running(server.command()):  # it comes back empty
            wait_for(lambda: listens(server.port))
            await eventually(lambda: carried(store, "t", directory))
            assert isinstance(await here.client.resolve(keys[4]), Known)
            await eventually(lambda: holds(store, "t", keys[4]))
            assert await here.client.resolve(keys[1]) == Known(moved)


async def test_an_emptied_valkey_begins_a_new_generation(valkey_server: ValkeyServer, folder: Path) -> None:
    directory, port, key, prefix = MemoryDirectory(), free_port(), a_key(), folder.name
    placement = directory.place(key)
    async with (
        serving(directory.app(), port=port),
        valkey_store(valkey_server.url()) as store,
        gateway(port, store=store, prefix=prefix) as here,
    ):
        await here.client.resolve(key)
        await eventually(lambda: holds(store, prefix, key))
        position = (await store.read([f"{prefix}:position"]))[0]
        assert position is not None
        await store.discard(f"{prefix}:position", position)
        moved = directory.change(placed(placement.subject_id, 99, state=State.FROZEN))
        await eventually(lambda: carried(store, prefix, directory))
        assert not await holds(store, prefix, key)  # the old generation's entries are nobody's
        async with gateway(port, store=store, prefix=prefix) as other:
            assert await other.client.resolve(key) == Known(moved)


async def test_what_valkey_kept_from_before_a_restoration_is_believed_by_no_client_that_starts_later(
    valkey_server: ValkeyServer, folder: Path
) -> None:
    directory, port, key, prefix = MemoryDirectory(), free_port(), a_key(), folder.name
    placement = directory.place(key)
    before = directory.head
    async with serving(directory.app(), port=port), valkey_store(valkey_server.url()) as store:
        async with gateway(port, store=store, prefix=prefix) as first:
            directory.move(placement.subject_id, "us-va")
            await first.client.resolve(key)
            await eventually(lambda: holds(store, prefix, key, placement.subject_id))
            await eventually(lambda: carried(store, prefix, directory))
        directory.restore(before)
        directory.place(a_key())  # the number at which Valkey stands is given out again
        directory.place(a_key())
        async with gateway(port, store=store, prefix=prefix) as second:
            assert await second.client.resolve(key) == Known(placement)
            await eventually(lambda: second.follower.history == directory.history != "h0")
            assert await second.client.resolve(key) == Known(placement)
            await eventually(lambda: holds(store, prefix, key))


async def test_an_entry_that_nobody_of_the_region_sealed_is_never_believed(
    valkey_server: ValkeyServer, folder: Path
) -> None:
    directory, port, key, prefix = MemoryDirectory(), free_port(), a_key(), folder.name
    placement = directory.place(key)
    foreign = Seal([("k1", Secret(b"x" * 32))])
    async with (
        serving(directory.app(), port=port),
        valkey_store(valkey_server.url()) as store,
        gateway(port, store=store, prefix=prefix) as here,
    ):
        await here.client.resolve(key)
        await eventually(lambda: holds(store, prefix, key, placement.subject_id))
        raw = (await store.read([f"{prefix}:position"]))[0]
        generation = Seal(KEYRING).open(f"{prefix}:position", raw).body.split(b'"')[3].decode()
        for id_, body in ((key, a_subject()), (placement.subject_id, placed(placement.subject_id, 9, cell="us-va"))):
            name = f"{prefix}:{generation}:{id_}"
            held = (await store.read([name]))[0]
            assert await store.swap(name, held, foreign.seal(name, directory.head, encode_body(body)))
        async with gateway(port, store=store, prefix=prefix) as other:
            assert await other.client.resolve(key) == Known(placement)
            assert await other.client.subject(placement.subject_id) == Known(placement)

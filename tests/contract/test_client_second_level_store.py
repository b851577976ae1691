"""What the second level needs of its store, kept by the one in memory and the one in Valkey alike."""

import secrets
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from deploy.local.valkey import ValkeyServer
from directory.client.second_level.sealed import LEASE, Seal
from directory.client.second_level.valkey import SecondLevelStore, valkey_store
from foundation.mute import Secret
from foundation.words import FeedSeq
from tests.stands.memory_second_level import MemoryStore
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

SEAL = Seal([("k1", Secret(b"k" * 32))])


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SecondLevelStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server: ValkeyServer = request.getfixturevalue("valkey_server")
    async with valkey_store(server.url()) as real:
        yield real


@pytest.fixture
def name() -> str:
    return f"t:{secrets.token_hex(8)}"


def entry(name: str, as_of: int, body: bytes = b"null") -> bytes:
    return SEAL.seal(name, FeedSeq(as_of), body)


async def filled(store: SecondLevelStore, name: str, value: bytes) -> None:
    await store.claim([name], LEASE + b"x", 5000, name)
    assert await store.fill([(name, value, 5000)], LEASE + b"x") == [True]


async def test_names_are_read_in_the_order_asked(store: SecondLevelStore, name: str) -> None:
    await filled(store, name + "a", entry(name, 1))
    assert await store.read([name + "b", name + "a", name]) == [None, entry(name, 1), None]


async def test_a_claim_takes_free_names_only_and_reads_afterwards(store: SecondLevelStore, name: str) -> None:
    await filled(store, name + "a", entry(name, 1))
    granted, then = await store.claim([name + "a", name + "b"], LEASE + b"1", 5000, name + "b")
    assert granted == [False, True]
    assert then == LEASE + b"1"


async def test_only_the_holder_of_the_lease_fills(store: SecondLevelStore, name: str) -> None:
    await store.claim([name], LEASE + b"1", 5000, name)
    assert await store.fill([(name, entry(name, 1), 5000)], LEASE + b"2") == [False]
    assert await store.fill([(name, entry(name, 1), 5000)], LEASE + b"1") == [True]
    assert await store.fill([(name, entry(name, 2), 5000)], LEASE + b"1") == [False]
    assert await store.read([name]) == [entry(name, 1)]


async def test_amending_removes_a_lease_so_that_a_late_fill_fails(store: SecondLevelStore, name: str) -> None:
    await store.claim([name], LEASE + b"1", 5000, name)
    await store.amend([(name, entry(name, 7))])
    assert await store.read([name]) == [None]
    assert await store.fill([(name, entry(name, 3), 5000)], LEASE + b"1") == [False]


@pytest.mark.parametrize(
    ("held", "brought", "kept"), [(3, 7, 7), (7, 3, 7), (9, 10, 10), (10**18, 10**18 + 1, 10**18 + 1)]
)
async def test_amending_replaces_older_entries_only(
    store: SecondLevelStore, name: str, held: int, brought: int, kept: int
) -> None:
    await filled(store, name, entry(name, held))
    await store.amend([(name, entry(name, brought))])
    assert await store.read([name]) == [entry(name, kept)]


async def test_amending_adds_nothing(store: SecondLevelStore, name: str) -> None:
    await store.amend([(name, entry(name, 1))])
    assert await store.read([name]) == [None]


async def test_amending_removes_what_is_no_entry(store: SecondLevelStore, name: str) -> None:
    assert await store.swap(name, None, b"D9:from another release")
    await store.amend([(name, entry(name, 1))])
    assert await store.read([name]) == [None]


async def test_a_swap_needs_the_value_it_was_told(store: SecondLevelStore, name: str) -> None:
    assert not await store.swap(name, b"a", b"b")
    assert await store.swap(name, None, b"a")
    assert not await store.swap(name, None, b"b")
    assert not await store.swap(name, b"x", b"b")
    assert await store.swap(name, b"a", b"b")
    assert await store.read([name]) == [b"b"]


async def test_discarding_spares_what_was_replaced_meanwhile(store: SecondLevelStore, name: str) -> None:
    await store.swap(name, None, b"a")
    await store.discard(name, b"b")
    assert await store.read([name]) == [b"a"]
    await store.discard(name, b"a")
    assert await store.read([name]) == [None]


async def test_in_valkey_entries_and_leases_run_out_and_amending_keeps_their_time(
    valkey_server: ValkeyServer, name: str
) -> None:
    async with (
        redis.asyncio.from_url(valkey_server.url().reveal()) as plain,
        valkey_store(valkey_server.url()) as store,
    ):
        await store.claim([name], LEASE + b"1", 2_000, name)
        assert 0 < await plain.pttl(name) <= 2_000
        await eventually(lambda: _is_free(store, name))
        await filled(store, name, entry(name, 1))
        await store.amend([(name, entry(name, 2))])
        assert 0 < await plain.pttl(name) <= 5000


async def test_in_valkey_a_value_of_another_type_is_no_value_and_is_replaced(
    valkey_server: ValkeyServer, name: str
) -> None:
    async with (
        redis.asyncio.from_url(valkey_server.url().reveal()) as plain,
        valkey_store(valkey_server.url()) as store,
    ):
        await plain.lpush(name, "x")
        assert await store.read([name]) == [None]
        await store.amend([(name, entry(name, 1))])
        assert not await plain.exists(name)
        await plain.lpush(name, "x")
        assert await store.swap(name, None, b"a")
        assert await store.read([name]) == [b"a"]


async def _is_free(store: SecondLevelStore, name: str) -> bool:
    return await store.read([name]) == [None]

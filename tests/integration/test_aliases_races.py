"""Keys are added and retired at once, transaction against transaction: an identifier never loses its last key unsaid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from directory.aliases import generations
from directory.aliases.answers import RetireAnswer, TwinKey, Twins, TwinsAnswer
from foundation.blinding import Blinder, BlindingKey
from foundation.mute import Secret
from foundation.postgres import Connection, Pool, connect, pool
from foundation.problems import Code, Problem
from foundation.words import CellId, LookupKey
from tests.stands.directory import running_directory
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

HERE = frozenset({CellId("eu-de")})
K1, K2, K3 = (
    Blinder((BlindingKey(kid, Secret(kid.encode() * 16)),)).login("https://i", "a")[0] for kid in ("k1", "k2", "k3")
)
ADD = """
INSERT INTO directory.lookup_key (key, kind, kid, twin_of, subject_id)
SELECT $1, kind, $2, $3, subject_id FROM directory.lookup_key WHERE key = $4
"""
LEFT = "SELECT key, twin_of FROM directory.lookup_key ORDER BY key"
OF_NOTHING = """
SELECT count(*) FROM directory.lookup_key k WHERE k.twin_of IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM directory.lookup_key t WHERE t.key = k.twin_of)
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
HOLD_FEED = "SELECT 1 FROM directory.feed_head FOR UPDATE"


@pytest.fixture
async def ours(database: Secret[str], tmp_path: Path) -> AsyncIterator[Pool]:
    """Somebody is known by K1, and no worker of a directory is at anything. Statements wait for locks as long as a test may."""
    tokens = ServiceIssuer(tmp_path)
    async with running_directory(database, tokens) as running:
        assert (await running.callers.publisher.publish()).status_code == 201
        await running.callers.active("a", keys=[{"kind": "login", "key": K1, "kid": "k1"}])
    async with pool(database, size_max=4, statement_ms_max=60_000) as opened:
        yield opened


async def add(ours: Pool, known: LookupKey, key: LookupKey, kid: str) -> TwinsAnswer:
    return await generations.add_twins(ours, [Twins(known=known, keys=(TwinKey(key=key, kid=kid),))], HERE)


async def retire(ours: Pool, kid: str, *, lose: bool = False) -> RetireAnswer | Problem:
    act = generations.Act(actor="operator:ops", reason="test", at=0.0, lose=lose)
    return await generations.retire(ours, kid, act)


async def left(ours: Pool) -> list[tuple[str, str | None]]:
    async with ours.acquire() as connection:
        return [(row["key"], row["twin_of"]) for row in await connection.fetch(LEFT)]


@asynccontextmanager
async def held(database: Secret[str], hold: str, *values: object) -> AsyncIterator[Connection]:
    """A transaction that did this is under way meanwhile, and then taken back; the connection of another one."""
    async with connect(database) as holding, connect(database) as looking:
        transaction = holding.transaction()
        await transaction.start()
        await holding.execute(hold, *values)
        yield looking
        await transaction.rollback()


async def waits(looking: Connection, count: int) -> None:
    async def so_many() -> bool:
        return bool(await looking.fetchval(WAITING) == count)

    await eventually(so_many)


async def test_a_key_that_another_is_being_named_after_is_not_retired(ours: Pool, database: Secret[str]) -> None:
    """Somebody else has the very key in hand that is to be added, which holds the adding up after it looked."""
    async with asyncio.TaskGroup() as group, held(database, ADD, K2, "k2", None, K1) as looking:
        adding = group.create_task(add(ours, K1, K2, "k2"))
        await waits(looking, 1)
        assert await retire(ours, "k1", lose=True) == RetireAnswer(removed=0, left=True)
    assert adding.result() == TwinsAnswer(added=1, refused=0)
    assert await retire(ours, "k1") == RetireAnswer(removed=1, left=False)
    assert await left(ours) == [(K2, None)]
    refused = await retire(ours, "k2")
    assert isinstance(refused, Problem)
    assert refused.code is Code.CONFLICT


async def test_who_adds_beside_a_key_whose_first_is_being_retired_waits_for_the_next_first(
    ours: Pool, database: Secret[str]
) -> None:
    assert await add(ours, K1, K2, "k2") == TwinsAnswer(added=1, refused=0)
    async with asyncio.TaskGroup() as group, held(database, HOLD_FEED) as looking:
        retiring = group.create_task(retire(ours, "k1"))
        await waits(looking, 1)
        adding = group.create_task(add(ours, K2, K3, "k3"))
        await waits(looking, 2)
    assert (retiring.result(), adding.result()) == (
        RetireAnswer(removed=1, left=False),
        TwinsAnswer(added=1, refused=0),
    )
    assert sorted(await left(ours)) == sorted([(K2, None), (K3, K2)])


async def test_two_keys_of_one_identifier_retired_at_once_do_not_both_go(ours: Pool, database: Secret[str]) -> None:
    assert await add(ours, K1, K2, "k2") == TwinsAnswer(added=1, refused=0)
    async with asyncio.TaskGroup() as group, held(database, HOLD_FEED) as looking:
        one = group.create_task(retire(ours, "k2"))
        await waits(looking, 1)
        other = group.create_task(retire(ours, "k1"))
        await waits(looking, 2)
    assert (one.result(), other.result()) == (RetireAnswer(removed=1, left=False), RetireAnswer(removed=0, left=True))
    assert await left(ours) == [(K1, None)]


async def test_a_key_named_after_one_that_is_gone_becomes_the_first_when_another_comes(
    ours: Pool, database: Secret[str]
) -> None:
    """As a version before could leave it."""
    async with connect(database) as connection:
        await connection.execute(ADD, K2, "k2", "x" * 32, K1)
        await connection.execute("DELETE FROM directory.lookup_key WHERE key = $1", K1)
        assert await connection.fetchval(OF_NOTHING) == 1
        assert await add(ours, K2, K3, "k3") == TwinsAnswer(added=1, refused=0)
        assert await connection.fetchval(OF_NOTHING) == 0
    assert sorted(await left(ours)) == sorted([(K2, None), (K3, K2)])

"""Connections of a shard on a real PostgreSQL: used again, clean for whoever comes next, replaced when lost, never more than allowed."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from cells.shards import connections
from cells.shards.connections import Connections
from cells.shards.shard import Dsns
from deploy.local.postgres import PostgresServer
from foundation.postgres import connect, pool
from foundation.turns import Crowded
from tests.stands.records import NOTES_DDL
from tests.stands.shard import drop_database, make_shard_database
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

SIZE = 3
PID = "SELECT pg_backend_pid()"


@pytest.fixture(scope="module")
async def dsns(postgres_server: PostgresServer) -> AsyncIterator[Dsns]:
    name, made = await make_shard_database(postgres_server, NOTES_DDL)
    yield made
    await drop_database(postgres_server, name)


@pytest.fixture
async def held(dsns: Dsns) -> AsyncIterator[Connections]:
    async with pool(dsns.records, size_max=SIZE, clean=True) as opened:
        yield Connections(opened, size_max=SIZE, waiters_max=2, wait_s=1)


async def used(held: Connections) -> int:
    async with held.lease() as connection:
        return int(await connection.fetchval(PID))


async def test_one_after_the_other_uses_one_connection(held: Connections) -> None:
    assert len({await used(held) for _ in range(5)}) == 1


async def test_one_that_is_ended_as_its_last_answer_has_come_fails_nothing_and_is_not_used_again(
    held: Connections,
) -> None:
    async with held.lease() as connection:
        first = int(await connection.fetchval(PID))
        connection.terminate()  # as its shard does that closes
    assert await used(held) != first
    assert len({await used(held) for _ in range(SIZE + 1)}) == 1


async def test_many_at_once_use_no_more_than_allowed_and_the_rest_wait_or_are_told(held: Connections) -> None:
    begun, ended = asyncio.Semaphore(0), asyncio.Event()

    async def one() -> int:
        async with held.lease() as connection:
            begun.release()
            await ended.wait()
            return int(await connection.fetchval(PID))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(SIZE + 2)]
        for _ in range(SIZE):
            await begun.acquire()
        with pytest.raises(Crowded):
            await used(held)
        ended.set()
    assert len({task.result() for task in tasks}) == SIZE


async def test_an_open_transaction_is_rolled_back_before_anybody_else_comes(held: Connections) -> None:
    async with held.lease() as connection:
        await connection.execute("BEGIN")
        first = await connection.fetchval(PID)
    async with held.lease() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval(PID) == first
    with pytest.raises(asyncpg.UndefinedTableError):
        async with held.lease() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM nowhere")
    async with held.lease() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_use_that_was_cancelled_leaves_a_working_connection(
    held: Connections, postgres_server: PostgresServer
) -> None:
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = 'domicile_records'"

    async def one() -> None:
        async with held.lease() as connection:
            await connection.execute("SELECT pg_sleep(60)")

    async with connect(postgres_server.dsn()) as admin:
        for _ in range(2 * SIZE):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(one())
                await eventually(lambda: admin.fetchval(sleeping))
                task.cancel()
            async with held.lease() as connection:
                assert await connection.fetchval("SELECT 1") == 1
        assert await admin.fetchval(sleeping) == 0


async def test_a_connection_that_was_ended_while_free_is_replaced(
    held: Connections, postgres_server: PostgresServer
) -> None:
    for _ in range(2 * SIZE):
        async with held.lease() as connection:
            ended = await connection.fetchval(PID)
        async with connect(postgres_server.dsn()) as admin:
            await admin.execute("SELECT pg_terminate_backend($1)", ended)
        await eventually(lambda connection=connection: not connections.alive(connection))
        assert await used(held) != ended


async def test_a_connection_that_breaks_in_use_makes_place_for_another(held: Connections) -> None:
    async def broken() -> None:
        async with held.lease() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            await connection.execute("SELECT 1")

    for _ in range(2 * SIZE):
        with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)):
            await broken()
    assert await used(held)


async def test_after_many_uses_a_connection_is_given_back(held: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "USES_MAX", 3)
    given: list[object] = []
    give_up = held.give_up

    async def counted(connection: connections.Connection) -> None:
        given.append(connection)
        await give_up(connection)

    monkeypatch.setattr(held, "give_up", counted)
    for _ in range(7):
        await used(held)
    assert len(given) == 2

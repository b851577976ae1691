"""Sessions run statements again as asyncpg runs them: also after a table or a type has changed, or a statement has failed or was left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest

from deploy.local.postgres import PostgresServer
from foundation.postgres import Connection, connect, pool
from foundation.sessions import Session
from tests.stands.shard import drop_database, make_shard_database
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

SLEEPS = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())"
ALL = "SELECT * FROM public.changing WHERE a::text <> $1"


@asynccontextmanager
async def session_and_owner(server: PostgresServer) -> AsyncIterator[tuple[Session, Connection]]:
    name, dsns = await make_shard_database(server, "CREATE TABLE public.changing AS SELECT 1 AS a")
    try:
        async with connect(dsns.owner) as owner, pool(dsns.owner, size_max=1) as opened, opened.acquire() as held:
            session = cast("Any", held).itself()
            assert isinstance(session, Session)
            yield session, owner
    finally:
        await drop_database(server, name)


async def test_a_statement_is_run_again_whatever_becomes_of_its_table(postgres_server: PostgresServer) -> None:
    async with session_and_owner(postgres_server) as (session, owner):
        for change, rows in [
            ("SELECT 1", [(1,)]),
            ("ALTER TABLE public.changing ADD COLUMN b int DEFAULT 2", [(1, 2)]),
            ("ALTER TABLE public.changing ALTER COLUMN a TYPE text", [("1", 2)]),
            ("ALTER TABLE public.changing DROP COLUMN b", [("1",)]),
            ("INSERT INTO public.changing VALUES ('2')", [("1",), ("2",)]),
        ]:
            await owner.execute(change)
            for _ in range(3):
                assert [tuple(row) for row in await session.fetch_again(ALL, ["x"])] == rows
                assert await session.fetch(ALL, "x") == await session.fetch_again(ALL, ["x"])
        await owner.execute("DROP TABLE public.changing")
        with pytest.raises(asyncpg.UndefinedTableError):
            await session.fetch_again(ALL, ["x"])
        assert await session.fetchval("SELECT 1") == 1


async def test_a_type_that_has_changed_is_told_once_as_by_fetch(postgres_server: PostgresServer) -> None:
    whole = "SELECT c FROM public.changing AS c WHERE a::text <> $1"
    async with session_and_owner(postgres_server) as (session, owner):
        assert (await session.fetch_again(whole, ["x"]))[0]["c"]["a"] == 1
        assert (await session.fetch_again(whole, ["x"]))[0]["c"]["a"] == 1
        await owner.execute("ALTER TABLE public.changing ADD COLUMN b int DEFAULT 2")
        with pytest.raises(asyncpg.OutdatedSchemaCacheError):
            await session.fetch_again(whole, ["x"])
        assert (await session.fetch_again(whole, ["x"]))[0]["c"]["b"] == 2


async def test_a_statement_that_fails_or_is_left_leaves_a_session_that_works(postgres_server: PostgresServer) -> None:
    async with session_and_owner(postgres_server) as (session, owner):
        for number in (1, 0, 1):
            if number:
                assert (await session.fetch_again("SELECT 1 / $1::int AS n", [number]))[0]["n"] == 1
            else:
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await session.fetch_again("SELECT 1 / $1::int AS n", [number])
        with pytest.raises(asyncpg.DataError):
            await session.fetch_again("SELECT 1 / $1::int AS n", ["no number"])
        sleeping = "SELECT 1 FROM pg_sleep($1)"
        await session.fetch_again(sleeping, [0])
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(session.fetch_again(sleeping, [60]))
            await eventually(lambda: owner.fetchval(SLEEPS))
            asking.cancel()
        assert (await session.fetch_again("SELECT 1 / $1::int AS n", [1]))[0]["n"] == 1

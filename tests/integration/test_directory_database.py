"""Sessions on the directory's database: a connection that breaks in the middle is the database's absence, not a fault of this program."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from directory.database import DatabaseUnavailable, is_closed, session, transaction
from foundation.mute import Secret
from foundation.postgres import Connection, Pool, pool
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


async def _ended(connection: Connection, dsn: Secret[str]) -> None:
    """Ends the session at the server, and waits until this side has noticed."""
    own = connection.get_server_pid()
    async with pool(dsn, size_max=1) as another:
        await another.execute("SELECT pg_terminate_backend($1)", own)
    await eventually(lambda: is_closed(connection))


async def _broken_session(connections: Pool, dsn: Secret[str]) -> None:
    async with session(connections) as connection:
        await connection.fetchval("SELECT 1")
        await _ended(connection, dsn)
        await connection.fetchval("SELECT 1")


async def _broken_transaction(connections: Pool, dsn: Secret[str]) -> None:
    async with transaction(connections) as connection:
        await connection.fetchval("SELECT 1")
        await _ended(connection, dsn)


@pytest.mark.parametrize("broken", [_broken_session, _broken_transaction])
async def test_a_session_that_was_ended_between_two_statements_says_that_the_database_is_away(
    database: Secret[str], broken: Callable[[Pool, Secret[str]], Awaitable[None]]
) -> None:
    async with pool(database, size_max=1, clean=True) as connections:
        with pytest.raises(DatabaseUnavailable):
            await broken(connections, database)
        async with session(connections) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def _our_mistake(connections: Pool) -> None:
    async with session(connections) as connection:
        await connection.fetchval("SELECT $1::int", 1, 2)


async def test_a_mistake_of_ours_stays_one(database: Secret[str]) -> None:
    async with pool(database, size_max=1, clean=True) as connections:
        with pytest.raises(asyncpg.InterfaceError):
            await _our_mistake(connections)

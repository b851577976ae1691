"""Sessions on the directory's database: a bounded wait for a connection, and one name for "not to be had just now"."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from foundation.postgres import Connection, Pool

ACQUIRE_S_MAX = 2.0

_LOST = (
    OSError,  # also TimeoutError: a connect, acquire or command that took too long
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, starting up, statement timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # deadlock, serialisation: the same call may succeed when repeated
    asyncpg.ReadOnlySQLTransactionError,  # a standby answered
    asyncpg.InternalClientError,  # asyncpg's word for a connection that was ended between two messages, or while it was made
)


class DatabaseUnavailable(Exception):
    """The database did not answer, or took back what was begun; nothing was committed unless the commit's own answer was lost."""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turns the database's absence into DatabaseUnavailable; errors of this program stay what they are."""
    try:
        yield
    except _LOST as exc:
        raise DatabaseUnavailable(type(exc).__name__) from exc


@asynccontextmanager
async def alive(connection: Connection) -> AsyncIterator[None]:
    """`translated` for work on one connection, while it is held: asyncpg says "interface error" both for one that broke and for a
    mistake of ours."""
    async with translated():
        try:
            yield
        except asyncpg.InterfaceError as exc:
            if is_closed(connection):
                raise DatabaseUnavailable("connection closed") from exc
            raise


def is_closed(connection: Connection) -> bool:
    """Whether a connection that is held was ended. A pool's proxy lets go of one that was, and then can say nothing any more."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


@asynccontextmanager
async def session(pool: Pool) -> AsyncIterator[Connection]:
    """One connection, each statement its own transaction. Raises DatabaseUnavailable."""
    async with translated():
        connection = await pool.acquire(timeout=ACQUIRE_S_MAX)
        try:
            async with alive(connection):
                yield connection
        finally:
            await pool.release(connection)


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One READ COMMITTED transaction: commits at the end, rolls back on any exception. Raises DatabaseUnavailable."""
    async with session(pool) as connection, connection.transaction():
        yield connection

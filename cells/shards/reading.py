"""Reading many rows of a shard piece by piece: one statement, one snapshot, bounded memory, a bounded number at once."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from cells.shards.connections import Connection, Connections
from cells.shards.shard import LOST, Shard, crowded, unreachable
from foundation.problems import Code, refuse
from foundation.turns import Crowded
from foundation.words import ShardId

if TYPE_CHECKING:
    from asyncpg.cursor import Cursor

READERS_MAX = 4
"""At once on a shard: each holds one of its connections for as long as its client takes to listen."""
LONGER = "SET LOCAL statement_timeout = '9s'"
"""Sorting and counting come before the first piece; under the bound that every command has on the client's side."""
ROWS_FIRST = 1
"""Nothing is known of their length yet, and each may be as long as its columns together."""
ROWS_MAX = 2_000
PIECE_CHARACTERS = 1 << 20
"""What a piece should hold: the next one's rows are counted by the length of those before."""


class Pieces:
    """The rows of one statement, whose last column is text. Raises ProblemError where the shard is lost, asyncpg.PostgresError else."""

    def __init__(self, shard: ShardId, cursor: "Cursor[asyncpg.Record]") -> None:
        self._shard = shard
        self._cursor = cursor
        self._rows = ROWS_FIRST

    async def next(self) -> list[asyncpg.Record]:
        """Some rows; none after the last."""
        try:
            rows = list(await self._cursor.fetch(self._rows))
        except asyncpg.QueryCanceledError:
            raise
        except LOST as exc:
            raise unreachable(self._shard) from exc
        length = sum(len(row[-1] or "") for row in rows)
        self._rows = max(1, min(ROWS_MAX, 2 * self._rows, PIECE_CHARACTERS * len(rows) // max(1, length)))
        return rows


class Readers:
    """Who reads large answers just now, by shard."""

    def __init__(self) -> None:
        self._under_way: dict[ShardId, int] = {}

    @asynccontextmanager
    async def reading(self, shard: Shard, sql: str, arguments: Sequence[Any]) -> AsyncIterator[Pieces]:
        """One statement as the records role, in a transaction that only reads. Raises as `Pieces` does; NOT_READY beyond READERS_MAX."""
        if self._under_way.get(shard.id, 0) >= READERS_MAX:
            raise refuse(Code.NOT_READY, f"{READERS_MAX} large answers are being read from this shard", retry_after_s=1)
        self._under_way[shard.id] = self._under_way.get(shard.id, 0) + 1
        try:
            connections = shard.require().records
            connection = await _taken(shard.id, connections)
            try:
                async with connection.transaction(readonly=True):
                    await connection.execute(LONGER)
                    yield Pieces(shard.id, await _opened(shard.id, connection, sql, arguments))
            finally:
                await connections.give_up(connection)
        finally:
            self._under_way[shard.id] -= 1


async def _taken(shard: ShardId, connections: Connections) -> Connection:
    try:
        held = await connections.take()
    except Crowded as exc:
        raise crowded(shard) from exc
    except LOST as exc:
        raise unreachable(shard) from exc
    return held.connection


async def _opened(
    shard: ShardId, connection: Connection, sql: str, arguments: Sequence[Any]
) -> "Cursor[asyncpg.Record]":
    try:
        return await connection.cursor(sql, *arguments)
    except asyncpg.QueryCanceledError:
        raise
    except LOST as exc:
        raise unreachable(shard) from exc

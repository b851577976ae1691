"""Record keeping in Postgres: an outbox table beside the data it speaks of (`<schema>.outbox`), written by changes, read by the log."""

import asyncio
import json
from collections.abc import Sequence

import msgspec

from foundation.ledger.entries import Recorded
from foundation.ledger.port import Event
from foundation.postgres import Connection

WRITERS_S_MAX = 2.0
"""Longest wait for transactions that may yet commit a row among those to be read."""
_LOOK_S = 0.01


class WritersUnderWay(Exception):
    """A transaction holds the outbox open for longer than is waited."""


class PostgresOutbox:
    """Implements `foundation.ledger.port.Record` for asyncpg transactions. The table comes from the owner's migrations."""

    def __init__(self, schema: str) -> None:
        if not schema.isidentifier():
            raise ValueError("schema is an identifier")
        # purpose: record one event once, whoever repeats it
        self._insert = (
            f"INSERT INTO {schema}.outbox (id, at, kind, actor, subject_id, details) "  # noqa: S608 - schema checked
            "VALUES ($1, to_timestamp($2), $3, $4, $5, $6::jsonb) ON CONFLICT (id) DO NOTHING"
        )

    async def append(self, tx: Connection, event: Event) -> None:
        await tx.execute(self._insert, *_row(event))

    async def append_many(self, tx: Connection, events: Sequence[Event]) -> None:
        await tx.executemany(self._insert, [_row(event) for event in events])


def _row(event: Event) -> tuple[str, float, str, str, str | None, str]:
    return event.id, event.at, event.kind.value, event.actor, event.subject_id, json.dumps(event.details)


class OutboxReader:
    """Rows in the order of their positions, none left out.

    Positions are given one by one, each when its row is inserted, and rows appear when their transaction commits, so a row may appear below
    one that was read.
    But whoever inserts holds a lock on the table (ROW EXCLUSIVE) from before its position is given until after its commit can be seen. So:
    look how far to read, wait until each transaction that held the lock then has let go of it, and read that far. Nobody who writes waits.
    """

    def __init__(self, schema: str) -> None:
        if not schema.isidentifier():
            raise ValueError("schema is an identifier")
        # purpose: how far one page from a position goes
        self._end = (
            f"SELECT max(position) FROM (SELECT position FROM {schema}.outbox WHERE position >= $1 "  # noqa: S608 - schema checked
            "ORDER BY position LIMIT $2) AS page"
        )
        # purpose: the transactions that have inserted into the outbox and not ended
        self._writers = (
            "SELECT DISTINCT virtualtransaction FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' "  # noqa: S608
            f"AND granted AND relation = '{schema}.outbox'::regclass "
            "AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
        )
        # purpose: the rows of a page
        self._rows = (
            "SELECT position, id, (extract(epoch FROM at) * 1000000)::bigint AS at_us, kind, actor, subject_id::text AS subject_id, "  # noqa: S608
            f"details::text AS details FROM {schema}.outbox WHERE position BETWEEN $1 AND $2 ORDER BY position LIMIT $3"
        )
        # purpose: which events stand at these positions
        self._ids = f"SELECT position, id FROM {schema}.outbox WHERE position = ANY($1::bigint[])"  # noqa: S608

    async def rows_from(self, connection: Connection, position: int, limit: int) -> list[Recorded]:
        """At most `limit` rows at and after a position, beside which no lower one can appear any more. Outside of any transaction.

        Raises WritersUnderWay, asyncpg errors.
        """
        end = await connection.fetchval(self._end, position, limit)
        if end is None:
            return []
        if end > position:
            await self._settled(connection)
        return [
            Recorded(
                position=row["position"],
                id=row["id"],
                at_us=row["at_us"],
                kind=row["kind"],
                actor=row["actor"],
                subject_id=row["subject_id"],
                details=msgspec.Raw(row["details"].encode()),
            )
            for row in await connection.fetch(self._rows, position, end, limit)
        ]

    async def ids_at(self, connection: Connection, positions: Sequence[int]) -> dict[int, str]:
        """Raises asyncpg errors."""
        return {row["position"]: row["id"] for row in await connection.fetch(self._ids, positions)}

    async def _settled(self, connection: Connection) -> None:
        """Until every transaction that is writing now has ended."""
        writing = await self._writing(connection)
        try:
            async with asyncio.timeout(WRITERS_S_MAX):
                while writing:
                    await asyncio.sleep(_LOOK_S)
                    writing &= await self._writing(connection)
        except TimeoutError as exc:
            raise WritersUnderWay(f"{len(writing)} transactions write the outbox") from exc

    async def _writing(self, connection: Connection) -> set[str]:
        return {row["virtualtransaction"] for row in await connection.fetch(self._writers)}

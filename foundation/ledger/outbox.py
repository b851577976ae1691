"""Record keeping in Postgres: an outbox table beside the data it speaks of (`<schema>.outbox`)."""

import json
from collections.abc import Sequence

from foundation.ledger.port import Event
from foundation.postgres import Connection

TABLE_DDL = """
CREATE TABLE {schema}.outbox (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text NOT NULL UNIQUE,
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    actor      text NOT NULL,
    subject_id uuid,
    details    jsonb NOT NULL
);
"""


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

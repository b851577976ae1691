"""Bulk jobs in SQL: a batch is one transaction that copies whole columns in, and the acknowledgement of a part one row.

Locks are taken as by a single placement (subjects, keys sorted, feed counter last), so a batch and single placements queue and do not
deadlock. Nothing of a batch is visible before its one feed event.
"""

import asyncio
from collections.abc import Sequence

import asyncpg
import msgspec

from directory.bulk.answers import BatchAnswer, BulkJob
from directory.bulk.copied import KEY_COLUMNS, PART_COLUMNS, SUBJECT_COLUMNS, Batch, Numbers, rows_of
from directory.bulk.kept import Kept
from directory.bulk.plan import Part, Plan, parts_of
from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement.core import BulkPart, Facts, Placement, State
from directory.placement.store import PLACEMENT_COLUMNS, placement_of
from foundation import copying
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.words import FeedSeq, LookupKey

RESERVATION_S = 86_400.0
"""How long an imported reservation waits for its cell: a cell may be away for hours, and its people are known all the same."""

# purpose: begin a job
_BEGIN = """
INSERT INTO directory.bulk_job (job_id, at, actor, reason) VALUES ($1, clock_timestamp(), $2, $3)
"""

# purpose: where a job stands; no row = there is no such job
_JOB = """
SELECT j.job_id::text AS job_id, extract(epoch FROM j.at)::float8 AS at, j.actor, j.reason,
    count(b.number) AS batches, coalesce(sum(b.placed), 0)::bigint AS placed, coalesce(sum(b.known), 0)::bigint AS known,
    coalesce(sum(b.refused), 0)::bigint AS refused, coalesce(sum(b.placed - b.acknowledged), 0)::bigint AS waiting,
    coalesce((SELECT min(n.number) + 1 FROM directory.bulk_batch n WHERE n.job_id = $1 AND NOT EXISTS (
        SELECT 1 FROM directory.bulk_batch m WHERE m.job_id = $1 AND m.number = n.number + 1
    )), 0) AS next
FROM directory.bulk_job j LEFT JOIN directory.bulk_batch b USING (job_id)
WHERE j.job_id = $1 GROUP BY j.job_id
"""

# purpose: the reason of a job
_REASON = "SELECT reason FROM directory.bulk_job WHERE job_id = $1"

# purpose: what a batch came to
_OUTCOME = "SELECT body, outcome FROM directory.bulk_batch WHERE job_id = $1 AND number = $2"

# purpose: take a batch's number; waits for a concurrent taker, no row = it is taken
_TAKE = """
INSERT INTO directory.bulk_batch (job_id, number, body, placed, known, refused, provenances, outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7::text[]::jsonb[], '')
ON CONFLICT DO NOTHING RETURNING true
"""

# purpose: keep what the batch came to
_KEEP = "UPDATE directory.bulk_batch SET outcome = $3 WHERE job_id = $1 AND number = $2"

# purpose: where the taken ones of these keys lead
_HELD = f"""
SELECT k.key, {PLACEMENT_COLUMNS}
FROM directory.lookup_key k
JOIN directory.subject s ON s.subject_id = k.subject_id
JOIN directory.facts f ON f.facts_id = s.facts_id
WHERE k.key = ANY($1::text[])
"""  # noqa: S608 - constants

# purpose: whether any of these keys is taken
_ANY_HELD = "SELECT EXISTS (SELECT 1 FROM directory.lookup_key WHERE key = ANY($1::text[]))"

# purpose: numbers for the parts of a batch, epochs for its subjects (as the server sends an array of them), and the time
_NUMBERS = """
SELECT clock_timestamp() AS at,
    ARRAY(SELECT nextval('directory.bulk_part_part_seq') FROM generate_series(1, $1)) AS parts,
    array_send(ARRAY(SELECT nextval('directory.epoch_seq') FROM generate_series(1, $2))) AS epochs
"""


class RulesMoved(msgspec.Struct, frozen=True):
    """Other rules, or another registry, hold by now; decide again. Nothing was stored."""


class KeysMoved(msgspec.Struct, frozen=True):
    """Somebody else claimed a key meanwhile; look again. Nothing was stored."""


class Earlier(msgspec.Struct, frozen=True):
    """The batch was taken in before, with rows of this digest."""

    body: bytes
    answer: BatchAnswer


class _RollBack(Exception):
    """Leaves a transaction without its effects, with the result to return."""

    def __init__(self, result: RulesMoved | KeysMoved) -> None:
        super().__init__(type(result).__name__)
        self.result = result


async def begin(pool: Pool, job_id: str, *, actor: str, reason: str) -> None:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        await connection.execute(_BEGIN, job_id, actor, reason)


async def job(pool: Pool, job_id: str) -> BulkJob | None:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        row = await connection.fetchrow(_JOB, job_id)
    return None if row is None else BulkJob(**row)


async def reason(pool: Pool, job_id: str) -> str | None:
    """The line that everybody's history gets; None when there is no such job. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        found: str | None = await connection.fetchval(_REASON, job_id)
    return found


async def earlier(pool: Pool, job_id: str, number: int) -> Earlier | None:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return await _earlier(connection, job_id, number)


async def _earlier(connection: Connection, job_id: str, number: int) -> Earlier | None:
    row = await connection.fetchrow(_OUTCOME, job_id, number)
    return None if row is None else Earlier(row["body"], msgspec.json.decode(row["outcome"], type=BatchAnswer))


async def held(pool: Pool, keys: Sequence[LookupKey]) -> dict[LookupKey, Placement]:
    """Where those of `keys` lead that are taken. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_HELD, keys)
    return {LookupKey(row["key"]): placement_of(row) for row in rows}


async def any_held(pool: Pool, keys: Sequence[str]) -> bool:
    """Whether any of `keys` is taken. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return bool(await connection.fetchval(_ANY_HELD, keys))


async def head(pool: Pool) -> FeedSeq:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return await feed.head(connection)


async def place(
    pool: Pool, clock: Clock, plan: Plan, facts_ids: dict[Facts, int], batch: Batch, kept: Kept
) -> BatchAnswer | Earlier | RulesMoved | KeysMoved:
    """Stores a batch, all of it or nothing; `kept` has its parts then. Raises DatabaseUnavailable."""
    try:
        stored: list[tuple[int, Part, Sequence[bytes]]] = []
        async with transaction(pool) as tx:
            counts = (plan.placed, plan.known, len(plan.refused))
            why = [one.provenance for one in plan.kinds]
            if not await tx.fetchval(_TAKE, batch.job_id, batch.number, batch.body, *counts, why):
                found = await _earlier(tx, batch.job_id, batch.number)
                if found is None:
                    raise _RollBack(KeysMoved())
                return found
            seq = await feed.head(tx)
            if plan.groups:
                seq, stored = await _place(tx, clock, plan, facts_ids, batch)
            answer = BatchAnswer(
                number=batch.number,
                placed=plan.placed,
                known=plan.known,
                refused=plan.refused,
                cells=plan.cells,
                as_of=seq,
            )
            await tx.execute(_KEEP, batch.job_id, batch.number, msgspec.json.encode(answer).decode())
        for number, part, epochs in stored:
            kept.put(number, part.ids, epochs)
        return answer
    except _RollBack as stop:
        return stop.result


async def _place(
    tx: Connection, clock: Clock, plan: Plan, facts_ids: dict[Facts, int], batch: Batch
) -> tuple[FeedSeq, list[tuple[int, Part, Sequence[bytes]]]]:
    """The number of its event, and its parts with their numbers and the epochs of their members."""
    parts = parts_of(plan)
    numbers = await tx.fetchrow(_NUMBERS, len(parts), plan.placed)
    if numbers is None:
        raise RuntimeError("a statement without FROM has one row")
    given = Numbers(numbers["parts"], copying.items(numbers["epochs"], 8), numbers["at"])
    of_facts = [facts_ids[one.facts] for one in plan.kinds]
    rows = await asyncio.to_thread(rows_of, plan, parts, given, of_facts, batch, reserved_s=RESERVATION_S)
    await _copy(tx, "bulk_part", PART_COLUMNS, rows.parts)
    await _copy(tx, "subject", SUBJECT_COLUMNS, rows.subjects)
    try:
        # In the order of the keys, as everybody claims them; waits for concurrent claimers.
        await _copy(tx, "lookup_key", KEY_COLUMNS, rows.keys)
    except asyncpg.UniqueViolationError as exc:
        raise _RollBack(KeysMoved()) from exc
    event = Event(
        id=f"bulk/{batch.job_id}/{batch.number}",
        at=clock.unix_s(),
        kind=Kind.PLACEMENT,
        actor=batch.actor,
        details={
            "job": batch.job_id,
            "batch": batch.number,
            "placed": plan.placed,
            "cells": plan.cells,
            "reason": batch.reason,
            "rules": plan.under,
        },
    )
    await PostgresOutbox("directory").append(tx, event)
    told = tuple(
        BulkPart(part=number, cell=part.home[0], shard=part.home[1], count=len(part.ids))
        for number, part in zip(numbers["parts"], parts, strict=True)
    )
    seq = await feed.append_bulk(
        tx, State.RESERVED, batch.job_id, batch.number, told, under=plan.under, registry=plan.registry
    )
    if seq is None:
        raise _RollBack(RulesMoved())
    return seq, list(zip(given.parts, parts, given.of_parts(parts), strict=True))


async def _copy(tx: Connection, table: str, columns: Sequence[str], rows: Sequence[bytes]) -> None:
    stream = copying.Stream(rows)
    await tx.copy_to_table(table, schema_name="directory", columns=columns, source=stream, format="binary")

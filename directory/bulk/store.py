"""Bulk jobs in SQL: a batch is one transaction of set-based statements, and so is the acknowledgement of a part.

Locks are taken as by a single placement (subjects, keys sorted, feed counter last), so a batch and single placements queue and do not
deadlock. Nothing of a batch is visible before its one feed event.
"""

from collections.abc import Sequence

import msgspec

from directory.aliases.core import first_twins
from directory.bulk.answers import BatchAnswer, BulkJob
from directory.bulk.core import Decided
from directory.bulk.lots import Lots, lots_of
from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement.core import BulkPart, Facts, Placement, State
from directory.placement.store import PLACEMENT_COLUMNS, placement_of
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.words import CellId, FeedSeq, LookupKey, ShardId

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

# purpose: numbers for the parts of a batch
_PARTS = "SELECT nextval('directory.bulk_part_part_seq') AS part FROM generate_series(1, $1)"

# purpose: every subject of a batch, and the parts that its cells acknowledge, which hold what their members' histories begin with
_PLACE = """
WITH s AS (
    INSERT INTO directory.subject (subject_id, cell, shard, epoch, state, services, facts_id, changes, expires_at, part)
    SELECT r.id, l.cell, l.shard, nextval('directory.epoch_seq'), 'reserved', string_to_array(l.services, ','), l.facts_id, 1,
        clock_timestamp() + make_interval(secs => $8), l.part
    FROM unnest($1::uuid[], $2::int[]) AS r(id, lot)
    JOIN unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])
        WITH ORDINALITY AS l(cell, shard, services, facts_id, part, lot) USING (lot)
    ORDER BY r.id
    RETURNING subject_id, cell, shard, epoch, services, part
)
INSERT INTO directory.bulk_part (part, job_id, number, cell, shard, services, subject_ids, epochs, at, actor, kinds) OVERRIDING SYSTEM VALUE
SELECT s.part, $9, $10, s.cell, s.shard, s.services, array_agg(s.subject_id ORDER BY s.subject_id),
    array_agg(s.epoch ORDER BY s.subject_id), clock_timestamp(), $11, k.kinds::smallint[]
FROM s JOIN unnest($12::bigint[], $13::text[]) AS k(part, kinds) USING (part)
GROUP BY s.part, s.cell, s.shard, s.services, k.kinds ORDER BY s.part
RETURNING part, cell, shard, cardinality(subject_ids) AS count
"""

# purpose: claim the lookup keys of a batch in sorted order; waits for concurrent claimers, tells how many were free
_CLAIM = """
INSERT INTO directory.lookup_key (key, kind, subject_id, kid, twin_of)
SELECT key, kind, id, kid, twin_of
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::text[]) AS asked(key, kind, id, kid, twin_of) ORDER BY key COLLATE "C"
ON CONFLICT DO NOTHING
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


async def head(pool: Pool) -> FeedSeq:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return await feed.head(connection)


async def place(
    pool: Pool,
    clock: Clock,
    decided: Decided,
    facts_ids: dict[Facts, int],
    *,
    job_id: str,
    number: int,
    body: bytes,
    actor: str,
    reason: str,
) -> BatchAnswer | Earlier | RulesMoved | KeysMoved:
    """Stores a batch, all of it or nothing. Raises DatabaseUnavailable."""
    lots = lots_of(decided.new)
    try:
        async with transaction(pool) as tx:
            counts = (len(decided.new), decided.known, len(decided.refused))
            why = [one.provenance for one in lots.kinds]
            if not await tx.fetchval(_TAKE, job_id, number, body, *counts, why):
                found = await _earlier(tx, job_id, number)
                if found is None:
                    raise _RollBack(KeysMoved())
                return found
            seq = await feed.head(tx)
            if decided.new:
                seq = await _place(tx, clock, decided, lots, facts_ids, job_id, number, actor, reason)
            answer = BatchAnswer(
                number=number,
                placed=len(decided.new),
                known=decided.known,
                refused=decided.refused,
                cells=decided.cells,
                as_of=seq,
            )
            await tx.execute(_KEEP, job_id, number, msgspec.json.encode(answer).decode())
            return answer
    except _RollBack as stop:
        return stop.result


async def _place(
    tx: Connection,
    clock: Clock,
    decided: Decided,
    lots: Lots,
    facts_ids: dict[Facts, int],
    job_id: str,
    number: int,
    actor: str,
    reason: str,
) -> FeedSeq:
    new = decided.new
    parts = await tx.fetch(_PARTS, len(lots.kinds_of_parts))
    numbers = [row["part"] for row in parts]
    placed = await tx.fetch(
        _PLACE,
        [one.subject_id for one in new],
        lots.of_rows,
        [lot.cell for lot in lots.lots],
        [lot.shard for lot in lots.lots],
        [",".join(lot.services) for lot in lots.lots],
        [facts_ids[lot.ruled.facts] for lot in lots.lots],
        [numbers[lot.part] for lot in lots.lots],
        RESERVATION_S,
        job_id,
        number,
        actor,
        numbers,
        [f"{{{','.join(map(str, kinds))}}}" for kinds in lots.kinds_of_parts],
    )
    claims = [
        (key.key, key.kind, one.subject_id, key.kid, twin)
        for one in new
        for key, twin in zip(one.row.keys, first_twins(one.row.keys), strict=True)
    ]
    told = await tx.execute(_CLAIM, *(list(column) for column in zip(*claims, strict=True)))
    if told != f"INSERT 0 {len(claims)}":
        raise _RollBack(KeysMoved())
    event = Event(
        id=f"bulk/{job_id}/{number}",
        at=clock.unix_s(),
        kind=Kind.PLACEMENT,
        actor=actor,
        details={
            "job": job_id,
            "batch": number,
            "placed": len(new),
            "cells": decided.cells,
            "reason": reason,
            "rules": decided.under,
        },
    )
    await PostgresOutbox("directory").append(tx, event)
    told_parts = tuple(
        BulkPart(part=row["part"], cell=CellId(row["cell"]), shard=ShardId(row["shard"]), count=row["count"])
        for row in placed
    )
    seq = await feed.append_bulk(
        tx, State.RESERVED, job_id, number, told_parts, under=decided.under, registry=decided.registry
    )
    if seq is None:
        raise _RollBack(RulesMoved())
    return seq

"""Bulk jobs in SQL: a batch is one transaction of set-based statements, and so is the acknowledgement of a part.

Locks are taken as by a single placement (subjects, keys sorted, feed counter last), so a batch and single placements queue and do not
deadlock. Nothing of a batch is visible before its one feed event.
"""

from collections.abc import Sequence

import msgspec

from directory.aliases.core import first_twins
from directory.bulk.answers import AcknowledgedPart, BatchAnswer, BulkJob, Member, Part
from directory.bulk.core import Decided, services_of
from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement.core import BulkPart, Facts, Placement, State
from directory.placement.store import PLACEMENT_COLUMNS, placement_of
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.words import CellId, Epoch, FeedSeq, LookupKey, ServiceId, ShardId, SubjectId

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
INSERT INTO directory.bulk_batch (job_id, number, body, placed, known, refused, outcome) VALUES ($1, $2, $3, $4, $5, $6, '')
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

# purpose: every subject of a batch with its first history entry, and the parts that its cells acknowledge
_PLACE = """
WITH s AS (
    INSERT INTO directory.subject (subject_id, cell, shard, epoch, state, services, facts_id, changes, expires_at)
    SELECT r.id, r.cell, r.shard, nextval('directory.epoch_seq'), 'reserved', string_to_array(k.services, ','), k.facts_id, 1,
        clock_timestamp() + make_interval(secs => $11)
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[]) AS r(id, cell, shard, kind)
    JOIN unnest($5::int[], $6::text[], $7::bigint[]) AS k(kind, services, facts_id) USING (kind)
    ORDER BY r.id
    RETURNING subject_id, cell, shard, epoch, services
), h AS (
    INSERT INTO directory.history (subject_id, number, at, actor, reason, from_state, to_state, epoch, provenance)
    SELECT s.subject_id, 1, clock_timestamp(), $9, $10, NULL, 'reserved', s.epoch, w.provenance::jsonb
    FROM s
    JOIN unnest($1::uuid[], $4::int[]) AS r(id, kind) ON r.id = s.subject_id
    JOIN unnest($5::int[], $8::text[]) AS w(kind, provenance) USING (kind)
)
INSERT INTO directory.bulk_part (job_id, number, cell, shard, services, subject_ids, epochs)
SELECT $12, $13, cell, shard, services, array_agg(subject_id ORDER BY subject_id), array_agg(epoch ORDER BY subject_id)
FROM s GROUP BY cell, shard, services ORDER BY cell, shard, services
RETURNING part, cell, shard, cardinality(subject_ids) AS count
"""

# purpose: claim the lookup keys of a batch in sorted order; waits for concurrent claimers, tells how many were free
_CLAIM = """
INSERT INTO directory.lookup_key (key, kind, subject_id, kid, twin_of)
SELECT key, kind, id, kid, twin_of
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::text[]) AS asked(key, kind, id, kid, twin_of) ORDER BY key COLLATE "C"
ON CONFLICT DO NOTHING
"""

# purpose: parts of a cell's shard whose fences it has not said to stand, the oldest first
_WAITING = """
SELECT part FROM directory.bulk_part WHERE cell = $1 AND shard = $2 AND settled_at IS NULL ORDER BY part LIMIT $3
"""

# purpose: a part and its members that nothing else has changed, in the order of their ids; a row with nulls where there is none
_PART = """
SELECT p.part, p.cell, p.shard, p.services, s.subject_id::text AS subject_id, s.epoch, s.state
FROM directory.bulk_part p
LEFT JOIN LATERAL unnest(p.subject_ids, p.epochs) AS m(id, epoch) ON true
LEFT JOIN directory.subject s
    ON s.subject_id = m.id AND s.epoch = m.epoch AND s.cell = p.cell AND s.shard = p.shard AND s.state IN ('reserved', 'active')
WHERE p.part = $1
"""

# purpose: a part, locked, so that two acknowledgements of it queue
_LOCK_PART = "SELECT job_id, number, cell, shard FROM directory.bulk_part WHERE part = $1 FOR UPDATE"

# purpose: make the reserved members of a part active, each with its history entry; tells how many
_ACKNOWLEDGE = """
WITH s AS (
    UPDATE directory.subject AS s SET state = 'active', changes = s.changes + 1, expires_at = NULL
    FROM directory.bulk_part p, unnest(p.subject_ids, p.epochs) AS m(id, epoch)
    WHERE p.part = $1 AND s.subject_id = m.id AND s.epoch = m.epoch AND s.state = 'reserved'
    RETURNING s.subject_id, s.epoch, s.changes
), h AS (
    INSERT INTO directory.history (subject_id, number, at, actor, reason, from_state, to_state, epoch)
    SELECT subject_id, changes, clock_timestamp(), $2, 'fence raised', 'reserved', 'active', epoch FROM s
)
SELECT count(*) FROM s
"""

# purpose: members of a part that are not active under the epoch of their import
_MISSED = """
SELECT m.id::text AS subject_id
FROM directory.bulk_part p, unnest(p.subject_ids, p.epochs) AS m(id, epoch)
WHERE p.part = $1
    AND NOT EXISTS (SELECT 1 FROM directory.subject s WHERE s.subject_id = m.id AND s.epoch = m.epoch AND s.state = 'active')
"""

# purpose: a part's members wait no more
_ACKNOWLEDGED = """
WITH p AS (
    UPDATE directory.bulk_part SET acknowledged_at = clock_timestamp() WHERE part = $1 AND acknowledged_at IS NULL
    RETURNING job_id, number, cardinality(subject_ids) AS count
)
UPDATE directory.bulk_batch AS b SET acknowledged = b.acknowledged + p.count FROM p WHERE b.job_id = p.job_id AND b.number = p.number
"""

# purpose: the cell says that the fences of a part stand as acknowledged
_SETTLE = """
UPDATE directory.bulk_part SET settled_at = coalesce(settled_at, clock_timestamp())
WHERE part = $1 AND cell = ANY($2::text[]) AND acknowledged_at IS NOT NULL RETURNING part
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
    try:
        async with transaction(pool) as tx:
            counts = (len(decided.new), decided.known, len(decided.refused))
            if not await tx.fetchval(_TAKE, job_id, number, body, *counts):
                found = await _earlier(tx, job_id, number)
                if found is None:
                    raise _RollBack(KeysMoved())
                return found
            seq = await feed.head(tx)
            if decided.new:
                seq = await _place(tx, clock, decided, facts_ids, job_id, number, actor, reason)
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
    facts_ids: dict[Facts, int],
    job_id: str,
    number: int,
    actor: str,
    reason: str,
) -> FeedSeq:
    new = decided.new
    kinds = {id(one.ruled): one for one in new}
    numbers = {kind: at for at, kind in enumerate(kinds)}
    parts = await tx.fetch(
        _PLACE,
        [one.subject_id for one in new],
        [one.cell for one in new],
        [one.shard for one in new],
        [numbers[id(one.ruled)] for one in new],
        list(numbers.values()),
        [",".join(services_of(one)) for one in kinds.values()],
        [facts_ids[one.ruled.facts] for one in kinds.values()],
        [one.ruled.provenance for one in kinds.values()],
        actor,
        reason,
        RESERVATION_S,
        job_id,
        number,
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
        for row in parts
    )
    seq = await feed.append_bulk(
        tx, State.RESERVED, job_id, number, told_parts, under=decided.under, registry=decided.registry
    )
    if seq is None:
        raise _RollBack(RulesMoved())
    return seq


async def waiting(pool: Pool, cell: CellId, shard: ShardId, limit: int) -> tuple[int, ...]:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_WAITING, cell, shard, limit)
    return tuple(row["part"] for row in rows)


async def part(pool: Pool, number: int) -> Part | None:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_PART, number)
    if not rows:
        return None
    first = rows[0]
    return Part(
        part=first["part"],
        cell=CellId(first["cell"]),
        shard=ShardId(first["shard"]),
        services=tuple(ServiceId(one) for one in first["services"]),
        members=tuple(
            Member(SubjectId(row["subject_id"]), Epoch(row["epoch"]), State(row["state"]))
            for row in rows
            if row["subject_id"] is not None
        ),
    )


class NotYours(msgspec.Struct, frozen=True):
    """The part lies in a cell that the caller does not speak for."""


async def acknowledge(
    pool: Pool, clock: Clock, number: int, *, cells: frozenset[str], actor: str
) -> AcknowledgedPart | NotYours | None:
    """Makes a part's reservations active, one event for all; nothing where they are. None: there is no such part.
    Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        row = await tx.fetchrow(_LOCK_PART, number)
        if row is None:
            return None
        if row["cell"] not in cells:
            return NotYours()
        count = await tx.fetchval(_ACKNOWLEDGE, number, actor)
        missed = await tx.fetch(_MISSED, number)
        await tx.execute(_ACKNOWLEDGED, number)
        seq: FeedSeq | None = await feed.head(tx)
        if count:
            details = {"job": str(row["job_id"]), "batch": row["number"], "part": number, "count": count}
            event = Event(
                id=f"bulk/part/{number}", at=clock.unix_s(), kind=Kind.PLACEMENT, actor=actor, details=details
            )
            await PostgresOutbox("directory").append(tx, event)
            told = BulkPart(part=number, cell=CellId(row["cell"]), shard=ShardId(row["shard"]), count=count)
            seq = await feed.append_bulk(tx, State.ACTIVE, str(row["job_id"]), row["number"], (told,))
    if seq is None:
        raise RuntimeError("the feed's counter row is missing")
    return AcknowledgedPart(
        part=number,
        acknowledged=count,
        missed=tuple(SubjectId(one["subject_id"]) for one in missed),
        as_of=seq,
    )


async def settle(pool: Pool, number: int, *, cells: frozenset[str]) -> bool:
    """False where there is no such part of these cells, or it is not acknowledged yet. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return await connection.fetchval(_SETTLE, number, list(cells)) is not None

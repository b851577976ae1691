"""Parts of batches in SQL: what of a batch lies on one shard, acknowledged by its cell as a whole."""

import msgspec

from directory.bulk.answers import AcknowledgedPart, Member, Part
from directory.bulk.kept import Kept, Members, members_of
from directory.bulk.packed import PackedPart, pack_part
from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement.core import BulkPart, State
from directory.placement.store import STATE
from foundation import copying
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.words import CellId, Epoch, FeedSeq, ServiceId, ShardId, SubjectId

# purpose: parts of a cell's shard whose fences it has not said to stand, the oldest first
_WAITING = """
SELECT part FROM directory.bulk_part WHERE cell = $1 AND shard = $2 AND settled_at IS NULL ORDER BY part LIMIT $3
"""

# purpose: a part and its members that nothing else has changed, in the order of their ids; a row with nulls where there is none
_PART = f"""
SELECT p.part, p.cell, p.shard, p.services, s.subject_id::text AS subject_id, s.epoch, {STATE} AS state
FROM directory.bulk_part p
LEFT JOIN LATERAL unnest(p.subject_ids, p.epochs) AS m(id, epoch) ON true
LEFT JOIN directory.subject s
    ON s.subject_id = m.id AND s.epoch = m.epoch AND s.cell = p.cell AND s.shard = p.shard AND s.state IN ('reserved', 'active')
WHERE p.part = $1 ORDER BY m.id
"""  # noqa: S608 - constants

# purpose: a part whose members' state is its own, not settled yet, and its first member; `gone`: those of them that are under another epoch
# or state by now. No row: ask for each member
_WHOLE = """
SELECT p.part, p.cell, p.shard, p.services, p.subject_ids[1] AS first,
    ARRAY(
        SELECT a.subject_id FROM directory.bulk_alone a JOIN directory.subject s ON s.subject_id = a.subject_id
        WHERE a.part = p.part
            AND NOT (s.state IN ('reserved', 'active') AND s.epoch = p.epochs[array_position(p.subject_ids, a.subject_id)])
    ) AS gone
FROM directory.bulk_part p WHERE p.part = $1 AND p.expires_at IS NOT NULL AND p.settled_at IS NULL
"""

# purpose: its members as the server sends arrays
_MEMBERS = """
SELECT array_send(subject_ids) AS subject_ids, array_send(epochs) AS epochs FROM directory.bulk_part WHERE part = $1
"""

# purpose: a part, locked, so that two acknowledgements of it queue, and with those that change one member by itself; `whole`: its members'
# state is its own
_LOCK_PART = """
SELECT job_id, number, cell, shard, expires_at IS NOT NULL AS whole FROM directory.bulk_part WHERE part = $1 FOR UPDATE
"""

# purpose: how many members become active with their part; null where it was acknowledged before
_LEFT = """
SELECT cardinality(p.subject_ids) - (SELECT count(*) FROM directory.bulk_alone a WHERE a.part = p.part)
FROM directory.bulk_part p WHERE p.part = $1 AND p.acknowledged_at IS NULL
"""

# purpose: make the reserved members of a part active whose own rows say so; tells how many. The entry of their histories is the part's;
# those that a version before the last imported get entries of their own, as it wrote them
_ACKNOWLEDGE = """
WITH s AS (
    UPDATE directory.subject AS s SET state = 'active', changes = s.changes + 1, expires_at = NULL
    FROM directory.bulk_part p, unnest(p.subject_ids, p.epochs) AS m(id, epoch)
    WHERE p.part = $1 AND s.subject_id = m.id AND s.epoch = m.epoch AND s.state = 'reserved'
    RETURNING s.subject_id, s.epoch, s.changes, s.part
), h AS (
    INSERT INTO directory.history (subject_id, number, at, actor, reason, from_state, to_state, epoch)
    SELECT subject_id, changes, clock_timestamp(), $2, 'fence raised', 'reserved', 'active', epoch FROM s WHERE part IS NULL
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

# purpose: the same where only those that something else has changed can be such
_MISSED_ALONE = """
SELECT a.subject_id::text AS subject_id
FROM directory.bulk_part p JOIN directory.bulk_alone a ON a.part = p.part JOIN directory.subject s ON s.subject_id = a.subject_id
WHERE p.part = $1 AND NOT (s.state = 'active' AND s.epoch = p.epochs[array_position(p.subject_ids, a.subject_id)])
"""

# purpose: a part's members wait no more
_ACKNOWLEDGED = """
WITH p AS (
    UPDATE directory.bulk_part SET acknowledged_at = clock_timestamp(), acknowledged_by = $2 WHERE part = $1 AND acknowledged_at IS NULL
    RETURNING job_id, number, cardinality(subject_ids) AS count
)
UPDATE directory.bulk_batch AS b SET acknowledged = b.acknowledged + p.count FROM p WHERE b.job_id = p.job_id AND b.number = p.number
"""

# purpose: the cell says that the fences of a part stand as acknowledged
_SETTLE = """
UPDATE directory.bulk_part SET settled_at = coalesce(settled_at, clock_timestamp())
WHERE part = $1 AND cell = ANY($2::text[]) AND acknowledged_at IS NOT NULL RETURNING part
"""


class NotYours(msgspec.Struct, frozen=True):
    """The part lies in a cell that the caller does not speak for."""


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


async def packed(pool: Pool, number: int, kept: Kept) -> PackedPart | None:
    """The same in columns. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        row = await connection.fetchrow(_WHOLE, number)
        members = None if row is None else await _members(connection, number, row["first"].bytes, kept)
    if row is None or members is None:
        found = await part(pool, number)
        return None if found is None else pack_part(found)
    left = members if not row["gone"] else members.without({one.bytes for one in row["gone"]})
    return PackedPart(
        part=row["part"],
        cell=CellId(row["cell"]),
        shard=ShardId(row["shard"]),
        services=tuple(ServiceId(one) for one in row["services"]),
        subjects=left.subjects,
        epochs=left.epochs,
    )


async def _members(connection: Connection, number: int, first: bytes, kept: Kept) -> Members | None:
    """All of a part. What was kept is another part's of this number where the database was restored to an earlier state since."""
    members = kept.get(number)
    if members is not None and members.subjects.startswith(first):
        return members
    row = await connection.fetchrow(_MEMBERS, number)
    return None if row is None else members_of(copying.items(row["subject_ids"], 16), copying.items(row["epochs"], 8))


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
        if row["whole"]:
            count = await tx.fetchval(_LEFT, number) or 0
            missed = await tx.fetch(_MISSED_ALONE, number)
        else:
            count = await tx.fetchval(_ACKNOWLEDGE, number, actor)
            missed = await tx.fetch(_MISSED, number)
        await tx.execute(_ACKNOWLEDGED, number, actor)
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

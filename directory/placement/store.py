"""Reads of placements: SQL and rows to values. Every answer carries the feed number of its own snapshot (one statement each)."""

from collections.abc import Sequence

import asyncpg
import msgspec

from directory.database import session
from directory.placement.answers import HistoryEntry, PlacementAnswer
from directory.placement.core import Facts, Placement, Resolved, ResolvedSubjects, State
from directory.placement.provenance import Provenance
from foundation.postgres import Connection, Pool
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    LookupKey,
    ServiceId,
    ShardId,
    SubjectId,
)

OF_PART = "(s.state = 'active' AND s.changes = 1 AND s.part IS NOT NULL)"
"""Whether a subject's state is that of the part it was imported with: nobody else is active without a change."""

STATE = f"""
    CASE WHEN {OF_PART} AND EXISTS (SELECT 1 FROM directory.bulk_part o WHERE o.part = s.part AND o.acknowledged_at IS NULL)
    THEN 'reserved' ELSE s.state END
"""  # noqa: S608 - constants
"""A subject's state: its own, or until its part is acknowledged `reserved`."""

PLACEMENT_COLUMNS = f"""
    s.subject_id::text AS subject_id, s.cell, s.shard, s.epoch, {STATE} AS state, s.services,
    s.facts_id, f.regimes, f.residence, f.subdivision, f.citizenships, f.tags, f.terms
"""

# purpose: where lookup keys lead, as of the head in the same snapshot; a row per key asked for
_RESOLVE_KEYS = f"""
SELECT h.seq AS as_of, h.history, asked.key, k.unresolved, {PLACEMENT_COLUMNS}
FROM directory.feed_head h
CROSS JOIN unnest($1::text[]) AS asked(key)
LEFT JOIN directory.lookup_key k ON k.key = asked.key
LEFT JOIN directory.subject s ON s.subject_id = k.subject_id
LEFT JOIN directory.facts f ON f.facts_id = s.facts_id
"""  # noqa: S608 - constants

# purpose: the same for subject ids
_RESOLVE_SUBJECTS = f"""
SELECT h.seq AS as_of, h.history, asked.id::text AS key, {PLACEMENT_COLUMNS}
FROM directory.feed_head h
CROSS JOIN unnest($1::uuid[]) AS asked(id)
LEFT JOIN directory.subject s ON s.subject_id = asked.id
LEFT JOIN directory.facts f ON f.facts_id = s.facts_id
"""  # noqa: S608

# purpose: a page of subjects after an id, in the order of their ids, which never changes under inserts; the filter is one of _FILTERS
_LIST = f"""
SELECT {PLACEMENT_COLUMNS}
FROM directory.subject s
JOIN directory.facts f ON f.facts_id = s.facts_id
WHERE s.subject_id > $1 AND {{filter}}
ORDER BY s.subject_id
LIMIT $2
"""  # noqa: S608

# Written per case, not with "$3 IS NULL OR …": a prepared plan can then use the index that fits.
_ALL = "true"
_OF_CELL = "s.cell = $3"
_IN_STATE = "s.state = $3"
_OF_CELL_IN_STATE = "s.cell = $3 AND s.state = $4"
_RARE = " AND s.state <> 'active'"  # what the partial index is over
_SETTLED = f" AND {STATE} = 'active'"
# Those of parts that wait, and those whose own rows say so; few parts wait, and few people.
_WAITING = f"""
s.subject_id IN (
    SELECT w.id FROM directory.bulk_part p CROSS JOIN LATERAL unnest(p.subject_ids) AS w(id) WHERE p.acknowledged_at IS NULL
    UNION ALL SELECT r.subject_id FROM directory.subject r WHERE r.state = 'reserved'
) AND {STATE} = 'reserved'
"""  # noqa: S608

_BEFORE_ALL = SubjectId("00000000-0000-0000-0000-000000000000")

# purpose: a page of one subject's history, oldest first
_HISTORY = """
SELECT number, extract(epoch FROM at)::float8 AS at, actor, reason, from_state, to_state, epoch, provenance::text AS provenance
FROM directory.entry
WHERE subject_id = $1 AND number > $2
ORDER BY number
LIMIT $3
"""

# purpose: why a subject is where it is: the last entry of its history that placed it
_PROVENANCE = """
SELECT provenance::text FROM directory.entry
WHERE subject_id = $1 AND provenance IS NOT NULL ORDER BY number DESC LIMIT 1
"""

# purpose: what an idempotency key did
_REPLAY = "SELECT subject_id::text AS subject_id, body FROM directory.idempotency WHERE actor = $1 AND key = $2"


def placement_of(row: asyncpg.Record) -> Placement:
    """A row of PLACEMENT_COLUMNS."""
    return Placement(
        subject_id=SubjectId(row["subject_id"]),
        cell=CellId(row["cell"]),
        shard=ShardId(row["shard"]),
        epoch=Epoch(row["epoch"]),
        state=State(row["state"]),
        services=tuple(ServiceId(one) for one in row["services"]),
        facts=Facts(
            facts_id=row["facts_id"],
            regimes=tuple(JurisdictionId(one) for one in row["regimes"]),
            residence=Country(row["residence"]),
            subdivision=row["subdivision"],
            citizenships=None if row["citizenships"] is None else tuple(Country(one) for one in row["citizenships"]),
            tags=tuple(row["tags"]),
            terms=row["terms"],
        ),
    )


async def resolve_keys(pool: Pool, keys: Sequence[LookupKey]) -> Resolved:
    """Keys are distinct, at least one. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_RESOLVE_KEYS, keys)
    return Resolved(
        as_of=FeedSeq(rows[0]["as_of"]),
        history=rows[0]["history"],
        found={LookupKey(row["key"]): placement_of(row) for row in rows if row["subject_id"] is not None},
        absent=tuple(LookupKey(row["key"]) for row in rows if row["subject_id"] is None and not row["unresolved"]),
        unresolved=tuple(LookupKey(row["key"]) for row in rows if row["unresolved"]),
    )


async def resolve_subjects(pool: Pool, subjects: Sequence[SubjectId]) -> ResolvedSubjects:
    """Ids are distinct, at least one. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_RESOLVE_SUBJECTS, subjects)
    return ResolvedSubjects(
        as_of=FeedSeq(rows[0]["as_of"]),
        history=rows[0]["history"],
        found={SubjectId(row["key"]): placement_of(row) for row in rows if row["subject_id"] is not None},
        absent=tuple(SubjectId(row["key"]) for row in rows if row["subject_id"] is None),
    )


async def subject(pool: Pool, subject_id: SubjectId) -> PlacementAnswer | None:
    """One subject, or None when no such id was ever placed. Raises DatabaseUnavailable."""
    resolved = await resolve_subjects(pool, [subject_id])
    found = resolved.found.get(subject_id)
    return None if found is None else PlacementAnswer(as_of=resolved.as_of, placement=found)


async def subjects(
    pool: Pool, *, cell: CellId | None, state: State | None, after: SubjectId | None, limit: int
) -> tuple[Placement, ...]:
    """Up to `limit` subjects with ids beyond `after`. Raises DatabaseUnavailable."""
    query, values = _listing(cell, state)
    async with session(pool) as connection:
        rows = await connection.fetch(query, after or _BEFORE_ALL, limit, *values)
    return tuple(placement_of(row) for row in rows)


def _listing(cell: CellId | None, state: State | None) -> tuple[str, tuple[str, ...]]:
    """The query for a filter, and its values."""
    if state is None:
        return (_LIST.format(filter=_ALL), ()) if cell is None else (_LIST.format(filter=_OF_CELL), (cell,))
    if state is State.RESERVED:
        of_cell, values = ("", ()) if cell is None else (f"{_OF_CELL} AND ", (cell,))
        return _LIST.format(filter=of_cell + _WAITING), values
    more = _SETTLED if state is State.ACTIVE else _RARE
    if cell is None:
        return _LIST.format(filter=_IN_STATE + more), (state.value,)
    return _LIST.format(filter=_OF_CELL_IN_STATE + more), (cell, state.value)


async def history(pool: Pool, subject_id: SubjectId, *, after: int, limit: int) -> tuple[HistoryEntry, ...]:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_HISTORY, subject_id, after, limit)
    return tuple(
        HistoryEntry(
            number=row["number"],
            at=row["at"],
            actor=row["actor"],
            reason=row["reason"],
            from_state=State(row["from_state"]) if row["from_state"] else None,
            to_state=State(row["to_state"]),
            epoch=Epoch(row["epoch"]),
            provenance=_provenance(row["provenance"]),
        )
        for row in rows
    )


async def provenance(pool: Pool, subject_id: SubjectId) -> Provenance | None:
    """Why a subject is where it is; None where a version before this one placed it. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return _provenance(await connection.fetchval(_PROVENANCE, subject_id))


def _provenance(text: str | None) -> Provenance | None:
    return None if text is None else msgspec.json.decode(text, type=Provenance)


async def replay(connection: Connection, actor: str, key: str) -> tuple[SubjectId, bytes] | None:
    """(subject, digest of the body) of an earlier placement under this idempotency key."""
    row = await connection.fetchrow(_REPLAY, actor, key)
    return None if row is None else (SubjectId(row["subject_id"]), row["body"])

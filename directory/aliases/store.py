"""SQL of claims: each function is one statement inside somebody's transaction or session.

Locks are taken in one order (subject, claim, keys sorted, feed counter), as by everybody who writes placements.
"""

import hashlib

import asyncpg
import msgspec

from directory.aliases.answers import ClaimChange, ClaimRequest
from directory.aliases.core import Claim, ClaimState, Step, first_twins
from directory.placement import locking
from directory.placement.core import Placement, State
from foundation.postgres import Connection
from foundation.words import CellId, LookupKey, SubjectId

_CLAIM_COLUMNS = """
    claim_id::text AS claim_id, cell, subject_id::text AS subject_id, kinds, state, changes, asked,
    extract(epoch FROM expires_at)::float8 AS expires_at
"""

# purpose: a claim under a lease, and its first history entry; no row = the id is taken
_ADD = f"""
WITH c AS (
    INSERT INTO directory.alias_claim (claim_id, cell, subject_id, kinds, asked, state, changes, expires_at)
    VALUES ($1, $2, $3, $4, $5, 'claimed', 1, clock_timestamp() + make_interval(secs => $6))
    ON CONFLICT DO NOTHING RETURNING *
), h AS (
    INSERT INTO directory.alias_history (claim_id, number, at, actor, reason, from_state, to_state)
    SELECT claim_id, 1, clock_timestamp(), $7, $8, NULL, 'claimed' FROM c
)
SELECT {_CLAIM_COLUMNS} FROM c
"""  # noqa: S608 - constants

# purpose: take lookup keys for a claim in sorted order; waits for concurrent takers, returns the ones that were free
_TAKE = """
INSERT INTO directory.lookup_key (key, kind, kid, twin_of, claim_id)
SELECT key, kind, kid, twin_of, $5 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked(key, kind, kid, twin_of)
ORDER BY key COLLATE "C"
ON CONFLICT DO NOTHING RETURNING key
"""

# purpose: a claim as it stands
_READ = f"SELECT {_CLAIM_COLUMNS} FROM directory.alias_claim WHERE claim_id = $1"  # noqa: S608

# purpose: the same, locked for a change
_LOCK = f"{_READ} FOR NO KEY UPDATE"

# purpose: the claim whose lease ran out first and that no other process is at, locked
_LOCK_EXPIRED = f"""
SELECT {_CLAIM_COLUMNS} FROM directory.alias_claim
WHERE state = 'claimed' AND expires_at <= clock_timestamp()
ORDER BY expires_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608

# purpose: a claim's new state, its subject from then on, and its history entry
_STEP = f"""
WITH c AS (
    UPDATE directory.alias_claim SET state = $2, subject_id = $3, expires_at = NULL, changes = changes + 1
    WHERE claim_id = $1 RETURNING *
), h AS (
    INSERT INTO directory.alias_history (claim_id, number, at, actor, reason, from_state, to_state)
    SELECT claim_id, changes, clock_timestamp(), $4, $5, $6, $2 FROM c
)
SELECT {_CLAIM_COLUMNS} FROM c
"""  # noqa: S608

# purpose: a claim's keys lead to its subject
_LEAD = """
UPDATE directory.lookup_key SET subject_id = $2, unresolved = false WHERE claim_id = $1 RETURNING key
"""

# purpose: nobody can say whose a claim's keys are
_OPEN = "UPDATE directory.lookup_key SET unresolved = true WHERE claim_id = $1 RETURNING key"

# purpose: give a claim's keys back
_FREE = "DELETE FROM directory.lookup_key WHERE claim_id = $1 RETURNING key"

# purpose: a page of claims that are not settled, in the order of their ids, of one cell or all ($1 null)
_OPEN_CLAIMS = f"""
SELECT {_CLAIM_COLUMNS} FROM directory.alias_claim
WHERE state IN ('claimed', 'unresolved') AND ($1::text IS NULL OR cell = $1) AND ($2::text IS NULL OR state = $2) AND claim_id > $3
ORDER BY claim_id LIMIT $4
"""  # noqa: S608

# purpose: a claim's history, oldest first
_HISTORY = """
SELECT number, extract(epoch FROM at)::float8 AS at, actor, reason, from_state, to_state
FROM directory.alias_history WHERE claim_id = $1 ORDER BY number LIMIT 1000
"""

_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


def digest(asked: ClaimRequest) -> bytes:
    """What a repeat is held against; the reason may differ."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(asked, reason="-"))).digest()


async def add(tx: Connection, asked: ClaimRequest, *, actor: str) -> Claim | None:
    """None when the id is taken."""
    kinds = sorted({one.kind for one in asked.keys})
    values = (asked.claim_id, asked.cell, asked.subject_id, kinds, digest(asked), float(asked.lease_s))
    row = await tx.fetchrow(_ADD, *values, actor, asked.reason)
    return None if row is None else _claim(row)


async def take(tx: Connection, asked: ClaimRequest) -> tuple[str, ...]:
    """Takes all keys; the kinds of those that were not free (then roll back)."""
    twins = first_twins(asked.keys)
    columns = ([one.key for one in asked.keys], [one.kind for one in asked.keys], [one.kid for one in asked.keys])
    rows = await tx.fetch(_TAKE, *columns, list(twins), asked.claim_id)
    free = {row["key"] for row in rows}
    return tuple(sorted({one.kind for one in asked.keys if one.key not in free}))


async def read(connection: Connection, claim_id: str) -> tuple[Claim, bytes] | None:
    """The claim and the digest of what was asked."""
    row = await connection.fetchrow(_READ, claim_id)
    return None if row is None else (_claim(row), row["asked"])


async def lock(tx: Connection, claim_id: str) -> Claim | None:
    row = await tx.fetchrow(_LOCK, claim_id)
    return None if row is None else _claim(row)


async def lock_expired(tx: Connection) -> Claim | None:
    row = await tx.fetchrow(_LOCK_EXPIRED)
    return None if row is None else _claim(row)


async def lock_subject(tx: Connection, subject_id: SubjectId) -> Placement | None:
    """None for an id that nobody has, or that is erased. Its keys are about to change, and its state goes on record with them."""
    placement = await locking.locked(tx, subject_id)
    return None if placement is None or placement.state is State.ERASED else placement


async def step(
    tx: Connection, claim: Claim, to: Step, *, actor: str, reason: str
) -> tuple[Claim, tuple[LookupKey, ...], int]:
    """The claim after the step, its keys, and the number of the change within its history."""
    values = (claim.claim_id, to.state.value, to.subject_id, actor, reason, claim.state.value)
    row = await tx.fetchrow(_STEP, *values)
    if row is None:
        raise RuntimeError("a locked claim went away")
    keys = await _keys_step(tx, claim.claim_id, to)
    return _claim(row), tuple(LookupKey(one["key"]) for one in keys), row["changes"]


async def _keys_step(tx: Connection, claim_id: str, to: Step) -> list[asyncpg.Record]:
    if to.state is ClaimState.CONFIRMED:
        return await tx.fetch(_LEAD, claim_id, to.subject_id)
    return await tx.fetch(_OPEN if to.state is ClaimState.UNRESOLVED else _FREE, claim_id)


async def unsettled(
    connection: Connection, *, cell: CellId | None, state: ClaimState | None, after: str | None, limit: int
) -> tuple[Claim, ...]:
    rows = await connection.fetch(_OPEN_CLAIMS, cell, state, after or _BEFORE_ALL, limit)
    return tuple(_claim(row) for row in rows)


async def history(connection: Connection, claim_id: str) -> tuple[ClaimChange, ...]:
    return tuple(_change(row) for row in await connection.fetch(_HISTORY, claim_id))


def _claim(row: asyncpg.Record) -> Claim:
    return Claim(
        claim_id=row["claim_id"],
        cell=CellId(row["cell"]),
        subject_id=None if row["subject_id"] is None else SubjectId(row["subject_id"]),
        kinds=tuple(row["kinds"]),
        state=ClaimState(row["state"]),
        expires_at=row["expires_at"],
    )


def _change(row: asyncpg.Record) -> ClaimChange:
    return ClaimChange(
        number=row["number"],
        at=row["at"],
        actor=row["actor"],
        reason=row["reason"],
        from_state=ClaimState(row["from_state"]) if row["from_state"] else None,
        to_state=ClaimState(row["to_state"]),
    )

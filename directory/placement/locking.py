"""A subject locked for a change: SQL. Who is reserved with a part is locked with it, so that the two are not changed past each other.

Locks are taken in one order (subject, then its part), and by whoever acknowledges a part on that alone.
"""

from directory.placement.core import Placement
from directory.placement.store import OF_PART, PLACEMENT_COLUMNS, STATE, placement_of
from foundation.postgres import Connection
from foundation.words import SubjectId

PARTS_AT_ONCE_MAX = 100
"""How many expired parts are looked through for somebody to expire, in one transaction."""

# purpose: a subject, locked for a change; `waits_with`: the part that it is reserved with, else null
_LOCK = f"""
SELECT {PLACEMENT_COLUMNS}, CASE WHEN {OF_PART} AND {STATE} = 'reserved' THEN s.part END AS waits_with
FROM directory.subject s JOIN directory.facts f ON f.facts_id = s.facts_id
WHERE s.subject_id = $1 FOR NO KEY UPDATE OF s
"""  # noqa: S608 - constants

# purpose: the reservation that expired first and that no other process is at, locked
_LOCK_EXPIRED = f"""
SELECT {PLACEMENT_COLUMNS} FROM directory.subject s JOIN directory.facts f ON f.facts_id = s.facts_id
WHERE s.state = 'reserved' AND s.expires_at <= clock_timestamp()
ORDER BY s.expires_at LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED
"""  # noqa: S608

# purpose: the part that expired first of those that have somebody who is reserved with them, as far as is known
_EXPIRED_PART = """
SELECT part FROM directory.bulk_part WHERE acknowledged_at IS NULL AND expires_at <= clock_timestamp() ORDER BY expires_at LIMIT 1
"""

# purpose: one of those who are reserved with a part, and at whom no other process is, locked
_LOCK_OF_PART = f"""
SELECT s.subject_id FROM directory.bulk_part p
CROSS JOIN LATERAL unnest(p.subject_ids) AS m(id)
JOIN directory.subject s ON s.subject_id = m.id AND s.part = p.part
WHERE p.part = $1 AND p.acknowledged_at IS NULL AND {OF_PART}
LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED
"""  # noqa: S608

# purpose: a part that nobody is reserved with any more is not looked at again; no row = somebody is
_ALL_EXPIRED = f"""
UPDATE directory.bulk_part p SET expires_at = 'infinity'
WHERE p.part = $1 AND NOT EXISTS (
    SELECT 1 FROM unnest(p.subject_ids) AS m(id) JOIN directory.subject s ON s.subject_id = m.id AND s.part = p.part WHERE {OF_PART}
) RETURNING part
"""  # noqa: S608

# purpose: a part that waits, held so that it is not acknowledged meanwhile
_HOLD_PART = "SELECT part FROM directory.bulk_part WHERE part = $1 FOR SHARE"


async def locked(tx: Connection, subject_id: SubjectId) -> Placement | None:
    """As it stands for as long as the transaction lasts: a part that it waits with is not acknowledged meanwhile."""
    row = await tx.fetchrow(_LOCK, subject_id)
    if row is not None and row["waits_with"] is not None:
        await tx.execute(_HOLD_PART, row["waits_with"])
        row = await tx.fetchrow(_LOCK, subject_id)
    return None if row is None else placement_of(row)


async def locked_expired(tx: Connection) -> Placement | None:
    """Whose reservation expired first, by the database's clock, and at whom no other process is; None when there is nobody. Whoever was
    reserved with a part may be that no longer: look at the state."""
    row = await tx.fetchrow(_LOCK_EXPIRED)
    if row is not None:
        return placement_of(row)
    for _ in range(PARTS_AT_ONCE_MAX):
        part = await tx.fetchval(_EXPIRED_PART)
        if part is None:
            return None
        found = await tx.fetchval(_LOCK_OF_PART, part)
        if found is not None:
            return await locked(tx, SubjectId(str(found)))
        if await tx.fetchval(_ALL_EXPIRED, part) is None:  # others are at the last ones
            return None
    return None

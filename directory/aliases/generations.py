"""Rotation of the blinding key: further keys for identifiers that are known already, what is left under each key, and retiring one. SQL.

The directory never holds a blinding key; it knows the names (`kid`) that callers give them.
"""

from collections.abc import Sequence

import asyncpg
import msgspec

from directory.aliases.answers import Generation, RetireAnswer, Twins, TwinsAnswer
from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement.core import KeysChange
from directory.placement.store import PLACEMENT_COLUMNS, STATE, placement_of
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.problems import Code, Problem
from foundation.words import CellId, FeedSeq, LookupKey

RETIRED_AT_ONCE = 200
"""Keys in one feed event: fewer than what makes clients forget what else they followed."""
BATCHES_MAX = 50
"""Batches of one request, so that it ends."""
COUNT_MS_MAX = 60_000
FIRSTS_MAX = 3
"""How often the first key of an identifier may be retired under whoever adds beside it."""
_RETIRER = 0x726574697265726B  # "retirerk"

# purpose: whom a known key leads to, locked for a change of its keys; no row = to nobody, or to somebody of another cell than $2
_KNOWN = f"""
SELECT {PLACEMENT_COLUMNS}, k.kind, coalesce(k.twin_of, k.key) AS first, k.claim_id
FROM directory.lookup_key k
JOIN directory.subject s ON s.subject_id = k.subject_id
JOIN directory.facts f ON f.facts_id = s.facts_id
WHERE k.key = $1 AND s.cell = ANY($2::text[]) AND {STATE} IN ('active', 'frozen')
FOR NO KEY UPDATE OF s
"""  # noqa: S608 - constants

# purpose: the first key of an identifier, held so that it is not retired before others are named after it; no row = it was just now
_HOLD_FIRST = "SELECT key FROM directory.lookup_key WHERE key = $1 FOR KEY SHARE"

# purpose: the same identifier under other blinding keys; returns those that are new
_ADD_TWINS = """
INSERT INTO directory.lookup_key (key, kind, kid, twin_of, claim_id, subject_id)
SELECT key, $3, kid, $4, $5, $6 FROM unnest($1::text[], $2::text[]) AS asked(key, kid) ORDER BY key COLLATE "C"
ON CONFLICT DO NOTHING RETURNING key
"""

# purpose: which of these keys lead to a subject already
_THEIRS = "SELECT count(*) FROM directory.lookup_key WHERE key = ANY($1::text[]) AND subject_id = $2"

# purpose: lookup keys by blinding key and kind, and how many of them are the only one of their identifier
_COUNT = """
SELECT k.kid, k.kind, count(*) AS keys,
    count(*) FILTER (WHERE k.twin_of IS NULL
        AND NOT EXISTS (SELECT 1 FROM directory.lookup_key t WHERE t.twin_of = k.key)) AS alone
FROM directory.lookup_key k
GROUP BY k.kid, k.kind ORDER BY k.kid, k.kind
"""

# purpose: whether an identifier is known under this blinding key alone
_ANY_ALONE = """
SELECT EXISTS (
    SELECT 1 FROM directory.lookup_key k WHERE k.kid = $1 AND k.twin_of IS NULL
        AND NOT EXISTS (SELECT 1 FROM directory.lookup_key t WHERE t.twin_of = k.key)
)
"""

# purpose: one retires keys at a time, until its transaction ends: two who each see the other's key beside theirs would take the last
_ONE_RETIRES = "SELECT pg_advisory_xact_lock($1)"

# purpose: some keys of a blinding key, with twins or ($2) without, locked, and with imported ones the subjects whose rows name them; one
# that is busy, itself or its subject, is for the next time
_SOME = """
WITH found AS (
    SELECT k.key, k.subject_id, k.imported,
        k.twin_of IS NULL AND NOT EXISTS (SELECT 1 FROM directory.lookup_key t WHERE t.twin_of = k.key) AS alone
    FROM directory.lookup_key k
    WHERE k.kid = $1 AND ($2 OR k.twin_of IS NOT NULL OR EXISTS (SELECT 1 FROM directory.lookup_key t WHERE t.twin_of = k.key))
    LIMIT $3 FOR UPDATE OF k SKIP LOCKED
), theirs AS (
    SELECT s.subject_id FROM directory.subject s WHERE s.subject_id IN (SELECT subject_id FROM found WHERE imported)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT key, alone FROM found WHERE NOT imported OR subject_id IN (SELECT subject_id FROM theirs)
"""

# purpose: whether any key of a blinding key is there, also one that is busy just now
_ANY_LEFT = "SELECT EXISTS (SELECT 1 FROM directory.lookup_key WHERE kid = $1)"

# purpose: of each identifier whose first key goes, or is gone, the least of the others is the first
_INHERIT = """
WITH heirs AS (
    SELECT twin_of AS old, min(key COLLATE "C") AS new FROM directory.lookup_key WHERE twin_of = ANY($1::text[]) GROUP BY twin_of
)
UPDATE directory.lookup_key k SET twin_of = nullif(h.new, k.key) FROM heirs h WHERE k.twin_of = h.old
"""

# purpose: keys of a blinding key that nobody uses any more, also out of the rows of their subjects, which are locked
_DELETE = """
WITH gone AS (
    DELETE FROM directory.lookup_key WHERE key = ANY($1::text[]) RETURNING subject_id, imported
)
UPDATE directory.subject AS s SET keys = (
    SELECT string_agg(key, '' ORDER BY place)
    FROM generate_series(1, length(s.keys), 32) AS place CROSS JOIN LATERAL substr(s.keys, place, 32) AS key
    WHERE key <> ALL ($1::text[])
)
WHERE s.subject_id IN (SELECT subject_id FROM gone WHERE imported)
"""

# purpose: counting every key takes its time
_PATIENCE = f"SET LOCAL statement_timeout = {COUNT_MS_MAX}"

_OUTBOX = PostgresOutbox("directory")


async def add_twins(pool: Pool, twins: Sequence[Twins], cells: frozenset[CellId]) -> TwinsAnswer:
    """Adds keys beside known ones, each in a transaction of its own, for subjects of `cells`. Raises DatabaseUnavailable."""
    added = refused = 0
    for one in twins:
        async with transaction(pool) as tx:
            new, wrong = await _add(tx, one, cells)
        added, refused = added + new, refused + wrong
    return TwinsAnswer(added=added, refused=refused)


async def _add(tx: Connection, twins: Twins, cells: frozenset[CellId]) -> tuple[int, int]:
    known = await _known(tx, twins.known, cells)
    if known is None:
        return 0, len(twins.keys)
    placement = placement_of(known)
    keys, kids = [one.key for one in twins.keys], [one.kid for one in twins.keys]
    values = (known["kind"], known["first"], known["claim_id"], placement.subject_id)
    rows = await tx.fetch(_ADD_TWINS, keys, kids, *values)
    added = tuple(LookupKey(row["key"]) for row in rows)
    if added and await feed.append_placement(tx, placement, keys_added=added) is None:
        raise RuntimeError("the feed's counter row is missing")
    theirs = int(await tx.fetchval(_THEIRS, keys, placement.subject_id))
    return len(added), len(set(keys)) - theirs


async def _known(tx: Connection, key: str, cells: frozenset[CellId]) -> asyncpg.Record | None:
    """Whom a key leads to, and the first key of its identifier, which stays until the transaction ends: what is named after one that is
    gone would pass for a twin, and be retired as if another key were left."""
    for _ in range(FIRSTS_MAX):
        found = await tx.fetchrow(_KNOWN, key, sorted(cells))
        if found is None or await tx.fetchval(_HOLD_FIRST, found["first"]) is not None:
            return found
        # Whoever retired it has named another; nothing has where it went before this was looked at.
        await tx.execute(_INHERIT, [found["first"]])
    return None


async def count(pool: Pool) -> tuple[Generation, ...]:
    """Every blinding key of which there are lookup keys. Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        await tx.execute(_PATIENCE)
        rows = await tx.fetch(_COUNT, timeout=COUNT_MS_MAX / 1000)
    kids = dict.fromkeys(row["kid"] for row in rows)
    return tuple(
        Generation(
            kid=kid,
            keys={row["kind"]: row["keys"] for row in rows if row["kid"] == kid},
            alone=sum(row["alone"] for row in rows if row["kid"] == kid),
        )
        for kid in kids
    )


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Who retires a blinding key, why, and when (unix seconds). `lose`: also keys that stand alone."""

    actor: str
    reason: str
    at: float
    lose: bool


async def retire(pool: Pool, kid: str, act: Act) -> RetireAnswer | Problem:
    """Removes keys of one blinding key, a bounded number at a time, each time recorded with it. Raises DatabaseUnavailable."""
    if not act.lose and await _is(pool, _ANY_ALONE, kid):
        return Problem(
            code=Code.CONFLICT,
            detail="identifiers are known under this key alone; let them be looked up, or give them up with lose",
            extra={"kid": kid},
        )
    removed = 0
    for _ in range(BATCHES_MAX):
        async with transaction(pool) as tx:
            gone = await _retire_some(tx, kid, act)
        removed += gone
        if gone < RETIRED_AT_ONCE:
            return RetireAnswer(removed=removed, left=await _is(pool, _ANY_LEFT, kid))
    return RetireAnswer(removed=removed, left=True)


async def _is(pool: Pool, question: str, kid: str) -> bool:
    async with session(pool) as connection:
        return bool(await connection.fetchval(question, kid))


async def _retire_some(tx: Connection, kid: str, act: Act) -> int:
    await tx.execute(_ONE_RETIRES, _RETIRER)
    rows = await tx.fetch(_SOME, kid, act.lose, RETIRED_AT_ONCE)
    keys = [LookupKey(row["key"]) for row in rows]
    if keys:
        await tx.execute(_INHERIT, keys)
        await tx.execute(_DELETE, keys)
        seq = await feed.append_keys(tx, KeysChange.RETIRED, tuple(keys))
        lost = sum(row["alone"] for row in rows)
        await _OUTBOX.append(tx, _event(kid, act, seq, removed=len(keys), lost=lost))
    return len(keys)


def _event(kid: str, act: Act, seq: FeedSeq, *, removed: int, lost: int) -> Event:
    """`lost`: of the keys removed, those under which alone an identifier was known."""
    return Event(
        id=f"blinding_key/{kid}/{seq}",
        at=act.at,
        kind=Kind.ALIAS,
        actor=act.actor,
        details={"kid": kid, "reason": act.reason, "lose": act.lose, "removed": removed, "lost": lost},
    )

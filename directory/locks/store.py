"""The SQL of locks: what cells have told, one telling with its history and record, and what was told before."""

from typing import Any

import asyncpg
import msgspec

from directory.database import session, transaction
from directory.locks.core import (
    CellLocks,
    Changed,
    Held,
    LockCode,
    LockHistory,
    LockPage,
    LockStands,
    TellRequest,
    Verdict,
    changes,
    held_after,
    judge,
    number_after,
    state_of,
)
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.words import CellId

CHANNEL = "directory_locks"

# purpose: one telling at a time; whoever reads does not wait
_ONE_BY_ONE = "LOCK TABLE directory.lock_cell IN SHARE ROW EXCLUSIVE MODE"

# purpose: what is held of a cell
_HELD = "SELECT number, locking, steps, digest FROM directory.lock_cell WHERE cell = $1"

# purpose: a cell's locks, as it told them and as they are kept of what it lost, in order
_LOCKS = """
SELECT person, code, since_us, event, false AS kept FROM directory.lock WHERE cell = $1
UNION ALL SELECT person, code, since_us, event, true FROM directory.lock_kept WHERE cell = $1
ORDER BY person, code, since_us, event
"""

# purpose: the time that numbers are made of
_NOW_US = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

# purpose: from now on a cell's locks have this number, by these steps
_NUMBERED = """
INSERT INTO directory.lock_cell (cell, number, locking, steps, digest, at) VALUES ($1, $2, $3, $4, $5, clock_timestamp())
ON CONFLICT (cell) DO UPDATE SET number = excluded.number, locking = excluded.locking, steps = excluded.steps, digest = excluded.digest,
  at = excluded.at
"""

# purpose: these locks that a cell told it tells no more
_UNTELL = """
DELETE FROM directory.lock WHERE cell = $1 AND (person, code, since_us, event) IN
  (SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[]))
"""

# purpose: these it tells
_TELL = """
INSERT INTO directory.lock (cell, person, code, since_us, event)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[])
"""

# purpose: these are kept no more
_LET_GO = """
DELETE FROM directory.lock_kept WHERE cell = $1 AND (person, code, since_us, event) IN
  (SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[]))
"""

# purpose: these are kept
_KEEP = """
INSERT INTO directory.lock_kept (cell, person, code, since_us, event)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[])
"""

# purpose: what changed, by whom and why
_REMEMBER = """
INSERT INTO directory.lock_history (cell, number, person, code, since_us, event, stands, at, actor, reason)
SELECT $1, $2, t.person, t.code, t.since_us, t.event, $7, clock_timestamp(), $8, $9
FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[]) AS t (person, code, since_us, event)
"""

# purpose: wake whoever waits for locks
_WAKE = f"SELECT pg_notify('{CHANNEL}', '')"

# purpose: the number of each cell
_NUMBERS = "SELECT cell, number FROM directory.lock_cell"

# purpose: everything that is held of cells, in one snapshot; a row with nulls for a cell in which nothing stands
_ALL = """
SELECT c.cell, c.number, coalesce(c.steps, 0) AS steps, c.digest, l.person, l.code, l.since_us, l.event, l.kept
FROM directory.lock_cell c LEFT JOIN (
  SELECT cell, person, code, since_us, event, false AS kept FROM directory.lock
  UNION ALL SELECT cell, person, code, since_us, event, true FROM directory.lock_kept
) l ON l.cell = c.cell ORDER BY c.cell, l.person, l.code, l.since_us, l.event
"""

# purpose: a page of changes before a position (null: the newest), newest first
_HISTORY = """
SELECT position, cell, number, person, code, since_us, event, stands, extract(epoch FROM at)::float8 AS at, actor, reason
FROM directory.lock_history WHERE position < coalesce($1, 9223372036854775807) ORDER BY position DESC LIMIT $2
"""


class LockChange(LockStands, frozen=True, kw_only=True):
    """A lock that stood (`stands`) or was lifted at `at` (unix seconds of the database's clock), with the cell's telling `number`."""

    position: int
    cell: CellId
    number: int
    stands: bool
    at: float
    actor: str
    reason: str


class Told(msgspec.Struct, frozen=True):
    """What became of a telling, and what the directory holds of the cell now."""

    verdict: Verdict
    held: Held


async def tell(pool: Pool, clock: Clock, cell: CellId, told: TellRequest, *, actor: str) -> Told:
    """Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        held = await _held(tx, cell)
        judged = judge(held, told)
        if judged.verdict in (Verdict.OTHERWISE, Verdict.OVERFULL):
            return Told(judged.verdict, held)
        new = held_after(held, told, judged, await tx.fetchval(_NOW_US))
        await _put(tx, clock, cell, held, new, actor=actor, parted=judged.verdict is Verdict.PARTED)
        return Told(judged.verdict, new)


async def forget(
    pool: Pool, clock: Clock, cell: CellId, *, actor: str, reason: str, unknown: bool = False
) -> int | None:
    """Whatever a cell told stands no more, and it may tell anew. The number of that; None where nothing is held of it, unless it may be
    `unknown`: then whatever others have heard of it is lifted. Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        held = await _held(tx, cell)
        if not (held.number or unknown):
            return None
        new = Held(number_after(held, await tx.fetchval(_NOW_US)))
        await _put(tx, clock, cell, held, new, actor=actor, reason=reason)
        return new.number


async def state(pool: Pool) -> str:
    """The name of what is held. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_NUMBERS)
    return state_of({CellId(row["cell"]): row["number"] for row in rows})


async def read(pool: Pool) -> LockPage:
    """All of it. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_ALL)
    heads = {CellId(row["cell"]): row for row in rows}
    locks: dict[CellId, list[LockStands]] = {cell: [] for cell in heads}
    kept: dict[CellId, list[LockStands]] = {cell: [] for cell in heads}
    for row in rows:
        if row["person"] is not None:
            locks[CellId(row["cell"])].append(_lock(row))
        if row["kept"]:
            kept[CellId(row["cell"])].append(_lock(row))
    cells = tuple(
        CellLocks(
            cell=cell,
            number=head["number"],
            locks=tuple(locks[cell]),
            kept=tuple(kept[cell]),
            steps=head["steps"],
            digest=head["digest"],
        )
        for cell, head in heads.items()
    )
    return LockPage(state=state_of({cell: head["number"] for cell, head in heads.items()}), cells=cells)


async def history(pool: Pool, *, before: int | None, limit: int) -> tuple[LockChange, ...]:
    """Newest first. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_HISTORY, before, limit)
    return tuple(LockChange(**(dict(row) | {"code": LockCode(row["code"])})) for row in rows)


async def _held(tx: Connection, cell: CellId) -> Held:
    await tx.execute(_ONE_BY_ONE)
    row = await tx.fetchrow(_HELD, cell)
    if row is None:
        return Held()
    locks = await tx.fetch(_LOCKS, cell)
    known = row["digest"] is not None and row["steps"] is not None
    return Held(
        number=row["number"],
        locking=row["locking"],
        history=LockHistory(steps=row["steps"], digest=row["digest"]) if known else None,
        told=tuple(_lock(one) for one in locks if not one["kept"]),
        kept=tuple(_lock(one) for one in locks if one["kept"]),
    )


async def _put(
    tx: Connection,
    clock: Clock,
    cell: CellId,
    held: Held,
    new: Held,
    *,
    actor: str,
    reason: str = "",
    parted: bool = False,
) -> None:
    """What changed of what was held. What was told and is kept now has not."""
    steps, digest = (None, None) if new.history is None else (new.history.steps, new.history.digest)
    await tx.execute(_NUMBERED, cell, new.number, new.locking, steps, digest)
    told, kept = changes(held.told, new.told), changes(held.kept, new.kept)
    for sql, some in ((_UNTELL, told.lifted), (_TELL, told.stands), (_LET_GO, kept.lifted), (_KEEP, kept.stands)):
        if some:
            await tx.execute(sql, cell, *_columns(some))
    changed = changes((*held.told, *held.kept), (*new.told, *new.kept))
    for stands, some in ((False, changed.lifted), (True, changed.stands)):
        if some:
            await tx.execute(_REMEMBER, cell, new.number, *_columns(some), stands, actor, reason)
    if reason or parted or changed.lifted or changed.stands:
        event = _event(clock, cell, new, changed, actor=actor, reason=reason, parted=parted)
        await PostgresOutbox("directory").append(tx, event)
    await tx.execute(_WAKE)


def _lock(row: asyncpg.Record) -> LockStands:
    return LockStands(person=row["person"], code=LockCode(row["code"]), since_us=row["since_us"], event=row["event"])


def _columns(locks: tuple[LockStands, ...]) -> tuple[list[str], list[str], list[int], list[str]]:
    return (
        [one.person for one in locks],
        [one.code.value for one in locks],
        [one.since_us for one in locks],
        [one.event for one in locks],
    )


def _event(clock: Clock, cell: CellId, new: Held, changed: Changed, *, actor: str, reason: str, parted: bool) -> Event:
    told = {"cell": cell, "number": new.number, "stands": changed.stands, "lifted": changed.lifted, "reason": reason}
    details: dict[str, Any] = msgspec.to_builtins(told) | ({"kept": msgspec.to_builtins(new.kept)} if parted else {})
    return Event(id=f"locks/{cell}/{new.number}", at=clock.unix_s(), kind=Kind.LOCK, actor=actor, details=details)

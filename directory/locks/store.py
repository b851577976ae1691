"""The SQL of locks: what cells have told, one telling with its history and record, and what was told before."""

import msgspec

from directory.database import session, transaction
from directory.locks.core import (
    CellLocks,
    Changed,
    Held,
    LockCode,
    LockPage,
    LockStands,
    TellRequest,
    Verdict,
    changes,
    judge,
    number_after,
    order,
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
_HELD = "SELECT number, locking FROM directory.lock_cell WHERE cell = $1"

# purpose: a cell's locks
_LOCKS = "SELECT person, code, since_us, event FROM directory.lock WHERE cell = $1"

# purpose: the time that numbers are made of
_NOW_US = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

# purpose: from now on a cell's locks have this number
_NUMBERED = """
INSERT INTO directory.lock_cell (cell, number, locking, at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (cell) DO UPDATE SET number = excluded.number, locking = excluded.locking, at = excluded.at
"""

# purpose: these locks of a cell stand no more
_LIFT = """
DELETE FROM directory.lock WHERE cell = $1 AND (person, code) IN (SELECT * FROM unnest($2::text[], $3::text[]))
"""

# purpose: these stand
_STAND = """
INSERT INTO directory.lock (cell, person, code, since_us, event)
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

# purpose: everything that cells have told, in one snapshot; a row with nulls for a cell in which nothing stands
_ALL = """
SELECT c.cell, c.number, l.person, l.code, l.since_us, l.event
FROM directory.lock_cell c LEFT JOIN directory.lock l ON l.cell = c.cell ORDER BY c.cell, l.person, l.code
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
    """What became of a telling, and the number that the directory holds of the cell now."""

    verdict: Verdict
    number: int


async def tell(pool: Pool, clock: Clock, cell: CellId, told: TellRequest, *, actor: str) -> Told:
    """Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        held = await _held(tx, cell)
        verdict = judge(held, told)
        if verdict is not Verdict.TAKEN:
            return Told(verdict, held.number)
        return Told(verdict, await _put(tx, clock, cell, held, told, actor=actor, reason=""))


async def forget(pool: Pool, clock: Clock, cell: CellId, *, actor: str, reason: str) -> int | None:
    """Whatever a cell told stands no more, and it may tell anew. The number of that; None where it never told anything. Raises
    DatabaseUnavailable."""
    async with transaction(pool) as tx:
        held = await _held(tx, cell)
        if not held.number:
            return None
        nothing = TellRequest(after=held.number, locking=0, locks=())
        return await _put(tx, clock, cell, held, nothing, actor=actor, reason=reason)


async def state(pool: Pool) -> str:
    """The name of what is held. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_NUMBERS)
    return state_of({CellId(row["cell"]): row["number"] for row in rows})


async def read(pool: Pool) -> LockPage:
    """All of it. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_ALL)
    numbers = {CellId(row["cell"]): int(row["number"]) for row in rows}
    locks: dict[CellId, list[LockStands]] = {cell: [] for cell in numbers}
    for row in rows:
        if row["person"] is not None:
            locks[CellId(row["cell"])].append(
                LockStands(
                    person=row["person"], code=LockCode(row["code"]), since_us=row["since_us"], event=row["event"]
                )
            )
    cells = tuple(CellLocks(cell=cell, number=numbers[cell], locks=tuple(locks[cell])) for cell in numbers)
    return LockPage(state=state_of(numbers), cells=cells)


async def history(pool: Pool, *, before: int | None, limit: int) -> tuple[LockChange, ...]:
    """Newest first. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_HISTORY, before, limit)
    return tuple(LockChange(**(dict(row) | {"code": LockCode(row["code"])})) for row in rows)


async def _held(tx: Connection, cell: CellId) -> Held:
    await tx.execute(_ONE_BY_ONE)
    row = await tx.fetchrow(_HELD, cell)
    return Held() if row is None else Held(row["number"], row["locking"])


async def _put(
    tx: Connection, clock: Clock, cell: CellId, held: Held, told: TellRequest, *, actor: str, reason: str
) -> int:
    before = [
        LockStands(person=row["person"], code=LockCode(row["code"]), since_us=row["since_us"], event=row["event"])
        for row in await tx.fetch(_LOCKS, cell)
    ]
    changed = changes(before, told.locks)
    number = number_after(held, await tx.fetchval(_NOW_US))
    await tx.execute(_NUMBERED, cell, number, told.locking)
    if changed.lifted:
        await tx.execute(_LIFT, cell, *zip(*map(order, changed.lifted), strict=True))
        await tx.execute(_REMEMBER, cell, number, *_columns(changed.lifted), False, actor, reason)
    if changed.stands:
        await tx.execute(_STAND, cell, *_columns(changed.stands))
        await tx.execute(_REMEMBER, cell, number, *_columns(changed.stands), True, actor, reason)
    if reason or changed.lifted or changed.stands:
        await PostgresOutbox("directory").append(tx, _event(clock, cell, number, changed, actor, reason))
    await tx.execute(_WAKE)
    return number


def _columns(locks: tuple[LockStands, ...]) -> tuple[list[str], list[str], list[int], list[str]]:
    return (
        [one.person for one in locks],
        [one.code.value for one in locks],
        [one.since_us for one in locks],
        [one.event for one in locks],
    )


def _event(clock: Clock, cell: CellId, number: int, changed: Changed, actor: str, reason: str) -> Event:
    told = {"cell": cell, "number": number, "stands": changed.stands, "lifted": changed.lifted, "reason": reason}
    details = msgspec.to_builtins(told)
    return Event(id=f"locks/{cell}/{number}", at=clock.unix_s(), kind=Kind.LOCK, actor=actor, details=details)

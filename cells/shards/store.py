"""SQL on a shard's own schema `domicile`: fence rows, cuts in progress, identity and feed position. Role domicile_cell.

The cut: a row in `closing` is committed first, so that new writers stand aside; then the fence goes up, waiting for the share locks
of writers already inside, and the closing row goes with it.
"""

import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import repeat

import asyncpg

from cells.shards.core import Home
from directory.bulk.packed import ID_BYTES, numbers_of, texts_of
from directory.placement.core import State
from foundation import copying
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event
from foundation.postgres import Connection, Pool
from foundation.words import CellId, Epoch, FeedSeq, ServiceId, ShardId, SubjectId

HOMES_PAGE = 5_000
SESSION_S_MAX = 10.0
"""Longest wait for a connection, and for giving it back: longer than a cut may take, so only a lost server reaches it."""

# purpose: say whose database this is; the first to come writes it down
CLAIM = """
INSERT INTO domicile.shard (cell, shard) VALUES ($1, $2) ON CONFLICT (only_row) DO NOTHING
"""

# purpose: whose database this is and how far it has followed
IDENTITY = """
SELECT cell, shard, position, mark FROM domicile.shard
"""

# purpose: remember how far this shard has followed the feed; never backwards
SAVE_POSITION = """
UPDATE domicile.shard SET position = $1, mark = $2 WHERE position <= $1
"""

# purpose: every fence row; `standing`: its state and its services, in words of which there are few
HOMES = """
SELECT subject_id::text AS subject_id, epoch, state || ' ' || array_to_string(services, ' ') AS standing FROM domicile.home
"""

# purpose: every fence row, page by page in key order
HOMES_AFTER = """
SELECT subject_id::text AS subject_id, epoch, state, services
FROM domicile.home WHERE subject_id > $1::uuid ORDER BY subject_id LIMIT $2
"""

# purpose: the fence rows of these subjects
HOMES_OF = """
SELECT subject_id::text AS subject_id, epoch, state, services FROM domicile.home WHERE subject_id = ANY($1::uuid[])
"""

# purpose: one fence row, and whether it is being raised just now
HOME = """
SELECT epoch, state, services, EXISTS (SELECT 1 FROM domicile.closing AS c WHERE c.subject_id = $1::uuid) AS closing
FROM domicile.home WHERE subject_id = $1::uuid
"""

# purpose: which of these subjects have a fence row here
HELD = """
SELECT subject_id::text AS subject_id FROM domicile.home WHERE subject_id = ANY($1::uuid[])
"""

# purpose: hold new writers off before a fence that exists is raised
MARK_CLOSING = """
INSERT INTO domicile.closing AS c (subject_id, epoch, state, services)
SELECT f.subject_id, $2, $3, $4 FROM domicile.home AS f WHERE f.subject_id = $1::uuid AND f.epoch < $2
ON CONFLICT (subject_id) DO UPDATE SET epoch = excluded.epoch, state = excluded.state, services = excluded.services
WHERE c.epoch < excluded.epoch
"""

# purpose: raise a fence, or settle it under the epoch it has; waits for share locks. No row: it already stands there or higher
RAISE = """
INSERT INTO domicile.home AS f (subject_id, epoch, state, services) VALUES ($1::uuid, $2, $3, $4)
ON CONFLICT (subject_id) DO UPDATE SET epoch = excluded.epoch, state = excluded.state, services = excluded.services
WHERE f.epoch < excluded.epoch
   OR (f.epoch = excluded.epoch AND f.state IN ('reserved', 'moving_in')
       AND excluded.state NOT IN ('reserved', 'moving_in', 'moved'))
RETURNING f.epoch
"""

# purpose: the fences of subjects that nobody has written under yet, in the order of their ids; those that stand already stay
RAISE_NEW = """
INSERT INTO domicile.home AS f (subject_id, epoch, state, services)
SELECT id, epoch, 'reserved', $3 FROM unnest($1::uuid[], $2::bigint[]) AS m(id, epoch) ORDER BY id
ON CONFLICT (subject_id) DO NOTHING
"""

# purpose: the same, active; those that went higher stay
SETTLE_NEW = """
UPDATE domicile.home AS f SET state = 'active'
FROM unnest($1::uuid[], $2::bigint[]) AS m(id, epoch) WHERE f.subject_id = m.id AND f.epoch = m.epoch AND f.state = 'reserved'
"""

# purpose: let writers in again under the raised fence
UNMARK_CLOSING = """
DELETE FROM domicile.closing WHERE subject_id = $1::uuid AND epoch <= $2
"""

# purpose: cuts begun so many seconds ago and still not finished: their process died
UNFINISHED = """
SELECT subject_id::text AS subject_id, epoch, state, services FROM domicile.closing
WHERE since <= now() - make_interval(secs => $1) ORDER BY since LIMIT 10000
"""

OUTBOX = PostgresOutbox("domicile")
FENCE_COLUMNS = ("subject_id", "epoch", "state", "services")


class WrongShard(Exception):
    """The database belongs to another shard than the settings say."""


@asynccontextmanager
async def session(pool: Pool) -> AsyncIterator[Connection]:
    """One connection, had and given back within SESSION_S_MAX. Raises TimeoutError, asyncpg errors."""
    async with pool.acquire(timeout=SESSION_S_MAX) as connection:
        yield connection


async def claim(connection: Connection, cell: CellId, shard: ShardId) -> tuple[FeedSeq, str]:
    """The feed position of this shard, and its mark. Raises WrongShard when the database is another shard's."""
    await connection.execute(CLAIM, cell, shard)
    row = await connection.fetchrow(IDENTITY)
    if row is None or (row["cell"], row["shard"]) != (cell, shard):
        raise WrongShard(f"the database named for {cell}/{shard} belongs to another shard")
    return FeedSeq(row["position"]), row["mark"]


async def save_position(pool: Pool, position: FeedSeq, mark: str) -> None:
    async with session(pool) as connection:
        await connection.execute(SAVE_POSITION, position, mark)


async def homes(connection: Connection, shard: ShardId) -> AsyncIterator[list[tuple[SubjectId, Home]]]:
    """Every fence row of the shard, some thousand at a time, in one pass: of pages by key Postgres sorts all of them for each.

    What many have in common is kept once.
    """
    known: dict[str, tuple[State, tuple[ServiceId, ...]]] = {}
    async with connection.transaction(readonly=True):
        cursor = await connection.cursor(HOMES)
        while rows := await cursor.fetch(HOMES_PAGE):
            found = []
            for subject, epoch, standing in rows:
                alike = known.get(standing)
                if alike is None:
                    alike = known[standing] = _standing(standing)
                found.append((subject, Home(shard, epoch, *alike)))
            yield found


async def homes_by_page(pool: Pool, *, page_max: int = 1_000) -> AsyncIterator[list[SubjectId]]:
    """Every subject that has a fence row, in pages; the connection is given back between them."""
    after = "00000000-0000-0000-0000-000000000000"
    while True:
        async with session(pool) as connection:
            rows = await connection.fetch(HOMES_AFTER, after, page_max)
        if not rows:
            return
        yield [SubjectId(row["subject_id"]) for row in rows]
        after = rows[-1]["subject_id"]


async def home(connection: Connection, shard: ShardId, subject: SubjectId) -> tuple[Home | None, bool]:
    """The subject's fence row (None: there is none), and whether a cut is in progress."""
    row = await connection.fetchrow(HOME, subject)
    return (None, False) if row is None else (_home(shard, row), row["closing"])


async def held(pool: Pool, subjects: list[SubjectId]) -> set[SubjectId]:
    """Those of `subjects` that have a fence row on this shard."""
    async with session(pool) as connection:
        return {SubjectId(row["subject_id"]) for row in await connection.fetch(HELD, subjects)}


async def raise_fence(pool: Pool, subject: SubjectId, home: Home, event: Event) -> bool:
    """Puts the fence to `home`; after the return no statement under an older epoch can commit a write any more.

    False when it stands there or higher already. Idempotent. `event` is recorded with the change, in its transaction. Raises asyncpg
    errors, QueryCanceledError among them when a writer holds the fence longer than the statement timeout: call again.
    """
    services = list(home.services)
    async with session(pool) as connection:
        await connection.execute(MARK_CLOSING, subject, home.epoch, home.state.value, services)
        async with connection.transaction():
            raised = await connection.fetchval(RAISE, subject, home.epoch, home.state.value, services)
            await connection.execute(UNMARK_CLOSING, subject, home.epoch)
            if raised is not None:
                await OUTBOX.append(connection, event)
    return raised is not None


async def raise_new(pool: Pool, subjects: bytes, epochs: bytes, services: Sequence[ServiceId], event: Event) -> None:
    """Fences of newly imported subjects, reserved under the epoch of their import; ids and epochs in columns. No cut is needed: under
    a lower epoch nobody could write, and a fence that is there stays. Idempotent; `event` is recorded with the change. Raises asyncpg
    errors."""
    rows = _fences(copying.cut(subjects, ID_BYTES), copying.cut(epochs, 8), services)
    async with session(pool) as connection, connection.transaction():
        try:
            async with connection.transaction():
                await connection.copy_to_table(
                    "home",
                    schema_name="domicile",
                    columns=FENCE_COLUMNS,
                    source=copying.Stream(rows),
                    format="binary",
                )
        except asyncpg.UniqueViolationError:  # some were raised before
            await connection.execute(RAISE_NEW, texts_of(subjects), numbers_of(epochs), list(services))
        await OUTBOX.append(connection, event)


async def settle_new(pool: Pool, subjects: Sequence[SubjectId], epochs: Sequence[Epoch], event: Event) -> None:
    """The same fences, active. Those that went higher meanwhile stay. Idempotent."""
    async with session(pool) as connection, connection.transaction():
        await connection.execute(SETTLE_NEW, subjects, epochs)
        await OUTBOX.append(connection, event)


def _fences(ids: Sequence[bytes], epochs: Sequence[bytes], services: Sequence[ServiceId]) -> list[bytes]:
    """Rows of FENCE_COLUMNS."""
    head, between = struct.pack(">hi", len(FENCE_COLUMNS), ID_BYTES), struct.pack(">i", 8)
    stated = copying.text(State.RESERVED.value) + copying.texts(services)
    return list(map(b"".join, zip(repeat(head), ids, repeat(between), epochs, repeat(stated), strict=False)))


async def fences(
    pool: Pool, shard: ShardId, subjects: list[SubjectId] | None, *, after: SubjectId, limit: int
) -> dict[SubjectId, Home]:
    """Up to `limit` fence rows in the order of their ids beyond `after`: those of `subjects`, or any (None)."""
    async with session(pool) as connection:
        if subjects is None:
            rows = await connection.fetch(HOMES_AFTER, after, limit)
        else:
            rows = await connection.fetch(HOMES_OF, subjects)
    return {SubjectId(row["subject_id"]): _home(shard, row) for row in rows}


async def unfinished(pool: Pool, shard: ShardId, *, begun_s: float) -> list[tuple[SubjectId, Home]]:
    """Cuts that were begun at least so many seconds ago and not finished."""
    async with session(pool) as connection:
        rows = await connection.fetch(UNFINISHED, begun_s)
    return [(SubjectId(row["subject_id"]), _home(shard, row)) for row in rows]


async def record(pool: Pool, events: list[Event]) -> None:
    """Records events in one transaction; one that is known already stays once."""
    async with session(pool) as connection, connection.transaction():
        await OUTBOX.append_many(connection, events)


def _standing(words: str) -> tuple[State, tuple[ServiceId, ...]]:
    state, *services = words.split()
    return State(state), tuple(ServiceId(name) for name in services)


def _home(shard: ShardId, row: asyncpg.Record) -> Home:
    return Home(shard, Epoch(row["epoch"]), State(row["state"]), tuple(ServiceId(name) for name in row["services"]))

"""Histories of the feed: beginning a new one, above every number that the lost one may have given out, and what there were. SQL."""

from typing import Any

import msgspec

from directory.database import session, transaction
from directory.feed import store
from directory.feed.marks import NUMBERS_GAP, Claim, begin_at
from foundation import logs
from foundation.postgres import Connection, Pool
from foundation.words import EPOCH_MAX, Epoch, FeedSeq

log = logs.get(__name__)

DIRECTORY_ACTOR = "service:directory"
LISTED_MAX = 100

# purpose: hold the counter row, so that nothing is appended meanwhile
_LOCK = "SELECT seq FROM directory.feed_head FOR UPDATE"

# purpose: epochs from above $1, or above the newest given out, and $2 more
_RAISE_EPOCHS = """
SELECT setval('directory.epoch_seq', greatest((SELECT last_value FROM directory.epoch_seq), $1) + $2)
"""

# purpose: from $1 on another history; nothing before can be followed from
_BEGIN = """
WITH begun AS (
    UPDATE directory.feed_head SET
        seq = $1, floor = $1, floor_nonce = gen_random_uuid(), history = replace(gen_random_uuid()::text, '-', '')
    RETURNING history
)
INSERT INTO directory.feed_history (history, began, epoch, at, actor, reason)
SELECT history, $1, $2, clock_timestamp(), $3, $4 FROM begun
RETURNING history
"""

# purpose: wake everyone who waits for the feed
_WAKE = f"SELECT pg_notify('{store.CHANNEL}', $1::bigint || ' ')"

# purpose: where the feed stands and how old its oldest event is
_STATUS = """
SELECT h.history, h.seq AS head, h.floor, extract(epoch FROM f.at)::float8 AS oldest_at,
    (SELECT last_value FROM directory.epoch_seq) AS epoch,
    coalesce((SELECT max(seq) FROM directory.rules_published), 0) AS rules_seq
FROM directory.feed_head h LEFT JOIN directory.feed f ON f.seq = h.floor + 1
"""

# purpose: the histories, newest first
_HISTORIES = """
SELECT history, began, epoch, extract(epoch FROM at)::float8 AS at, actor, reason
FROM directory.feed_history ORDER BY began DESC, at DESC LIMIT $1
"""


class HistoryBegun(msgspec.Struct, frozen=True, kw_only=True):
    """Since event `began` and epoch `epoch` this history holds."""

    history: str
    began: FeedSeq
    epoch: Epoch
    at: float
    actor: str
    reason: str


class FeedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Events in (floor, head] can be had; `oldest_at` is when the first of them happened, None where there is none. `epoch`: the newest
    given out. `histories`: newest first, the first holds."""

    history: str
    head: FeedSeq
    floor: FeedSeq
    events: int
    oldest_at: float | None
    epoch: Epoch
    rules_seq: FeedSeq
    histories: tuple[HistoryBegun, ...]


async def status(pool: Pool) -> FeedStatus:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        row = await connection.fetchrow(_STATUS)
        begun = await connection.fetch(_HISTORIES, LISTED_MAX)
    if row is None:
        raise RuntimeError("the feed's counter row is missing")
    return FeedStatus(
        history=row["history"],
        head=FeedSeq(row["head"]),
        floor=FeedSeq(row["floor"]),
        events=row["head"] - row["floor"],
        oldest_at=row["oldest_at"],
        epoch=Epoch(row["epoch"]),
        rules_seq=FeedSeq(row["rules_seq"]),
        histories=tuple(_begun(one) for one in begun),
    )


async def begin(pool: Pool, *, above_epoch: int, actor: str, reason: str) -> FeedSeq:
    """A new history by somebody's word, its epochs above `above_epoch`; where it begins. Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        head = FeedSeq(await tx.fetchval(_LOCK))
        return await _begin(tx, FeedSeq(head + NUMBERS_GAP), above_epoch, actor=actor, reason=reason)


async def begin_if_lost(pool: Pool, after: FeedSeq, mark: str) -> None:
    """A new history, if the mark proves that this database has lost its event. Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        await begin_on(tx, after, mark)


async def begin_on(tx: Connection, after: FeedSeq, mark: str) -> None:
    """The same inside a transaction. Whoever comes second finds it begun."""
    await tx.execute(_LOCK)
    found = await store.look(tx, after, 0, mark=mark)
    if found.claim is not Claim.LOST:
        return
    lost = max(0, after - found.standing.head)  # each of these events may have taken an epoch
    reason = f"event {after} was told and is not known any more: restored from an older backup"
    epoch = int(await tx.fetchval("SELECT last_value FROM directory.epoch_seq")) + lost
    await _begin(tx, begin_at(found.standing, after), epoch, actor=DIRECTORY_ACTOR, reason=reason)


async def _begin(tx: Connection, began: FeedSeq, above_epoch: int, *, actor: str, reason: str) -> FeedSeq:
    epoch = await tx.fetchval(_RAISE_EPOCHS, min(above_epoch, EPOCH_MAX - 2 * NUMBERS_GAP), NUMBERS_GAP)
    history = await tx.fetchval(_BEGIN, began, epoch, actor, reason)
    await tx.execute(_WAKE, began)
    log.error("feed_history_begun", seq=began, epoch=epoch, actor=actor, generation=history)
    return began


def _begun(row: Any) -> HistoryBegun:
    return HistoryBegun(
        history=row["history"],
        began=FeedSeq(row["began"]),
        epoch=Epoch(row["epoch"]),
        at=row["at"],
        actor=row["actor"],
        reason=row["reason"],
    )

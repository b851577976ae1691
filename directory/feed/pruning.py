"""Keeps the feed and the published rules bounded: what is too old, or too much, goes; who stands before that begins anew.

Pruning first raises the floor, which takes the counter row for a moment, and then deletes what lies below in small batches: nobody is told
that a page is whole when part of it has gone, and a process that dies in between leaves rows that the next one takes.
"""

import asyncio

import msgspec

from directory.database import DatabaseUnavailable, session, transaction
from directory.metrics import FEED_FLOOR, FEED_PRUNED
from foundation import logs
from foundation.postgres import Pool
from foundation.tasks import Backoff

log = logs.get(__name__)

CHECK_S = 60.0
BATCH = 5_000
BATCHES_MAX = 400
"""Of one check: 2 million events a minute can go, more than can come."""

# purpose: the newest of the oldest $1 events that is too old ($2 seconds) or too far back ($3), never one of the newest $4; raise the
# floor to it
_RAISE_FLOOR = """
WITH gone AS (
    SELECT f.seq, f.nonce FROM directory.feed_head h JOIN directory.feed f ON f.seq > h.floor AND f.seq <= h.floor + $1
    WHERE f.seq <= h.seq - $4 AND (f.at < clock_timestamp() - make_interval(secs => $2) OR f.seq <= h.seq - $3)
    ORDER BY f.seq DESC LIMIT 1
)
UPDATE directory.feed_head h SET floor = gone.seq, floor_nonce = gone.nonce FROM gone WHERE h.floor < gone.seq RETURNING floor
"""

# purpose: delete a batch of what lies at the floor or below
_DELETE = """
DELETE FROM directory.feed WHERE seq IN (
    SELECT f.seq FROM directory.feed_head h JOIN directory.feed f ON f.seq <= h.floor ORDER BY f.seq LIMIT $1
)
"""

# purpose: publishers queue at the counter row, so none brings back rules that are being deleted
_LOCK = "SELECT rules_digest FROM directory.feed_head FOR UPDATE"

# purpose: forget publications before the newest $1
_FORGET_PUBLISHED = """
DELETE FROM directory.rules_published
WHERE seq <= (SELECT seq FROM directory.rules_published ORDER BY seq DESC OFFSET $1 LIMIT 1)
"""

# purpose: delete the texts of rules that no publication names any more
_DELETE_RULES = """
DELETE FROM directory.rules r WHERE NOT EXISTS (SELECT 1 FROM directory.rules_published p WHERE p.digest = r.digest)
"""


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept: events younger than `feed_s` seconds and not beyond `feed_max`, at least `feed_min`; the last `rules_max`
    publications of rules, at least one."""

    feed_s: float = 7 * 86_400.0
    feed_max: int = 5_000_000
    feed_min: int = 20_000
    rules_max: int = 1_000


async def prune_for_ever(pool: Pool, keep: Keep, *, check_s: float = CHECK_S) -> None:
    """Runs for the process's life, and in any number of processes. The database's absence is waited out."""
    backoff = Backoff(first_s=check_s, max_s=10 * check_s)
    while True:
        wait_s = check_s
        try:
            await prune(pool, keep)
            backoff.reset()
        except DatabaseUnavailable as exc:
            wait_s = backoff.next_s()
            log.warning("pruning_postponed", error=str(exc), wait_s=wait_s)
        await asyncio.sleep(wait_s)


async def prune(pool: Pool, keep: Keep) -> int:
    """One check; how many events went. Raises DatabaseUnavailable."""
    gone = 0
    for _ in range(BATCHES_MAX):
        async with session(pool) as connection:
            floor = await connection.fetchval(_RAISE_FLOOR, BATCH, keep.feed_s, keep.feed_max, keep.feed_min)
            deleted = _count(await connection.execute(_DELETE, BATCH))
        if floor is not None:
            FEED_FLOOR.set(floor)
        gone += deleted
        if floor is None and deleted < BATCH:
            break
    FEED_PRUNED.inc(gone)
    await _prune_rules(pool, max(1, keep.rules_max))
    return gone


async def _prune_rules(pool: Pool, kept: int) -> None:
    async with transaction(pool) as tx:
        await tx.execute(_LOCK)
        if _count(await tx.execute(_FORGET_PUBLISHED, kept)):
            await tx.execute(_DELETE_RULES)


def _count(tag: str) -> int:
    """The number in a command tag such as `DELETE 3`."""
    return int(tag.rpartition(" ")[2])

"""The feed's SQL: append inside a transaction that changes something, and read a page.

An append takes the counter row and holds it to commit: numbers are dense and in commit order, and a rollback leaves no gap. It is the
last statement of its transaction, so that the row is held for one commit only.
"""

import uuid
from typing import Any

import asyncpg
import msgspec

from directory.database import session
from directory.feed import marks
from directory.feed.marks import Claim, Standing, judge
from directory.placement.core import BulkPart, KeysChange, Placement, State
from directory.registry.core import Stated
from foundation.postgres import Connection, Pool
from foundation.words import FeedSeq, LookupKey, RulesDigest, SubjectId

CHANNEL = "directory_feed"

# purpose: append one event, if the rules and the registry that the change was made under still hold ($3, $4; null = whatever holds);
# no row = they do not
_APPEND = f"""
WITH head AS (
    UPDATE directory.feed_head SET seq = seq + 1
    WHERE ($3::text IS NULL OR rules_digest = $3) AND ($4::bigint IS NULL OR registry_seq = $4)
    RETURNING seq
), event AS (
    INSERT INTO directory.feed (seq, at, body) SELECT seq, clock_timestamp(), $1 FROM head RETURNING seq
)
SELECT seq, pg_notify('{CHANNEL}', seq || ' ' || $2::text) FROM event
"""  # noqa: S608 - a constant

# purpose: from this event on the registry says something else
_REGISTRY_AT = "UPDATE directory.feed_head SET registry_seq = $1"

# purpose: a page of events after a position, where the feed stands and what stands at the position, in one snapshot; one row with
# nulls when there is no event
_PAGE = """
SELECT h.seq AS head, h.history, h.floor, h.mark_key, h.floor_nonce, last.nonce AS head_nonce, held.nonce AS held_nonce,
    f.seq, extract(epoch FROM f.at)::float8 AS at, f.body, f.nonce
FROM directory.feed_head h
LEFT JOIN directory.feed last ON last.seq = h.seq
LEFT JOIN directory.feed held ON held.seq = $1
LEFT JOIN LATERAL (
    SELECT seq, at, body, nonce FROM directory.feed
    WHERE seq > $1 AND seq <= h.seq AND $1 >= h.floor ORDER BY seq LIMIT $2
) f ON true
ORDER BY f.seq
"""

# purpose: the newest committed number
_HEAD = "SELECT seq FROM directory.feed_head"


class RawFeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """`FeedPage` with its events still encoded; the same JSON."""

    events: tuple[msgspec.Raw, ...]
    head: FeedSeq
    history: str
    mark: str
    anew: bool


class Look(msgspec.Struct, frozen=True):
    """What one look at the feed found: where it stands, what the asker's position comes to, and what it is told."""

    standing: Standing
    claim: Claim
    page: RawFeedPage


async def append_placement(
    tx: Connection,
    placement: Placement,
    *,
    keys_added: tuple[LookupKey, ...] = (),
    keys_removed: tuple[LookupKey, ...] = (),
    under: RulesDigest | None = None,
    registry: FeedSeq | None = None,
) -> FeedSeq | None:
    """Appends the placement as it now stands. None when rules other than `under` or another registry hold by now: roll back."""
    body = {"kind": "placement", "placement": placement, "keys_added": keys_added, "keys_removed": keys_removed}
    return await _append(tx, body, placement.subject_id, under, registry)


async def append_keys(tx: Connection, change: KeysChange, keys: tuple[LookupKey, ...]) -> FeedSeq:
    """Appends that nothing known of these keys counts any more."""
    seq = await _append(tx, {"kind": "keys", "change": change.value, "keys": keys}, None, None)
    if seq is None:
        raise RuntimeError("the feed's counter row is missing")
    return seq


async def append_rules(tx: Connection, digest: RulesDigest) -> FeedSeq:
    """Appends that rules with this digest hold."""
    seq = await _append(tx, {"kind": "rules", "digest": digest}, None, None)
    if seq is None:
        raise RuntimeError("the feed's counter row is missing")
    return seq


async def append_bulk(
    tx: Connection,
    state: State,
    job: str,
    batch: int,
    parts: tuple[BulkPart, ...],
    *,
    under: RulesDigest | None = None,
    registry: FeedSeq | None = None,
) -> FeedSeq | None:
    """Appends that the subjects of these parts are in `state` now. None when rules other than `under` or another registry hold by now."""
    body = {"kind": "bulk", "state": state, "job": job, "batch": batch, "parts": parts}
    return await _append(tx, body, None, under, registry)


async def append_registry(tx: Connection, entry: Stated) -> FeedSeq:
    """Appends what the registry now says of an entry; whatever is placed from here on has seen it."""
    seq = await _append(tx, {"kind": "registry", "entry": entry}, None, None)
    if seq is None:
        raise RuntimeError("the feed's counter row is missing")
    await tx.execute(_REGISTRY_AT, seq)
    return seq


async def _append(
    tx: Connection,
    body: dict[str, Any],
    subject_id: SubjectId | None,
    under: RulesDigest | None,
    registry: FeedSeq | None = None,
) -> FeedSeq | None:
    seq = await tx.fetchval(_APPEND, msgspec.json.encode(body).decode(), subject_id or "", under, registry)
    return None if seq is None else FeedSeq(seq)


async def page(pool: Pool, after: FeedSeq, limit: int, *, mark: str = "") -> Look:
    """Up to `limit` events after `after`, for whoever shows this mark of it. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return await look(connection, after, limit, mark=mark)


async def look(connection: Connection, after: FeedSeq, limit: int, *, mark: str = "") -> Look:
    """The same on one connection."""
    rows = await connection.fetch(_PAGE, after, limit)
    first = rows[0]
    key = first["mark_key"].bytes
    standing = Standing(history=first["history"], head=FeedSeq(first["head"]), floor=FeedSeq(first["floor"]), key=key)

    def nonce(seq: int, of_event: uuid.UUID | None) -> bytes | None:
        found = first["floor_nonce"] if seq == standing.floor else of_event
        return None if found is None else found.bytes

    claim = judge(standing, after, mark, nonce(after, first["held_nonce"]))
    follows = claim is Claim.FOLLOWS
    events = tuple(_event(key, row) for row in rows if row["seq"] is not None) if follows else ()
    head_nonce = nonce(standing.head, first["head_nonce"])
    told = RawFeedPage(
        events=events,
        head=standing.head,
        history=standing.history,
        mark="" if head_nonce is None else marks.mark(key, standing.head, head_nonce),
        anew=not follows,
    )
    return Look(standing, claim, told)


async def head(connection: Connection) -> FeedSeq:
    return FeedSeq(await connection.fetchval(_HEAD))


def _event(key: bytes, row: asyncpg.Record) -> msgspec.Raw:
    """The stored JSON object with `seq`, `at` and `mark` put in front."""
    shown = marks.mark(key, row["seq"], row["nonce"].bytes)
    return msgspec.Raw(f'{{"seq":{row["seq"]},"at":{row["at"]!r},"mark":"{shown}",{row["body"][1:]}'.encode())

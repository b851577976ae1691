"""The feed's SQL: append inside a transaction that changes something, and read a page.

An append takes the counter row and holds it to commit: numbers are dense and in commit order, and a rollback leaves no gap. It is the
last statement of its transaction, so that the row is held for one commit only.
"""

from typing import Any

import msgspec

from directory.database import session
from directory.placement.core import BulkPart, Placement, State
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

# purpose: a page of events after a position and the head, in one snapshot; one row with nulls when there is none
_PAGE = """
SELECT h.seq AS head, f.seq, extract(epoch FROM f.at)::float8 AS at, f.body
FROM directory.feed_head h
LEFT JOIN LATERAL (
    SELECT seq, at, body FROM directory.feed WHERE seq > $1 AND seq <= h.seq ORDER BY seq LIMIT $2
) f ON true
ORDER BY f.seq
"""

# purpose: the newest committed number
_HEAD = "SELECT seq FROM directory.feed_head"


class RawFeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """`FeedPage` with its events still encoded; the same JSON."""

    events: tuple[msgspec.Raw, ...]
    head: FeedSeq


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


async def page(pool: Pool, after: FeedSeq, limit: int) -> RawFeedPage:
    """Up to `limit` events after `after`. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_PAGE, after, limit)
    events = tuple(_event(row["seq"], row["at"], row["body"]) for row in rows if row["seq"] is not None)
    return RawFeedPage(events=events, head=FeedSeq(rows[0]["head"]))


async def head(connection: Connection) -> FeedSeq:
    return FeedSeq(await connection.fetchval(_HEAD))


def _event(seq: int, at: float, body: str) -> msgspec.Raw:
    """The stored JSON object with `seq` and `at` put in front."""
    return msgspec.Raw(f'{{"seq":{seq},"at":{at!r},{body[1:]}'.encode())

"""Published rules: SQL. The feed's head row says which hold, so publishing and placing agree on it under one lock."""

import asyncpg
import msgspec

from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement.core import RulesDocument
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Pool
from foundation.words import FeedSeq, RulesDigest

_COLUMNS = "r.digest, r.policy, p.seq, extract(epoch FROM p.at)::float8 AS at, p.actor"

# purpose: the rules that hold
_CURRENT = f"""
SELECT {_COLUMNS} FROM directory.rules_published p JOIN directory.rules r USING (digest) ORDER BY p.seq DESC LIMIT 1
"""  # noqa: S608 - constants

# purpose: rules by digest, as last published
_BY_DIGEST = f"""
SELECT {_COLUMNS} FROM directory.rules_published p JOIN directory.rules r USING (digest)
WHERE p.digest = $1 ORDER BY p.seq DESC LIMIT 1
"""  # noqa: S608

# purpose: which rules hold
_DIGEST = "SELECT rules_digest FROM directory.feed_head"

# purpose: the same, held to commit: publishers queue here
_DIGEST_LOCKED = "SELECT rules_digest FROM directory.feed_head FOR UPDATE"

# purpose: keep a policy under its digest
_KEEP = "INSERT INTO directory.rules (digest, policy) VALUES ($1, $2) ON CONFLICT DO NOTHING"

# purpose: a page of what was made to hold before event $1 (null: the newest), newest first
_HISTORY = """
SELECT p.seq, p.digest, extract(epoch FROM p.at)::float8 AS at, p.actor, p.reason, octet_length(r.policy) AS bytes
FROM directory.rules_published p JOIN directory.rules r USING (digest)
WHERE p.seq < coalesce($1, 9223372036854775807) ORDER BY p.seq DESC LIMIT $2
"""

# purpose: these rules hold from event $1 on
_PUBLISH = """
WITH p AS (
    INSERT INTO directory.rules_published (seq, digest, at, actor, reason) VALUES ($1, $2, clock_timestamp(), $3, $4)
    RETURNING extract(epoch FROM at)::float8 AS at
), h AS (
    UPDATE directory.feed_head SET rules_digest = $2
)
SELECT at FROM p
"""


class Published(msgspec.Struct, frozen=True):
    """`changed`: False when these rules held already."""

    document: RulesDocument
    changed: bool


class Other(msgspec.Struct, frozen=True):
    """Other rules hold than the caller compared with (None: none at all); nothing was published."""

    digest: RulesDigest | None


class PublishedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Once that rules were made to hold, from feed event `seq` on; `bytes`: of the policy's text."""

    seq: FeedSeq
    digest: RulesDigest
    published_at: float
    actor: str
    reason: str
    bytes: int


async def current(pool: Pool) -> RulesDocument | None:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        row = await connection.fetchrow(_CURRENT)
    return None if row is None else _document(row)


async def by_digest(pool: Pool, digest: RulesDigest) -> RulesDocument | None:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        row = await connection.fetchrow(_BY_DIGEST, digest)
    return None if row is None else _document(row)


async def history(pool: Pool, *, before: FeedSeq | None, limit: int) -> tuple[PublishedEntry, ...]:
    """Newest first. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_HISTORY, before, limit)
    return tuple(
        PublishedEntry(
            seq=FeedSeq(row["seq"]),
            digest=RulesDigest(row["digest"]),
            published_at=row["at"],
            actor=row["actor"],
            reason=row["reason"],
            bytes=row["bytes"],
        )
        for row in rows
    )


async def current_digest(pool: Pool) -> RulesDigest | None:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        digest = await connection.fetchval(_DIGEST)
    return None if digest is None else RulesDigest(digest)


async def publish(
    pool: Pool,
    clock: Clock,
    *,
    digest: RulesDigest,
    policy: str,
    actor: str,
    reason: str,
    compared: RulesDigest | None = None,
) -> Published | Other:
    """Makes rules hold, in one transaction with their feed event and record; nothing when they hold already, whatever was `compared`
    (RFC 9110 section 13.1.1), or when others hold than those. Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        before = await tx.fetchval(_DIGEST_LOCKED)
        if before == digest:
            return Published(_document(await tx.fetchrow(_CURRENT)), changed=False)
        if compared is not None and before != compared:
            return Other(before)
        await tx.execute(_KEEP, digest, policy)
        seq = await feed.append_rules(tx, digest)
        at = await tx.fetchval(_PUBLISH, seq, digest, actor, reason)
        event = Event(
            id=f"rules/{seq}",
            at=clock.unix_s(),
            kind=Kind.RULES,
            actor=actor,
            details={"digest": digest, "before": before, "reason": reason},
        )
        await PostgresOutbox("directory").append(tx, event)
    document = RulesDocument(digest=digest, policy=policy, seq=seq, published_at=at, actor=actor)
    return Published(document, changed=True)


def _document(row: asyncpg.Record | None) -> RulesDocument:
    if row is None:
        raise RuntimeError("the head row names rules that were never published")
    return RulesDocument(
        digest=RulesDigest(row["digest"]),
        policy=row["policy"],
        seq=FeedSeq(row["seq"]),
        published_at=row["at"],
        actor=row["actor"],
    )

"""The registry's SQL: what stands, what stood, and one change with its history, record and feed event."""

import hashlib
from typing import Any

import msgspec

from directory.database import session, transaction
from directory.feed import store as feed
from directory.registry.core import UNSTATED, Registry, Stated
from foundation.clock import Clock
from foundation.ledger.canonical import canonical
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Pool
from foundation.words import FeedSeq, RulesDigest

# purpose: the event that last changed the registry
_CHANGED_AT = "SELECT registry_seq FROM directory.feed_head"

# purpose: every entry and the event as of which it stands, in one snapshot; one row with nulls when there is none
_READ = """
SELECT h.registry_seq, r.entry, r.version, r.drain, r.weight, r.addresses
FROM directory.feed_head h LEFT JOIN directory.registry r ON true
"""

# purpose: hold rules and registry as they are until commit, as everybody does who changes either
_HOLD = "SELECT rules_digest FROM directory.feed_head FOR UPDATE"

# purpose: one entry
_ENTRY = "SELECT entry, version, drain, weight, addresses FROM directory.registry WHERE entry = $1"

# purpose: an entry says this from now on
_PUT = """
INSERT INTO directory.registry (entry, version, drain, weight, addresses) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (entry) DO UPDATE SET
    version = excluded.version, drain = excluded.drain, weight = excluded.weight, addresses = excluded.addresses
"""

# purpose: who said it, when and why
_REMEMBER = """
INSERT INTO directory.registry_history (seq, entry, version, drain, weight, addresses, at, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp(), $7, $8)
"""

# purpose: a page of changes before event $2 (null: the newest), newest first, of one entry or of all ($1 null)
_HISTORY = """
SELECT seq, entry, version, drain, weight, addresses, extract(epoch FROM at)::float8 AS at, actor, reason
FROM directory.registry_history
WHERE ($1::text IS NULL OR entry = $1) AND seq < coalesce($2, 9223372036854775807)
ORDER BY seq DESC LIMIT $3
"""


class Change(Stated, frozen=True, kw_only=True):
    """An entry as event `seq` left it; `at` is unix seconds of the database's clock."""

    seq: FeedSeq
    at: float
    actor: str
    reason: str


class Put(msgspec.Struct, frozen=True):
    """The entry as it stands now. `seq`: of the event that made it so just now; None where it said this already."""

    stated: Stated
    seq: FeedSeq | None


class Otherwise(msgspec.Struct, frozen=True):
    """The entry is at another version than the caller compared with; nothing was changed."""

    version: int


class RulesChanged(msgspec.Struct, frozen=True):
    """Other rules hold by now than the entry was held against; nothing was changed."""


async def changed_at(pool: Pool) -> FeedSeq:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        return FeedSeq(await connection.fetchval(_CHANGED_AT))


async def read(pool: Pool) -> Registry:
    """Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_READ)
    entries = {row["entry"]: _stated(row) for row in rows if row["entry"] is not None}
    return Registry(seq=FeedSeq(rows[0]["registry_seq"]), entries=entries)


async def put(
    pool: Pool, clock: Clock, wanted: Stated, *, held: int, under: RulesDigest, actor: str, reason: str
) -> Put | Otherwise | RulesChanged:
    """Makes the entry say what `wanted` says (its version is not looked at), if it is at version `held` and the rules that declare it
    hold still; nothing where it says so already (RFC 9110 section 13.1.1). Raises DatabaseUnavailable."""
    async with transaction(pool) as tx:
        if await tx.fetchval(_HOLD) != under:
            return RulesChanged()
        row = await tx.fetchrow(_ENTRY, wanted.entry)
        before = Stated(entry=wanted.entry, version=UNSTATED) if row is None else _stated(row)
        after = msgspec.structs.replace(wanted, version=before.version + 1)
        if msgspec.structs.replace(before, version=after.version) == after:
            return Put(before, None)
        if before.version != held:
            return Otherwise(before.version)
        addresses = None if after.addresses is None else list(after.addresses)
        values = (after.entry, after.version, after.drain, after.weight, addresses)
        await tx.execute(_PUT, *values)
        seq = await feed.append_registry(tx, after)
        await tx.execute(_REMEMBER, seq, *values, actor, reason)
        event = Event(
            id=f"registry/{seq}",
            at=clock.unix_s(),
            kind=Kind.REGISTRY,
            actor=actor,
            details=_details(before, after, under, reason),
        )
        await PostgresOutbox("directory").append(tx, event)
    return Put(after, seq)


def _details(before: Stated, after: Stated, under: RulesDigest, reason: str) -> dict[str, Any]:
    """`digest`: SHA-256 over the canonical JSON of what the entry says now; `rules`: those that declare it."""
    told = msgspec.to_builtins(after)
    digest = f"sha256:{hashlib.sha256(canonical(told)).hexdigest()}"
    return {"before": msgspec.to_builtins(before), "after": told, "digest": digest, "rules": under, "reason": reason}


async def history(pool: Pool, *, entry: str | None, before: FeedSeq | None, limit: int) -> tuple[Change, ...]:
    """Newest first. Raises DatabaseUnavailable."""
    async with session(pool) as connection:
        rows = await connection.fetch(_HISTORY, entry, before, limit)
    return tuple(
        Change(
            **msgspec.structs.asdict(_stated(row)),
            seq=FeedSeq(row["seq"]),
            at=row["at"],
            actor=row["actor"],
            reason=row["reason"],
        )
        for row in rows
    )


def _stated(row: Any) -> Stated:
    addresses = row["addresses"]
    return Stated(
        entry=row["entry"],
        version=row["version"],
        drain=row["drain"],
        weight=row["weight"],
        addresses=None if addresses is None else tuple(addresses),
    )

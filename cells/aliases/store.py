"""SQL on a shard's `domicile.alias`. Role domicile_cell. Each function raises ProblemError when the shard cannot be reached."""

import enum
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from cells.shards import store
from cells.shards.shard import LOST, Shard, unreachable
from foundation.postgres import Connection
from foundation.words import SubjectId

# purpose: what is wanted, before the directory is asked; a repeat finds it there
_WANT = """
INSERT INTO domicile.alias (claim_id, subject_id, state, sealed, kids) VALUES ($1, $2, 'wanted', $3, $4) ON CONFLICT DO NOTHING
"""

# purpose: the alias is this subject's; the row may be another shard's than the wish was
_COMMIT = """
INSERT INTO domicile.alias (claim_id, subject_id, state, sealed, kids) VALUES ($1, $2, 'committed', $3, $4)
ON CONFLICT (claim_id) DO UPDATE SET subject_id = excluded.subject_id, state = 'committed', changed_at = clock_timestamp()
"""

# purpose: the alias is to go, whatever it was
_UNWANT = "UPDATE domicile.alias SET state = 'unwanted', changed_at = clock_timestamp() WHERE claim_id = $1"

# purpose: nothing is left of it
_FORGET = "DELETE FROM domicile.alias WHERE claim_id = $1"

# purpose: one alias
_READ = """
SELECT claim_id::text AS claim_id, subject_id::text AS subject_id, state, sealed, kids FROM domicile.alias WHERE claim_id = $1
"""

# purpose: what was wanted or unwanted longer ago than any lease lasts, oldest first
_LEFT = """
SELECT claim_id::text AS claim_id, subject_id::text AS subject_id, state, sealed, kids FROM domicile.alias
WHERE state <> 'committed' AND changed_at < clock_timestamp() - make_interval(secs => $1) ORDER BY changed_at LIMIT $2
"""

# purpose: aliases, after an id, that the directory does not have under all of these blinding keys
_BEHIND = """
SELECT claim_id::text AS claim_id, subject_id::text AS subject_id, state, sealed, kids FROM domicile.alias
WHERE state = 'committed' AND NOT kids @> $1::text[] AND claim_id > $2 ORDER BY claim_id LIMIT $3
"""

# purpose: the directory has it under these by now
_KNOWN = "UPDATE domicile.alias SET kids = $2 WHERE claim_id = $1"

FIRST = "00000000-0000-0000-0000-000000000000"


class State(enum.StrEnum):
    WANTED = "wanted"
    COMMITTED = "committed"
    UNWANTED = "unwanted"


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A row. `kids`: blinding keys under which the directory has it, or was asked to."""

    claim_id: str
    subject_id: SubjectId | None
    state: State
    sealed: bytes
    kids: tuple[str, ...]


async def want(shard: Shard, alias: Alias) -> None:
    async with _session(shard) as connection:
        await connection.execute(_WANT, alias.claim_id, alias.subject_id, alias.sealed, list(alias.kids))


async def commit(shard: Shard, alias: Alias, subject: SubjectId) -> None:
    async with _session(shard) as connection:
        await connection.execute(_COMMIT, alias.claim_id, subject, alias.sealed, list(alias.kids))


async def unwant(shard: Shard, claim_id: str) -> None:
    async with _session(shard) as connection:
        await connection.execute(_UNWANT, claim_id)


async def forget(shard: Shard, claim_id: str) -> None:
    async with _session(shard) as connection:
        await connection.execute(_FORGET, claim_id)


async def read(shard: Shard, claim_id: str) -> Alias | None:
    async with _session(shard) as connection:
        row = await connection.fetchrow(_READ, claim_id)
    return None if row is None else _alias(row)


async def left(shard: Shard, *, older_s: float, limit: int) -> list[Alias]:
    async with _session(shard) as connection:
        return [_alias(row) for row in await connection.fetch(_LEFT, older_s, limit)]


async def behind(shard: Shard, kids: Sequence[str], *, after: str, limit: int) -> list[Alias]:
    async with _session(shard) as connection:
        return [_alias(row) for row in await connection.fetch(_BEHIND, list(kids), after, limit)]


async def known(shard: Shard, claim_id: str, kids: Sequence[str]) -> None:
    async with _session(shard) as connection:
        await connection.execute(_KNOWN, claim_id, list(kids))


@asynccontextmanager
async def _session(shard: Shard) -> AsyncIterator[Connection]:
    try:
        async with store.session(shard.require().cell) as connection:
            yield connection
    except LOST as exc:
        raise unreachable(shard.id) from exc


def _alias(row: asyncpg.Record) -> Alias:
    subject = row["subject_id"]
    return Alias(
        claim_id=row["claim_id"],
        subject_id=None if subject is None else SubjectId(subject),
        state=State(row["state"]),
        sealed=row["sealed"],
        kids=tuple(row["kids"]),
    )

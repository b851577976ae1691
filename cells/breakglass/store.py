"""SQL on the outbox of the cell's first shard, as far as it speaks of break-glass. Role domicile_cell."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import asyncpg
import msgspec

from cells.breakglass.steps import KINDS, Taken, event_of, read
from cells.shards.shard import LOST, Shard, unreachable
from cells.shards.store import session
from foundation.ledger.outbox import PostgresOutbox
from foundation.postgres import Connection

PAGE = 1_000
_WRITER = 0x627265616B676C61  # "breakgla"
_KINDS = ", ".join(f"'{kind.value}'" for kind in KINDS)

# purpose: one writer of break-glass at a time on this shard, until its transaction ends
SERIALISE = "SELECT pg_advisory_xact_lock($1)"

# purpose: what was recorded of break-glass at and after a position, in order
ROWS = f"""
SELECT position, id, (extract(epoch FROM at) * 1000000)::bigint AS at_us, actor, details::text AS details
FROM domicile.outbox WHERE kind IN ({_KINDS}) AND position >= $1 ORDER BY position LIMIT $2
"""  # noqa: S608 - kinds of a closed list

# purpose: the roles that may log in to this server, and what they may besides
LOGINS = """
SELECT rolname::text AS role, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolvaliduntil IS NOT NULL AS bounded,
  rolvaliduntil IS NOT NULL AND rolvaliduntil <= now() + interval '60 s' AS closed
FROM pg_catalog.pg_roles WHERE rolcanlogin ORDER BY rolname
"""

OUTBOX = PostgresOutbox("domicile")


class Row(msgspec.Struct, frozen=True):
    """A step where it stands in the outbox."""

    position: int
    id: str
    taken: Taken


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A role that may log in. `may`: rights of the whole server. `bounded`: its password has an end. `closed`: it has none that is good
    for longer than a minute from now."""

    role: str
    may: tuple[str, ...]
    bounded: bool
    closed: bool = False


class Turn(Protocol):
    """The only one that writes just now. What it recorded stays when it ends well, and is gone when it does not."""

    async def rows(self, position: int) -> list[Row]:
        """At most PAGE steps at and after a position, in order. Raises MalformedStep."""
        ...

    async def record(self, steps: Sequence[tuple[str, Taken]]) -> None:
        """Steps by the names of their events; of a name that is taken, nothing is recorded."""
        ...


class Steps(Protocol):
    """Where steps are kept. Faults show as ProblemError."""

    def turn(self) -> AbstractAsyncContextManager[Turn]: ...


class PostgresSteps:
    """The outbox of a shard: the cell's first, which keeps what speaks of no single home. `shard` raises ProblemError while none is."""

    def __init__(self, shard: Callable[[], Shard]) -> None:
        self._shard = shard

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        shard = self._shard()
        try:
            async with session(shard.require().cell) as connection, connection.transaction():
                await connection.execute(SERIALISE, _WRITER)
                yield _PostgresTurn(connection)
        except (*LOST, asyncpg.PostgresError) as exc:
            raise unreachable(shard.id) from exc


class _PostgresTurn:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(self, position: int) -> list[Row]:
        found = await self._connection.fetch(ROWS, position, PAGE)
        return [
            Row(row["position"], row["id"], read(row["at_us"], row["actor"], row["details"].encode())) for row in found
        ]

    async def record(self, steps: Sequence[tuple[str, Taken]]) -> None:
        await OUTBOX.append_many(self._connection, [event_of(taken, event_id) for event_id, taken in steps])


async def logins(connection: Connection) -> list[Login]:
    """Raises asyncpg errors."""
    rights = {
        "rolsuper": "superuser",
        "rolcreaterole": "create roles",
        "rolcreatedb": "create databases",
        "rolreplication": "replication",
        "rolbypassrls": "bypass row security",
    }
    return [
        Login(
            role=row["role"],
            may=tuple(told for column, told in rights.items() if row[column]),
            bounded=row["bounded"],
            closed=row["closed"],
        )
        for row in await connection.fetch(LOGINS)
    ]

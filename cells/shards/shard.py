"""One shard of a cell: brought up (migrations, live views, pools, fence rows), in service, lost, and brought up again.

A shard that is down refuses its own subjects only. What may be asked of one that is up stands in `Open`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import asyncpg
import msgspec

from cells.records.contracts import Contract
from cells.shards import live, store
from cells.shards.connections import Connections, Lease
from cells.shards.core import Home
from cells.shards.homes import Homes
from cells.shards.standing import Standing
from foundation import logs
from foundation.clock import Clock
from foundation.ledger.port import Event, Kind
from foundation.mute import Secret
from foundation.postgres import Connection, Pool, connect, migrate, migrations_in, pool
from foundation.problems import Code, refuse
from foundation.turns import Crowded
from foundation.words import CellId, FeedSeq, ShardId, SubjectId, Verb

log = logs.get(__name__)

MIGRATIONS = migrations_in(Path(__file__).parent / "migrations")
CELL_CONNECTIONS_MAX = 8
RECORDS_CONNECTIONS_MAX = 16
RECORDS_WAITERS_MAX = 256
"""Requests that wait for a connection at once, each at most ACQUIRE_S_MAX: beyond it they are refused without waiting."""
ACQUIRE_S_MAX = 2.0
CUT_MS_MAX = 5_000
CUT_OVERDUE_S = 15.0
"""A cut begun so long ago has probably lost its process; raising a fence twice does no harm if it has not."""
STATEMENT_MS_MAX = 3_000
LOCK_MS_MAX = 1_000
"""How long a statement waits for a lock: less than others wait for its connection, so a table that is being changed holds no other up."""

LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that was ended between two messages
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""What a shard that cannot be reached, or goes down, shows itself as. QueryCanceledError is among them: look for it first."""
FAULTS = (*LOST, asyncpg.PostgresError, store.WrongShard)
"""What may go wrong while a shard is brought up; each is logged and tried again."""


class Dsns(msgspec.Struct, frozen=True):
    """A shard's three ways in, by role."""

    owner: Secret[str]
    cell: Secret[str]
    records: Secret[str]


class Open:
    """A shard in service."""

    def __init__(self, *, cell: Pool, records: Connections, tables: Standing, position: FeedSeq, mark: str) -> None:
        self.cell = cell
        self.records = records
        self.tables = tables
        self.position = position
        """How far this shard has followed the feed."""
        self.mark = mark
        """What proves it."""


class Shard:
    """A shard by its settings; `up` is None while it cannot be reached."""

    def __init__(
        self, *, cell: CellId, shard: ShardId, dsns: Dsns, contracts: Mapping[str, Contract], homes: Homes, clock: Clock
    ) -> None:
        self.cell = cell
        self.id = shard
        self.up: Open | None = None
        self.tried = False
        self._dsns = dsns
        self._contracts = contracts
        self._homes = homes
        self._clock = clock
        self._tables = Standing(shard, contracts, clock)

    @property
    def logins(self) -> frozenset[str]:
        """The database roles of the settings' three ways in."""
        users = (urlsplit(dsn.reveal()).username for dsn in (self._dsns.owner, self._dsns.cell, self._dsns.records))
        return frozenset(unquote(user) for user in users if user)

    def dsn_of(self, user: str, password: Secret[str]) -> Secret[str]:
        """The way in of another role: as the cell's own, by another name."""
        parts = urlsplit(self._dsns.cell.reveal())
        place = parts.netloc.rpartition("@")[2]
        named = f"{quote(user, safe='')}:{quote(password.reveal(), safe='')}@{place}"
        return Secret(parts._replace(netloc=named).geturl())

    @asynccontextmanager
    async def as_owner(self) -> AsyncIterator[Connection]:
        """One connection as the database's owner, for what is made of contracts. Raises OSError, asyncpg errors."""
        async with connect(self._dsns.owner) as connection:
            yield connection

    def require(self) -> Open:
        """The shard in service. Raises ProblemError(NOT_READY)."""
        if self.up is None:
            raise unreachable(self.id)
        return self.up

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Open]:
        """Brings the shard up: idempotent steps, safe for two starters. Raises FAULTS, MigrationError."""
        try:
            await migrate(self._dsns.owner, MIGRATIONS, track="shard")
            async with connect(self._dsns.owner) as owner:
                await live.regenerate(owner, self._contracts)
            async with self._pools() as (cell, records):
                await self._tables.look(cell)
                async with store.session(cell) as connection:
                    position, mark = await store.claim(connection, self.cell, self.id)
                await self._finish_cuts(cell, begun_s=0)
                await self._load(cell)
                self.up = Open(cell=cell, records=records, tables=self._tables, position=position, mark=mark)
                self.tried = True
                log.info("shard_open", shard=self.id, count=len(self._homes), seq=position)
                yield self.up
        finally:
            self.up = None
            self.tried = True
            self._tables.close()

    @asynccontextmanager
    async def _pools(self) -> AsyncIterator[tuple[Pool, Connections]]:
        settings = {"search_path": "pg_catalog", "default_transaction_isolation": "read committed"}
        waiting = {**settings, "lock_timeout": str(LOCK_MS_MAX)}
        async with (
            pool(
                self._dsns.cell,
                size_max=CELL_CONNECTIONS_MAX,
                server_settings=settings,
                statement_ms_max=CUT_MS_MAX,
                clean=True,
            ) as cell,
            pool(
                self._dsns.records,
                size_max=RECORDS_CONNECTIONS_MAX,
                server_settings=waiting,
                statement_ms_max=STATEMENT_MS_MAX,
                clean=True,
            ) as records,
        ):
            yield (
                cell,
                Connections(
                    records,
                    size_max=RECORDS_CONNECTIONS_MAX,
                    waiters_max=RECORDS_WAITERS_MAX,
                    wait_s=ACQUIRE_S_MAX,
                ),
            )

    async def _load(self, cell: Pool) -> None:
        async with store.session(cell) as connection:
            async for some in store.homes(connection, self.id):
                for subject, home in some:
                    self._homes.put_new(subject, home)
        self._homes.wake()

    async def finish_cuts(self) -> None:
        """Finishes cuts that a process beside this one left half done by its death. Raises ProblemError, LOST errors."""
        await self._finish_cuts(self.require().cell, begun_s=CUT_OVERDUE_S)

    async def _finish_cuts(self, cell: Pool, *, begun_s: float) -> None:
        for subject, home in await store.unfinished(cell, self.id, begun_s=begun_s):
            await store.raise_fence(cell, subject, home, self._event(subject, home))
            self._homes.put(subject, home)

    async def look(self) -> None:
        """Looks whether tables fit their contracts. Raises ProblemError, LOST errors, asyncpg.PostgresError."""
        await self._tables.look(self.require().cell)

    async def met(self, table: str, verb: Verb, error: asyncpg.PostgresError) -> None:
        """What a failed statement says of its table. Raises ProblemError (NOT_READY) where it has changed, or cannot be looked at."""
        try:
            await self._tables.met(self.require().cell, table, verb, error)
        except (*LOST, asyncpg.PostgresError) as exc:
            log.fault("look_failed", exc, shard=self.id, table=table)
            raise unreachable(self.id) from exc

    async def raise_fence(self, subject: SubjectId, home: Home) -> bool:
        """The cut. True when the fence went up; after the return nothing decided before can write. Raises ProblemError, LOST errors."""
        raised = await store.raise_fence(self.require().cell, subject, home, self._event(subject, home))
        self._homes.put(subject, home)
        return raised

    def now(self) -> float:
        """Unix seconds, for events of what is done on this shard."""
        return self._clock.unix_s()

    async def record(self, events: Sequence[Event]) -> None:
        """Records events durably. Raises ProblemError when the shard cannot be reached."""
        try:
            await store.record(self.require().cell, list(events))
        except LOST as exc:
            raise unreachable(self.id) from exc

    async def fence(self, subject: SubjectId) -> tuple[Home | None, bool]:
        """The subject's fence row as it stands in the database, and whether a cut is in progress. Raises ProblemError."""
        try:
            async with self.require().records.lease() as connection:
                return await store.home(connection, self.id, subject)
        except Crowded as exc:
            raise crowded(self.id) from exc
        except LOST as exc:
            raise unreachable(self.id) from exc

    def lease_now(self, table: str, verb: Verb) -> Lease | None:
        """A connection for `fetch`, where one lies free and no change holds the table; None: somebody would have to wait."""
        return None if self.up is None or self._tables.held(table, verb) else self.up.records.lease_now()

    async def fetch(
        self,
        sql: str,
        arguments: Sequence[Any],
        *,
        table: str,
        verb: Verb,
        check: Callable[[Sequence[asyncpg.Record]], None] | None = None,
        lease: Lease | None = None,
    ) -> list[asyncpg.Record]:
        """Runs one statement as the records role. Raises ProblemError when the shard cannot be reached, asyncpg.PostgresError else.

        `check` sees the rows before they stay: what it raises leaves nothing written. `lease`: from `lease_now`, for this table and verb.
        """
        tables = self._tables
        tries = bool(tables.holds) and tables.enter(table, verb)
        try:
            async with lease or self.require().records.lease() as session:
                if tables.holds:
                    tables.go_on(table, verb, tries=tries)
                try:
                    if check is None:
                        rows = await session.fetch_again(sql, arguments)
                    else:
                        async with session.transaction():
                            rows = await session.fetch(sql, *arguments)
                            check(rows)
                except asyncpg.LockNotAvailableError:
                    tables.gave_up(table, verb)
                    raise
        except asyncpg.QueryCanceledError:
            raise
        except Crowded as exc:
            raise crowded(self.id) from exc
        except LOST as exc:
            log.warning("shard_lost", shard=self.id, error=type(exc).__name__)
            raise unreachable(self.id) from exc
        if tables.holds:
            tables.done(table, verb)
        return rows

    def _event(self, subject: SubjectId, home: Home) -> Event:
        return Event(
            id=f"fence:{self.cell}:{self.id}:{subject}:{home.epoch}:{home.state.value}",
            at=self._clock.unix_s(),
            kind=Kind.FENCE,
            actor=f"cell:{self.cell}",
            subject_id=subject,
            details={"epoch": home.epoch, "state": home.state.value},
        )


def crowded(shard: ShardId) -> Exception:
    return refuse(Code.NOT_READY, f"all connections of shard {shard} are taken just now", retry_after_s=1)


def unreachable(shard: ShardId) -> Exception:
    return refuse(Code.NOT_READY, f"shard {shard} cannot be reached just now", retry_after_s=1)

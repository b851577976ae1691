"""Postgres: pools with bounded waits, migrations that two starters cannot race, named queries.

Migrations are files `NNNN_name.sql` in a package folder, forward only. A runner takes an advisory lock for the whole run, so a second
starter waits and then finds nothing to do; each file runs in one transaction with the row that says so, and a file that changed after
it ran is refused.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from foundation import logs
from foundation.mute import Secret
from foundation.sessions import Session

if TYPE_CHECKING:
    Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

log = logs.get(__name__)

CONNECT_S_MAX = 5.0
COMMAND_S_MAX = 10.0
_ALIVE = {"tcp_keepalives_idle": "60", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
"""A session that nobody uses stays: the server asks after it, so that no gateway in between forgets it, and a dead client's is ended."""
_MIGRATION_LOCK = 0x646F6D6963696C65  # "domicile"
MIGRATION_S_MAX = 4 * 3_600.0
"""Of one file, and of the wait for another starter: an index of a large table takes its time, and one that is given up is begun anew at
the next start."""
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql\Z")


class MigrationError(Exception):
    """Migrations cannot be applied; the message names the file."""


@asynccontextmanager
async def pool(
    dsn: Secret[str],
    *,
    size_max: int,
    size_min: int = 1,
    server_settings: Mapping[str, str] | None = None,
    statement_ms_max: int = 5_000,
    clean: bool = False,
) -> AsyncIterator[Pool]:
    """A pool whose connects, commands and statements are all bounded. Raises OSError or asyncpg errors on the first connect.

    It opens sessions as they are needed, up to `size_max`, and keeps them: what a new one costs (the connection, its statements prepared
    and planned anew) would be paid by the first requests after a quiet time, each time.

    `clean` promises that users leave no session state behind (SET, LISTEN, advisory locks, cursors): a release then costs no round
    trip. An open transaction is rolled back either way.
    """
    settings = {
        "application_name": "domicile",
        "statement_timeout": str(statement_ms_max),
        "idle_in_transaction_session_timeout": "10000",
        **_ALIVE,
        **(server_settings or {}),
    }
    created = await asyncpg.create_pool(  # noqa: TID251 - this is the place
        dsn.reveal(),
        min_size=size_min,
        max_size=size_max,
        max_inactive_connection_lifetime=0,
        timeout=CONNECT_S_MAX,
        command_timeout=COMMAND_S_MAX,
        server_settings=settings,
        connection_class=Session,
        reset=_as_it_is if clean else None,
    )
    try:
        yield created
    finally:
        created.terminate()


async def _as_it_is(connection: object) -> None:
    """Instead of asyncpg's reset query."""


@asynccontextmanager
async def connect(
    dsn: Secret[str], *, application_name: str = "domicile"
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """One connection of its own: migrations, LISTEN, tests."""
    connection = await asyncpg.connect(  # noqa: TID251 - this is the place
        dsn.reveal(),
        timeout=CONNECT_S_MAX,
        command_timeout=60.0,
        server_settings={"application_name": application_name},
    )
    try:
        yield connection
    finally:
        connection.terminate()


class Migration:
    """One numbered file."""

    def __init__(self, path: Path) -> None:
        match = _FILE.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named NNNN_words.sql")
        self.number = int(match.group(1))
        self.name = path.name
        self.sql = path.read_text(encoding="utf-8")
        self.digest = hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_in(folder: Path) -> tuple[Migration, ...]:
    """The folder's migrations in order. Raises MigrationError when numbers repeat or leave a gap."""
    found = sorted((Migration(path) for path in folder.glob("*.sql")), key=lambda one: one.number)
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationError(f"{migration.name}: number {expected:04d} is next")
    return tuple(found)


async def migrate(dsn: Secret[str], migrations: tuple[Migration, ...], *, track: str) -> int:
    """Applies what is missing and returns how many ran. `track` names the sequence of migrations (one database may hold several).

    Raises MigrationError when an applied file has changed or the database is ahead of this code.
    """
    async with connect(dsn, application_name="domicile-migrate") as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK, timeout=MIGRATION_S_MAX)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS public.domicile_migration ("
            " track text NOT NULL, number int NOT NULL, name text NOT NULL, digest text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (track, number))"
        )
        rows = await connection.fetch("SELECT number, digest FROM public.domicile_migration WHERE track = $1", track)
        applied = {row["number"]: row["digest"] for row in rows}
        if applied and max(applied) > len(migrations):
            raise MigrationError(
                f"{track}: the database is at migration {max(applied)}, this code knows {len(migrations)}"
            )
        ran = 0
        for migration in migrations:
            digest = applied.get(migration.number)
            if digest is None:
                await _apply(connection, migration, track)
                ran += 1
            elif digest != migration.digest:
                raise MigrationError(f"{migration.name} changed after it was applied; write a new migration instead")
        return ran


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration, track: str) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql, timeout=MIGRATION_S_MAX)
        await connection.execute(
            "INSERT INTO public.domicile_migration (track, number, name, digest) VALUES ($1, $2, $3, $4)",
            track,
            migration.number,
            migration.name,
            migration.digest,
        )
    log.info("migration_applied", migration=migration.name)

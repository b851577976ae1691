"""What whoever owns a database server does once: roles, databases, the product's tables. Each step may run again after an interruption."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import asyncpg

from cells.breakglass.wall import server as wall
from deploy.local.layout import SHARDS, database_name
from deploy.local.postgres import PostgresServer
from deploy.local.render import DIRECTORY_DATABASE, DIRECTORY_ROLE, ROLES
from foundation.mute import Secret
from foundation.postgres import Connection, connect, migrate, migrations_in
from foundation.settings import SettingsError

# The role's DDL with name and password quoted by the server; DDL takes no parameters.
_ROLE_STATEMENT = (
    "SELECT format('%s ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %L', $1::text, $2::text, $3::text)"
)
# Whether the role is there.
_ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)"
# Whether the database is there.
_DATABASE_EXISTS = "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)"
TRACK = "product"


async def directory(server: PostgresServer, password: Secret[str]) -> None:
    """The directory's role and database. Raises SettingsError."""
    try:
        async with connect(server.dsn(), application_name="domicile-provision") as admin:
            await _role(admin, DIRECTORY_ROLE, password)
            await _database(admin, DIRECTORY_DATABASE, owner=DIRECTORY_ROLE, users=(DIRECTORY_ROLE,))
    except asyncpg.PostgresError as exc:
        raise _refused(server, exc) from exc


async def cell(server: PostgresServer, cell_id: str, passwords: Mapping[str, Secret[str]], product: Path) -> None:
    """A cell's roles, its shards, in each the product's tables, and what the wall of engineers rests on. `product`: folder of migrations.

    Raises SettingsError.
    """
    try:
        async with connect(server.dsn(), application_name="domicile-provision") as admin:
            for role, name in ROLES.items():
                await _role(admin, name, passwords[role])
            for shard in SHARDS:
                database = database_name(cell_id, shard)
                await _database(admin, database, owner=ROLES["owner"], users=ROLES.values())
        for shard in SHARDS:
            dsn = server.dsn(database_name(cell_id, shard), user=ROLES["owner"], password=passwords["owner"])
            await migrate(dsn, migrations_in(product), track=TRACK)
            async with connect(
                server.dsn(database_name(cell_id, shard)), application_name="domicile-provision"
            ) as admin:
                await admin.execute(wall.preparation())
    except asyncpg.PostgresError as exc:
        raise _refused(server, exc) from exc


def _refused(server: PostgresServer, exc: asyncpg.PostgresError) -> SettingsError:
    if isinstance(exc, asyncpg.InvalidPasswordError):
        return SettingsError(
            f"the Postgres in {server.data} has another password than secrets/ holds; `domicile reset` starts over"
        )
    return SettingsError(f"the Postgres on port {server.port} cannot be set up: {exc}")


async def _role(admin: Connection, name: str, password: Secret[str]) -> None:
    verb = "ALTER" if await admin.fetchval(_ROLE_EXISTS, name) else "CREATE"
    await admin.execute(await admin.fetchval(_ROLE_STATEMENT, verb, name, password.reveal()))


async def _database(admin: Connection, name: str, *, owner: str, users: Iterable[str]) -> None:
    """Names come from the layout: letters, digits and underscores."""
    if not await admin.fetchval(_DATABASE_EXISTS, name):
        await admin.execute(f"CREATE DATABASE {name} OWNER {owner}")
    await admin.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    await admin.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {', '.join(users)}")

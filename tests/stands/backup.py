"""A backup of a directory's database and its restoration, inside one Postgres: what an operator's tools do, in milliseconds."""

from foundation.mute import Secret
from foundation.postgres import connect

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'directory' ORDER BY tablename"


async def back_up(dsn: Secret[str]) -> None:
    """Keeps the directory as it stands; one backup a database."""
    async with connect(dsn) as connection, connection.transaction():
        await connection.execute("DROP SCHEMA IF EXISTS backup CASCADE; CREATE SCHEMA backup")
        for row in await connection.fetch(_TABLES):
            name = row["tablename"]
            await connection.execute(f"CREATE TABLE backup.{name} AS TABLE directory.{name}")
        await connection.execute("CREATE TABLE backup.epochs AS SELECT last_value FROM directory.epoch_seq")


async def restore(dsn: Secret[str]) -> None:
    """Puts the directory back to its backup, numbers included: nothing in it tells that there was more."""
    async with connect(dsn) as connection, connection.transaction():
        names = [row["tablename"] for row in await connection.fetch(_TABLES)]
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(f"TRUNCATE {', '.join(f'directory.{name}' for name in names)} CASCADE")
        for name in names:
            await connection.execute(f"INSERT INTO directory.{name} OVERRIDING SYSTEM VALUE TABLE backup.{name}")
        await connection.execute("SELECT setval('directory.epoch_seq', last_value) FROM backup.epochs")

"""Pools are bounded, migrations run once whoever starts first, the outbox keeps what its transaction keeps."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.mute import Secret
from foundation.postgres import MigrationError, connect, migrate, migrations_in, pool
from tests.stands.outbox import outbox_table
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


def numbered(folder: Path, **files: str) -> Path:
    """`n0001_a="…"` becomes 0001_a.sql."""
    for name, sql in files.items():
        (folder / f"{name.removeprefix('n')}.sql").write_text(sql)
    return folder


async def tables(database: Secret[str]) -> list[str]:
    async with connect(database) as connection:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [row["tablename"] for row in rows]


async def test_two_starters_run_each_migration_once(database: Secret[str], tmp_path: Path) -> None:
    numbered(
        tmp_path,
        n0001_a="CREATE TABLE a (n int); SELECT pg_sleep(0.2);",
        n0002_b="CREATE TABLE b (n int); INSERT INTO b VALUES (1);",
    )
    migrations = migrations_in(tmp_path)
    ran = await asyncio.gather(*(migrate(database, migrations, track="cell") for _ in range(6)))
    assert sorted(ran) == [0, 0, 0, 0, 0, 2]
    async with connect(database) as connection:
        assert await connection.fetchval("SELECT count(*) FROM b") == 1


async def test_tracks_count_for_themselves_in_one_database(database: Secret[str], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    one = migrations_in(numbered(tmp_path / "x", n0001_a="CREATE TABLE a ()"))
    other = migrations_in(numbered(tmp_path / "y", n0001_b="CREATE TABLE b ()"))
    assert await asyncio.gather(migrate(database, one, track="x"), migrate(database, other, track="y")) == [1, 1]
    assert await tables(database) == ["a", "b", "domicile_migration"]


async def test_a_failing_migration_leaves_nothing_of_itself_and_runs_again(
    database: Secret[str], tmp_path: Path
) -> None:
    numbered(tmp_path, n0001_a="CREATE TABLE a ()", n0002_b="CREATE TABLE b (); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(database, migrations_in(tmp_path), track="cell")
    assert await tables(database) == ["a", "domicile_migration"]
    numbered(tmp_path, n0002_b="CREATE TABLE b ()")
    assert await migrate(database, migrations_in(tmp_path), track="cell") == 1


async def test_a_changed_migration_and_older_code_are_refused(database: Secret[str], tmp_path: Path) -> None:
    numbered(tmp_path, n0001_a="CREATE TABLE a ()", n0002_b="CREATE TABLE b ()")
    both = migrations_in(tmp_path)
    await migrate(database, both, track="cell")
    with pytest.raises(MigrationError, match="this code knows 1"):
        await migrate(database, both[:1], track="cell")
    numbered(tmp_path, n0001_a="CREATE TABLE a (n int)")
    with pytest.raises(MigrationError, match=r"0001_a\.sql changed"):
        await migrate(database, migrations_in(tmp_path), track="cell")


def test_gaps_repeats_and_odd_names_are_refused(tmp_path: Path) -> None:
    for names in (["0002_a"], ["0001_a", "0003_b"], ["0001_a", "0001_b"], ["1_a"], ["0001-a"], ["0001_A"]):
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            (folder / f"{name}.sql").write_text("")
        with pytest.raises(MigrationError, match=r"\.sql"):
            migrations_in(folder)


# --- pools -------------------------------------------------------------------------------------------------------------------


async def test_a_pool_is_bounded_in_size_and_in_time(database: Secret[str]) -> None:
    async with pool(database, size_max=2, statement_ms_max=200) as connections:
        async with connections.acquire() as one, connections.acquire() as other:
            assert await one.fetchval("SELECT 1") == await other.fetchval("SELECT 1") == 1
            with pytest.raises(TimeoutError):
                await connections.acquire(timeout=0.05)
        with pytest.raises(asyncpg.QueryCanceledError):
            await connections.fetchval("SELECT pg_sleep(5)")
        assert await connections.fetchval("SELECT 1") == 1


async def test_a_pool_recovers_when_its_connections_are_cut(database: Secret[str]) -> None:
    async with pool(database, size_max=2) as connections, connect(database) as admin:
        await connections.fetchval("SELECT 1")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        async def answers() -> bool:
            try:
                return bool(await connections.fetchval("SELECT true"))
            except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                return False

        await eventually(answers)


async def test_leaving_a_pool_leaves_no_connection(database: Secret[str]) -> None:
    async with pool(database, size_min=3, size_max=3) as connections:
        await connections.fetchval("SELECT 1")

    async with connect(database, application_name="observer") as admin:

        async def gone() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'domicile'"
            return int(await admin.fetchval(query)) == 0

        await eventually(gone)


async def test_a_dsn_never_shows_when_connecting_fails(database: Secret[str]) -> None:
    wrong = Secret(database.reveal().replace("//", "//no-such-user-").replace("@", "x@"))
    with pytest.raises((asyncpg.PostgresError, OSError)) as caught:
        async with connect(wrong):
            pass
    password = database.reveal().split(":")[2].split("@")[0]
    assert password not in str(caught.value)


# --- outbox ------------------------------------------------------------------------------------------------------------------

EVENT = Event(
    id="e1", at=1_800_000_000.5, kind=Kind.CROSSING, actor="gateway:eu", details={"from": "uk", "n": [1, None]}
)


async def test_the_outbox_keeps_an_event_once_and_with_its_transaction(database: Secret[str]) -> None:
    outbox = PostgresOutbox("public")
    async with connect(database) as connection:
        await connection.execute(outbox_table("public"))
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with connection.transaction():
                await outbox.append(connection, EVENT)
                raise ZeroDivisionError
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
        async with connection.transaction():
            await outbox.append(connection, EVENT)
            await outbox.append_many(connection, [EVENT, EVENT])
        (row,) = await connection.fetch(
            "SELECT extract(epoch FROM at)::float AS at, kind, actor, subject_id, details FROM outbox"
        )
    assert (row["at"], row["kind"], row["actor"], row["subject_id"]) == (EVENT.at, "crossing", "gateway:eu", None)
    assert json.loads(row["details"]) == EVENT.details


async def test_racing_appends_of_one_event_keep_it_once(database: Secret[str]) -> None:
    outbox = PostgresOutbox("public")
    async with pool(database, size_max=8) as connections:
        await connections.execute(outbox_table("public"))

        async def append() -> None:
            async with connections.acquire() as connection, connection.transaction():
                await outbox.append(connection, EVENT)

        await asyncio.gather(*(append() for _ in range(30)))
        assert await connections.fetchval("SELECT count(*) FROM outbox") == 1


@pytest.mark.parametrize("schema", ["x; DROP", 'a"b', "", "a.b", "1a"])
def test_an_outbox_takes_identifiers_only(schema: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        PostgresOutbox(schema)

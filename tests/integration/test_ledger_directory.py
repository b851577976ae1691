"""The directory's log on a real database: everything in its outbox, in order and once, over restarts, late commits and restorations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from directory.app import MIGRATIONS, TRACK
from foundation.ledger import outbox as outbox_module
from foundation.ledger.beside import payload
from foundation.ledger.entries import event_digest
from foundation.ledger.outbox import OutboxReader, WritersUnderWay
from foundation.mute import Secret
from foundation.postgres import connect, migrate, migrations_in
from tests.stands import backup
from tests.stands.directory import Running, running_directory
from tests.stands.ledger import SIGNER, kept_by, reader, sources_in
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

OUTBOX = "SELECT position, id FROM directory.outbox ORDER BY position"
RECORD = "INSERT INTO directory.outbox (id, at, kind, actor, details) VALUES ($1, now(), 'placement', 't', '{}')"


@asynccontextmanager
async def keeping(database: Secret[str], tokens: ServiceIssuer, folder: Path) -> AsyncIterator[Running]:
    """A directory that keeps a log in folder/log, with rules."""
    async with running_directory(database, tokens, ledger=kept_by(folder)) as running:
        published = await running.callers.publisher.publish()
        assert published.status_code in (200, 201), published.text
        yield running


async def outbox_of(database: Secret[str]) -> list[tuple[str, int, str]]:
    async with connect(database) as db:
        return [("directory", row["position"], event_digest(row["id"])) for row in await db.fetch(OUTBOX)]


def logged(folder: Path) -> list[tuple[str, int, str]]:
    return sources_in(folder / "log") if (folder / "log/checkpoint").exists() else []


async def caught_up(database: Secret[str], folder: Path) -> None:
    held = await outbox_of(database)
    await eventually(lambda: logged(folder)[-1:] == held[-1:])


async def test_the_outbox_stands_in_the_log_in_order_and_once_over_a_restart(
    database: Secret[str], folder: Path
) -> None:
    tokens = ServiceIssuer(folder)
    async with keeping(database, tokens, folder) as one:
        for name in ("ada", "bea", "cleo"):
            await one.callers.active(name)
        await caught_up(database, folder)
    first = reader(folder / "log").checkpoint
    async with keeping(database, tokens, folder) as one:
        await one.callers.active("dora")
        await caught_up(database, folder)
    assert logged(folder) == await outbox_of(database)
    found = reader(folder / "log").verify(first, folder / "log")
    assert (found.earlier, found.payloads, found.without) == (first.size, found.size, 0)


async def test_an_entry_commits_to_the_whole_event(database: Secret[str], folder: Path) -> None:
    async with keeping(database, ServiceIssuer(folder), folder) as one:
        placed = await one.callers.active("ada")
        await caught_up(database, folder)
    newest = next(reader(folder / "log").newest())
    told = payload(folder / "log", newest)
    assert told is not None
    async with connect(database) as db:
        row = await db.fetchrow(
            "SELECT id, actor, subject_id::text AS subject_id, details::text AS details, "
            "(extract(epoch FROM at) * 1000000)::bigint AS at_us FROM directory.outbox ORDER BY position DESC LIMIT 1"
        )
    assert row is not None
    assert (told.id, told.actor, told.subject_id, bytes(told.details).decode(), newest.entry.at_us) == tuple(
        row.values()
    )
    assert told.subject_id == placed["subject_id"]
    assert placed["subject_id"].encode() not in newest.raw


async def test_operators_read_the_files_and_nobody_else(database: Secret[str], folder: Path) -> None:
    async with keeping(database, ServiceIssuer(folder), folder) as one:
        await caught_up(database, folder)
        calls = one.callers
        # Until readers are stopped the log may grow under them: each file is asked for, then compared with what lies there.
        size = reader(folder / "log").checkpoint.size
        before = (folder / "log/checkpoint").read_bytes()
        answer = await calls.operator.get("/ledger/checkpoint")
        after = (folder / "log/checkpoint").read_bytes()
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content in (before, after)
        for path in (f"0/000.p/{size}", f"entries/000.p/{size}"):
            answer = await calls.operator.get(f"/ledger/tile/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream"), path
            assert answer.content == (folder / "log/tile" / path).read_bytes()
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers.get("content-encoding") == ("gzip" if "entries" in path else None)
        for path in (
            "0/001",
            "0/00",
            "0/../../lock",
            "..%2flock",
            "entries/000.p/256",
            "x",
            "0/000.p/1/..%2f..%2f..%2f..%2flock",
        ):
            assert (await calls.operator.get(f"/ledger/tile/{path}")).status_code == 404, path
        for caller in (calls.resolver, calls.publisher, calls.cell):
            assert (await caller.get("/ledger/checkpoint")).status_code == 403
            assert (await caller.get(f"/ledger/tile/0/000.p/{size}")).status_code == 403
        assert (await calls.http.get("/ledger/checkpoint")).status_code == 401
        assert (await calls.http.get("/ledger/tile/0/000")).status_code == 401


async def test_a_directory_without_a_log_says_so(database: Secret[str], folder: Path) -> None:
    async with running_directory(database, ServiceIssuer(folder), workers=False) as one:
        answer = await one.callers.operator.get("/ledger/checkpoint")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_restored_directory_is_gone_on_with_after_what_log_and_outbox_both_have(
    database: Secret[str], folder: Path
) -> None:
    async with keeping(database, ServiceIssuer(folder), folder) as one:
        await one.callers.active("ada")
        await backup.back_up(database)
        kept = await outbox_of(database)
        await one.callers.active("bea")
        await caught_up(database, folder)
        before = logged(folder)
        await backup.restore(database)
        async with connect(database) as db:
            await db.execute(RECORD, "after the restoration")
        await caught_up(database, folder)
    after = await outbox_of(database)
    assert len(before) > len(kept)
    assert logged(folder) == before + after[len(kept) :]


# --- the reader, beside transactions that commit in another order than they began ------------------------------------------------


@pytest.fixture
async def migrated(database: Secret[str]) -> Secret[str]:
    await migrate(database, migrations_in(MIGRATIONS), track=TRACK)
    return database


async def test_a_row_that_commits_late_below_others_is_waited_for_and_not_left_out(migrated: Secret[str]) -> None:
    async with connect(migrated) as slow, connect(migrated) as quick, connect(migrated) as reading:
        late = slow.transaction()
        await late.start()
        await slow.execute(RECORD, "late")
        await quick.execute(RECORD, "early")
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(OutboxReader("directory").rows_from(reading, 0, 10))
            await eventually(lambda: waits_for_writers(quick))
            assert not asked.done()
            await late.commit()
        assert [row.id for row in asked.result()] == ["late", "early"]


async def waits_for_writers(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether the reader has looked at who writes: its last statement says so."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%virtualtransaction%' AND pid <> pg_backend_pid()"
    return bool(await connection.fetchval(query))


async def test_a_number_whose_transaction_was_rolled_back_is_not_waited_for_again(migrated: Secret[str]) -> None:
    async with connect(migrated) as slow, connect(migrated) as quick, connect(migrated) as reading:
        gone = slow.transaction()
        await gone.start()
        await slow.execute(RECORD, "gone")
        await quick.execute(RECORD, "there")
        await gone.rollback()
        rows = await OutboxReader("directory").rows_from(reading, 0, 10)
        assert [(row.position, row.id) for row in rows] == [(2, "there")]
        assert await OutboxReader("directory").rows_from(reading, 3, 10) == []


async def test_a_transaction_that_writes_for_long_is_waited_for_so_long_and_no_longer(
    migrated: Secret[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "WRITERS_S_MAX", 0.05)
    async with connect(migrated) as slow, connect(migrated) as quick, connect(migrated) as reading:
        late = slow.transaction()
        await late.start()
        await slow.execute(RECORD, "late")
        await quick.execute(RECORD, "early")
        with pytest.raises(WritersUnderWay):
            await OutboxReader("directory").rows_from(reading, 0, 10)
        await late.commit()
        assert len(await OutboxReader("directory").rows_from(reading, 0, 10)) == 2


async def test_who_writes_elsewhere_is_not_waited_for(migrated: Secret[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "WRITERS_S_MAX", 0.05)
    async with connect(migrated) as other, connect(migrated) as quick, connect(migrated) as reading:
        await other.execute("CREATE TABLE elsewhere (a int)")
        async with other.transaction():
            await other.execute("INSERT INTO elsewhere VALUES (1)")
            await quick.execute(RECORD, "early")
            assert len(await OutboxReader("directory").rows_from(reading, 0, 10)) == 1


async def test_rows_that_many_transactions_write_at_once_are_read_once_each_in_order(migrated: Secret[str]) -> None:
    """Writers that hold their transactions open for a moment, so that commits overtake each other."""
    writers, each = 8, 40
    read = list[tuple[int, str]]()

    async def write(name: int) -> None:
        async with connect(migrated) as connection:
            for number in range(each):
                async with connection.transaction():
                    await connection.execute(RECORD, f"{name}:{number}")
                    await connection.execute("SELECT pg_sleep(0.002 * random())")

    async def follow() -> None:
        async with connect(migrated) as connection:
            while len(read) < writers * each:
                last = read[-1][0] + 1 if read else 0
                read.extend(
                    (row.position, row.id) for row in await OutboxReader("directory").rows_from(connection, last, 50)
                )

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        for name in range(writers):
            group.create_task(write(name))
    assert [position for position, _ in read] == sorted({position for position, _ in read})
    assert {event for _, event in read} == {f"{name}:{number}" for name in range(writers) for number in range(each)}


def test_a_reader_takes_identifiers_only() -> None:
    with pytest.raises(ValueError, match="identifier"):
        OutboxReader("a; DROP")


def test_the_name_in_the_settings_is_the_keys(tmp_path: Path) -> None:
    from msgspec.structs import replace

    from foundation.settings import SettingsError

    settings = kept_by(tmp_path)
    assert settings.signer().verifier.text == SIGNER.verifier.text
    with pytest.raises(SettingsError, match="origin is"):
        replace(settings, origin="other.test/log").signer()
    Path(settings.key_file).write_text("nothing")
    with pytest.raises(SettingsError, match="no key of a log"):
        settings.signer()
    Path(settings.key_file).chmod(0o644)
    with pytest.raises(SettingsError, match="open to others"):
        settings.signer()

"""Cells that are restored beside the real directory: what they told by the history that they lost stands until a step made since lifts it,
in every cell, where the directory is restored as well, too; and what was told before the directory knew of histories."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from cells.breakglass.locks.core import person_of
from cells.breakglass.locks.source import LockDirectory
from cells.breakglass.words import engineer_of
from directory.app import MIGRATIONS, TRACK
from directory.client.remote import HttpDirectory
from directory.locks.core import LockPage
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.postgres import connect, migrate, migrations_in
from foundation.words import CellId
from tests.stands.directory import Running, running_directory
from tests.stands.lock_cell import LockCell
from tests.stands.locks import ISSUER, stands
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
HERE, FAR = CellId("eu-de"), CellId("us-va")


@asynccontextmanager
async def cell_of(running: Running, tokens: ServiceIssuer, name: CellId) -> AsyncIterator[LockCell]:
    transport, head = httpx.ASGITransport(app=running.directory.app), tokens.headers(f"cell:{name}", [f"cell:{name}"])
    async with HttpClient(transport=transport, base_url="http://directory", headers=head) as http:
        yield LockCell(name, LockDirectory(HttpDirectory(http)))


EVERYBODY = ("alice", "bob", "carol", "dora", "erin")


async def test_a_cell_that_was_restored_and_made_as_many_steps_again_lifts_nothing_but_by_steps(
    database: Secret[str], folder: Path
) -> None:
    tokens = ServiceIssuer(folder)
    async with (
        running_directory(database, tokens) as running,
        cell_of(running, tokens, HERE) as here,
        cell_of(running, tokens, FAR) as far,
    ):
        await here.locks("erin")
        backup = list(here.steps.kept)
        await here.locks("alice", "bob")
        await eventually(here.goes_round)
        here.steps.kept = backup
        await here.locks("carol", "dora")
        await eventually(here.goes_round)
        await eventually(far.goes_round)
        assert far.stopped(*EVERYBODY) == set(EVERYBODY)
        await eventually(here.goes_round)
        assert here.stopped(*EVERYBODY) == {"alice", "bob"}, "its own it knows by its book"
        listed = (await running.callers.operator.get("/v1/locks/history")).json()["entries"]
        assert all(one["stands"] for one in listed)
        await here.locks("alice")
        await here.unlocks("alice", "dora")
        await eventually(here.goes_round)
        await eventually(far.goes_round)
        assert far.stopped(*EVERYBODY) == {"bob", "carol", "erin"}
        forgotten = await running.callers.operator.post(f"/v1/locks/{HERE}/forget", {"reason": "replayed"})
        assert forgotten.status_code == 200
        await eventually(here.goes_round)
        await eventually(far.goes_round)
        assert far.stopped(*EVERYBODY) == {"carol", "erin"}
    async with connect(database) as connection:
        found = await connection.fetch("SELECT details::text AS told FROM directory.outbox WHERE kind = 'lock'")
    kept = [msgspec.json.decode(row["told"])["kept"] for row in found if '"kept"' in row["told"]]
    digests = {person_of(ISSUER, engineer_of(name)) for name in ("alice", "bob")}
    assert [{lock["person"] for lock in one} for one in kept] == [digests], "once, as an entry of the directory's log"


async def test_a_directory_that_was_restored_keeps_nothing_of_a_history_that_goes_on(
    database: Secret[str], folder: Path
) -> None:
    tokens = ServiceIssuer(folder)
    async with running_directory(database, tokens) as running, cell_of(running, tokens, HERE) as here:
        await here.locks("alice")
        await eventually(here.goes_round)
        async with connect(database) as connection:
            (then,) = await connection.fetch("SELECT number, locking, steps, digest FROM directory.lock_cell")
            (lock,) = await connection.fetch("SELECT cell, person, code, since_us, event FROM directory.lock")
            await here.unlocks("alice")
            await here.locks("bob")
            await eventually(here.goes_round)
            older = "UPDATE directory.lock_cell SET number = $1, locking = $2, steps = $3, digest = $4"
            await connection.execute(older, *then)
            await connection.execute("DELETE FROM directory.lock")
            await connection.execute("INSERT INTO directory.lock VALUES ($1, $2, $3, $4, $5)", *lock)
        await eventually(here.goes_round)
        await eventually(here.goes_round)
        found = msgspec.json.decode((await running.callers.cell.get("/v1/locks")).content, type=LockPage)
        assert found.cells is not None
        (held,) = found.cells
        assert ({lock.person for lock in held.locks}, held.kept) == ({person_of(ISSUER, engineer_of("bob"))}, ())


async def test_what_was_told_before_there_were_histories_is_judged_by_numbers_and_then_by_them(
    database: Secret[str], folder: Path
) -> None:
    await migrate(database, migrations_in(MIGRATIONS)[:12], track=TRACK)
    alice = stands("alice")
    async with connect(database) as connection:
        await connection.execute(
            "INSERT INTO directory.lock_cell (cell, number, locking, at) VALUES ($1, 7, 2, now()), ($2, 8, 2, now())",
            HERE,
            FAR,
        )
        for cell in (HERE, FAR):
            lock = (cell, alice.person, alice.code.value, alice.since_us, alice.event)
            await connection.execute("INSERT INTO directory.lock VALUES ($1, $2, $3, $4, $5)", *lock)
    tokens = ServiceIssuer(folder)
    async with (
        running_directory(database, tokens) as running,
        cell_of(running, tokens, HERE) as here,
        cell_of(running, tokens, FAR) as far,
    ):
        await here.locks("bob")
        await far.locks("bob", "carol")
        await eventually(here.goes_round)
        await eventually(far.goes_round)
        await eventually(here.goes_round)
        assert (here.stopped(*EVERYBODY), far.stopped("alice")) == ({"alice", "bob", "carol"}, {"alice"})
        assert [lock.person for lock in here.heard.kept()] == [alice.person], "it had told of two steps"
        assert far.heard.kept() == ()
    async with connect(database) as connection:
        rows = await connection.fetch("SELECT cell, locking, steps, digest FROM directory.lock_cell ORDER BY cell")
    books = [(await one.keeper.book())[0] for one in (here, far)]
    assert [tuple(row) for row in rows] == [
        (name, len(book.chain), len(book.chain), book.head) for name, book in zip((HERE, FAR), books, strict=True)
    ]


LOCK_TABLES = ("lock_cell", "lock", "lock_kept")
BACKUP = "".join(f"CREATE TEMP TABLE {table}_then AS TABLE directory.{table};" for table in LOCK_TABLES)
RESTORE = "".join(f"DELETE FROM directory.{table};" for table in reversed(LOCK_TABLES)) + "".join(
    f"INSERT INTO directory.{table} SELECT * FROM {table}_then;" for table in LOCK_TABLES
)


@pytest.mark.parametrize("told_between", [True, False])
@pytest.mark.parametrize("order", [("cell", "directory"), ("directory", "cell")], ids="-".join)
async def test_a_cell_and_the_directory_that_are_both_restored_lift_nothing_anywhere_and_say_so(
    database: Secret[str],
    folder: Path,
    order: tuple[str, str],
    told_between: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = ServiceIssuer(folder)
    async with (
        running_directory(database, tokens) as running,
        cell_of(running, tokens, HERE) as here,
        cell_of(running, tokens, FAR) as far,
        connect(database) as connection,
    ):
        await here.locks("erin")
        await eventually(here.goes_round)
        backup = here.backup()
        await connection.execute(BACKUP)
        await here.locks("alice")
        await eventually(here.goes_round)
        await eventually(far.goes_round)
        for side in order:
            await (here.restored(backup) if side == "cell" else connection.execute(RESTORE))
            await far.goes_round()
            assert await here.locked_out("alice", "erin"), "before anything was told"
            assert far.stopped("alice", "erin") == {"alice", "erin"}
            if told_between:
                await eventually(here.goes_round)
        await eventually(here.goes_round)
        await eventually(far.goes_round)
        assert {"locks_went_back", "locks_parted"} <= {record.message for record in caplog.records}
        assert (far.stopped("alice", "erin"), far.heard.fresh) == ({"alice", "erin"}, True)
        assert [lock.person for lock in here.heard.kept()] == [person_of(ISSUER, engineer_of("alice"))]
        await here.locks("alice")
        await here.unlocks("alice")
        assert not await here.locked_out("alice"), "its own word holds at home before the directory has it"
        await eventually(here.goes_round)
        await eventually(far.goes_round)
        assert (far.stopped("alice", "erin"), here.heard.kept()) == ({"erin"}, ())
    async with connect(database) as after:
        assert await after.fetchval("SELECT count(*) FROM directory.lock_kept") == 0

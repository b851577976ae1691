"""Cells that are restored beside the real directory: what they told by the history that they lost stands until a step made since lifts it,
in every cell; and what was told before the directory knew of histories."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.core import person_of
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.source import LockDirectory
from cells.breakglass.locks.telling import Telling
from cells.breakglass.steps import AnyStep, Locked, Unlocked
from cells.breakglass.words import engineer_of
from directory.app import MIGRATIONS, TRACK
from directory.client.remote import DirectoryUnavailable, HttpDirectory
from directory.locks.core import LockPage
from foundation.clock import ManualClock
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.postgres import connect, migrate, migrations_in
from foundation.words import CellId
from tests.stands.access_cell import MemorySteps
from tests.stands.directory import Running, running_directory
from tests.stands.locks import ISSUER, nothing_to_recall, stands
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
HERE, FAR = CellId("eu-de"), CellId("us-va")
SAM = engineer_of("sam")


class Cell:
    """The cell's own parts, in turns that the test takes, on a clock that it moves."""

    def __init__(self, name: CellId, http: HttpClient) -> None:
        clock = ManualClock()
        self.clock = clock
        self.steps = MemorySteps()
        self.keeper = Keeper(self.steps, clock)
        self.source = LockDirectory(HttpDirectory(http))
        self.heard = Elsewhere(cell=name, issuer=ISSUER, clock=clock, book=self.keeper.glance)
        self.telling = Telling(
            cell=name,
            keeper=self.keeper,
            source=self.source,
            elsewhere=self.heard,
            clock=clock,
            recalled=nothing_to_recall(),
        )

    async def locks(self, *names: str) -> None:
        for name in names:
            await self._take(Locked(person=engineer_of(name), reason="x"))

    async def unlocks(self, *names: str) -> None:
        for name in names:
            await self._take(Unlocked(person=engineer_of(name), reason="x"))

    async def goes_round(self) -> bool:
        """Hears and tells; whether all is told."""
        self.clock.advance(1)
        try:
            self.heard.hear(await self.source.page("", wait_ms=0), self.clock.monotonic_s())
        except DirectoryUnavailable:
            return False
        return await self.telling._round()

    def stopped(self, *names: str) -> set[str]:
        return {name for name in names if self.heard.barred(engineer_of(name), needs_fresh=False) is not None}

    async def _take(self, step: Locked | Unlocked) -> None:
        steps: tuple[AnyStep, ...] = (step,)
        self.clock.advance(1)
        await self.keeper.act(SAM, lambda _book, _at_us: steps)


@asynccontextmanager
async def cell_of(running: Running, tokens: ServiceIssuer, name: CellId) -> AsyncIterator[Cell]:
    transport, head = httpx.ASGITransport(app=running.directory.app), tokens.headers(f"cell:{name}", [f"cell:{name}"])
    async with HttpClient(transport=transport, base_url="http://directory", headers=head) as http:
        yield Cell(name, http)


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

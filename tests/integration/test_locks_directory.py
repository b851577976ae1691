"""Locks over the directory's API, on a real database: told by their own cell alone, once, in order; spread, remembered, forgotten."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from deploy.local.postgres import PostgresServer
from directory.locks import store
from directory.locks.core import LOCKS_MAX, LockCode, LockPage, LockStands
from foundation.mute import Secret
from foundation.postgres import connect
from gateway.cli.main import cli
from tests.stands.directory import Caller, Callers, Running, running_directory
from tests.stands.locks import stands
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import drop_database
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def callers(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callers]:
    """Of one directory for all; each test has cells of its own."""
    name = f"locks_{secrets.token_hex(6)}"
    async with connect(postgres_server.dsn()) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
    async with running_directory(postgres_server.dsn(name), ServiceIssuer(tmp_path_factory.mktemp("locks"))) as running:
        yield running.callers
    await drop_database(postgres_server, name)


class Teller:
    """A cell that nobody has heard of."""

    def __init__(self, callers: Callers, name: str = "") -> None:
        self.name = name or f"c{secrets.token_hex(4)}"
        self.caller = callers.of(f"cell:{self.name}", f"cell:{self.name}")

    async def tell(
        self, *locks: LockStands, after: int = 0, locking: int = 1, by: Caller | None = None
    ) -> httpx.Response:
        body = msgspec.json.encode({"after": after, "locking": locking, "locks": locks})
        head = {"content-type": "application/json"}
        return await (by or self.caller).raw("PUT", f"/v1/locks/{self.name}", body, head)

    async def number(self, *locks: LockStands, after: int = 0, locking: int = 1) -> int:
        answer = await self.tell(*locks, after=after, locking=locking)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["number"])

    def told(self, found: LockPage) -> list[LockStands] | None:
        """What another cell hears of it; None for nothing at all."""
        assert found.cells is not None
        return next((list(one.locks) for one in found.cells if one.cell == self.name), None)


async def page(caller: Caller, held: str = "", wait_ms: int = 0) -> LockPage:
    answer = await caller.get("/v1/locks", wait_ms=wait_ms, **({"held": held} if held else {}))
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=LockPage)


async def test_a_lock_of_one_cell_is_told_to_another_and_so_is_its_lifting(callers: Callers) -> None:
    cell, other = Teller(callers), callers.cell_us
    before = await page(other)
    assert (cell.told(before), (await page(other, before.state)).cells) == (None, None)
    alice, bob = stands("alice"), stands("bob", LockCode.REVIEW_OVERDUE)
    both = sorted((alice, bob), key=lambda one: one.person)
    locked, first = await asyncio.gather(page(other, before.state, wait_ms=5_000), cell.number(*both))
    assert cell.told(locked) == both
    lifted, second = await asyncio.gather(
        page(other, locked.state, wait_ms=5_000), cell.number(bob, after=first, locking=2)
    )
    assert (cell.told(lifted), second > first) == ([bob], True)


async def test_what_is_told_twice_late_or_out_of_order_changes_nothing(callers: Callers) -> None:
    cell = Teller(callers)
    first = await cell.number(stands("alice"))
    second = await cell.number(after=first, locking=2)
    for after in (0, first, second + 1):
        again = await cell.tell(stands("alice"), after=after, locking=3)
        assert (again.status_code, again.json()["number"]) == (412, second)
    assert cell.told(await page(callers.cell)) == []


async def test_only_one_of_many_who_tell_at_once_is_taken(callers: Callers) -> None:
    cell = Teller(callers)
    answers = await asyncio.gather(*(cell.tell(stands(f"p{one}"), locking=one) for one in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert len(cell.told(await page(callers.cell)) or ()) == 1


async def test_a_cell_that_knows_less_than_it_told_lifts_nothing_until_it_names_it_or_an_operator_forgets_it(
    callers: Callers,
) -> None:
    cell, alice, bob = Teller(callers), stands("alice", number=7), stands("bob", number=8)
    first = await cell.number(alice, bob, locking=5)
    shorter = await cell.tell(stands("carol"), after=first, locking=4)
    assert (shorter.status_code, shorter.json()["parted"]) == (200, True)
    kept = sorted((alice, bob), key=lambda one: one.person)
    found = next(one for one in (await page(callers.cell)).cells or () if one.cell == cell.name)
    assert (list(found.kept), list(found.told)) == (kept, [stands("carol")])
    lifting = {"after": shorter.json()["number"], "locking": 5, "locks": [], "lifted": [bob]}
    lifted = await cell.caller.raw("PUT", f"/v1/locks/{cell.name}", msgspec.json.encode(lifting))
    assert (lifted.status_code, lifted.json()["parted"]) == (200, False)
    assert cell.told(await page(callers.cell)) == [alice]
    path, why = f"/v1/locks/{cell.name}/forget", {"reason": "restored; replayed"}
    assert (await cell.caller.post(path, why)).status_code == 403
    forgotten = await callers.operator.post(path, why)
    assert (forgotten.status_code, forgotten.json()["number"] > first) == (200, True)
    assert cell.told(await page(callers.cell)) == []
    await cell.number(stands("bob"), after=forgotten.json()["number"], locking=4)


async def test_each_overdue_review_of_one_person_is_told_and_lifted_by_itself(callers: Callers) -> None:
    cell, person = Teller(callers), stands("alice", LockCode.REVIEW_OVERDUE)
    two = [msgspec.structs.replace(person, event=f"grant:{one * 32}:1") for one in "ab"]
    first = await cell.number(*two)
    assert cell.told(await page(callers.cell)) == two
    second = await cell.number(two[1], after=first, locking=1)
    assert cell.told(await page(callers.cell)) == [two[1]]
    twice = await cell.tell(two[1], two[1], after=second, locking=1)
    assert twice.status_code == 400


async def test_a_directory_that_was_restored_is_told_again_what_it_kept_of_a_cell(callers: Callers) -> None:
    cell, alice = Teller(callers), stands("alice", number=7)
    first = await cell.number(stands("bob"))
    again = {"after": first, "locking": 1, "locks": [stands("bob")], "kept": [alice]}
    answer = await cell.caller.raw("PUT", f"/v1/locks/{cell.name}", msgspec.json.encode(again))
    assert (answer.status_code, answer.json()["parted"]) == (200, True)
    found = next(one for one in (await page(callers.cell)).cells or () if one.cell == cell.name)
    assert (found.kept, found.told) == ((alice,), (stands("bob"),))


async def test_a_cell_of_which_nothing_is_held_is_forgotten_only_where_that_is_said(callers: Callers) -> None:
    cell, why = Teller(callers), {"reason": "gone; the directory was restored to before it told"}
    path = f"/v1/locks/{cell.name}/forget"
    assert (await callers.operator.post(path, why)).status_code == 404
    assert cell.told(await page(callers.cell)) is None
    assert (await callers.operator.post(path, why | {"unknown": True})).status_code == 200
    assert cell.told(await page(callers.cell)) == []


async def test_who_may_not_tell_and_what_may_not_be_told_is_refused(callers: Callers, folder: Path) -> None:
    cell = Teller(callers)
    for by in (callers.cell_us, callers.resolver, callers.operator):
        assert (await cell.tell(stands("alice"), by=by)).status_code == 403
    forger = Caller(callers.http, ServiceIssuer(folder).headers(f"cell:{cell.name}", [f"cell:{cell.name}"]))
    assert (await cell.tell(stands("alice"), by=forger)).status_code == 401
    assert (await forger.get("/v1/locks")).status_code == 401
    assert (await callers.resolver.get("/v1/locks")).status_code == 403
    alice = msgspec.to_builtins(stands("alice"))
    many = [alice | {"person": f"{one:064x}"} for one in range(LOCKS_MAX + 1)]
    for locks in (
        [alice, alice | {"event": "lock:9"}],
        [alice | {"person": "engineer:alice"}],
        [alice | {"reason": "laptop stolen"}],
        [alice | {"event": "grant:1"}],
        [alice | {"code": "other"}],
        many,
    ):
        body = msgspec.json.encode({"after": 0, "locking": 1, "locks": locks})
        assert (await cell.caller.raw("PUT", f"/v1/locks/{cell.name}", body)).status_code == 400, locks[:1]
    assert (await cell.caller.get("/v1/locks", held="x")).status_code == 400
    assert cell.told(await page(callers.cell)) is None
    assert await cell.number(*(stands(f"p{one}") for one in range(LOCKS_MAX))) > 0


async def test_what_was_told_stands_after_a_restart_and_all_that_changed_is_remembered(
    database: Secret[str], folder: Path
) -> None:
    tokens = ServiceIssuer(folder)
    async with running_directory(database, tokens) as running:
        first = await Teller(running.callers, "eu-de").number(stands("alice"))
        before = await page(running.callers.cell)
    async with running_directory(database, tokens) as running:
        calls = running.callers
        assert await page(calls.cell) == before
        await Teller(calls, "eu-de").number(stands("alice", number=2), after=first, locking=3)
        listed = (await calls.operator.get("/v1/locks/history", limit=2)).json()
        older = (await calls.operator.get("/v1/locks/history", cursor=listed["next"])).json()
        entries = [*listed["entries"], *older["entries"]]
        assert [(one["event"], one["stands"]) for one in entries] == [
            ("lock:2", True),
            ("lock:0", False),
            ("lock:0", True),
        ]
        assert {one["actor"] for one in entries} == {"cell:eu-de"}
    async with connect(database) as connection:
        recorded = await connection.fetch("SELECT id, details::text AS told FROM directory.outbox WHERE kind = 'lock'")
    assert [row["id"].split("/")[:2] for row in recorded] == [["locks", "eu-de"]] * 2
    assert not any("alice" in row["told"] for row in recorded)


@pytest.fixture
async def two(database: Secret[str], folder: Path) -> AsyncIterator[tuple[Running, Running]]:
    """Two processes on one database."""
    tokens = ServiceIssuer(folder)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running_directory(database, tokens))
        yield one, await stack.enter_async_context(running_directory(database, tokens))


async def test_a_process_hears_what_another_was_told(
    two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("directory.locks.api.LOOK_S", 60.0)  # so that only the ringing brings it
    one, other = two
    empty = await page(other.callers.cell_us)
    bell = other.directory.services.locks
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(page(other.callers.cell_us, empty.state, wait_ms=5_000))
        await eventually(lambda: bell._waiting == 1)
        await (cell := Teller(one.callers)).number(stands("alice"))
    assert cell.told(waiting.result()) == [stands("alice")]


async def test_a_poll_is_answered_when_the_process_leaves(database: Secret[str], folder: Path) -> None:
    async with running_directory(database, ServiceIssuer(folder)) as running:
        state = await store.state(running.directory.services.pool)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(page(running.callers.cell, state, wait_ms=5_000))
            running.directory.services.drain.begun = True
        assert waiting.result().cells is None


async def test_an_operator_sees_what_stands_and_forgets_a_cell_by_the_command(
    database: Secret[str], folder: Path
) -> None:
    tokens = ServiceIssuer(folder)
    tokens.token_file(folder / "ops.jwt", "operator:ann", ["operator"])
    async with running_directory(database, tokens) as running, serving(running.directory.app) as port:
        there = ["--directory", f"http://127.0.0.1:{port}", "--token-file", str(folder / "ops.jwt")]

        async def command(*words: str) -> Result:
            done = await asyncio.to_thread(CliRunner().invoke, cli, ["directory", "locks", *words, *there])
            assert done.exit_code == 0, done.output
            return done

        await Teller(running.callers, "eu-de").number(stands("alice", number=7))
        assert "eu-de  " in (shown := (await command("list")).output), shown
        assert ("lock:7" in shown, "1 cells have told" in shown, "alice" in shown) == (True, True, False)
        assert "forgotten" in (await command("forget", "eu-de", "--reason", "given up")).output
        assert "forgotten" in (await command("forget", "jp-to", "--reason", "unheard of", "--unknown")).output
        assert json.loads((await command("list", "--json")).stdout)["cells"][0]["locks"] == []
        assert "given up" in (await command("history")).output

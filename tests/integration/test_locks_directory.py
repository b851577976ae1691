"""Locks over the directory's API, on a real database: told by their own cell alone, once, in order; spread, remembered, forgotten."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from directory.locks import store
from directory.locks.core import LOCKS_MAX, LockCode, LockPage, LockStands
from foundation.mute import Secret
from foundation.postgres import connect
from gateway.cli.main import cli
from tests.stands.directory import Caller, Callers, Running, running_directory
from tests.stands.locks import stands
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def callers(database: Secret[str], folder: Path) -> AsyncIterator[Callers]:
    async with running_directory(database, ServiceIssuer(folder)) as running:
        yield running.callers


async def tell(
    caller: Caller, *locks: LockStands, after: int = 0, locking: int = 1, cell: str = "eu-de"
) -> httpx.Response:
    body = msgspec.json.encode({"after": after, "locking": locking, "locks": locks})
    return await caller.raw("PUT", f"/v1/locks/{cell}", body, {"content-type": "application/json"})


async def number(*told: Any, **more: Any) -> int:
    answer = await tell(*told, **more)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["number"])


async def page(caller: Caller, held: str = "", wait_ms: int = 0) -> LockPage:
    answer = await caller.get("/v1/locks", wait_ms=wait_ms, **({"held": held} if held else {}))
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=LockPage)


def told(found: LockPage) -> dict[str, list[LockStands]]:
    assert found.cells is not None
    return {one.cell: list(one.locks) for one in found.cells}


async def test_a_lock_of_one_cell_is_told_to_another_and_so_is_its_lifting(callers: Callers) -> None:
    empty = await page(callers.cell_us)
    assert (empty.cells, (await page(callers.cell_us, empty.state)).cells) == ((), None)
    alice, bob = stands("alice"), stands("bob", LockCode.REVIEW_OVERDUE)
    both = sorted((alice, bob), key=lambda one: one.person)
    locked, first = await asyncio.gather(page(callers.cell_us, empty.state, wait_ms=5_000), number(callers.cell, *both))
    assert told(locked) == {"eu-de": both}
    lifted, second = await asyncio.gather(
        page(callers.cell_us, locked.state, wait_ms=5_000), number(callers.cell, bob, after=first, locking=2)
    )
    assert (told(lifted), second > first) == ({"eu-de": [bob]}, True)


async def test_what_is_told_twice_late_or_out_of_order_changes_nothing(callers: Callers) -> None:
    first = await number(callers.cell, stands("alice"))
    second = await number(callers.cell, after=first, locking=2)
    for after in (0, first, second + 1):
        again = await tell(callers.cell, stands("alice"), after=after, locking=3)
        assert (again.status_code, again.json()["number"]) == (412, second)
    assert told(await page(callers.cell)) == {"eu-de": []}


async def test_only_one_of_many_who_tell_at_once_is_taken(callers: Callers) -> None:
    answers = await asyncio.gather(*(tell(callers.cell, stands(f"p{one}"), locking=one) for one in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert len(told(await page(callers.cell))["eu-de"]) == 1


async def test_a_cell_that_knows_less_than_it_told_lifts_nothing_until_an_operator_forgets_it(
    callers: Callers,
) -> None:
    first = await number(callers.cell, stands("alice"), locking=5)
    shorter = await tell(callers.cell, after=first, locking=4)
    assert (shorter.status_code, shorter.json()["code"]) == (409, "conflict")
    assert told(await page(callers.cell)) == {"eu-de": [stands("alice")]}
    assert (await callers.cell.post("/v1/locks/eu-de/forget", {"reason": "x"})).status_code == 403
    forgotten = await callers.operator.post("/v1/locks/eu-de/forget", {"reason": "restored; replayed"})
    assert (forgotten.status_code, forgotten.json()["number"] > first) == (200, True)
    assert told(await page(callers.cell_us)) == {"eu-de": []}
    await number(callers.cell, stands("bob"), after=forgotten.json()["number"], locking=4)
    assert (await callers.operator.post("/v1/locks/us-va/forget", {"reason": "x"})).status_code == 404


async def test_who_may_not_tell_and_what_may_not_be_told_is_refused(callers: Callers, folder: Path) -> None:
    assert (await tell(callers.cell_us, stands("alice"))).status_code == 403
    assert (await tell(callers.resolver, stands("alice"))).status_code == 403
    assert (await tell(callers.operator, stands("alice"))).status_code == 403
    forger = Caller(callers.http, ServiceIssuer(folder).headers("cell:eu-de", ["cell:eu-de"]))
    assert (await tell(forger, stands("alice"))).status_code == 401
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
        assert (await callers.cell.raw("PUT", "/v1/locks/eu-de", body)).status_code == 400, locks[:1]
    assert (await callers.cell.get("/v1/locks", held="x")).status_code == 400
    assert told(await page(callers.cell)) == {}
    assert (await number(callers.cell, *(stands(f"p{one}") for one in range(LOCKS_MAX)))) > 0


async def test_what_was_told_stands_after_a_restart_and_all_that_changed_is_remembered(
    database: Secret[str], folder: Path
) -> None:
    tokens = ServiceIssuer(folder)
    async with running_directory(database, tokens) as running:
        first = await number(running.callers.cell, stands("alice"))
        before = await page(running.callers.cell)
    async with running_directory(database, tokens) as running:
        calls = running.callers
        assert await page(calls.cell) == before
        await number(calls.cell, stands("alice", number=2), after=first, locking=3)
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
        await number(one.callers.cell, stands("alice"))
    assert told(waiting.result()) == {"eu-de": [stands("alice")]}


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

        await number(running.callers.cell, stands("alice", number=7))
        assert "eu-de  " in (shown := (await command("list")).output), shown
        assert ("lock:7" in shown, "1 cells have told" in shown, "alice" in shown) == (True, True, False)
        assert "forgotten" in (await command("forget", "eu-de", "--reason", "given up")).output
        assert json.loads((await command("list", "--json")).stdout)["cells"][0]["locks"] == []
        assert "given up" in (await command("history")).output

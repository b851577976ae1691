"""Emergencies told to webhooks: real servers of this machine, some of which fail."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.breakglass import paging
from cells.breakglass.paging import ATTEMPTS_MAX
from cells.breakglass.steps import Paged
from foundation.tasks import run_together
from tests.stands.access_cell import AccessStand, access_stand, terms
from tests.stands.notices import KEYS, is_signed, keys_in
from tests.stands.servers import serving
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


class Webhook:
    """Answers with the statuses that it is given, the last one ever after."""

    def __init__(self, *statuses: int) -> None:
        self.heard: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.signed: list[bool] = []
        self._statuses = list(statuses)

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        self.heard.append(json.loads(body))
        self.signed.append(all(is_signed(key, request.headers, body) for key in KEYS))
        self.keys.append(request.headers["idempotency-key"])
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return Response(status_code=status)


class Silent(Webhook):
    """Takes what it is told, and answers nothing until it may."""

    def __init__(self) -> None:
        super().__init__(204)
        self.may = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        answer = await super().__call__(request)
        await self.may.wait()
        return answer


@pytest.fixture
def hooks() -> list[Webhook]:
    return [Webhook(204), Webhook(503, 500, 200), Webhook(500)]


@asynccontextmanager
async def paging_to(hooks: list[Webhook], folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AccessStand]:
    monkeypatch.setattr(paging, "FIRST_S", 0.01)
    monkeypatch.setattr(paging, "PAUSE_S_MAX", 0.02)
    async with AsyncExitStack() as stack:
        for number, hook in enumerate(hooks):
            app = Starlette(routes=[Route("/page", hook.__call__, methods=["POST"])])
            port = await stack.enter_async_context(serving(app))
            monkeypatch.setenv(f"PAGE_{number}", f"http://127.0.0.1:{port}/page")
        names, signing = tuple(f"PAGE_{number}" for number in range(len(hooks))), str(keys_in(folder))
        stand = access_stand(folder, monkeypatch, pages=names, pages_signing_file=signing)
        yield await stack.enter_async_context(stand)


@pytest.fixture
async def stand(folder: Path, monkeypatch: pytest.MonkeyPatch, hooks: list[Webhook]) -> AsyncIterator[AccessStand]:
    async with paging_to(hooks, folder, monkeypatch) as built:
        yield built


async def test_everybody_is_told_of_an_emergency_again_until_they_hear_or_the_tries_are_over(
    stand: AccessStand, hooks: list[Webhook]
) -> None:
    usual = await stand.approved()
    answer = await stand.post("grants", stand.who("alice"), {"terms": terms(), "on_call": stand.proof("alice")})
    grant = answer.json()["grant"]["id"]

    def paged() -> list[Paged]:
        return [row.taken.step for row in stand.steps.kept if isinstance(row.taken.step, Paged)]

    async def until() -> None:
        await eventually(lambda: len(paged()) == len(hooks))

    await run_together({"pages": stand.access.pager.run}, until)
    told = {one.webhook: (one.delivered, one.attempts) for one in paged()}
    assert told == {0: (True, 1), 1: (True, 3), 2: (False, ATTEMPTS_MAX)}
    assert [len(hook.heard) for hook in hooks] == [1, 3, ATTEMPTS_MAX]
    page = hooks[0].heard[0]
    assert (page["grant"], page["engineer"], page["ticket"]) == (grant, "engineer:alice", "OPS-7")
    assert "subjects" not in page
    assert {key for hook in hooks for key in hook.keys} == {f"emergency:{grant}"}
    assert all(all(hook.signed) for hook in hooks)
    assert usual not in {page["grant"] for hook in hooks for page in hook.heard}


async def test_a_restart_tells_who_was_not_told_and_nobody_twice(stand: AccessStand, hooks: list[Webhook]) -> None:
    grants = []
    for number, name in enumerate(("alice", "dora"), start=1):
        urgent = {"terms": terms(), "on_call": stand.proof(name)}
        grants.append((await stand.post("grants", stand.who(name), urgent)).json()["grant"]["id"])
        wanted = number * len(hooks)

        def told(wanted: int = wanted) -> bool:
            return sum(isinstance(row.taken.step, Paged) for row in stand.steps.kept) == wanted

        await run_together({"pages": stand.access.pager.run}, partial(eventually, told))
    assert [page["grant"] for page in hooks[0].heard] == grants
    assert [page["grant"] for page in hooks[1].heard] == [*[grants[0]] * 3, grants[1]]
    assert [page["grant"] for page in hooks[2].heard] == [*[grants[0]] * ATTEMPTS_MAX, *[grants[1]] * ATTEMPTS_MAX]


async def test_one_who_does_not_answer_keeps_nobody_else_from_hearing_of_the_next_emergency(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, hears = Silent(), Webhook(204)
    async with paging_to([silent, hears], folder, monkeypatch) as stand:

        async def until() -> None:
            for number, name in enumerate(("alice", "dora"), start=1):
                urgent = {"terms": terms(), "on_call": stand.proof(name)}
                assert (await stand.post("grants", stand.who(name), urgent)).status_code == 201
                await eventually(lambda number=number: len(silent.heard) >= number == len(hears.heard))
            told = [row.taken.step for row in stand.steps.kept if isinstance(row.taken.step, Paged)]
            assert {one.webhook for one in told} <= {1}
            silent.may.set()

        await run_together({"pages": stand.access.pager.run}, until)

"""Trackers of tickets: one suite on a file and on a real server; who cannot be asked says nothing."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cells.breakglass.settings import Tickets
from cells.breakglass.tickets import FileTracker, HttpTracker, Tracker, tracker_of
from foundation.http import client
from foundation.problems import Code, ProblemError
from tests.stands.servers import free_port, serving

pytestmark = pytest.mark.anyio
STATES = {"OPS-7": "open", "OPS-8": "closed"}


@asynccontextmanager
async def in_file(folder: Path) -> AsyncIterator[tuple[Tracker, Callable[[bytes], None]]]:
    path = folder / "tickets.json"
    path.write_text(json.dumps(STATES))

    def breaks(raw: bytes) -> None:
        path.write_bytes(raw)

    async with client() as http:
        tracker = tracker_of(Tickets(file=str(path)), http)
        assert isinstance(tracker, FileTracker)
        yield tracker, breaks


@asynccontextmanager
async def over_http(_folder: Path) -> AsyncIterator[tuple[Tracker, Callable[[bytes], None]]]:
    answers: list[bytes] = []

    async def ticket(request: Request) -> Response:
        if answers:
            return Response(answers[0])
        state = STATES.get(request.path_params["ticket"])
        return Response(status_code=404) if state is None else JSONResponse({"state": state, "title": "totals"})

    app = Starlette(routes=[Route("/tickets/{ticket}", ticket)])
    async with serving(app) as port, client() as http:
        tracker = tracker_of(Tickets(url=f"http://127.0.0.1:{port}/tickets/"), http)
        assert isinstance(tracker, HttpTracker)
        yield tracker, answers.append


@pytest.mark.parametrize("kind", [in_file, over_http])
async def test_a_ticket_is_open_when_the_tracker_says_so_and_nothing_is_said_by_one_that_is_broken(
    kind: Callable[[Path], AbstractAsyncContextManager[tuple[Tracker, Callable[[bytes], None]]]], folder: Path
) -> None:
    async with kind(folder) as (tracker, breaks):
        assert [await tracker.is_open(one) for one in ("OPS-7", "OPS-8", "OPS-9")] == [True, False, False]
        for raw in (b"{", b"[]", b'{"state": 1, "OPS-7": 1}', b"\xff"):
            breaks(raw)
            with pytest.raises(ProblemError) as silent:
                await tracker.is_open("OPS-7")
            assert silent.value.problem.code is Code.NOT_READY
            if kind is over_http:
                break


@pytest.mark.parametrize("status", [201, 302, 401, 500])
async def test_a_tracker_that_sends_elsewhere_or_answers_otherwise_says_nothing(status: int) -> None:
    """Whoever a tracker sends to was never asked for, and may say anything."""

    async def ticket(request: Request) -> Response:
        if request.url.path.startswith("/there"):
            return JSONResponse({"state": "open"})
        return JSONResponse({"state": "open"}, status_code=status, headers={"location": "/there/OPS-7"})

    app = Starlette(routes=[Route("/{place}/{ticket}", ticket)])
    async with serving(app) as port, client() as http:
        with pytest.raises(ProblemError) as silent:
            await HttpTracker(http, f"http://127.0.0.1:{port}/tickets").is_open("OPS-7")
    assert silent.value.problem.code is Code.NOT_READY


async def test_a_tracker_that_nobody_answers_for_says_nothing(folder: Path) -> None:
    async with client() as http:
        for settings in (
            Tickets(url=f"http://127.0.0.1:{free_port()}/tickets"),
            Tickets(file=str(folder / "nowhere.json")),
        ):
            with pytest.raises(ProblemError):
                await tracker_of(settings, http).is_open("OPS-7")

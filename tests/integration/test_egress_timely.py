"""An answer that nobody takes in time is out no later: what had not left by then does not leave when the client reads at last."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.egress import timely
from cells.egress.asking import EgressAnswer
from cells.egress.streams import Streamed, Streams
from cells.egress.timely import Timely, end_of_time
from cells.egress.viewing import ViewAnswer
from cells.egress.views import LATE, Views
from tests.stands.servers import serving

pytestmark = pytest.mark.anyio
BYTES = 24 << 20
"""More than connections of loopback hold on the way."""
REQUEST = b"POST / HTTP/1.1\r\nhost: cell\r\ncontent-length: 3\r\n\r\n{}\n"


async def treated(_: object) -> EgressAnswer:
    text = {"item": "x" * BYTES}
    return EgressAnswer(release="release:1", events=[text], stayed={}, duties=(), counts={}, held=())


class Showing(Views):
    """What it shows is here already, or `never`. How it is answered is the cell's."""

    def __init__(self, *, never: bool = False) -> None:
        nothing = cast("Any", None)
        super().__init__(nothing, {}, None, nothing)
        self._never = never

    async def _answered(self, request: Request) -> ViewAnswer:
        if self._never:
            await asyncio.Event().wait()
        return ViewAnswer(table="notes", rows=[{"body": "x" * BYTES}], more=False)


def whole() -> ASGIApp:
    return Timely(Response(b"x" * BYTES), end_of_time())


def stream() -> ASGIApp:
    return Streamed(treated, Streams())


def view() -> ASGIApp:
    async def shown(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await Showing().answer(Request(scope, receive))
        await answer(scope, receive, send)

    return shown


async def read_late(answer: Callable[[], ASGIApp]) -> int:
    """Bytes that arrive at a client who reads nothing before the application has ended."""
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await answer()(scope, receive, send)
        finally:
            ended.set()

    async with serving(app) as port:
        reading, writing = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        try:
            writing.write(REQUEST)
            await ended.wait()
            return await arrived(reading)
        finally:
            writing.close()


async def arrived(reading: asyncio.StreamReader) -> int:
    count = 0
    try:
        async with asyncio.timeout(60):
            while piece := await reading.read(1 << 16):
                count += len(piece)
                if count >= BYTES:
                    return count
    except ConnectionError:
        pass
    return count


@pytest.mark.parametrize("answer", [whole, stream, view])
async def test_what_is_not_taken_in_time_does_not_arrive_later(
    answer: Callable[[], ASGIApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timely, "ANSWER_S_MAX", 0.3)
    assert await read_late(answer) < BYTES


async def test_an_answer_that_is_only_sent_would_arrive_later() -> None:
    """The violation that the test above must see."""
    assert await read_late(lambda: Response(b"x" * BYTES)) >= BYTES


async def test_a_view_that_is_not_made_in_time_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timely, "ANSWER_S_MAX", 0.05)
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    answer = await Showing(never=True).answer(request)
    assert (answer.status_code, LATE.detail in bytes(answer.body).decode()) == (503, True)

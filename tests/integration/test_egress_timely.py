"""An answer that nobody takes in time is out no later: what had not left by then does not leave when the client reads at last."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.egress import timely
from cells.egress.asking import EgressAnswer
from cells.egress.streams import Streamed, Streams
from cells.egress.timely import ClientGone, Timely, end_of_time, in_time
from cells.egress.viewing import ViewAnswer
from cells.egress.views import LATE, Views
from foundation.clock import SystemClock
from foundation.tls import Credentials, Tls
from foundation.wire.door import Door
from tests.stands.certificates import Authority
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio
LARGE = 24 << 20
"""More than connections of loopback hold on the way."""
SMALL = 48 << 10
"""Less than what a process buffers before it says that a connection is full, and more than narrow connections hold on the way."""
NARROW = 4096
REQUEST = b"POST / HTTP/1.1\r\nhost: cell\r\ncontent-length: 3\r\n\r\n{}\n"
Answer = Callable[[int], ASGIApp]


class Showing(Views):
    """What it shows is here already, or `never`. How it is answered is the cell's."""

    def __init__(self, size: int = 0, *, never: bool = False) -> None:
        nothing = cast("Any", None)
        super().__init__(nothing, {}, None, nothing)
        self._size = size
        self._never = never

    async def _answered(self, request: Request) -> ViewAnswer:
        if self._never:
            await asyncio.Event().wait()
        return ViewAnswer(table="notes", rows=[{"body": "~" * self._size}], more=False)


class NarrowDoor(Door):
    """The system takes little of what it writes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _narrowed(cast("socket.socket", transport.get_extra_info("socket")), socket.SO_SNDBUF)
        super().connection_made(transport)


class Client:
    """Reads nothing before it is told to. `tls`: whose certificates it believes."""

    def __init__(self, tls: Authority | None, *, narrow: bool) -> None:
        self._tls = tls
        self._socket = socket.socket()
        self._socket.settimeout(60)
        if narrow:
            _narrowed(self._socket, socket.SO_RCVBUF)

    def ask(self, port: int) -> None:
        self._socket.connect(("127.0.0.1", port))
        if self._tls is not None:
            context = ssl.create_default_context(cafile=self._tls.file)
            self._socket = context.wrap_socket(self._socket, server_hostname="127.0.0.1")
        self.ask_again()

    def ask_again(self) -> None:
        self._socket.sendall(REQUEST)

    def arrived(self, most: int) -> int:
        """How much of answers arrives before the connection ends, or until it is `most`."""
        count = 0
        try:
            while count < most and (piece := self._socket.recv(1 << 16)):
                count += piece.count(b"~")
        except OSError:
            pass
        return count

    def close(self) -> None:
        self._socket.close()


def _narrowed(connection: socket.socket, which: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, which, NARROW)


def whole(size: int) -> ASGIApp:
    return Timely(Response(b"~" * size), end_of_time())


def stream(size: int) -> ASGIApp:
    async def treated(_: object) -> EgressAnswer:
        text = {"item": "~" * size}
        return EgressAnswer(release="release:1", events=[text], stayed={}, duties=(), counts={}, held=())

    return Streamed(treated, Streams())


def view(size: int) -> ASGIApp:
    async def shown(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await Showing(size).answer(Request(scope, receive))
        await answer(scope, receive, send)

    return shown


def sent(size: int) -> ASGIApp:
    """The violation."""
    return Response(b"~" * size)


async def read_late(answer: Answer, size: int, ours: Authority | None = None) -> int:
    """Bytes that arrive at a client who reads nothing before the application has ended."""
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await answer(size)(scope, receive, send)
        finally:
            ended.set()

    client = Client(ours, narrow=size == SMALL)
    try:
        async with serving(app, http=NarrowDoor if size == SMALL else Door, tls=shown(ours)) as port:
            await asyncio.to_thread(client.ask, port)
            await ended.wait()
            return await asyncio.to_thread(client.arrived, size)
    finally:
        client.close()


def shown(ours: Authority | None) -> Credentials | None:
    if ours is None:
        return None
    certificate, key = ours.sign("cell")
    return Credentials(Tls(certificate=certificate, key=key), SystemClock())


@pytest.fixture(params=["plain", "tls"])
def ours(request: pytest.FixtureRequest, folder: Path) -> Authority | None:
    return Authority(folder, "ours") if request.param == "tls" else None


@pytest.mark.parametrize("answer", [whole, stream, view])
async def test_what_is_not_taken_in_time_does_not_arrive_later(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timely, "ANSWER_S_MAX", 0.3)
    assert await read_late(answer, LARGE) < LARGE


@pytest.mark.parametrize("answer", [whole, stream, view])
async def test_nor_does_an_answer_that_fits_the_buffers_of_the_process(
    answer: Answer, ours: Authority | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timely, "ANSWER_S_MAX", 0.3)
    assert await read_late(answer, SMALL, ours) < SMALL


async def test_an_answer_that_is_only_sent_would_arrive_later() -> None:
    """The violation that the tests above must see."""
    assert await read_late(sent, LARGE) >= LARGE


async def test_a_small_answer_that_is_only_sent_would_arrive_later_too(ours: Authority | None) -> None:
    assert await read_late(sent, SMALL, ours) >= SMALL


def busy_until(end: float) -> None:
    """As a long encoding is, which lets nobody else run."""
    loop = asyncio.get_running_loop()
    while loop.time() < end:
        pass


async def test_what_begins_or_is_made_after_its_time_is_not_sent_though_nothing_waits() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ClientGone):
        async with in_time({}, loop.time() - 1):
            pytest.fail("its time was over")
    end = loop.time() + 0.05
    with pytest.raises(ClientGone):
        async with in_time({}, end):
            busy_until(end)


async def test_a_view_that_is_not_made_in_time_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timely, "ANSWER_S_MAX", 0.05)
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    answer = await Showing(never=True).answer(request)
    assert (answer.status_code, LATE.detail in bytes(answer.body).decode()) == (503, True)


@pytest.mark.parametrize("answer", [whole, stream, view])
async def test_what_is_taken_arrives_whole_and_so_does_the_next_answer_on_its_connection(
    answer: Answer, ours: Authority | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timely, "ANSWER_S_MAX", 60.0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(SMALL)(scope, receive, send)

    client = Client(ours, narrow=True)
    try:
        async with serving(app, http=NarrowDoor, tls=shown(ours)) as port:
            await asyncio.to_thread(client.ask, port)
            assert await asyncio.to_thread(client.arrived, SMALL) == SMALL
            await asyncio.to_thread(client.ask_again)
            assert await asyncio.to_thread(client.arrived, SMALL) == SMALL
    finally:
        client.close()

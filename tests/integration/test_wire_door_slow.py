"""The protocol that every process serves HTTP/1.1 by, and clients that are slow, silent, idle or too many."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from foundation import http
from foundation.server import serve
from foundation.wire import connection, taking
from foundation.wire.door import Door
from foundation.wire.serving import State, clients_max
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import free_port, serving
from tests.stands.waiting import eventually
from tests.stands.wire_door import GET, POST, body, connected, saying, start

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


async def test_a_body_that_falls_silent_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BODY_SILENT_S_MAX", 0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async with connected(app) as (reader, writer):
        writer.write(POST[:-1])
        with anyio.fail_after(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_back_pressure_reaches_the_client_and_lets_go() -> None:
    go_on = asyncio.Event()
    taken = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken
        await go_on.wait()
        more = True
        while more:
            message = await receive()
            taken += len(message["body"])
            more = message["more_body"]
        await send(start(200, (b"content-length", b"0")))
        await send(body())

    size = 32 << 20
    async with connected(app) as (reader, writer), asyncio.TaskGroup() as group:

        async def pour() -> None:
            writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // 65_536):
                writer.write(bytes(65_536))
                await writer.drain()

        pouring = group.create_task(pour())
        await asyncio.sleep(0.5)
        assert not pouring.done()
        go_on.set()
        with anyio.fail_after(20):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert taken == size


async def test_a_large_answer_waits_for_a_slow_client() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(512):
            await send(body(bytes(65_536), more=True))
            sent += 65_536
        await send(body())

    async with connected(app) as (reader, writer):
        writer.write(GET.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n"))
        with anyio.fail_after(5):
            await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        assert sent < 32 << 20
        with anyio.fail_after(20):
            rest = await reader.read()
        assert rest.endswith(b"0\r\n\r\n")
        assert len(rest) > 32 << 20


NUMBER, LENGTH = 1_000, 65_536


@contextlib.asynccontextmanager
async def not_reading() -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[], int], Door]]:
    """A client that has asked for far more than a connection holds, and has read nothing by the time that no more is answered."""
    answers = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal answers
        answers += 1
        await send(start(200, (b"content-length", b"%d" % LENGTH)))
        await send(body(bytes(LENGTH)))

    doors: list[Door] = []

    class Watched(Door):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            doors.append(self)

    async with serving(app, http=Watched) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
        writer.write(GET * NUMBER)
        await eventually(lambda: doors and doors[0]._untaken)
        yield reader, lambda: answers, doors[0]
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_client_that_reads_none_of_its_answers_is_asked_for_nothing_more() -> None:
    async with not_reading() as (reader, answers, _):
        assert answers() < NUMBER // 2
        with anyio.fail_after(30):
            for _ in range(NUMBER):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(LENGTH)
        assert answers() == NUMBER


async def test_a_client_that_goes_on_reading_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "TAKEN_S_MAX", 0.2)
    async with not_reading() as (_, answers, door):
        await eventually(door._transport.is_closing, s_max=30)
        assert answers() < NUMBER


def all_of(size: int, *, more: bool) -> ASGIApp:
    """Everything in one piece, and whether there is to be another."""
    return saying(start(), body(bytes(size), more=more))


@pytest.mark.parametrize("ends", ["under way", "written", "half closed"])
async def test_a_client_that_takes_none_of_an_answer_does_not_keep_its_connection(
    monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Whether the application waits for it, has said all, or the client has said that it will ask for no more."""
    monkeypatch.setattr(taking, "TAKEN_S_MAX", 0.2)
    lost = asyncio.Event()

    class Watched(Door):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    async with serving(all_of(32 << 20, more=ends != "written"), http=Watched) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
        writer.write(GET.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n"))
        if ends == "half closed":
            await reader.readexactly(1)
            writer.write_eof()
        with anyio.fail_after(20):
            await lost.wait()
        writer.transport.abort()


async def test_a_body_that_trickles_is_late_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_S_MAX", 0.3)

    async def echo(request: Request) -> Response:
        return Response(await http.body_bytes(request))

    app = http.application([Route("/a", echo, methods=["POST"])], ready=lambda: None)
    async with connected(app) as (reader, writer), asyncio.TaskGroup() as group:
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")

        async def trickle() -> None:
            while not writer.transport.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.02)

        trickling = group.create_task(trickle())
        with anyio.fail_after(20):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        trickling.cancel()


async def test_who_comes_when_all_connections_are_taken_is_told_so_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(State, "connections_max", 2)
    app = saying(start(200, (b"content-length", b"2")), body(b"ok"))

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(GET)
        with anyio.fail_after(20):
            return (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")

    async with serving(app) as port, contextlib.AsyncExitStack() as held:

        def cut(writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async def come() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            held.callback(cut, writer)
            return reader, writer

        first, second = await come(), await come()
        assert await served(*first)
        assert await served(*second)
        late, _ = await come()
        with anyio.fail_after(20):
            told = await late.read()
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in told
        assert await served(*first)
        second[1].transport.abort()

        async def let_in() -> bool:
            reader, writer = await come()
            writer.write(GET)
            with anyio.fail_after(20), contextlib.suppress(ConnectionError):
                return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            return False

        await eventually(let_in)


async def test_a_server_takes_as_many_connections_as_its_process_may() -> None:
    found: list[int] = []

    class Watched(Door):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            found.append(self._server.connections_max)

    stop, port, files = asyncio.Event(), free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)

    async def met() -> bool:
        with contextlib.suppress(ConnectionError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.transport.abort()
        return bool(found)

    async with asyncio.TaskGroup() as group:
        group.create_task(serve(saying(), host="127.0.0.1", port=port, http=Watched, stop=stop))
        try:
            await eventually(met, s_max=30)
            assert set(found) == {clients_max()}
        finally:
            stop.set()
            resource.setrlimit(resource.RLIMIT_NOFILE, files)


async def test_an_idle_connection_ends_in_time_also_after_somebody_watched_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            await asyncio.sleep(0.05)
            await send(start(200, (b"content-length", b"0")))
            await send(body())

    async with serving(app, timeout_keep_alive=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        with anyio.fail_after(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.read() == b""
        writer.close()

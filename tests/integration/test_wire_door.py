"""The protocol that every process serves HTTP/1.1 by, in front of applications that behave and misbehave."""

import asyncio
import contextlib

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foundation.wire import connection
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving
from tests.stands.waiting import eventually
from tests.stands.wire_door import GET, POST, answered, body, connected, saying, start

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


async def test_head_and_body_of_a_small_answer_go_out_at_once() -> None:
    async with connected(saying(start(200, (b"content-length", b"2")), body(b"ok"))) as (reader, writer):
        for _ in range(3):
            writer.write(GET)
            with anyio.fail_after(5):
                found = await reader.read(1000)
            assert found.startswith(b"HTTP/1.1 200 OK\r\n")
            assert found.endswith(b"\r\ncontent-length: 2\r\n\r\nok")


async def test_a_head_goes_out_while_its_body_lets_itself_be_waited_for() -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await go_on.wait()
        await send(body(b"ok"))

    async with connected(app) as (reader, writer):
        writer.write(GET)
        with anyio.fail_after(5):
            assert b"transfer-encoding: chunked\r\n" in await reader.readuntil(b"\r\n\r\n")
            go_on.set()
            assert await reader.readuntil(b"0\r\n\r\n") == b"2\r\nok\r\n0\r\n\r\n"


async def test_an_answer_without_a_length_is_chunked_for_those_who_know_chunks() -> None:
    app = saying(start(), body(b"ab", more=True), body(b"", more=True), body(b"c"))
    assert (await answered(app, GET)).endswith(b"connection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    old = await answered(app, GET.replace(b"1.1", b"1.0"))
    assert old.endswith(b"connection: close\r\n\r\nabc")
    assert b"transfer-encoding" not in old


async def test_head_204_and_304_have_no_body() -> None:
    app = saying(start(200, (b"content-length", b"3")), body(b"abc"))
    assert (await answered(app, GET.replace(b"GET", b"HEAD"))).endswith(
        b"content-length: 3\r\nconnection: close\r\n\r\n"
    )
    for status in (204, 304):
        assert (await answered(saying(start(status), body()), GET)).endswith(b"connection: close\r\n\r\n")


@pytest.mark.parametrize(
    "app",
    [
        saying(),
        saying(body(b"x")),
        saying(start(200, (b"x", b"a\r\nSet-Cookie: b"))),
        saying(start(200, (b"x\n", b"a"))),
        saying(start(200, (b"x", b"\x00"))),
        saying({"type": "websocket.accept"}),
    ],
    ids=["nothing", "body first", "line feed in a value", "line feed in a name", "NUL", "other type"],
)
async def test_an_application_that_makes_no_answer_is_a_500(app: ASGIApp) -> None:
    found = await answered(app, GET)
    assert found.startswith(b"HTTP/1.1 500 ")
    assert b"Set-Cookie" not in found


async def test_an_application_that_fails_before_its_answer_is_a_500_that_tells_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the secret of the house")

    found = await answered(app, GET)
    assert found.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in found


@pytest.mark.parametrize(
    ("messages", "end"),
    [
        ([start(200, (b"content-length", b"3")), body(b"ab")], b"ab"),
        ([start(200, (b"content-length", b"3")), body(b"ab", more=True)], b"ab"),
        ([start(200, (b"content-length", b"3")), body(b"abcd")], b"abcd"),
        ([start(200), body(b"ab", more=True)], b"0\r\n\r\n"),
    ],
)
async def test_an_answer_that_is_not_whole_has_no_end(messages: list[Message], end: bytes) -> None:
    found = await answered(saying(*messages), GET)
    if end == b"ab":
        assert b"content-length: 3" in found or found == b""
        assert not found.endswith(b"abc")
    else:
        assert not found.endswith(end)


async def test_an_answer_that_only_its_connection_would_end_is_reset_where_it_breaks() -> None:
    found = await answered(saying(start(), body(b"ab", more=True)), GET.replace(b"1.1", b"1.0"))
    assert found == b"reset"


async def test_the_application_learns_that_its_client_has_left() -> None:
    told: list[str] = []
    began = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.append((await receive())["type"])
        began.set()
        told.append((await receive())["type"])
        await send(start())

    async with serving(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        with anyio.fail_after(5):
            await began.wait()
        writer.close()
        await eventually(lambda: told == ["http.request", "http.disconnect"])


async def test_a_body_that_nobody_reads_does_not_stand_in_the_next_request_s_way() -> None:
    app = saying(start(200, (b"content-length", b"0")), body())
    found = await answered(app, POST, POST, GET)
    assert found.count(b"HTTP/1.1 200 OK") == 3


async def test_a_body_that_was_not_asked_for_ends_the_connection() -> None:
    app = saying(start(413, (b"content-length", b"0")), body())
    async with connected(app) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        with anyio.fail_after(5):
            found = await reader.read()
    assert found.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in found


async def test_more_of_an_unread_body_than_is_dropped_ends_the_connection() -> None:
    app = saying(start(200, (b"content-length", b"0")), body())
    async with connected(app) as (_, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        with anyio.fail_after(10):
            while not writer.transport.is_closing():
                writer.write(b"x" * 65_536)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HEAD /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"HEAD a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", 500),
        (b"HEAD /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab", 408),
        (b"HEAD /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ],
    ids=["two hosts", "target", "no answer", "late", "chunk"],
)
async def test_a_refusal_of_head_has_no_body_either(monkeypatch: pytest.MonkeyPatch, head: bytes, status: int) -> None:
    monkeypatch.setattr(connection, "BODY_SILENT_S_MAX", 0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async with connected(app) as (reader, writer):
        writer.write(head)
        with anyio.fail_after(20):
            found = await reader.read()
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert found.endswith(b"\r\n\r\n")
    assert b"\r\ncontent-length: " in found


async def test_a_refusal_in_the_midst_of_a_large_body_reaches_the_client() -> None:
    app = saying(start(413, (b"content-length", b"2"), (b"connection", b"close")), body(b"no"))
    async with connected(app) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000))
        with anyio.fail_after(5):
            assert (await reader.read()).endswith(b"\r\n\r\nno")


async def test_a_malformed_request_is_answered_before_its_connection_ends() -> None:
    async with connected(saying()) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".replace(b"Host", b"Ho st") + bytes(1_000_000))
        with anyio.fail_after(5):
            assert b"bad_request" in await reader.read()

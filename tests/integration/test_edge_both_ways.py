"""Bodies on their way up while answers come down: early answers, echoes, and clients that leave or stall between them."""

import asyncio
import contextlib
from pathlib import Path

import anyio
import pytest

from foundation.wire import connection
from gateway.edge import body as bodies
from gateway.settings import Upstream
from tests.stands.edge import edge
from tests.stands.mirrors import echo
from tests.stands.product_loop import anyio_backend
from tests.stands.upstreams import before_raw, head_of, in_front_of
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


async def test_a_client_that_leaves_ends_the_exchange(folder: Path) -> None:
    ended = asyncio.Event()
    began = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        began.set()
        assert await reader.read() == b""
        ended.set()

    async with before_raw(raw, folder, limits=Upstream()) as (stand, _):
        _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        with anyio.fail_after(10):
            await began.wait()
            writer.close()
            await ended.wait()
        await eventually(lambda: [pool.open for pool in stand.pools.all()] == [0])


async def test_a_refusal_before_the_body_is_read_reaches_the_client(folder: Path) -> None:
    """The service answers at the head of a large upload and reads none of it."""

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()
        await reader.read()

    async with before_raw(raw, folder) as (stand, http):
        response = await http.post("/orders/1", headers=stand.bearer("ann"), content=b"x" * 4_000_000)
        assert (response.status_code, response.text) == (403, "no")


async def test_a_client_that_leaves_an_early_answer_ends_the_exchange(folder: Path) -> None:
    """An answer that has no end, to a request whose body has none."""
    ended = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():  # uvloop has another error for a write after that
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        ended.set()

    async with before_raw(raw, folder, limits=Upstream()) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"3\r\nabc\r\n")
        with anyio.fail_after(10):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
            writer.transport.abort()
            await ended.wait()


async def test_a_client_that_is_silent_under_an_early_answer_gets_all_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that takes longer than a body may be silent."""
    monkeypatch.setattr(bodies, "LINGER_S_MAX", 0.1)
    silent = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        await silent.wait()
        for _ in range(40):
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")

    async with before_raw(raw, folder, limits=Upstream()) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"3\r\nabc\r\n")
        with anyio.fail_after(20):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
            monkeypatch.setattr(connection, "BODY_SILENT_S_MAX", 0.1)
            writer.write(b"3\r\nabc\r\n")  # the last of it; from here on a body would be late
            silent.set()
            found = await reader.read()
        writer.close()
    assert found.count(b"x") == 40
    assert found.endswith(b"0\r\n\r\n")


async def test_a_body_that_nobody_wants_any_more_is_bounded_too(folder: Path) -> None:
    """Under an early answer that has no end."""
    ended = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        ended.set()

    async with before_raw(raw, folder, limits=Upstream(body_bytes_max=1_000_000)) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        with anyio.fail_after(20):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    writer.write(b"10000\r\n%b\r\n" % bytes(65_536))
                    await writer.drain()
            await ended.wait()
        writer.transport.abort()


async def test_the_verdict_falls_before_the_body_is_read(folder: Path) -> None:
    async with edge(folder, 9) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        with anyio.fail_after(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in head
        writer.close()


@pytest.mark.parametrize("length", [b"10", b"1000000"], ids=["kept", "streamed"])
async def test_a_client_that_stalls_inside_its_body_is_told_so(folder: Path, length: bytes) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with before_raw(raw, folder, limits=Upstream(stall_s=0.2)) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"].encode()
        writer.write(
            b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nContent-Length: %b\r\n\r\nx" % (token, length)
        )
        with anyio.fail_after(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
            assert b"connection: close\r\n" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_an_echo_streams_both_ways_at_once(folder: Path) -> None:
    async with in_front_of(echo, folder) as (stand, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        writer.write(
            f"POST /orders/echo HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        with anyio.fail_after(10):
            for word in (b"first", b"second", b"third"):
                writer.write(b"%x\r\n%b\r\n" % (len(word), word))
                await reader.readuntil(word)
            writer.write(b"0\r\n\r\n")
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()

"""Each bound of the edge on size and time, with the status that it answers. Those of heads: `test_edge_wire`, `test_edge_requests`."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from foundation.wire import connection
from gateway.settings import Upstream
from tests.stands.edge import Stand, edge, placement, tcp
from tests.stands.product_loop import anyio_backend
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODY_BYTES_MAX = 100_000


def head(stand: Stand, *fields: bytes, method: bytes = b"POST") -> bytes:
    token = stand.bearer("ann")["authorization"].encode()
    lines = [b"%b /orders/1 HTTP/1.1" % method, b"Host: x", b"Authorization: " + token, *fields]
    return b"\r\n".join((*lines, b"", b""))


@asynccontextmanager
async def facing(
    folder: Path, service: object, **bounds: float
) -> AsyncIterator[tuple[Stand, asyncio.StreamReader, asyncio.StreamWriter]]:
    limits = Upstream(**bounds)  # type: ignore[arg-type]
    async with tcp(service) as port, edge(folder, port, limits=limits) as stand:  # type: ignore[arg-type]
        stand.settle("ann", placement())
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        try:
            yield stand, reader, writer
        finally:
            writer.transport.abort()


class Taking:
    """A service that reads all there is and answers once a request is whole, or never."""

    def __init__(self, *, answers: bool = True) -> None:
        self.received = 0
        self.connections = 0
        self._answers = answers

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while data := await reader.read(65_536):
            self.received += len(data)
            if self._answers and (b"\r\n\r\n" in data):
                writer.write(OK)


async def status(reader: asyncio.StreamReader) -> int:
    with anyio.fail_after(10):
        line = await reader.readline()
    return int(line.split(b" ")[1]) if line else 0


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What still comes, to the end."""
    with anyio.fail_after(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


# --- size --------------------------------------------------------------------------------------------------------------------


async def test_a_body_that_is_stated_to_be_too_large_is_413_and_reaches_nobody(folder: Path) -> None:
    service = Taking()
    async with facing(folder, service, body_bytes_max=BODY_BYTES_MAX) as (stand, reader, writer):
        writer.write(head(stand, b"Content-Length: %d" % (BODY_BYTES_MAX + 1), b"Expect: 100-continue"))
        assert await status(reader) == 413
        assert b"connection: close" in await ended(reader)
    assert service.received == 0


async def test_a_body_that_turns_out_too_large_is_413_and_no_whole_request_to_the_service(folder: Path) -> None:
    service, ends = Taking(answers=False), asyncio.Event()

    async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await service(reader, writer)
        ends.set()

    async with facing(folder, watched, body_bytes_max=BODY_BYTES_MAX) as (stand, reader, writer):
        writer.write(head(stand, b"Transfer-Encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            for _ in range(2):
                writer.write(b"%x\r\n%b\r\n" % (BODY_BYTES_MAX // 2 + 1, bytes(BODY_BYTES_MAX // 2 + 1)))
                await writer.drain()
        assert await status(reader) == 413
        assert b"connection: close" in await ended(reader)
        with anyio.fail_after(10):
            await ends.wait()
    assert service.received < 2 * BODY_BYTES_MAX


@pytest.mark.parametrize("length", [BODY_BYTES_MAX, 3])
async def test_a_body_of_the_largest_size_passes(folder: Path, length: int) -> None:
    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(length)
        writer.write(OK)
        await reader.read()

    async with facing(folder, service, body_bytes_max=length) as (stand, reader, writer):
        writer.write(head(stand, b"Content-Length: %d" % length) + bytes(length))
        assert await status(reader) == 200


# --- time --------------------------------------------------------------------------------------------------------------------


async def test_a_head_that_trickles_in_is_late_however_often_something_comes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_S_MAX", 0.5)
    service = Taking()
    async with facing(folder, service) as (stand, reader, writer), asyncio.TaskGroup() as group:
        whole = head(stand, b"X-Slow: " + b"x" * 1_000)

        async def trickle() -> None:
            for at in range(len(whole)):
                if writer.transport.is_closing():
                    return
                writer.write(whole[at : at + 1])
                await asyncio.sleep(0.02)

        trickling = group.create_task(trickle())
        assert await status(reader) == 408
        trickling.cancel()
    assert service.received == 0


async def test_an_address_that_answers_no_connection_is_502_in_time(folder: Path) -> None:
    """A full queue of a listener that accepts nobody: the kernel answers no further connection."""
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(8):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        limits = Upstream(connect_s=0.2)
        async with edge(folder, deaf.getsockname()[1], limits=limits) as stand:
            stand.settle("ann", placement())
            reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
            writer.write(head(stand, method=b"GET"))
            assert await status(reader) == 502
            assert b"cell_unreachable" in await reader.readuntil(b"}")
            writer.transport.abort()


async def test_a_service_that_says_nothing_is_504_in_time(folder: Path) -> None:
    async with facing(folder, Taking(answers=False), first_byte_s=0.3) as (stand, reader, writer):
        writer.write(head(stand, method=b"GET"))
        assert await status(reader) == 504


async def test_a_connection_to_a_service_is_not_kept_for_longer_than_was_said(folder: Path) -> None:
    service = Taking()
    async with facing(folder, service, keep_alive_s=0.3) as (stand, reader, writer):
        writer.write(head(stand, method=b"GET"))
        assert await status(reader) == 200
        await reader.readuntil(b"ok")
        await eventually(lambda: [pool.open for pool in stand.pools.all()] == [0])
        writer.write(head(stand, method=b"GET"))
        assert await status(reader) == 200
    assert service.connections == 2


async def test_an_upload_that_never_ends_is_bounded_in_all(folder: Path) -> None:
    """Neither side is ever silent; what is late is the whole."""
    async with (
        facing(folder, Taking(answers=False), total_s=0.6) as (stand, reader, writer),
        asyncio.TaskGroup() as group,
    ):
        writer.write(head(stand, b"Transfer-Encoding: chunked"))

        async def trickle() -> None:
            while not writer.transport.is_closing():
                writer.write(b"1\r\nx\r\n")
                await asyncio.sleep(0.02)

        trickling = group.create_task(trickle())
        assert await status(reader) in (408, 504)
        trickling.cancel()


async def test_a_small_upload_that_trickles_is_bounded_in_all_and_reaches_nobody(folder: Path) -> None:
    """It is never silent, and no connection to the service is held for it."""
    service = Taking(answers=False)
    async with facing(folder, service, total_s=0.6) as (stand, reader, writer), asyncio.TaskGroup() as group:
        writer.write(head(stand, b"Content-Length: 60000"))

        async def trickle() -> None:
            while not writer.transport.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.02)

        trickling = group.create_task(trickle())
        assert await status(reader) == 408
        trickling.cancel()
    assert service.received == 0

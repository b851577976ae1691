"""The edge in front of services that misbehave, break off, fall silent and trickle: real servers on loopback."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient
from gateway.edge.upstream.exchange import Sending
from gateway.edge.upstream.forwarder import Forwarder
from gateway.edge.upstream.pool import Pools
from gateway.settings import Upstream
from tests.stands.edge import edge, placement, tcp
from tests.stands.mirrors import answer
from tests.stands.product_loop import anyio_backend
from tests.stands.upstreams import before_raw, code_of, head_of, in_front_of
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "answer_bytes",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 700 Strange\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 Strange\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Big: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
    ],
    ids=[
        "nonsense",
        "length and chunks",
        "two lengths",
        "coding",
        "upgrade",
        "status",
        "low status",
        "huge head",
        "interims",
    ],
)
async def test_an_answer_that_is_not_http_is_a_502(folder: Path, answer_bytes: bytes) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(answer_bytes)
        await reader.read()

    async with before_raw(raw, folder) as (stand, http):
        response = await http.get("/orders/1", headers=stand.bearer("ann"))
        assert (response.status_code, code_of(response)) == (502, "upstream_broken")


async def test_bytes_after_an_answer_never_reach_the_next_one(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        )
        await reader.read()

    async with before_raw(raw, folder) as (stand, http):
        for _ in range(3):
            assert (await http.get("/orders/1", headers=stand.bearer("ann"))).text == "hi"


async def test_a_connection_refused_is_cell_unreachable(folder: Path) -> None:
    async with edge(folder, 9) as stand:
        stand.settle("ann", placement())
        async with HttpClient(base_url=stand.url) as http:
            response = await http.post("/orders/1", headers=stand.bearer("ann"), content=b"x")
            assert (response.status_code, code_of(response)) == (502, "cell_unreachable")


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1)])
async def test_a_reset_before_the_answer_repeats_idempotent_requests_once(
    folder: Path, method: str, tries: int
) -> None:
    seen: list[bytes] = []

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head_of(reader))
        writer.transport.abort()

    async with before_raw(raw, folder) as (stand, http):
        response = await http.request(method, "/orders/1", headers=stand.bearer("ann"), content=b"x")
        assert (response.status_code, code_of(response)) == (502, "upstream_broken")
        assert len(seen) == tries


async def test_a_service_that_closed_its_idle_connection_costs_nobody_an_error(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async with before_raw(raw, folder) as (stand, http):
        for _ in range(10):
            assert (await http.get("/orders/1", headers=stand.bearer("ann"))).text == "hi"


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["length", "chunks"],
)
async def test_an_answer_that_breaks_off_never_looks_whole(folder: Path, beginning: bytes) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(beginning)
        await writer.drain()
        writer.write_eof()

    async with before_raw(raw, folder) as (stand, http):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/orders/1", headers=stand.bearer("ann"))


async def test_silence_before_the_answer_is_a_504(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with before_raw(raw, folder, limits=Upstream(first_byte_s=0.2)) as (stand, http):
        response = await http.get("/orders/1", headers=stand.bearer("ann"))
        assert (response.status_code, code_of(response)) == (504, "upstream_timeout")


async def test_silence_inside_the_answer_breaks_it_off(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()

    async with before_raw(raw, folder, limits=Upstream(stall_s=0.2)) as (stand, http):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/orders/1", headers=stand.bearer("ann"))


async def test_a_trickle_is_bounded_in_all(folder: Path) -> None:
    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.05)

    async with before_raw(raw, folder, limits=Upstream(total_s=0.5)) as (stand, http):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/orders/1", headers=stand.bearer("ann"))


async def test_connections_and_waiters_are_bounded(folder: Path) -> None:
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await answer(send, 200, b"ok")

    limits = Upstream(connections_max=2, waiters_max=2, wait_s=5)
    async with in_front_of(app, folder, limits=limits) as (stand, http):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(http.get("/orders/1", headers=stand.bearer("ann"))) for _ in range(6)]
            await eventually(lambda: sum(task.done() for task in tasks) == 2)
            assert [pool.open for pool in stand.pools.all()] == [2]
            release.set()
        statuses = sorted(task.result().status_code for task in tasks)
        assert statuses == [200, 200, 200, 200, 503, 503]


async def test_a_head_that_cannot_be_made_takes_no_connection_with_it() -> None:
    """What is signed is signed once a connection is there; where that fails, the only slot of the address is free again."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    def fails() -> bytes:
        raise ValueError("no header today")

    async with tcp(silent) as port:
        pools = Pools(Upstream(connections_max=1, waiters_max=0))
        forwarder, address = Forwarder(pools), f"127.0.0.1:{port}"
        for _ in range(2):
            with pytest.raises(ValueError, match="no header today"):
                await forwarder.open((address,), Sending(b"GET / HTTP/1.1\r\n", fails, head_only=False, done=True))
            await eventually(lambda: pools.of(address).open == 0)
        exchange = await forwarder.open(
            (address,), Sending(b"GET / HTTP/1.1\r\n", lambda: b"\r\n", head_only=False, done=True)
        )
        exchange.end()
        pools.close()

"""Large bodies that are carried home, on real servers: neither gateway holds them."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient
from gateway.settings import Upstream
from tests.stands.edge import placement
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.travel import GROUNDS, world

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

MIB = 1 << 20
SIZE = 50 * MIB
PIECE = bytes(64 * 1024)


# On asyncio's own loop: closing a uvloop under a connection that was aborted over full buffers hung once in some hundred runs.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_fifty_megabytes_to_a_slow_reader_wait_at_the_service_not_in_the_gateways(folder: Path) -> None:
    given = 0

    async def big(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal given
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]})
        for _ in range(SIZE // len(PIECE)):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            given += len(PIECE)

    patient = Upstream(connect_s=1.0, first_byte_s=5.0, stall_s=20.0, total_s=60.0)
    async with world(folder, eu_orders=big, hop_limits=patient) as stand:
        stand.settle("ann", placement())
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.us.port, limit=1024)
        token = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/big HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"domicile-verdict: hairpin" in head
        before = -1
        while before != given:
            before = given
            await anyio.sleep(0.3)  # not a wait for an event: it shows that nothing goes on
        assert given < SIZE // 2
        taken = 0
        while taken < SIZE:
            piece = await reader.read(MIB)
            assert piece
            taken += len(piece)
        assert (taken, given) == (SIZE, SIZE)
        writer.transport.abort()


async def test_fifty_megabytes_go_up_in_pieces_and_whole(folder: Path) -> None:
    taken = 0

    async def sink(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken
        more = True
        while more:
            message = await receive()
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def upload() -> Any:
        for _ in range(SIZE // len(PIECE)):
            yield PIECE

    async with world(folder, eu_orders=sink) as stand, HttpClient(timeout=60) as http:
        stand.settle("ann", placement())
        response = await http.post(f"{stand.us.url}/orders/big", headers=stand.bearer("ann"), content=upload())
        assert (response.status_code, taken) == (204, SIZE)
        assert len(stand.eu.cell.crossings) == 1


async def test_a_person_who_is_refused_at_home_hears_so_before_the_body_has_gone_up(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand:
        stand.settle("ann", placement())
        stand.rewrite(stand.eu, GROUNDS.replace('"hairpin"', '"refuse"'))
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.us.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: {SIZE}\r\n\r\n"
        writer.write(head.encode() + PIECE)
        with anyio.fail_after(5):
            answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 451 ")
        assert b"connection: close" in answered
        writer.transport.abort()

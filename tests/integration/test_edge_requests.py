"""What clients send to the edge byte by byte: what is ambiguous, trailers, upgrades, methods, and bounds of what is no body."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from foundation.wire import connection
from tests.stands.edge import Stand, edge
from tests.stands.mirrors import mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.upstreams import in_front_of

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("smuggled", [
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /orders/2 HTTP/1.1\r\n\r\n",
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nX-A: b\rX-C: d\r\n\r\n",
    b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /orders/1 HTTP/1.1\r\nAccept: */*\r\n\r\n",
    b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
])  # fmt: skip
async def test_ambiguous_requests_are_refused_at_the_door(folder: Path, smuggled: bytes) -> None:
    async with edge(folder, 9) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(smuggled)
        with anyio.fail_after(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def exchange_raw(stand: Stand, request: bytes, *, parts: int = 1) -> list[dict[str, Any]]:
    """Sends bytes and reads `parts` answers of a service that mirrors, with the head's fields under `answered`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    writer.write(request)
    found = []
    with anyio.fail_after(5):
        for _ in range(parts):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            found.append({**json.loads(await reader.readexactly(length)), "answered": head})
    writer.close()
    return found


async def test_trailers_are_no_headers(folder: Path) -> None:
    async with in_front_of(mirror, folder, proxies=("127.0.0.1/32",)) as (stand, _):
        token = stand.bearer("ann")["authorization"].encode()
        chunks = b"3\r\nabc\r\n0\r\n"
        start = b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        head = start + b"Authorization: " + token + b"\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"
        spoofed = b"X-Forwarded-For: 203.0.113.9\r\nX-Admin: 1\r\nDomicile-For: x\r\n\r\n"
        [seen] = await exchange_raw(stand, head + chunks + spoofed)
        headers = dict(seen["headers"])
        assert seen["body"] == "abc"
        assert headers["x-forwarded-for"] == "198.51.100.7, 127.0.0.1"
        assert "x-admin" not in headers
        [refused] = await exchange_raw(stand, start + b"\r\n" + chunks + b"Authorization: " + token + b"\r\n\r\n")
        assert refused["code"] == "unauthenticated"


@pytest.mark.parametrize("endless", [b"0\r\nX-Endless: ", b"0\r\n" + b"X: y\r\n" * 8, b"3;extension="])
async def test_what_is_neither_head_nor_body_is_bounded(folder: Path, endless: bytes) -> None:
    def pour(port: int, token: str) -> int:
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        more = b"X: y\r\n" * 10_000 if endless.endswith(b"\r\n") else b"x" * 60_000
        sent = 0
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client, contextlib.suppress(ConnectionError):
            client.sendall(head.encode() + b"3\r\nabc\r\n" + endless)
            while sent < 64 << 20:
                client.sendall(more)
                sent += len(more)
        return sent

    async with in_front_of(mirror, folder) as (stand, _):
        token = stand.bearer("ann")["authorization"]
        assert await anyio.to_thread.run_sync(pour, stand.port, token) < 64 << 20


async def test_a_body_of_many_pieces_is_not_taken_for_trailers(folder: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000

    async with in_front_of(mirror, folder) as (stand, http):
        response = await http.post("/orders/1", headers=stand.bearer("ann"), content=pieces())
        assert len(response.json()["body"]) == 300_000


async def test_an_upgrade_that_is_not_made_is_answered_plainly_and_ends_the_connection(folder: Path) -> None:
    async with in_front_of(mirror, folder) as (stand, _):
        token = stand.bearer("ann")["authorization"].encode()
        fields = b"Host: x\r\nAuthorization: " + token + b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        [seen] = await exchange_raw(stand, b"GET /orders/1 HTTP/1.1\r\n" + fields + b"HTTP2-Settings: x\r\n\r\n")
        assert "connection: close" in seen["answered"]
        assert not {"upgrade", "http2-settings", "connection"} & dict(seen["headers"]).keys()


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
async def test_nothing_that_the_edge_adds_is_mirrored_to_the_client(folder: Path, method: str) -> None:
    async with in_front_of(mirror, folder) as (stand, _):
        token = stand.bearer("ann")["authorization"]
        request = f"{method} /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        [seen] = await exchange_raw(stand, request.encode())
        assert (seen["status"], seen["code"]) == (405, "method_not_allowed")
        assert "allow: get, " in seen["answered"]


async def test_the_head_of_a_request_is_bounded_in_size(folder: Path) -> None:
    def endless(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"x" * 100_000)
            return client.recv(100)

    async with edge(folder, 9) as stand:
        assert (await anyio.to_thread.run_sync(endless, stand.port)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("beginning", [b"", b"GET /orders/1 HTTP/1.1\r\nHost:"])
async def test_the_head_of_a_request_is_bounded_in_time(
    folder: Path, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_S_MAX", 0.2)
    async with edge(folder, 9) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(beginning)
        with anyio.fail_after(5):
            answered = await reader.read()
        assert answered.startswith(b"HTTP/1.1 408 ") if beginning else answered == b""
        writer.close()

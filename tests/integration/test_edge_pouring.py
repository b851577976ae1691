"""Long answers to clients of one gateway that take them slowly, at once: each gets its own, byte for byte, though all of them are read into
the same memory. On real sockets, whose transports hold what was written to them rather than copies."""

import asyncio
import random
import socket
import ssl
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from foundation.clock import SystemClock
from foundation.tls import Credentials, Tls
from gateway.edge.door import EdgeDoor
from tests.stands.certificates import Authority
from tests.stands.edge import Stand, edge, placement
from tests.stands.servers import serving

pytestmark = pytest.mark.anyio

SIZE = (1 << 20) + 77
CLIENTS = 5
SOCKET_BYTES = 64 * 1024


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the product runs on: transports differ."""
    return "asyncio", {"use_uvloop": True}


def body_of(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    body = body_of(int(scope["path"].rpartition("/")[2]))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def narrowed(connection: socket.socket) -> None:
    for which in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, which, SOCKET_BYTES)


async def asked_slowly(stand: Stand, numbers: list[int], tls: ssl.SSLContext | None) -> list[bytes]:
    """What came, of one connection."""
    connection = socket.socket()
    narrowed(connection)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", stand.port))
    reader, writer = await asyncio.open_connection(
        sock=connection, ssl=tls, server_hostname="127.0.0.1" if tls else None, limit=SOCKET_BYTES
    )
    chance, bodies = random.Random(numbers[0]), []
    for number in numbers:
        authorization = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/{number} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        body = b""
        while len(body) < SIZE:
            body += await reader.read(min(SIZE - len(body), chance.randrange(1, 60_000)))
            await asyncio.sleep(chance.choice([0, 0, 0.001]))  # not a wait for an event: it is what makes a client slow
        bodies.append(body)
    writer.transport.abort()
    return bodies


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_each_gets_its_own_answer_while_all_of_them_take_theirs_slowly(tmp_path: Path, secure: bool) -> None:
    kept: list[bool] = []

    class Narrow(EdgeDoor):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            narrowed(transport.get_extra_info("socket"))
            super().connection_made(transport)

        def pour(self, piece: memoryview) -> bool:
            kept.append(super().pour(piece))
            return kept[-1]

    credentials, trust = None, None
    if secure:
        authority = Authority(tmp_path, "ours")
        certificate, key = authority.sign("gateway")
        credentials = Credentials(Tls(certificate=certificate, key=key, authorities=None), SystemClock())
        trust = ssl.create_default_context(cafile=authority.file)
    async with serving(large) as port, edge(tmp_path, port, tls=credentials, http=Narrow) as stand:
        stand.settle("ann", placement(epoch=7))
        asks = [[10 * client, 10 * client + 1] for client in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asked_slowly(stand, numbers, trust)) for numbers in asks]
        for numbers, task in zip(asks, tasks, strict=True):
            assert task.result() == [body_of(number) for number in numbers]
        assert kept
        assert secure or True in kept, "no transport held what was written to it"
        pool = stand.pools.of(f"127.0.0.1:{port}")
        assert pool.idle == pool.open <= CLIENTS

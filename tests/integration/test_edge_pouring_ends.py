"""Long answers of one gateway, all read into the same memory, of which some break off and some clients leave or take nothing: nobody gets a
byte of another's, what broke off has no end, and every connection to the service is given back or ended. On real sockets."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from directory.placement.core import Placement, PlacementEvent
from foundation.words import Epoch, FeedSeq
from gateway.edge import lasting
from gateway.edge.door import EdgeDoor
from gateway.edge.upstream import pouring
from gateway.settings import Upstream
from tests.stands.edge import Stand, edge, placement, tcp
from tests.stands.product_loop import anyio_backend
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

SIZE = (4 << 20) + 77
"""More than sockets of SOCKET_BYTES and what a gateway keeps for one client hold together."""
SHORT = SIZE - 3
SOCKET_BYTES = 64 * 1024
PATIENT = Upstream(first_byte_s=60.0, stall_s=60.0, total_s=60.0)
HURRIED = Upstream(first_byte_s=60.0, stall_s=60.0, total_s=1.0)
RESET = struct.pack("ii", 1, 0)


def body_of(name: str) -> bytes:
    return random.Random(name).randbytes(SIZE)


def narrowed(connection: socket.socket) -> None:
    for which in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, which, SOCKET_BYTES)


class Narrow(EdgeDoor):
    """Whose clients' connections hold little, and which counts what is passed on without a copy."""

    poured_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        narrowed(transport.get_extra_info("socket"))
        super().connection_made(transport)

    def pour(self, piece: memoryview) -> bool:
        Narrow.poured_bytes += len(piece)
        return super().pour(piece)


class Failing(Narrow):
    """In which something goes wrong each time that a client's connection has kept what was written to it."""

    def pour(self, piece: memoryview) -> bool:
        if super().pour(piece):
            raise OSError("planted")
        return False


BEHIND_MORE: list[str] = []
"""What was asked over a connection that had said more than it was asked."""


async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers at length; how it ends stands before the number in the path."""
    how = ""
    while True:
        name = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode().rpartition("/")[2]
        if how == "more":
            BEHIND_MORE.append(name)
        how, body = name.partition("-")[0], body_of(name)
        closes = b"connection: close\r\n" if how == "last" else b""
        writer.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (closes, SIZE))
        writer.write(body[:SHORT] if how in ("short", "reset", "stuck") else body)
        if how == "more":
            writer.write(b"x")
        await writer.drain()
        if how == "reset":
            await eventually(lambda: not writer.transport.get_write_buffer_size())
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        if how in ("short", "last"):
            writer.close()
        if how in ("short", "last", "reset"):
            return


@contextlib.asynccontextmanager
async def facing(
    folder: Path, limits: Upstream = PATIENT, http: type[Narrow] = Narrow
) -> AsyncIterator[tuple[Stand, Placement, int]]:
    home = placement(epoch=7)
    Narrow.poured_bytes = 0
    BEHIND_MORE.clear()
    with anyio.fail_after(60):
        async with tcp(service) as port, edge(folder, port, limits=limits, http=http) as stand:
            stand.settle("ann", home)
            yield stand, home, port


@contextlib.asynccontextmanager
async def client(stand: Stand) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    connection = socket.socket()
    narrowed(connection)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", stand.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=SOCKET_BYTES)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def asked(stand: Stand, name: str, who: str = "ann") -> bytes:
    authorization = stand.bearer(who)["authorization"]
    return f"GET /orders/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode()


async def slowly(reader: asyncio.StreamReader, chance: random.Random) -> bytes:
    """The body of the next answer, or what there is of it."""
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    body = bytearray()
    while len(body) < SIZE:
        piece = await reader.read(min(SIZE - len(body), chance.randrange(1, 300_000)))
        if not piece:
            break
        body += piece
        await asyncio.sleep(chance.choice([0, 0, 0.001]))  # not a wait for an event: it is what makes a client slow
    return bytes(body)


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What still comes, until the connection is closed or reset."""
    rest = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(SIZE):
            rest += piece
    return bytes(rest)


async def answered(stand: Stand, how: str, number: int) -> None:
    """One answer that ends so, and a whole one behind it on the same connection, asked for at once, where the first was whole."""
    name, chance = f"{how}-{number}", random.Random(number)
    async with client(stand) as (reader, writer):
        if how == "left":
            writer.write(asked(stand, name))
            await reader.readuntil(b"\r\n\r\n")
            assert body_of(name).startswith(await reader.readexactly(200_000))
            return
        writer.write(asked(stand, name) + asked(stand, f"whole-{number}"))
        body = await slowly(reader, chance)
        if how in ("short", "reset"):
            assert body_of(name).startswith(body)
            assert len(body) <= SHORT
            assert reader.at_eof(), "nothing follows"
            return
        assert body == body_of(name)
        assert await slowly(reader, chance) == body_of(f"whole-{number}")


async def test_each_gets_its_own_however_others_end(folder: Path) -> None:
    ends = ["whole", "more", "last", "short", "reset", "left", "whole"]
    async with facing(folder) as (stand, _, port):
        async with asyncio.TaskGroup() as group:
            for number, how in enumerate(ends):
                group.create_task(answered(stand, how, number))
        pool = stand.pools.of(f"127.0.0.1:{port}")
        await eventually(lambda: pool.open == pool.idle)
        assert Narrow.poured_bytes > SIZE * (len(ends) - 2)
        assert len(stand.desk.lasting) == 0
        await answered(stand, "whole", 99)
        assert BEHIND_MORE == []


async def test_what_goes_wrong_while_a_client_keeps_a_piece_shows_it_nothing_of_others(folder: Path) -> None:
    async with facing(folder, http=Failing) as (stand, _, port):

        async def broken(name: str) -> None:
            async with client(stand) as (reader, writer):
                writer.write(asked(stand, name))
                body = await slowly(reader, random.Random(name))
                assert body_of(name).startswith(body)
                assert len(body) < SIZE

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(broken(f"whole-{number}"))
        pool = stand.pools.of(f"127.0.0.1:{port}")
        await eventually(lambda: pool.open == pool.idle)
        assert Narrow.poured_bytes > 0


async def test_everything_else_has_a_turn_while_an_answer_goes_out(folder: Path) -> None:
    in_turn, most, over = 0, 0, False

    class Counting(Narrow):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            EdgeDoor.connection_made(self, transport)

        def pour(self, piece: memoryview) -> bool:
            nonlocal in_turn, most
            in_turn += len(piece)
            most = max(most, in_turn)
            return super().pour(piece)

    def turn() -> None:
        nonlocal in_turn
        in_turn = 0
        if not over:
            asyncio.get_running_loop().call_soon(turn)

    async with facing(folder, http=Counting) as (stand, _, _):
        asyncio.get_running_loop().call_soon(turn)
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port, limit=SIZE)
        for number in range(4):
            writer.write(asked(stand, f"whole-{number}"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(SIZE) == body_of(f"whole-{number}")
        writer.transport.abort()
        over = True
        assert Narrow.poured_bytes > 3 * SIZE
        assert most < pouring.TURN_BYTES + pouring.BASIN_BYTES


async def test_what_nobody_takes_ends_when_the_home_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "MOMENT_S", 0.0)
    async with (
        facing(folder) as (stand, home, port),
        client(stand) as (reader, writer),
        client(stand) as (other, asking),
    ):
        stand.settle("bob", placement(epoch=3))
        writer.write(asked(stand, "whole-1"))
        await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: Narrow.poured_bytes > 0 and len(stand.desk.lasting) == 1)
        asking.write(asked(stand, "whole-2", "bob"))
        changed = Placement(**{name: getattr(home, name) for name in home.__struct_fields__} | {"epoch": Epoch(8)})
        stand.desk.lasting.heard(PlacementEvent(seq=FeedSeq(8), at=0.0, placement=changed))
        pool = stand.pools.of(f"127.0.0.1:{port}")
        assert await slowly(other, random.Random(1)) == body_of("whole-2")
        await eventually(lambda: pool.open == pool.idle == 1 and len(stand.desk.lasting) == 0)
        rest = await to_the_end(reader)
        assert body_of("whole-1").startswith(rest)
        assert len(rest) < SIZE


async def test_what_nobody_takes_or_sends_ends_with_its_time(folder: Path) -> None:
    async with (
        facing(folder, HURRIED) as (stand, _, port),
        client(stand) as (reader, writer),
        client(stand) as (other, asking),
    ):
        writer.write(asked(stand, "whole-1"))
        asking.write(asked(stand, "stuck-2"))
        assert await slowly(other, random.Random(1)) == body_of("stuck-2")[:SHORT]
        pool = stand.pools.of(f"127.0.0.1:{port}")
        await eventually(lambda: pool.open == 0)
        rest = (await to_the_end(reader)).partition(b"\r\n\r\n")[2]
        assert body_of("whole-1").startswith(rest)
        assert len(rest) < SIZE
        assert Narrow.poured_bytes > 0

"""Plain requests are answered without a task, and whatever is not plain about them or their answers is handed over: on real sockets."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.edge.door import EdgeDoor
from gateway.settings import Upstream
from tests.stands.edge import Stand, edge, placement, tcp
from tests.stands.product_loop import anyio_backend
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class Service:
    """A service whose every byte the test writes: heads that came, and who wrote them."""

    came: asyncio.Queue[tuple[bytes, asyncio.StreamWriter]] = field(default_factory=asyncio.Queue)
    left: int = 0
    connections: int = 0
    reader: asyncio.StreamReader | None = None
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.reader = reader
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.taken.clear()
                self.came.put_nowait((head, writer))
                if b"\r\ncontent-length: " in head:
                    await self.taken.wait()  # the test reads the body
        finally:
            self.left += 1

    async def body(self, size: int) -> bytes:
        assert self.reader is not None
        body = await asyncio.wait_for(self.reader.readexactly(size), 5)
        self.taken.set()
        return body

    async def asked(self) -> tuple[bytes, asyncio.StreamWriter]:
        return await asyncio.wait_for(self.came.get(), 5)


@dataclass
class Client:
    """A connection to the gateway that sends what the test says."""

    stand: Stand
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def ask(
        self,
        method: str = "GET",
        path: str = "/orders/1",
        version: str = "1.1",
        *lines: str,
        sub: str = "ann",
        body: bytes = b"",
    ) -> None:
        token = self.stand.bearer(sub)["authorization"]
        head = [f"{method} {path} HTTP/{version}", "Host: shop", f"Authorization: {token}", *lines]
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)

    async def exactly(self, number: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(number), 5)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 5)


@dataclass
class Met:
    """A gateway that has met ann, her token and her service, and keeps a connection there; and one more client of it."""

    stand: Stand
    service: Service
    client: Client

    @property
    def tasks(self) -> int:
        """Requests that a task answers just now."""
        return sum(task.get_name() == "edge request" for task in asyncio.all_tasks())


@contextlib.asynccontextmanager
async def met(folder: Path, limits: Upstream | None = None, http: type[EdgeDoor] = EdgeDoor) -> AsyncIterator[Met]:
    service = Service()
    async with tcp(service.handle) as port, edge(folder, port, limits=limits, http=http) as stand:
        stand.settle("ann", placement(epoch=7))
        token = stand.bearer("ann")
        stand.bearer = lambda sub, **_: token if sub == "ann" else {"authorization": "Bearer x"}  # type: ignore[method-assign]
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        client = Client(stand, reader, writer)
        try:
            client.ask()
            (await service.asked())[1].write(OK)
            await client.head()
            assert await client.exactly(2) == b"ok"
            await eventually(lambda: sum(pool.idle for pool in stand.pools.all()) == 1)
            yield Met(stand, service, client)
        finally:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("method", "pieces", "status", "stated", "body"),
    [
        ("GET", [OK], b"200 OK", [b"content-length: 2"], b"ok"),
        ("GET", [b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 4\r\n\r\n", b"ab", b"cd"], b"200 OK", [b"content-length: 4"], b"abcd"),
        ("GET", [b"HTTP/1.1 404 Gone Fishing\r\ncontent-length: 0\r\nx-a: b\r\n\r\n"], b"404 Not Found", [b"x-a: b"], b""),
        ("GET", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"], b"200 OK", [b"content-length: 3"], b"abc"),
        ("GET", [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", OK], b"200 OK", [], b"ok"),
        ("HEAD", [b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"], b"200 OK", [b"content-length: 99"], b""),
        ("DELETE", [b"HTTP/1.1 204 No Content\r\n\r\n"], b"204 No Content", [], b""),
        ("GET", [b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\netag: x\r\n\r\n"], b"304 Not Modified", [b"etag: x"], b""),
        ("OPTIONS", [OK], b"200 OK", [], b"ok"),
    ],
)  # fmt: skip
async def test_a_plain_answer_comes_without_a_task(
    tmp_path: Path, method: str, pieces: list[bytes], status: bytes, stated: list[bytes], body: bytes
) -> None:
    async with met(tmp_path) as one:
        for _ in range(2):  # the connection is kept, on both sides
            one.client.ask(method)
            asked, writer = await one.service.asked()
            assert asked.startswith(f"{method} /orders/1 HTTP/1.1\r\n".encode())
            assert b"\r\ndomicile-decision: " in asked
            for piece in pieces:
                assert one.tasks == 0
                writer.write(piece)
                await asyncio.sleep(0.01)
            head = await one.client.head()
            assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
            for line in (*stated, b"domicile-cell: eu-de", b"domicile-epoch: 7", b"domicile-verdict: serve"):
                assert b"\r\n" + line + b"\r\n" in head
            assert head.lower().count(b"content-length") == (0 if status.startswith((b"204", b"304")) else 1)
            assert b"connection:" not in head
            assert b"transfer-encoding" not in head
            assert await one.client.exactly(len(body)) == body
        assert one.service.connections == 1
        assert one.tasks == 0


@pytest.mark.parametrize(("version", "lines"), [("1.1", ("Connection: close",)), ("1.0", ())])
async def test_a_connection_that_ends_with_the_answer_says_so(
    tmp_path: Path, version: str, lines: tuple[str, ...]
) -> None:
    async with met(tmp_path) as one:
        one.client.ask("GET", "/orders/1", version, *lines)
        (await one.service.asked())[1].write(OK)
        answer = await one.client.rest()
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\nok")


async def test_requests_sent_ahead_are_answered_in_their_order(tmp_path: Path) -> None:
    async with met(tmp_path) as one:
        for number in range(3):
            one.client.ask("GET", f"/orders/{number}")
        for number in range(3):
            asked, writer = await one.service.asked()
            assert asked.startswith(b"GET /orders/%d " % number)
            assert one.service.came.empty()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % number)
            await one.client.head()
            assert await one.client.exactly(1) == b"%d" % number


@pytest.mark.parametrize("size", [1, 60_000])
async def test_a_write_that_came_whole_needs_no_task_either(tmp_path: Path, size: int) -> None:
    async with met(tmp_path) as one:
        for _ in range(2):
            one.client.ask("POST", "/orders/1", "1.1", f"Content-Length: {size}", body=b"b" * size)
            asked, writer = await one.service.asked()
            assert b"\r\ncontent-length: %d\r\n" % size in asked
            assert await one.service.body(size) == b"b" * size
            writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
            assert (await one.client.head()).startswith(b"HTTP/1.1 201 Created\r\n")
        assert one.service.connections == 1


async def test_a_write_is_answered_without_a_task_and_the_next_request_behind_it(tmp_path: Path) -> None:
    async with met(tmp_path) as one:
        one.client.ask("PUT", "/orders/1", "1.1", "Content-Length: 2", body=b"ab")
        one.client.ask("GET", "/orders/2")
        _, writer = await one.service.asked()
        assert await one.service.body(2) == b"ab"
        assert one.tasks == 0
        writer.write(OK)
        await one.client.head()
        assert await one.client.exactly(2) == b"ok"
        asked, writer = await one.service.asked()
        assert asked.startswith(b"GET /orders/2 ")
        writer.write(OK)
        await one.client.head()


async def test_a_write_that_has_not_come_whole_is_read_by_a_task(tmp_path: Path) -> None:
    async with met(tmp_path) as one:
        one.client.ask("POST", "/orders/1", "1.1", "Content-Length: 4", body=b"ab")
        await eventually(lambda: one.tasks == 1)
        one.client.writer.write(b"cd")
        _, writer = await one.service.asked()
        assert await one.service.body(4) == b"abcd"
        writer.write(OK)
        assert (await one.client.head()).startswith(b"HTTP/1.1 200")


async def landed(door: EdgeDoor) -> None:
    """Until its request is answered, and the turn in which it was has ended."""
    async with asyncio.timeout(20):
        while door._cycle is not None:  # noqa: ASYNC110 - a level that nobody announces
            await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_client_that_reads_none_of_its_answers_is_asked_for_nothing_more(tmp_path: Path) -> None:
    """Its requests came before, so each answer goes out at the end of a turn, when the next request may be read already."""
    doors: list[EdgeDoor] = []

    class Watched(EdgeDoor):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            doors.append(self)

    size, asked = 60_000, 0
    async with met(tmp_path, http=Watched) as one:
        one.client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        door = doors[0]
        while not door._untaken:
            assert asked < 2_000, "more than a connection holds"
            one.client.ask()
            asked += 1
            _, writer = await one.service.asked()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
            await landed(door)
        one.client.ask()  # and is not read yet
        one.client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(asked):
            assert b"\r\ncontent-length: %d\r\n" % size in await one.client.head()
            await one.client.exactly(size)
        (await one.service.asked())[1].write(OK)
        await one.client.head()
        assert await one.client.exactly(2) == b"ok"


# --- handed over -------------------------------------------------------------------------------------------------------------


async def test_an_answer_in_chunks_goes_on_while_it_comes(tmp_path: Path) -> None:
    async with met(tmp_path) as one:
        one.client.ask()
        _, writer = await one.service.asked()
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert b"\r\ntransfer-encoding: chunked\r\n" in await one.client.head()
        assert await one.client.exactly(8) == b"3\r\nabc\r\n"
        assert one.tasks == 1
        writer.write(b"1\r\nd\r\n0\r\n\r\n")
        assert await one.client.exactly(11) == b"1\r\nd\r\n0\r\n\r\n"
        one.client.ask()
        (await one.service.asked())[1].write(OK)
        await one.client.head()
        assert one.service.connections == 1


async def test_a_large_answer_goes_on_while_it_comes(tmp_path: Path) -> None:
    size = 100_000
    async with met(tmp_path) as one:
        one.client.ask()
        _, writer = await one.service.asked()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"a" * 10)
        await one.client.head()
        assert await one.client.exactly(10) == b"a" * 10
        writer.write(b"a" * (size - 10))
        assert await one.client.exactly(size - 10) == b"a" * (size - 10)


@pytest.mark.parametrize("size", [0, 3])
async def test_a_refusal_by_epoch_is_decided_anew(tmp_path: Path, size: int) -> None:
    async with met(tmp_path) as one:
        known = next(iter(one.stand.homes.cached))
        one.stand.homes.truth[known] = placement(epoch=8)
        if size:
            one.client.ask("POST", "/orders/1", "1.1", f"Content-Length: {size}", body=b"b" * size)
        else:
            one.client.ask()
        _, writer = await one.service.asked()
        if size:
            assert await one.service.body(size) == b"b" * size
        writer.write(b"HTTP/1.1 409 Conflict\r\ndomicile-refusal: stale_epoch\r\ncontent-length: 0\r\n\r\n")
        _, writer = await one.service.asked()
        if size:
            assert await one.service.body(size) == b"b" * size
        writer.write(OK)
        assert b"\r\ndomicile-epoch: 8\r\n" in await one.client.head()
        assert one.stand.homes.refreshed == 1


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("PATCH", False)])
async def test_a_connection_that_breaks_before_the_answer_is_tried_anew_where_that_is_safe(
    tmp_path: Path, method: str, *, again: bool
) -> None:
    async with met(tmp_path) as one:
        one.client.ask(method)
        (await one.service.asked())[1].transport.abort()
        if again:
            (await one.service.asked())[1].write(OK)
        assert (await one.client.head()).startswith(b"HTTP/1.1 200" if again else b"HTTP/1.1 502")


async def test_an_answer_that_breaks_off_breaks_off_here_too(tmp_path: Path) -> None:
    async with met(tmp_path) as one:
        one.client.ask()
        _, writer = await one.service.asked()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        await asyncio.sleep(0.01)
        assert one.tasks == 0
        writer.close()
        answer = await one.client.rest()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\ncontent-length: 9\r\n" in answer
        assert answer.endswith(b"\r\n\r\nhalf")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    ],
)
async def test_an_answer_that_can_be_read_two_ways_is_none(tmp_path: Path, answer: bytes) -> None:
    async with met(tmp_path) as one:
        one.client.ask()
        (await one.service.asked())[1].write(answer)
        assert (await one.client.head()).startswith(b"HTTP/1.1 502")


async def test_more_than_was_asked_for_ends_the_connection_to_the_service_alone(tmp_path: Path) -> None:
    async with met(tmp_path) as one:
        one.client.ask()
        (await one.service.asked())[1].write(OK + OK)
        await one.client.head()
        assert await one.client.exactly(2) == b"ok"
        one.client.ask()
        (await one.service.asked())[1].write(OK)
        await one.client.head()
        assert await one.client.exactly(2) == b"ok"
        assert one.service.connections == 2


async def test_a_service_that_says_nothing_is_given_up_in_time(tmp_path: Path) -> None:
    async with met(tmp_path, Upstream(first_byte_s=0.2, stall_s=0.2)) as one:
        one.client.ask()
        await one.service.asked()
        assert (await one.client.head()).startswith(b"HTTP/1.1 504")


async def test_a_client_that_leaves_takes_its_exchange_along(tmp_path: Path) -> None:
    async with met(tmp_path) as one:
        one.client.ask()
        await one.service.asked()
        assert one.tasks == 0
        one.client.writer.transport.abort()
        await eventually(lambda: one.service.left == 1)
        assert all(pool.open == 0 for pool in one.stand.pools.all())


# --- never without a task ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "lines", "sub", "status"),
    [
        ("GET", "/orders/../x", (), "ann", b"400"),
        ("GET", "/nothing", (), "ann", b"404"),
        ("TRACE", "/orders/1", (), "ann", b"405"),
        ("GET", "/orders/1", (), "nobody", b"401"),
        ("GET", "/orders/1", ("Domicile-Hop: x",), "ann", b"403"),
        ("GET", "/healthz", (), "ann", b"200"),
    ],
)
async def test_what_is_refused_or_the_gateways_own_reaches_no_service(
    tmp_path: Path, method: str, path: str, lines: tuple[str, ...], sub: str, status: bytes
) -> None:
    async with met(tmp_path) as one:
        one.client.ask(method, path, "1.1", *lines, sub=sub)
        assert (await one.client.head()).startswith(b"HTTP/1.1 " + status)
        assert one.service.came.empty()


# --- the same either way -----------------------------------------------------------------------------------------------------


class Walking(EdgeDoor):
    """Every request is a task's."""

    def answer_now(self, *_: Any, **__: Any) -> None:
        return None


ANSWERS = (
    OK,
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Double: a\r\nX-Double: b\r\nConnection: x-secret\r\nX-Secret: 1\r\n\r\nhello",
    b"HTTP/1.1 201 Created\r\nlocation: /orders/2\r\ndomicile-epoch: 99\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\ndate: yesterday\r\nserver: x\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nlate",
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbye",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3 \r\n\r\nbad",
    b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"z" * 70_000,
)


async def seen(one: Met, answer: bytes, cuts: list[int]) -> tuple[bytes, set[bytes], bytes]:
    """Status line, fields but for how the body is framed, and body, of an answer that comes in these pieces."""
    one.client.ask()
    _, writer = await one.service.asked()
    for start, end in itertools.pairwise([0, *cuts, len(answer)]):
        if not writer.transport.is_closing():  # what was malformed so far has ended it
            writer.write(answer[start:end])
        await asyncio.sleep(0.002)
    lines = (await one.client.head()).split(b"\r\n")
    fields = {
        line
        for line in lines[1:]
        if line and not line.startswith((b"date: ", b"content-length: ", b"transfer-encoding: "))
    }
    length = next((int(line[16:]) for line in lines if line.startswith(b"content-length: ")), 0)
    if b"transfer-encoding: chunked" in lines:
        body = b""
        while size := int(await asyncio.wait_for(one.client.reader.readline(), 5), 16):
            body += (await one.client.exactly(size + 2))[:-2]
        await one.client.exactly(2)
    else:
        body = await one.client.exactly(0 if b" 304 " in lines[0] else length)
    if b"application/problem+json" in b"".join(fields):
        body = b""  # it names its own trace
    return lines[0], fields, body


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
async def test_with_and_without_a_task_the_answer_is_the_same_however_it_is_cut(tmp_path: Path, answer: bytes) -> None:
    chance = random.Random(answer)
    ways = [[], *(sorted(chance.sample(range(1, min(len(answer), 200)), number)) for number in (1, 1, 2, 3, 5))]
    async with met(tmp_path) as flown, met(tmp_path, http=Walking) as walked:
        for cuts in ways:
            assert await seen(flown, answer, cuts) == await seen(walked, answer, cuts), cuts

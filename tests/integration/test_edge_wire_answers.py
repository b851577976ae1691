"""Wire-level cases, what comes back: where an answer ends, and that nothing ambiguous reaches a client."""

import asyncio
from pathlib import Path

import anyio
import pytest

from tests.stands.edge import edge, placement, tcp
from tests.stands.edge_wire import OK, PATH, Client, Service, facing
from tests.stands.product_loop import anyio_backend
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "answered", "status"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HEAD", b"HTTP/1.1 204 No Content\r\nContent-Length: 500\r\n\r\n", 204),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n", 304),
        (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204),
    ],
)
async def test_an_answer_without_a_body_ends_with_its_head_and_the_connection_goes_on(
    folder: Path, method: bytes, answered: bytes, status: int
) -> None:
    async with facing(folder, Service(answered, OK)) as client:
        for _ in range(2):
            await client.send(client.request(b"%b %b HTTP/1.1" % (method, PATH)))
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"transfer-encoding" not in head.lower()
            assert status != 204 or b"content-length" not in head.lower()
            method, status = b"GET", 200
        with anyio.fail_after(5):
            assert await client.reader.readexactly(2) == b"ok"


AMBIGUOUS = {
    "both_lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length_twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length_signed": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding_on_1_0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "fold": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "length_list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "length_space_after": b"HTTP/1.1 200 OK\r\nContent-Length: 2 \r\n\r\nok",
    "length_huge": b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\nok",
    "coding_twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding_disguised": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "bare_cr": b"HTTP/1.1 200 OK\r\nX-A: b\rContent-Length: 2\r\n\r\nok",
    "bare_lf": b"HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 2\r\n\r\nok",
    "space_before_colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "nul": b"HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 2\r\n\r\nok",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "no_http": b"hello\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_ambiguous_answer_is_a_502_and_nothing_of_it_reaches_the_client(folder: Path, name: str) -> None:
    async with facing(folder, Service(AMBIGUOUS[name])) as client:
        await client.send(client.request())
        status, fields, document = await client.answer()
        assert (status, fields["content-type"]) == (502, "application/problem+json")
        assert b"upstream_broken" in document


@pytest.mark.parametrize(
    "broken", [b"3\r\nabcd\r\n0\r\n\r\n", b"+1\r\na\r\n0\r\n\r\n", b"1\na\r\n0\r\n\r\n", b"0\r\nX-A : b\r\n\r\n"]
)
async def test_an_answer_whose_chunks_break_has_no_end(folder: Path, broken: bytes) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(start)
        await go_on.wait()
        writer.write(broken)

    go_on = asyncio.Event()
    async with tcp(raw) as port, edge(folder, port) as stand:
        stand.settle("ann", placement(epoch=7))
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        client = Client(stand, reader, writer)
        await client.send(client.request())
        await client.head()
        go_on.set()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        writer.close()


async def test_bytes_behind_an_answer_belong_to_no_other(folder: Path) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    service = Service(OK + evil, OK)
    async with facing(folder, service) as client:
        for _ in range(3):
            await client.send(client.request())
            assert (await client.answer())[2] == b"ok"
        await eventually(lambda: len(service.seen) == 3)


async def test_what_connection_names_takes_nothing_from_what_the_client_is_told(folder: Path) -> None:
    """Of the answer; and what it names does not go on, however much that is."""
    named = b", ".join([b"Domicile-Verdict, Content-Length, Date, X-Hop", *[b"x-%d" % number for number in range(40)]])
    answered = (
        b"HTTP/1.1 200 OK\r\nConnection: %b\r\nX-Hop: 1\r\nX-39: 1\r\nX-40: 1\r\nContent-Length: 2\r\n\r\nok" % named
    )
    async with facing(folder, Service(answered)) as client:
        await client.send(client.request())
        status, fields, body = await client.answer()
        assert (status, fields["domicile-verdict"], body) == (200, "serve", b"ok")
        assert fields["x-40"] == "1"
        assert not {"x-hop", "x-39", "connection"} & fields.keys()


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 41\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 41\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
async def test_a_body_where_there_can_be_none_is_nobodys_answer(folder: Path, method: bytes, head: bytes) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    service = Service(OK, head + evil, OK)
    async with facing(folder, service) as client:
        await client.send(client.request())
        await client.answer()
        await client.send(client.request(b"%b %b HTTP/1.1" % (method, PATH)))
        assert (await client.head()).startswith(head[:12])
        for _ in range(2):
            await client.send(client.request())
            assert (await client.answer())[2] == b"ok"


async def test_a_request_behind_a_refusal_has_an_answer_of_its_own(folder: Path) -> None:
    service = Service()
    async with facing(folder, service) as client:
        refused = client.request(b"POST /nowhere HTTP/1.1", b"Content-Length: 3\r\n", b"abc")
        await client.send(refused + client.request() + refused + client.request())
        assert [(await client.answer())[0] for _ in range(4)] == [404, 200, 404, 200]
    assert len(service.seen) == 2

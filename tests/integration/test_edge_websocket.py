"""Websockets through the edge: real sockets, a client and services that speak RFC 6455 by another implementation."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from directory.placement.core import Placement, PlacementEvent
from foundation.wire.websocket import accept_of
from foundation.words import Epoch, FeedSeq, Verb
from gateway.edge import tunnel
from gateway.settings import Upstream, Websockets
from tests.stands.edge import CLOCK, Stand, edge, placement, service_verifier, tcp
from tests.stands.product_loop import anyio_backend
from tests.stands.sockets import SWITCHING, Service, Talk, asking, echo, key_of, opened, sending, silent
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

PATH = b"/orders/live?x=%201"
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def facing(folder: Path, service: Raw, **options: Any) -> AsyncIterator[Stand]:
    async with tcp(service) as port, edge(folder, port, **options) as stand:
        stand.settle("ann", placement(epoch=7))
        yield stand


def token(stand: Stand, sub: str = "ann") -> bytes:
    return b"Authorization: " + stand.bearer(sub)["authorization"].encode()


@contextlib.asynccontextmanager
async def talking(stand: Stand, *fields: bytes, behind: bytes = b"") -> AsyncIterator[Talk]:
    async with opened(stand.port, PATH, token(stand), *fields, behind=behind) as talk:
        with anyio.fail_after(20):
            yield talk


async def answered(stand: Stand, data: bytes) -> bytes:
    """All that comes back until the edge ends the connection."""
    async with sending(stand.port, data) as (reader, _):
        with anyio.fail_after(10):
            return await reader.read()


def move(stand: Stand, epoch: int, sub: str = "ann") -> None:
    """The directory says that the home has changed, and the feed brings it."""
    key = stand.blinder.login(stand.people.issuer, sub)[0]
    home = stand.homes.truth[key]
    moved = Placement(**{name: getattr(home, name) for name in home.__struct_fields__} | {"epoch": Epoch(epoch)})
    stand.homes.truth[key] = stand.homes.cached[key] = moved
    stand.desk.lasting.heard(PlacementEvent(seq=FeedSeq(epoch), at=0.0, placement=moved))


def closed(code: int, reason: str) -> CloseConnection:
    return CloseConnection(code=code, reason=reason)


# --- opened ----------------------------------------------------------------------------------------------------------------------


async def test_it_is_opened_under_a_decision_to_write_and_its_fields_are_the_two_ends_own(folder: Path) -> None:
    service = Service(echo, fields=b"Sec-WebSocket-Protocol: chat\r\nDomicile-Epoch: 99\r\n")
    offered = (b"Sec-WebSocket-Protocol: chat, x", b"Sec-WebSocket-Extensions: permessage-deflate")
    async with facing(folder, service) as stand, talking(stand, *offered) as talk:
        answer = talk.head.lower()
        assert b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n" in answer
        assert b"\r\nsec-websocket-protocol: chat\r\n" in answer
        assert (answer.count(b"domicile-epoch: 7\r\n"), answer.count(b"domicile-epoch")) == (1, 1)
        assert b"content-length" not in answer
        [asked] = [head.lower() for head in service.seen]
        assert asked.startswith(b"get /orders/live?x=%201 http/1.1\r\n")
        assert b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n" in asked
        assert b"\r\nsec-websocket-extensions: permessage-deflate\r\n" in asked
        assert b"authorization" not in asked
        header = next(line for line in service.seen[0].split(b"\r\n") if line.startswith(b"domicile-decision: "))
        decision = service_verifier("eu-de", "orders").verify(header.partition(b": ")[2].decode(), CLOCK.unix_s())
        assert (decision.verb, decision.epoch) == (Verb.WRITE, 7)


async def test_what_either_side_says_reaches_the_other(folder: Path) -> None:
    async with facing(folder, Service(echo)) as stand, talking(stand) as talk:
        for said in (b"", b"hello", b"x" * 70_000):
            await talk.send(BytesMessage(data=said))
            assert await talk.message() == said
        await talk.send(TextMessage(data="one ", message_finished=False))
        await talk.send(TextMessage(data="message"))
        assert await talk.message() == b"one message"
        await talk.send(closed(1000, "bye"))
        assert await talk.message() == closed(1000, "bye")
        assert await talk.ended()


async def test_pings_are_the_two_ends_own(folder: Path) -> None:
    async def pings(talk: Talk) -> None:
        await talk.send(Ping(payload=b"there?"))
        await silent(talk)

    async with facing(folder, Service(pings)) as stand, talking(stand) as talk:
        assert await talk.next() == Ping(payload=b"there?")
        await talk.send(Pong(payload=b"there?"))


@pytest.mark.parametrize("slow", ["client", "service"])
async def test_a_megabyte_arrives_whole_however_slowly_it_is_taken(folder: Path, slow: str) -> None:
    """Four times over, which is more than one connection holds; the slow side takes 512 bytes at a time."""
    said = bytes(range(256)) * 4096

    async def says(talk: Talk) -> None:
        talk.piece_bytes = 512 if slow == "service" else talk.piece_bytes
        await echo(talk)

    async with facing(folder, Service(says)) as stand, talking(stand) as talk:
        talk.piece_bytes = 512 if slow == "client" else talk.piece_bytes
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(talk.send(BytesMessage(data=said)))
            for _ in range(4):
                assert await talk.message() == said


@pytest.mark.parametrize("reads", ["client", "service"])
async def test_whoever_does_not_read_holds_the_other_back(folder: Path, reads: str) -> None:
    """Nothing is buffered beyond what the two connections hold: the side that pours is stopped long before 64 MiB."""
    poured, stop = 0, asyncio.Event()

    async def pour(talk: Talk) -> None:
        nonlocal poured
        frame = talk.frame(BytesMessage(data=b"x" * 65_536))
        while poured < 64 << 20:
            talk.writer.write(frame)
            await talk.writer.drain()
            poured += len(frame)

    async def does_not_read(talk: Talk) -> None:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stop.wait()

    looks: list[int] = []

    def still() -> bool:
        looks.append(poured)
        return poured > 0 and looks[-20:] == [poured] * 20

    if reads == "client":  # the service pours
        async with facing(folder, Service(pour)) as stand, talking(stand) as talk:
            talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await eventually(still)
    else:
        async with (
            facing(folder, Service(does_not_read)) as stand,
            talking(stand) as talk,
            asyncio.TaskGroup() as group,
        ):
            task = group.create_task(pour(talk))
            await eventually(still)
            task.cancel()
            stop.set()
    assert looks[-1] < 64 << 20


async def test_what_is_sent_before_the_answer_is_the_services(folder: Path) -> None:
    """Bytes right behind the handshake, and behind the 101, are frames and nothing else."""
    async with facing(folder, Service(echo, behind=b"\x81\x05first")) as stand:
        async with talking(stand, behind=b"\x82\x85\0\0\0\0GET /") as talk:
            assert await talk.message() == b"first"
            assert await talk.message() == b"GET /"
        assert b"unauthenticated" not in talk.head


# --- not opened ------------------------------------------------------------------------------------------------------------------


def without(name: bytes) -> bytes:
    lines = asking(PATH).split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(name))


MALFORMED = {
    "no key": (without(b"Sec-WebSocket-Key"), b"400"),
    "two keys": (asking(PATH, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), b"400"),
    "a short key": (asking(PATH, key=b"c2hvcnQ="), b"400"),
    "no version": (without(b"Sec-WebSocket-Version"), b"400"),
    "two versions": (asking(PATH, b"Sec-WebSocket-Version: 13"), b"400"),
    "another version": (asking(PATH).replace(b"Version: 13", b"Version: 8"), b"426"),
    "another method": (asking(PATH).replace(b"GET ", b"POST ", 1), b"400"),
    "a body": (asking(PATH, b"Content-Length: 3") + b"abc", b"400"),
    "a body in chunks": (asking(PATH, b"Transfer-Encoding: chunked") + b"0\r\n\r\n", b"400"),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_handshake_reaches_nobody(folder: Path, case: str) -> None:
    service = Service(echo)
    data, status = MALFORMED[case]
    async with facing(folder, service) as stand:
        follows = b"GET /orders/1 HTTP/1.1\r\nHost: x\r\n" + token(stand) + b"\r\n\r\n"
        found = await answered(stand, data.replace(b"\r\n\r\n", b"\r\n" + token(stand) + b"\r\n\r\n", 1) + follows)
        assert found.startswith(b"HTTP/1.1 " + status)
        assert found.count(b"HTTP/1.1 ") == 1, "what follows is not read as a request"
        if status == b"426":
            for line in (b"sec-websocket-version: 13", b"upgrade: websocket", b"connection: close, upgrade"):
                assert line in found
        assert service.seen == []


async def test_refused_without_a_token_away_from_home_and_while_nothing_is_known(folder: Path) -> None:
    service = Service(echo)
    async with facing(folder, service) as stand:
        stand.settle("bob", placement("us-va"))
        assert (await answered(stand, asking(PATH))).startswith(b"HTTP/1.1 401 ")
        elsewhere = await answered(stand, asking(PATH, token(stand, "bob")))
        assert elsewhere.startswith(b"HTTP/1.1 421 ")
        assert b"https://us.example.com" in elsewhere
        assert (await answered(stand, asking(PATH, token(stand, "eve")))).startswith(b"HTTP/1.1 404 ")
        assert service.seen == []


async def test_only_so_many_are_open_at_once(folder: Path) -> None:
    async with facing(folder, Service(echo), websockets=Websockets(open_max=1)) as stand:
        async with talking(stand):
            assert (await answered(stand, asking(PATH, token(stand)))).startswith(b"HTTP/1.1 503 ")

        async def opens() -> bool:
            return (await first_line(stand)).startswith(b"HTTP/1.1 101 ")

        await eventually(opens)


async def first_line(stand: Stand) -> bytes:
    async with sending(stand.port, asking(PATH, token(stand))) as (reader, _):
        with anyio.fail_after(10):
            return await reader.readline()


async def test_open_websockets_take_no_place_from_requests(folder: Path) -> None:
    limits = Upstream(connections_max=1, waiters_max=0, first_byte_s=5.0, stall_s=5.0)
    async with facing(folder, Service(echo), limits=limits) as stand, talking(stand), talking(stand) as second:
        await second.send(BytesMessage(data=b"still"))
        assert await second.message() == b"still"
        assert [pool.open for pool in stand.pools.all()] == [0]


def says(answer: bytes) -> Raw:
    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.replace(b"ACCEPT", accept_of(key_of(head))))
        await writer.drain()
        if b"close" in answer:
            writer.close()
        await reader.read()

    return service


@pytest.mark.parametrize(
    ("answer", "status", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"200", b"\r\n\r\nok"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", b"403", b"\r\n\r\nno"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"204", b"\r\n\r\n"),
        (b"garbage\r\n\r\n", b"502", b"}"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"502", b"}"),
        (SWITCHING % (b"c2hvcnQ=", b""), b"502", b"}"),
        (SWITCHING.replace(b"websocket", b"h2c") % (b"ACCEPT", b""), b"502", b"}"),
        (SWITCHING % (b"ACCEPT", b"Sec-WebSocket-Accept: x\r\n"), b"502", b"}"),
        (SWITCHING % (b"ACCEPT", b"Content-Length: 0\r\n"), b"502", b"}"),
        (SWITCHING.replace(b"1.1", b"1.0") % (b"ACCEPT", b""), b"502", b"}"),
    ],
    ids=["200", "403", "204", "garbage", "bare 101", "wrong accept", "h2c", "two accepts", "a length", "HTTP/1.0"],
)
async def test_any_other_answer_is_an_answer_or_none(folder: Path, answer: bytes, status: bytes, rest: bytes) -> None:
    """And what the client sent ahead of it, as if there were a tunnel, is no request."""
    async with facing(folder, says(answer)) as stand:
        follows = b"GET /orders/1 HTTP/1.1\r\nHost: x\r\n" + token(stand) + b"\r\n\r\n"
        found = await answered(stand, asking(PATH, token(stand)) + follows)
        assert found.startswith(b"HTTP/1.1 " + status)
        assert found.endswith(rest)
        assert found.count(b"HTTP/1.1 ") == 1


async def test_other_protocols_are_not_upgraded_to(folder: Path) -> None:
    seen: list[bytes] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with facing(folder, service) as stand:
        found = await answered(stand, asking(PATH, token(stand)).replace(b"Upgrade: websocket", b"Upgrade: h2c"))
        assert found.startswith(b"HTTP/1.1 204 ")
        old = asking(PATH, token(stand)).replace(b"HTTP/1.1", b"HTTP/1.0")
        assert (await answered(stand, old)).startswith(b"HTTP/1.1 204 "), "RFC 9110 section 7.8: it is ignored"
    assert len(seen) == 2
    assert not any(b"upgrade" in head.lower() for head in seen)


async def test_a_client_that_leaves_before_the_answer_takes_the_handshake_along(folder: Path) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()

    async with facing(folder, service) as stand:
        async with sending(stand.port, asking(PATH, token(stand))):
            with anyio.fail_after(10):
                await asked.wait()
        with anyio.fail_after(10):
            await left.wait()


# --- its end ---------------------------------------------------------------------------------------------------------------------


async def test_a_home_that_changes_closes_both_sides_and_the_next_is_decided_anew(folder: Path) -> None:
    heard: list[object] = []

    async def listens(talk: Talk) -> None:
        await talk.send(BytesMessage(data=b"ready"))
        heard.append(await talk.message())

    service = Service(listens)
    async with facing(folder, service) as stand:
        async with talking(stand) as talk:
            assert await talk.message() == b"ready"
            move(stand, 8)
            assert await talk.message() == closed(1008, "epoch changed")
            assert await talk.ended()
        await eventually(lambda: heard == [closed(1008, "epoch changed")])
        async with talking(stand) as again:
            assert b"domicile-epoch: 8\r\n" in again.head
            move(stand, 8)
            assert await again.message() == b"ready"
        await eventually(lambda: service.gone == 2)
        assert len(stand.desk.lasting) == 0


async def test_a_close_of_the_gateway_waits_for_the_end_of_a_frame(folder: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def in_two_parts(talk: Talk) -> None:
        frame = talk.frame(BytesMessage(data=b"x" * 300))
        talk.writer.write(frame[:100])
        begun.set()
        await go_on.wait()
        talk.writer.write(frame[100:] + talk.frame(BytesMessage(data=b"too late")))
        await silent(talk)

    async with facing(folder, Service(in_two_parts)) as stand, talking(stand) as talk:
        await begun.wait()
        first = await talk.next()
        assert isinstance(first, BytesMessage)
        move(stand, 8)
        go_on.set()
        rest = await talk.message()
        assert isinstance(rest, bytes)
        assert bytes(first.data) + rest == b"x" * 300
        assert await talk.message() == closed(1008, "epoch changed")
        assert await talk.ended()


async def test_a_frame_that_does_not_end_is_waited_for_a_while(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "CLOSING_S_MAX", 0.2)

    async def never_ends(talk: Talk) -> None:
        talk.writer.write(talk.frame(BytesMessage(data=b"x" * 300))[:100])
        await silent(talk)

    service = Service(never_ends)
    async with facing(folder, service) as stand, talking(stand) as talk:
        assert isinstance(await talk.next(), BytesMessage)
        move(stand, 8)
        with contextlib.suppress(ConnectionResetError):
            assert await talk.message() is None, "no Close stands inside a frame"
        await eventually(lambda: service.gone == 1)


async def test_a_client_that_does_not_read_is_not_waited_for_for_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "CLOSING_S_MAX", 0.2)

    async def pours(talk: Talk) -> None:
        frame = talk.frame(BytesMessage(data=b"x" * 65_536))
        while True:
            talk.writer.write(frame)
            await talk.writer.drain()

    service = Service(pours)
    async with facing(folder, service) as stand, talking(stand) as talk:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        move(stand, 8)
        await eventually(lambda: service.gone == 1)
        await eventually(lambda: len(stand.desk.lasting) == 0)


async def test_a_silent_one_is_closed(folder: Path) -> None:
    async with facing(folder, Service(silent), websockets=Websockets(idle_s=0.2)) as stand, talking(stand) as talk:
        assert await talk.message() == closed(1001, "idle")
        assert await talk.ended()


async def test_none_is_open_for_ever(folder: Path) -> None:
    async def chats(talk: Talk) -> None:
        with contextlib.suppress(ConnectionError):
            while not talk.writer.is_closing():
                await talk.send(BytesMessage(data=b"."))
                await anyio.sleep(0.01)

    async with facing(folder, Service(chats), websockets=Websockets(total_s=0.2)) as stand, talking(stand) as talk:
        said: bytes | CloseConnection | None = b"."
        while said == b".":
            said = await talk.message()
        assert said == closed(1001, "open for too long")


async def test_a_gateway_that_leaves_says_so(folder: Path) -> None:
    service = Service(silent)

    async def until_closed(talk: Talk) -> object:
        said = await talk.message()
        talk.writer.close()
        return said

    async with contextlib.AsyncExitStack() as clients, asyncio.TaskGroup() as group:
        async with facing(folder, service) as stand:
            talk = await clients.enter_async_context(opened(stand.port, PATH, token(stand)))
            told = group.create_task(until_closed(talk))
            await eventually(lambda: len(stand.desk.lasting) == 1)
        with anyio.fail_after(10):
            assert await told == closed(1012, "draining")


async def test_knowledge_that_is_too_old_ends_it(folder: Path) -> None:
    async with facing(folder, Service(silent)) as stand, talking(stand) as talk:
        await eventually(lambda: len(stand.desk.lasting) == 1)
        stand.desk.lasting.begun_anew()
        assert await talk.message() == closed(1013, "the home cannot be established just now")


async def test_a_service_that_dies_inside_a_frame_ends_it_without_a_close(folder: Path) -> None:
    async def dies(talk: Talk) -> None:
        talk.writer.write(talk.frame(BytesMessage(data=b"x" * 300))[:100])
        await talk.writer.drain()

    async with facing(folder, Service(dies)) as stand, talking(stand) as talk:
        assert isinstance(await talk.next(), BytesMessage)
        assert await talk.message() is None


async def test_a_client_that_leaves_takes_the_services_side_along(folder: Path) -> None:
    service = Service(silent)
    async with facing(folder, service) as stand:
        async with talking(stand):
            pass
        await eventually(lambda: service.gone == 1)
        await eventually(lambda: len(stand.desk.lasting) == 0)


async def test_nothing_follows_a_close_that_the_two_ends_have_said_themselves(folder: Path) -> None:
    async def closes_and_stays(talk: Talk) -> None:
        await talk.send(closed(1000, "bye"))
        await silent(talk)

    async with facing(folder, Service(closes_and_stays)) as stand, talking(stand) as talk:
        assert await talk.message() == closed(1000, "bye")
        move(stand, 8)
        assert await talk.ended(), "no second Close"

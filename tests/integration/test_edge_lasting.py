"""Answers that last, through the edge: what becomes of them when their subject's home changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from directory.placement.core import Placement, PlacementEvent
from foundation.http import HttpClient
from foundation.words import Epoch, FeedSeq
from gateway.edge import lasting
from gateway.settings import Upstream
from tests.stands import travel
from tests.stands.edge import MemoryHomes, Stand, edge, placement, tcp
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving
from tests.stands.travel import EU, US, world
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

PATIENT = Upstream(first_byte_s=60.0, stall_s=60.0, total_s=60.0)
"""So that what ends here is ended by nothing else."""
STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts at all has no moment left."""
    monkeypatch.setattr(lasting, "MOMENT_S", 0.0)


class Events:
    """A service that sends an event, and another each time `more` is called, until its client has left."""

    def __init__(self) -> None:
        self._more = asyncio.Event()
        self.open = 0
        self.ends = False

    def more(self, *, ends: bool = False) -> None:
        self.ends = ends
        self._more.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/orders/1":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        self.open += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": STREAM})
            await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(self._left(receive))
                telling = group.create_task(self._tell(send))
                await asyncio.wait((leaving, telling), return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
                telling.cancel()
        finally:
            self.open -= 1

    async def _left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _tell(self, send: Send) -> None:
        while not self.ends:
            await self._more.wait()
            self._more.clear()
            await send({"type": "http.response.body", "body": b"data: more\n\n", "more_body": not self.ends})


@contextlib.asynccontextmanager
async def streaming(
    port: int, bearer: dict[str, str], *, version: bytes = b"1.1"
) -> AsyncIterator[tuple[bytes, asyncio.StreamReader]]:
    """The head of an answer whose first event has arrived, and the rest of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /orders/events HTTP/%b\r\nHost: x\r\nAuthorization: %b\r\n\r\n"
        % (version, bearer["authorization"].encode())
    )
    try:
        with anyio.fail_after(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"data: first\n\n" in await reader.readuntil(b"first\n\n")
            yield head, reader
    finally:
        writer.transport.abort()


def change(homes: MemoryHomes, desk_lasting: lasting.Lasting, home: Placement, epoch: int) -> None:
    """As the directory says it and the feed brings it."""
    changed = Placement(**{name: getattr(home, name) for name in home.__struct_fields__} | {"epoch": Epoch(epoch)})
    for known in (homes.truth, homes.cached):
        known.update({key: changed for key, held in known.items() if held == home})
    desk_lasting.heard(PlacementEvent(seq=FeedSeq(epoch), at=0.0, placement=changed))


@contextlib.asynccontextmanager
async def facing(folder: Path) -> AsyncIterator[tuple[Stand, Events, Placement]]:
    events, home = Events(), placement(epoch=7)
    async with serving(events) as port, edge(folder, port, limits=PATIENT) as stand:
        stand.settle("ann", home)
        yield stand, events, home


@pytest.mark.parametrize("idle", [False, True], ids=["by a task", "departed without one"])
async def test_an_event_stream_breaks_off_when_the_home_changes_and_the_next_is_decided_anew(
    folder: Path, at_once: None, idle: bool
) -> None:
    async with facing(folder) as (stand, events, home):
        if idle:  # a connection to the service
            async with HttpClient() as http:
                for _ in range(2):
                    assert (await http.get(f"{stand.url}/orders/1", headers=stand.bearer("ann"))).text == "ok"
            assert [pool.idle for pool in stand.pools.all()] == [1]
        async with streaming(stand.port, stand.bearer("ann")) as (head, reader):
            assert b"transfer-encoding: chunked\r\n" in head
            events.more()
            await reader.readuntil(b"more\n\n")
            change(stand.homes, stand.desk.lasting, home, 8)
            rest = await reader.read()
            assert b"0\r\n\r\n" not in rest, "no end is made up"
        await eventually(lambda: events.open == 0)
        async with streaming(stand.port, stand.bearer("ann")) as (head, _):
            assert b"domicile-epoch: 8\r\n" in head
        await eventually(lambda: len(stand.desk.lasting) == 0)


async def test_where_the_connections_end_is_the_answers_it_is_reset(folder: Path, at_once: None) -> None:
    async with (
        facing(folder) as (stand, _, home),
        streaming(stand.port, stand.bearer("ann"), version=b"1.0") as (head, reader),
    ):
        assert b"transfer-encoding" not in head
        change(stand.homes, stand.desk.lasting, home, 8)
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_other_peoples_changes_end_nothing(folder: Path, at_once: None) -> None:
    async with facing(folder) as (stand, events, home), streaming(stand.port, stand.bearer("ann")) as (_, reader):
        bea = placement(epoch=7)
        stand.settle("bea", bea)
        change(stand.homes, stand.desk.lasting, bea, 8)
        stand.desk.lasting.heard(PlacementEvent(seq=FeedSeq(9), at=0.0, placement=home))
        events.more(ends=True)
        assert b"data: more\n\n" in await reader.readuntil(b"0\r\n\r\n")


async def test_an_answer_that_is_nearly_through_is_let_through(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "MOMENT_S", 3600.0)
    async with facing(folder) as (stand, events, home), streaming(stand.port, stand.bearer("ann")) as (_, reader):
        change(stand.homes, stand.desk.lasting, home, 8)
        events.more(ends=True)
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"data: more\n\n\r\n0\r\n\r\n")


async def test_an_epoch_that_changed_while_the_service_thought_ends_what_it_then_begins(
    folder: Path, at_once: None
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    home = placement(epoch=7)
    async with serving(app) as port, edge(folder, port, limits=PATIENT) as stand, asyncio.TaskGroup() as group:
        stand.settle("ann", home)

        async def stream() -> bytes:
            async with streaming(stand.port, stand.bearer("ann")) as (_, reader):
                return await reader.read()

        told = group.create_task(stream())
        with anyio.fail_after(10):
            await asked.wait()
            change(stand.homes, stand.desk.lasting, home, 8)
            go_on.set()
            assert b"0\r\n\r\n" not in await told


async def test_a_whole_answer_is_nobodys_to_end(folder: Path, at_once: None) -> None:
    """What arrives with its head never lasts, also when the home has changed meanwhile."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()

    home = placement(epoch=7)
    async with tcp(service) as port, edge(folder, port, limits=PATIENT) as stand:
        stand.settle("ann", home)
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        bearer = stand.bearer("ann")["authorization"].encode()
        writer.write(b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n" % bearer)
        with anyio.fail_after(10):
            await asked.wait()
            change(stand.homes, stand.desk.lasting, home, 8)
            go_on.set()
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
        assert len(stand.desk.lasting) == 0
        writer.close()


class Trickle:
    """A service whose third answer, of ten bytes, is begun and goes on when it is told to; by then a connection to it lies idle."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        self.begun.set()
        left = asyncio.ensure_future(reader.read())  # noqa: TID251 - awaited below
        told = asyncio.ensure_future(self.go_on.wait())  # noqa: TID251 - the same
        await asyncio.wait((left, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if self.go_on.is_set():
            writer.write(b"defghij")
        with contextlib.suppress(ConnectionError):
            await left
        self.gone.set()


@contextlib.asynccontextmanager
async def trickling(
    folder: Path,
) -> AsyncIterator[tuple[Stand, Trickle, Placement, asyncio.StreamReader, asyncio.StreamWriter]]:
    """An answer that has begun, whose request no task answers."""
    service, home = Trickle(), placement(epoch=7)
    async with tcp(service) as port, edge(folder, port, limits=PATIENT) as stand:
        stand.settle("ann", home)
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        bearer = stand.bearer("ann")["authorization"].encode()
        ask = b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n" % bearer
        try:
            with anyio.fail_after(20):
                for _ in range(2):
                    writer.write(ask)
                    await reader.readuntil(b"\r\n\r\nok")
                    await eventually(lambda: [pool.idle for pool in stand.pools.all()] == [1])
                writer.write(ask)
                await service.begun.wait()
                await eventually(lambda: len(stand.desk.lasting) == 1)
                assert not any(task.get_name() == "edge request" for task in asyncio.all_tasks())
                yield stand, service, home, reader, writer
            await eventually(lambda: len(stand.desk.lasting) == 0)
        finally:
            writer.transport.abort()


async def test_a_short_answer_that_trickles_is_broken_off_when_the_home_changes(folder: Path, at_once: None) -> None:
    async with trickling(folder) as (stand, service, home, reader, _):
        change(stand.homes, stand.desk.lasting, home, 8)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"\r\ncontent-length: 10" in head.lower()
        assert body == b"abc", "no end is made up"
        await service.gone.wait()


async def test_a_short_answer_that_trickles_to_its_end_is_whole_and_holds_nothing(folder: Path, at_once: None) -> None:
    async with trickling(folder) as (stand, service, _home, reader, _):
        service.go_on.set()
        assert (await reader.readuntil(b"hij")).endswith(b"\r\n\r\nabcdefghij")
        assert [pool.idle for pool in stand.pools.all()] == [1]


async def test_who_leaves_while_a_short_answer_trickles_holds_nothing(folder: Path, at_once: None) -> None:
    async with trickling(folder) as (_stand, service, _home, _reader, writer):
        writer.transport.abort()
        await service.gone.wait()


async def test_a_client_that_does_not_read_is_cut_off(folder: Path, at_once: None) -> None:
    poured, gone = 0, asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal poured
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"10000\r\n%b\r\n" % (b"x" * 65_536))
                await writer.drain()
                poured += 65_536
        gone.set()

    home, looks = placement(epoch=7), []

    def still() -> bool:
        looks.append(poured)
        return poured > 0 and looks[-20:] == [poured] * 20

    async with tcp(service) as port, edge(folder, port, limits=PATIENT) as stand:
        stand.settle("ann", home)
        _reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        bearer = stand.bearer("ann")["authorization"].encode()
        writer.write(b"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n" % bearer)
        await eventually(still)
        change(stand.homes, stand.desk.lasting, home, 8)
        with anyio.fail_after(10):
            await gone.wait()
        await eventually(lambda: not any(task.get_name() == "edge request" for task in asyncio.all_tasks()))
        writer.transport.abort()


async def test_an_upload_under_way_is_told_that_nobody_knows(folder: Path, at_once: None) -> None:
    begun = asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n3\r\nabc\r\n")
        begun.set()
        await reader.read()

    home = placement(epoch=7)
    async with tcp(service) as port, edge(folder, port, limits=PATIENT) as stand:
        stand.settle("ann", home)
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        head = (
            b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        writer.write(head % stand.bearer("ann")["authorization"].encode())
        with anyio.fail_after(10):
            await begun.wait()
            change(stand.homes, stand.desk.lasting, home, 8)
            assert (await reader.readline()).startswith(b"HTTP/1.1 502 ")
        writer.close()


async def test_a_stream_that_is_carried_home_is_ended_there(
    folder: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(travel, "LIMITS", PATIENT)
    events, home = Events(), placement(epoch=7)
    async with world(folder, eu_orders=events, hop_limits=PATIENT) as stand:
        stand.settle("ann", home, known_to=(EU, US))
        async with streaming(stand.us.port, stand.bearer("ann")) as (_, reader):
            change(stand.eu.homes, stand.eu.desk.lasting, home, 8)
            assert b"0\r\n\r\n" not in await reader.read()
        await eventually(lambda: events.open == 0)

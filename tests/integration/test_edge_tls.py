"""The gateway's own TLS on loopback: whom it serves, what it does not lose, and renewals under load."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from cryptography import x509
from starlette.types import Receive, Scope, Send
from wsproto.events import BytesMessage

from foundation import server
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.server import Drain, serve
from foundation.tls import Credentials, Tls
from foundation.wire import taking
from foundation.words import FeedSeq, RegionId
from gateway.edge.book import Book
from gateway.edge.door import EdgeDoor
from routing_rules.rules import load
from tests.stands.certificates import Authority, serial_of
from tests.stands.edge import CLOCK, REGION_ROOT, Stand, edge, placement, policy_text, tcp
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import free_port, serving
from tests.stands.sockets import Service, Talk, asking
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

SWAPS = 20
CLIENTS = 6


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body that came, as it comes."""
    proto = next(value for name, value in scope["headers"] if name == b"x-forwarded-proto")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-asked-by", proto)]})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


class Ours:
    """An authority, the gateway's certificate under it, and who believes it."""

    def __init__(self, folder: Path, *, authorities: Path | None = None) -> None:
        self.authority = Authority(folder, "ours")
        certificate, key = self.authority.sign("gateway")
        self.files = Tls(certificate=certificate, key=key, authorities=authorities)
        self.credentials = Credentials(self.files, SystemClock())

    def client(self, shows: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.file)
        if shows is not None:
            context.load_cert_chain(*shows)
        return context

    def renew(self) -> int:
        """What the worker does about new files in a little more than a second. The new certificate's serial."""
        self.authority.sign("gateway")
        self.credentials.look()
        self.credentials.look()
        return serial_of(self.files.certificate)

    async def seen(self, port: int) -> int:
        """The serial that a new connection is shown."""
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.client())
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return x509.load_der_x509_certificate(shown).serial_number


@contextlib.asynccontextmanager
async def secured(folder: Path, ours: Ours, **options: Any) -> AsyncIterator[Stand]:
    async with serving(echo) as port, edge(folder, port, tls=ours.credentials, **options) as stand:
        stand.settle("ann", placement(epoch=7))
        yield stand


def trusting(stand: Stand, tls: ssl.SSLContext) -> HttpClient:
    return HttpClient(base_url=stand.url, timeout=20, verify=tls, trust_env=False)


async def test_a_request_is_served_over_tls_and_its_service_learns_so(folder: Path) -> None:
    ours = Ours(folder)
    async with secured(folder, ours) as stand, trusting(stand, ours.client()) as http:
        for body in (b"small", b"x" * (3 << 20)):
            response = await http.post("/orders/1", headers=stand.bearer("ann"), content=body)
            assert (response.status_code, response.headers["x-asked-by"]) == (200, "https")
            assert response.content == body


async def test_whoever_does_not_believe_its_authority_sends_nothing(folder: Path) -> None:
    ours = Ours(folder)
    stranger = ssl.create_default_context(cafile=Authority(folder, "theirs").file)
    async with secured(folder, ours) as stand, trusting(stand, stranger) as http:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await http.get("/orders/1", headers=stand.bearer("ann"))


async def test_plain_http_gets_no_answer_where_tls_is_spoken(folder: Path) -> None:
    ours = Ours(folder)
    async with secured(folder, ours) as stand, HttpClient(timeout=20) as http:
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://127.0.0.1:{stand.port}/healthz")


async def test_where_authorities_are_named_who_proves_nothing_is_not_answered(folder: Path) -> None:
    proxies = Authority(folder, "proxies")
    ours = Ours(folder, authorities=proxies.file)
    proven, other = proxies.sign("proxy"), Authority(folder, "theirs").sign("other")
    async with secured(folder, ours) as stand:
        async with trusting(stand, ours.client(proven)) as http:
            assert (await http.get("/orders/1", headers=stand.bearer("ann"))).status_code == 200
        for shown in (None, other):
            async with trusting(stand, ours.client(shown)) as http:
                with pytest.raises(httpx.TransportError):
                    await http.get("/healthz")


async def test_a_refusal_before_the_body_is_read_reaches_the_client_over_tls(folder: Path) -> None:
    """Behind an answer that ends the connection more bytes come: no reset may take the answer away."""
    ours = Ours(folder)
    async with secured(folder, ours) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port, ssl=ours.client())
        writer.write(b"POST /orders/1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (4 << 20))
        with anyio.fail_after(20):
            for _ in range(64):
                writer.write(bytes(65_536))
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
            found = await reader.read()
        writer.transport.abort()
    assert found.startswith(b"HTTP/1.1 401 ")
    assert b'"code":"unauthenticated"' in found


async def test_an_answer_that_only_its_connection_would_end_is_reset_over_tls_too(folder: Path) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})

    ours = Ours(folder)
    async with serving(breaks, tls=ours.credentials) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ours.client())
        writer.write(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        with anyio.fail_after(20), pytest.raises((ConnectionError, ssl.SSLError)):
            await reader.read()
        writer.transport.abort()


class NarrowDoor(EdgeDoor):
    """The system takes little of what it writes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        narrowed(transport.get_extra_info("socket"), socket.SO_SNDBUF)
        super().connection_made(transport)


def narrowed(connection: socket.socket, which: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, which, 4_096)


class Late:
    """A client that reads when it is told to."""

    def __init__(self, stand: Stand, tls: ssl.SSLContext, request: bytes) -> None:
        connection = socket.socket()
        narrowed(connection, socket.SO_RCVBUF)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", stand.port))
        self._socket = tls.wrap_socket(connection, server_hostname="127.0.0.1")
        self._socket.sendall(request)

    def read(self) -> bytes:
        """All there is, to its end."""
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := self._socket.recv(1 << 16):
                found += piece
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closed waits for its client for a moment only."""
    monkeypatch.setitem(server.TLS_BOUNDS, "ssl_shutdown_timeout", 0.1)


async def read_late(stand: Stand, ours: Ours, request: bytes, ended: asyncio.Event) -> bytes:
    """What a client gets that begins to read long after the gateway has `ended` the connection."""
    client = await asyncio.to_thread(Late, stand, ours.client(), request)
    try:
        with anyio.fail_after(20):
            await ended.wait()
        await anyio.sleep(0.5)  # not a wait for an event: for so long nobody would be waited for
        return await asyncio.to_thread(client.read)
    finally:
        client.close()


SIZE = 200_000
"""Less than what TLS holds before it says that it is full, and more than narrow connections hold on the way."""


async def test_the_last_answer_of_a_connection_is_whole_however_late_it_is_taken(folder: Path, impatient: None) -> None:
    ended = asyncio.Event()

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]})
        await send({"type": "http.response.body", "body": bytes(SIZE)})
        ended.set()

    ours = Ours(folder)
    async with serving(large) as port, edge(folder, port, tls=ours.credentials, http=NarrowDoor) as stand:
        stand.settle("ann", placement(epoch=7))
        token = stand.bearer("ann")["authorization"]
        request = f"GET /orders/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {token}\r\n\r\n"
        found = await read_late(stand, ours, request.encode(), ended)
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert len(body) == SIZE


async def test_who_takes_an_answer_slowly_is_not_cut_off_while_what_tls_holds_of_it_stands_still(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever watches looks when the test says so."""
    monkeypatch.setattr(taking, "TAKEN_S_MAX", 1e6)
    doors: list[EdgeDoor] = []

    class Watched(NarrowDoor):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            doors.append(self)

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": bytes(4 << 20), "more_body": True})

    ours = Ours(folder)
    async with serving(large, http=Watched, tls=ours.credentials) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ours.client(), limit=1_024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: doors and doors[0]._flow.is_full)
        transport, watching = doors[0]._transport, doors[0]._taking
        held = transport.get_write_buffer_size()
        assert watching is not None

        async def takes_from(before: int) -> bool:
            await reader.readexactly(50_000)
            return taking.acknowledged(transport) >= before + taking.TAKEN_BYTES_MIN

        for _ in range(5):
            watching._look()
            assert not transport.is_closing()
            before = taking.acknowledged(transport)
            await eventually(lambda: takes_from(before), s_max=30)  # noqa: B023 - called before the next turn
            assert transport.get_write_buffer_size() == held

        def cut_off() -> bool:
            watching._look()
            return transport.is_closing()

        await eventually(cut_off, s_max=30)
        writer.transport.abort()


async def test_what_a_service_said_before_it_left_its_websocket_arrives_over_tls_too(
    folder: Path, impatient: None
) -> None:
    ended = asyncio.Event()

    async def says(talk: Talk) -> None:
        await talk.send(BytesMessage(data=bytes(SIZE)))
        ended.set()

    ours = Ours(folder)
    async with tcp(Service(says)) as port, edge(folder, port, tls=ours.credentials, http=NarrowDoor) as stand:
        stand.settle("ann", placement(epoch=7))
        request = asking(b"/orders/live", b"Authorization: " + stand.bearer("ann")["authorization"].encode())
        found = await read_late(stand, ours, request, ended)
    head, _, frames = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert len(frames) == SIZE + 10, "one frame and its head, and no Close that nobody sent"


async def test_who_begins_no_handshake_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(server.TLS_BOUNDS, "ssl_handshake_timeout", 0.1)
    async with secured(folder, Ours(folder)) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        with anyio.fail_after(20), contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.transport.abort()


class Load:
    """Clients that ask until they are told to stop; each answer must be the one that was asked for."""

    def __init__(self, stand: Stand, tls: ssl.SSLContext) -> None:
        self._stand = stand
        self._tls = tls
        self._over = False
        self.answered = 0

    async def ask(self, number: int) -> None:
        """On a connection that is kept, or where `number` is odd on a new one each time."""
        headers = self._stand.bearer("ann") | ({"connection": "close"} if number % 2 else {})
        async with trusting(self._stand, self._tls) as http:
            while not self._over:
                body = b"%d/%d" % (number, self.answered)
                response = await http.post("/orders/1", headers=headers, content=body)
                assert (response.status_code, response.content) == (200, body)
                self.answered += 1

    async def more(self, count: int) -> None:
        goal = self.answered + count
        await eventually(lambda: self.answered >= goal, s_max=60)

    def end(self) -> None:
        self._over = True


async def test_no_request_is_lost_while_the_certificate_and_the_rules_are_renewed_twenty_times(folder: Path) -> None:
    ours = Ours(folder)
    async with serving(echo) as port, edge(folder, port, tls=ours.credentials) as stand:
        stand.settle("ann", placement(epoch=7))
        load_on, serials = Load(stand, ours.client()), set()
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(load_on.ask(number))
            for swap in range(SWAPS):
                serial = ours.renew()
                stand.desk.book = book_of(port, swap)
                assert await ours.seen(stand.port) == serial
                serials.add(serial)
                await load_on.more(CLIENTS)
            load_on.end()
        assert len(serials) == SWAPS
        assert load_on.answered >= SWAPS * CLIENTS


def book_of(port: int, turn: int) -> Book:
    """Rules under a digest of their own."""
    addresses = {"eu-de": f"127.0.0.1:{port}", "us-va": "127.0.0.1:9"}
    rules = load(policy_text(addresses, addresses).replace('"EU_DE_S1"', f'"EU_DE_S1_{turn}"'))
    return Book(rules, FeedSeq(turn + 2), region=RegionId("eu"), root=("r1", Secret(REGION_ROOT)), clock=CLOCK)


async def test_files_that_break_under_load_change_nothing_for_anybody(folder: Path) -> None:
    ours = Ours(folder)
    async with secured(folder, ours) as stand:
        load_on, before = Load(stand, ours.client()), serial_of(ours.files.certificate)
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(load_on.ask(number))
            for broken in (b"", b"-----BEGIN CERTIFICATE-----\n", ours.authority.file.read_bytes()):
                ours.files.certificate.write_bytes(broken)
                ours.credentials.look()
                ours.credentials.look()
                assert await ours.seen(stand.port) == before
                await load_on.more(CLIENTS)
            metrics = (await _get(stand, ours, "/metrics")).text
            assert 'domicile_tls_reload_failed{use="tls"} 1.0' in metrics
            load_on.end()


async def _get(stand: Stand, ours: Ours, path: str) -> httpx.Response:
    async with trusting(stand, ours.client()) as http:
        return await http.get(path)


# --- restarts ----------------------------------------------------------------------------------------------------------------


class Gateway:
    """A gateway that is told to leave and comes again on the same port, as its supervisor would have it. Beside `stand`'s own listener."""

    def __init__(self, stand: Stand, drain: Drain, ours: Ours, drain_s: float) -> None:
        self._stand = stand
        self._drain = drain
        self._ours = ours
        self._drain_s = drain_s
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Until the block ends; then it drains, and has ended."""
        stop, self._drain.begun = asyncio.Event(), False
        async with asyncio.TaskGroup() as group:
            group.create_task(
                serve(
                    self._stand.app, host="127.0.0.1", port=self.port, drain=self._drain, drain_s=self._drain_s, http=EdgeDoor,
                    tls=self._ours.credentials, stop=stop,
                )
            )  # fmt: skip
            try:
                yield
            finally:
                stop.set()


class Balancing:
    """What a proxy does in front of two gateways: keeps connections, and asks nobody who says that it is leaving. Repeats nothing."""

    def __init__(self, gateways: list[Gateway], headers: dict[str, str], tls: ssl.SSLContext) -> None:
        self._gateways = gateways
        self._headers = headers
        self._tls = tls
        self._over = False
        self.leaving: set[Gateway] = set()
        self.told = 0
        self.answered = dict.fromkeys(gateways, 0)

    async def ask(self, first: int) -> None:
        turn = first
        async with HttpClient(timeout=20, verify=self._tls, trust_env=False) as http:
            while not self._over:
                turn += 1
                gateway = self._gateways[turn % 2]
                if gateway in self.leaving:
                    await asyncio.sleep(0)
                    continue
                body = b"%d" % turn
                response = await http.post(f"{gateway.url}/orders/1", headers=self._headers, content=body)
                assert (response.status_code, response.content) == (200, body)
                self.answered[gateway] += 1
                if response.headers.get("connection") == "close":
                    self.told += 1
                    self.leaving.add(gateway)

    async def more(self, *gateways: Gateway) -> None:
        goal = {gateway: self.answered[gateway] + CLIENTS for gateway in gateways}
        await eventually(lambda: all(self.answered[each] >= goal[each] for each in gateways), s_max=30)

    def end(self) -> None:
        self._over = True


async def test_no_request_is_lost_while_gateways_restart_one_after_the_other(folder: Path) -> None:
    """Writes, each sent once: whoever leaves says so with its answers before it closes the door."""
    ours, drains = Ours(folder), [Drain(), Drain()]
    async with serving(echo) as port, contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(edge(folder, port, drain=drains[0]))
        second = await stack.enter_async_context(edge(folder, port, drain=drains[1], beside=first))
        first.settle("ann", placement(epoch=7))
        gateways = [
            Gateway(stand, drain, ours, drain_s=1.0) for stand, drain in zip((first, second), drains, strict=True)
        ]
        ups = [await stack.enter_async_context(contextlib.AsyncExitStack()) for _ in gateways]
        for up, gateway in zip(ups, gateways, strict=True):
            await up.enter_async_context(gateway.up())
        proxy = Balancing(gateways, first.bearer("ann"), ours.client())
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(proxy.ask(number))
            for restarted, stays in ((0, 1), (1, 0)):
                await proxy.more(*gateways)
                told = proxy.told
                await ups[restarted].aclose()
                assert proxy.told > told
                await proxy.more(gateways[stays])
                await ups[restarted].enter_async_context(gateways[restarted].up())
                await eventually(lambda: _alive(gateways[restarted], ours))  # noqa: B023 - called before the next turn
                proxy.leaving.clear()
            await proxy.more(*gateways)
            proxy.end()


async def _alive(gateway: Gateway, ours: Ours) -> bool:
    try:
        async with HttpClient(verify=ours.client(), trust_env=False) as http:
            return (await http.get(f"{gateway.url}/readyz")).status_code == 200
    except httpx.HTTPError:
        return False

"""The stock proxy of deploy/front, run as it is shipped: what comes by HTTP/2 passes whole, once, and under nobody's false name."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.server import Drain, serve
from foundation.tls import Credentials, Tls
from gateway.edge.door import EdgeDoor
from tests.stands.certificates import Authority, serial_of
from tests.stands.edge import CLOCK, Stand, edge, placement, service_verifier, tcp
from tests.stands.front import Front, fronting, needs_caddy
from tests.stands.mirrors import answer, body_of, echo
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import free_port, serving
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = [pytest.mark.anyio, needs_caddy]

PROXY = ("127.0.0.1/32",)
CLIENTS = 6
RELOADS = 3
MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req")
"""With 1, a connection that waits in a listening socket when that is closed goes to another of the same port; with 0 it is reset."""
FALSE = "203.0.113.9"
CLAIMS = {
    **dict.fromkeys(("x-forwarded-for", "x_forwarded_for", "x-forwarded-host", "x-real-ip"), FALSE),
    **dict.fromkeys(("x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix"), FALSE),
    **dict.fromkeys(("domicile-decision", "domicile-cell", "domicile-epoch", "domicile-verdict"), FALSE),
    **dict.fromkeys(("domicile-refusal", "domicile_hop", "domicile_for"), FALSE),
    "forwarded": f"for={FALSE}",
}


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the fields that arrived and the size of the body, as JSON; ready, where it is asked whether it is."""
    headers = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
    seen = {"headers": headers, "version": scope["http_version"], "bytes": len(await body_of(receive))}
    await answer(send, 200, json.dumps(seen).encode())


async def test_http_2_is_served_and_the_service_learns_who_asks_whatever_the_client_claims(folder: Path) -> None:
    async with serving(mirror) as port, edge(folder, port, proxies=PROXY) as stand:
        home = placement(epoch=7)
        stand.settle("ann", home)
        async with fronting(folder, [f"http://127.0.0.1:{stand.port}"]) as (front, _):
            for http2 in (True, False):
                async with front.client(http2=http2, address="127.0.0.2") as http:
                    response = await http.get("/orders/1", headers=stand.bearer("ann") | CLAIMS)
                assert (response.status_code, response.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
                seen = dict(response.json()["headers"])
                assert FALSE not in response.text
                assert seen["x-forwarded-for"] == "127.0.0.2, 127.0.0.1"
                assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("https", f"127.0.0.1:{front.port}")
                decision = service_verifier("eu-de", "orders").verify(seen["domicile-decision"], CLOCK.unix_s())
                assert decision.subject == home.subject_id
                assert response.headers["domicile-cell"] == "eu-de"


async def test_what_a_client_claims_ends_at_the_proxy_and_what_is_proven_by_itself_goes_on(folder: Path) -> None:
    proven = {
        "domicile-hop": "v1.sealed",
        "domicile-for": "somebody",
        "authorization": "Bearer t",
        "accept-encoding": "br",
    }
    async with (
        serving(mirror) as port,
        fronting(folder, [f"http://127.0.0.1:{port}"]) as (front, _),
        front.client() as http,
    ):
        seen = (await http.get("/orders/1", headers=CLAIMS | proven)).json()
    assert not [pair for pair in seen["headers"] if FALSE in pair[1]]
    assert not [name for name, _ in seen["headers"] if "_" in name]
    assert dict(seen["headers"]).items() >= proven.items()
    assert seen["version"] == "1.1"


async def test_http_3_is_offered_and_heard(folder: Path) -> None:
    """No client of HTTP/3 here: that QUIC listens is seen by its answer to a version that nobody speaks (RFC 9000 section 6.1)."""
    async with serving(mirror) as port, fronting(folder, [f"http://127.0.0.1:{port}"]) as (front, _):
        async with front.client() as http:
            offered = (await http.get("/orders/1")).headers["alt-svc"]
        assert f'h3=":{front.port}"' in offered
        versions = await asyncio.to_thread(quic_versions, front.port)
    assert b"\x00\x00\x00\x01" in versions


def quic_versions(port: int) -> list[bytes]:
    """Which versions of QUIC are spoken there."""
    hello = (b"\xc0" + b"\x1a\x2a\x3a\x4a" + b"\x08" + b"d" * 8 + b"\x08" + b"s" * 8).ljust(1200, b"\x00")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2)
        asking.connect(("127.0.0.1", port))
        for _ in range(5):  # a datagram may be lost
            asking.send(hello)
            with contextlib.suppress(TimeoutError):
                found = asking.recv(2048)
                break
        else:
            return []
    assert found[1:5] == bytes(4)  # a version negotiation packet
    listed = found[5 + 1 + 8 + 1 + 8 :]
    return [listed[at : at + 4] for at in range(0, len(listed), 4)]


async def test_bodies_pass_whole_in_both_directions(folder: Path) -> None:
    async with serving(echo) as port, edge(folder, port, proxies=PROXY) as stand:
        stand.settle("ann", placement(epoch=7))
        body = bytes(range(256)) * (32 << 10)
        async with fronting(folder, [f"http://127.0.0.1:{stand.port}"]) as (front, _):
            for http2 in (True, False):
                async with front.client(http2=http2) as http:
                    response = await http.post("/orders/1", headers=stand.bearer("ann"), content=body)
                    assert (response.status_code, response.content == body) == (200, True)


async def test_a_body_goes_on_piece_by_piece(folder: Path) -> None:
    """The client sends on only when the service has what it sent before: whoever collected bodies would wait for ever."""
    arrived = [asyncio.Event(), asyncio.Event()]

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            for number, event in enumerate(arrived, start=1):
                if size >= number * 1000:
                    event.set()
        await answer(send, 200, str(size).encode())

    async def pieces() -> AsyncIterator[bytes]:
        for event in arrived:
            yield b"x" * 1000
            await event.wait()

    async with serving(counting) as port, edge(folder, port, proxies=PROXY) as stand:
        stand.settle("ann", placement(epoch=7))
        async with fronting(folder, [f"http://127.0.0.1:{stand.port}"]) as (front, _), front.client() as http:
            with anyio.fail_after(20):
                response = await http.post("/orders/1", headers=stand.bearer("ann"), content=pieces())
            assert (response.status_code, response.text) == (200, "2000")


async def test_events_reach_the_client_one_by_one(folder: Path) -> None:
    """The service sends the next one only when the client has the one before."""
    heard = asyncio.Semaphore(0)

    async def events(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await heard.acquire()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with serving(events) as port, edge(folder, port, proxies=PROXY) as stand:
        stand.settle("ann", placement(epoch=7))
        async with fronting(folder, [f"http://127.0.0.1:{stand.port}"]) as (front, _), front.client() as http:
            found = []
            with anyio.fail_after(20):
                async with http.stream("GET", "/orders/1", headers=stand.bearer("ann")) as response:
                    async for line in response.aiter_lines():
                        if line:
                            found.append(line)
                            heard.release()
            assert found == ["data: 0", "data: 1", "data: 2"]


class Breaking:
    """A gateway that says that it is ready, and breaks off before it answers anything else."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /readyz"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        else:
            self.asked.append(head.split(b" ", 1)[0])


async def test_a_write_that_broke_is_not_sent_again(folder: Path) -> None:
    breaking = Breaking()
    async with tcp(breaking) as one, tcp(breaking) as other:
        gateways = [f"http://127.0.0.1:{port}" for port in (one, other)]
        async with fronting(folder, gateways) as (front, _), front.client() as http:
            written = await http.post("/orders/1", content=b"an order")
        assert written.headers["content-type"] == "application/problem+json"
        assert (written.status_code, written.json()["code"]) == (502, "upstream_broken")
        assert breaking.asked == [b"POST"]


async def test_a_read_that_broke_is_answered_by_another_gateway(folder: Path) -> None:
    breaking = Breaking()
    async with tcp(breaking) as one, serving(mirror) as other:
        gateways = [f"http://127.0.0.1:{port}" for port in (one, other)]
        async with fronting(folder, gateways, FRONT_TRY="5s") as (front, _), front.client() as http:
            for _ in range(50):  # each goes to one of the two by chance
                assert (await http.get("/orders/1")).status_code == 200
        assert b"GET" in breaking.asked


async def test_without_a_ready_gateway_the_proxy_says_so_as_the_product_does(folder: Path) -> None:
    async with fronting(folder, [f"http://127.0.0.1:{free_port()}"]) as (front, _), front.client() as http:
        refused = await http.get("/orders/1")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["status"] == refused.status_code
        assert refused.json()["code"] in {"not_ready", "upstream_broken"}


async def test_the_way_inside_can_be_proven_on_both_sides(folder: Path) -> None:
    inside, certificates = Authority(folder, "inside"), {}
    certificate, key = inside.sign("gateway")
    tls = Credentials(Tls(certificate=certificate, key=key, authorities=inside.file), SystemClock())
    certificates["FRONT_INSIDE_CERTIFICATE"], certificates["FRONT_INSIDE_KEY"] = map(str, inside.sign("proxy"))
    async with serving(mirror) as port, edge(folder, port, proxies=PROXY, tls=tls) as stand:
        stand.settle("ann", placement(epoch=7))
        certificates |= {"FRONT_INSIDE": "mutual", "FRONT_INSIDE_AUTHORITIES": str(inside.file)}
        async with fronting(folder, [stand.url], **certificates) as (front, _), front.client() as http:
            response = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (response.status_code, response.http_version) == (200, "HTTP/2")
            ours = str(front.ours.file)
        async with (
            fronting(folder, [stand.url], **(certificates | {"FRONT_INSIDE_AUTHORITIES": ours})) as (front, _),
            front.client() as http,
        ):
            assert (await http.get("/orders/1", headers=stand.bearer("ann"))).status_code in (502, 503)


# --- restarts and renewals under load --------------------------------------------------------------------------------------


class Load:
    """Clients that read and write until they are told to stop. Each request is sent once, and must be answered."""

    def __init__(self, front: Front, stand: Stand) -> None:
        self._front = front
        self._headers = stand.bearer("ann")
        self._over = False
        self.answered = 0

    async def keep_asking(self) -> None:
        """By HTTP/2 on one connection."""
        async with self._front.client() as http:
            while not self._over:
                await self._exchange(http)

    async def come_and_go(self, broken_max: int = 0) -> None:
        """By HTTP/1.1, each time on a new connection. So many may break before anything is sent on them, as browsers allow."""
        broken = 0
        while not self._over:
            try:
                async with self._front.client(http2=False) as http:
                    await self._exchange(http)
            except httpx.ConnectError:
                broken += 1
                if broken > broken_max:
                    raise

    async def _exchange(self, http: HttpClient) -> None:
        body = b"%d" % self.answered
        method = "POST" if self.answered % 2 else "GET"
        response = await http.request(method, "/orders/1", headers=self._headers, content=body)
        assert (response.status_code, response.content) == (200, body)
        self.answered += 1

    async def more(self, count: int = 4 * CLIENTS) -> None:
        goal = self.answered + count
        await eventually(lambda: self.answered >= goal, s_max=60)

    def end(self) -> None:
        self._over = True


@contextlib.asynccontextmanager
async def up(stand: Stand, drain: Drain, port: int) -> AsyncIterator[None]:
    """A gateway on `port` until the block ends; then it drains as it should behind this proxy: for some health checks."""
    stop, drain.begun = asyncio.Event(), False
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(stand.app, host="127.0.0.1", port=port, drain=drain, drain_s=1.5, http=EdgeDoor, stop=stop)
        )
        try:
            yield
        finally:
            stop.set()


async def ready(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        async with HttpClient() as http:
            return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
    return False


async def test_no_request_is_lost_while_the_gateways_restart_one_after_the_other(folder: Path) -> None:
    drains, ports = [Drain(), Drain()], [free_port(), free_port()]
    async with serving(echo) as port, contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(edge(folder, port, drain=drains[0], proxies=PROXY))
        second = await stack.enter_async_context(edge(folder, port, drain=drains[1], proxies=PROXY, beside=first))
        first.settle("ann", placement(epoch=7))
        gateways = list(zip((first, second), drains, ports, strict=True))
        ups = [await stack.enter_async_context(contextlib.AsyncExitStack()) for _ in gateways]
        for each, gateway in zip(ups, gateways, strict=True):
            await each.enter_async_context(up(*gateway))
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        async with fronting(folder, addresses, FRONT_HEALTH="300ms", FRONT_TRY="5s") as (front, _):
            load = Load(front, first)
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS // 2):
                    group.create_task(load.keep_asking())
                    group.create_task(load.come_and_go())
                for each, gateway in zip(ups, gateways, strict=True):
                    await load.more()
                    await each.aclose()
                    await load.more()
                    await each.enter_async_context(up(*gateway))
                    await eventually(lambda: ready(gateway[2]))  # noqa: B023 - called before the next turn
                await load.more()
                load.end()


async def test_no_request_is_lost_while_the_proxys_certificate_is_renewed(folder: Path) -> None:
    """On new connections: one that is kept is told to go (GOAWAY), and httpx, unlike browsers, gives up a request that crosses that.

    Each reload opens the proxy's port anew before it closes the former socket, with what waits in it unless the kernel takes it over.
    """
    broken_max = 0 if MIGRATES.exists() and MIGRATES.read_text().strip() == "1" else RELOADS
    async with serving(echo) as port, edge(folder, port, proxies=PROXY) as stand:
        stand.settle("ann", placement(epoch=7))
        async with fronting(folder, [f"http://127.0.0.1:{stand.port}"]) as (front, environment):
            load = Load(front, stand)

            async def renewed() -> bool:
                return await front.shown() == serial_of(front.files[0])

            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(load.come_and_go(broken_max))
                for _ in range(RELOADS):
                    front.ours.sign("front")
                    await front.reload(environment)
                    await eventually(renewed)
                    await load.more()
                load.end()

"""A service in trouble holds its share of the gateway and no more; an address in trouble is left alone for a while. On real servers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient
from gateway.edge.upstream.breaker import State
from gateway.edge.upstream.exchange import Sending
from gateway.edge.upstream.fault import Fault
from gateway.edge.upstream.forwarder import Forwarder
from gateway.edge.upstream.health import Health
from gateway.edge.upstream.pool import Pools
from gateway.settings import Upstream
from tests.stands.edge import Stand, edge, placement, tcp
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import free_port, serving
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

PATIENT = Upstream(first_byte_s=60.0, stall_s=60.0, breaker_open_s=60.0, breaker_open_s_max=60.0)
"""Nothing that it bounds ends while a test runs."""
SOON = Upstream(first_byte_s=60.0, breaker_failures=3, breaker_open_s=0.05, breaker_open_s_max=0.1)


class Service:
    """Answers with `status`; holds each answer back while `gate` is shut."""

    def __init__(self, status: int = 200, *, shut: bool = False) -> None:
        self.status = status
        self.calls = 0
        self.gate = asyncio.Event()
        if not shut:
            self.gate.set()

    def called(self, times: int) -> bool:
        return self.calls == times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await self.gate.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def health(stand: Stand, port: int) -> Health:
    return stand.pools.of(f"127.0.0.1:{port}").health


def asking(stand: Stand, http: HttpClient) -> Callable[[str], Coroutine[Any, Any, httpx.Response]]:
    headers = stand.bearer("ann")

    async def ask(path: str) -> httpx.Response:
        return await http.get(f"{stand.url}{path}", headers=headers)

    return ask


async def offered(stand: Stand, length: int) -> bytes:
    """What is said at once to a POST that offers a body and sends none of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    token = stand.bearer("ann")["authorization"]
    head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
    writer.write(f"{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n".encode())
    with anyio.fail_after(10):
        said = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return said


# --- the bulkhead ------------------------------------------------------------------------------------------------------------


async def test_a_service_that_never_answers_holds_its_share_and_the_one_beside_it_is_served(folder: Path) -> None:
    slow, well = Service(shut=True), Service()
    async with (
        serving(slow) as orders,
        serving(well) as records,
        edge(folder, orders, records_port=records, limits=replace(PATIENT, exchanges_max=3)) as stand,
        HttpClient(timeout=20) as http,
        asyncio.TaskGroup() as group,
    ):
        stand.settle("ann", placement())
        ask = asking(stand, http)
        held = [group.create_task(ask("/orders/1")) for _ in range(3)]
        await eventually(lambda: slow.calls == 3)
        for _ in range(5):
            excess = await ask("/orders/1")
            assert (refused(excess), excess.headers["retry-after"]) == ((503, "cell_busy"), "1")
            assert excess.headers["domicile-verdict"] == "refuse"
            assert (await ask("/records/orders")).status_code == 200
        assert slow.calls == 3
        await http.get(f"{stand.url}/readyz")
        shown = (await http.get(f"{stand.url}/metrics")).text
        assert 'domicile_gateway_exchanges{cell="eu-de",service="orders"} 3.0' in shown
        assert 'domicile_gateway_exchanges{cell="eu-de",service="records"} 0.0' in shown
        slow.gate.set()
        assert [(await each).status_code for each in held] == [200, 200, 200]
        assert (await ask("/orders/1")).status_code == 200


@pytest.mark.parametrize("length", [10, 1_000_000], ids=["kept", "streamed"])
async def test_what_is_too_much_is_refused_before_its_body_is_asked_for(folder: Path, length: int) -> None:
    slow = Service(shut=True)
    async with (
        serving(slow) as orders,
        edge(folder, orders, limits=replace(PATIENT, exchanges_max=1)) as stand,
        HttpClient(timeout=20) as http,
        asyncio.TaskGroup() as group,
    ):
        stand.settle("ann", placement())
        held = group.create_task(asking(stand, http)("/orders/1"))
        await eventually(lambda: slow.calls == 1)
        said = await offered(stand, length)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in said
        slow.gate.set()
        assert (await held).status_code == 200
        assert (await offered(stand, length)).startswith(b"HTTP/1.1 100 ")


async def test_whoever_leaves_leaves_a_place(folder: Path) -> None:
    slow = Service(shut=True)
    async with (
        serving(slow) as orders,
        edge(folder, orders, limits=replace(PATIENT, exchanges_max=1)) as stand,
        HttpClient(timeout=20) as http,
    ):
        stand.settle("ann", placement())
        _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        token = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        await eventually(lambda: slow.calls == 1)
        assert (await asking(stand, http)("/orders/1")).status_code == 503
        writer.close()
        slow.gate.set()

        async def served() -> bool:
            return (await asking(stand, http)("/orders/1")).status_code == 200

        await eventually(served)


class Pouring:
    """Answers `/orders/big` with more than connections hold, and never with all of it; anything else in a word."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            if b"/orders/big " not in line:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            self.begun.set()
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n%b\r\n" % bytes(65_536))
                await writer.drain()


@asynccontextmanager
async def taking_nothing(folder: Path, limits: Upstream) -> AsyncIterator[Stand]:
    """A client has asked for what has no end, and reads none of it."""
    service = Pouring()
    async with tcp(service) as orders, edge(folder, orders, limits=limits) as stand:
        stand.settle("ann", placement())
        _, writer = await asyncio.open_connection("127.0.0.1", stand.port, limit=1_024)
        token = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/big HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        with anyio.fail_after(20):
            await service.begun.wait()
        try:
            yield stand
        finally:
            writer.transport.abort()


async def test_who_takes_nothing_of_an_answer_holds_no_place_for_long(folder: Path) -> None:
    limits = replace(PATIENT, exchanges_max=1, stall_s=0.5)
    async with taking_nothing(folder, limits) as stand, HttpClient(timeout=20) as http:
        ask = asking(stand, http)

        async def served() -> bool:
            return (await ask("/orders/1")).status_code == 200

        await eventually(served, s_max=30)


async def test_who_takes_an_answer_for_longer_than_an_exchange_may_last_is_cut_off(folder: Path) -> None:
    async with taking_nothing(folder, replace(PATIENT, total_s=1.0)):
        await eventually(lambda: tasks() == 0, s_max=30)


# --- what takes no task ------------------------------------------------------------------------------------------------------


def tasks() -> int:
    """Requests that a task answers just now, at the gateway or at a service."""
    return sum(task.get_name() == "edge request" for task in asyncio.all_tasks())


@pytest.mark.parametrize("leaves", [False, True], ids=["answered", "left"])
async def test_what_takes_no_task_takes_a_place_as_well_and_leaves_it(folder: Path, leaves: bool) -> None:
    """Two services behind one address, so that a connection lies idle while the one place of orders is taken."""
    slow = Service(shut=True)
    async with (
        serving(slow) as port,
        edge(folder, port, records_port=port, limits=replace(PATIENT, exchanges_max=1, breaker_failures=1)) as stand,
        HttpClient(timeout=20) as http,
    ):
        stand.settle("ann", placement())
        known, pool = stand.bearer("ann"), stand.pools.of(f"127.0.0.1:{port}")

        async def ask(path: str) -> httpx.Response:
            return await http.get(f"{stand.url}{path}", headers=known)

        async with asyncio.TaskGroup() as group:
            met = [group.create_task(ask(path)) for path in ("/orders/1", "/records/orders")]
            await eventually(partial(slow.called, 2))
            slow.gate.set()
        assert [each.result().status_code for each in met] == [200, 200]
        assert pool.idle == 2
        slow.gate.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(f"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {known['authorization']}\r\n\r\n".encode())
        await eventually(partial(slow.called, 3))
        assert tasks() == 1  # the service's own
        for _ in range(3):
            assert refused(await ask("/orders/1")) == (503, "cell_busy")
        assert (pool.idle, slow.calls) == (1, 3)
        if leaves:
            writer.close()
            await eventually(lambda: pool.open == 1)
        slow.gate.set()
        if not leaves:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            writer.close()
        assert [(await ask("/orders/1")).status_code for _ in range(3)] == [200] * 3
        assert pool.health.state is State.CLOSED


async def test_silence_towards_what_took_no_task_opens_too(folder: Path) -> None:
    slow = Service()
    limits = replace(PATIENT, first_byte_s=0.2, breaker_failures=1)
    async with serving(slow) as orders, edge(folder, orders, limits=limits) as stand, HttpClient(timeout=20) as http:
        stand.settle("ann", placement())
        ask = asking(stand, http)
        assert (await ask("/orders/1")).status_code == 200
        slow.gate.clear()
        assert refused(await ask("/orders/1")) == (504, "upstream_timeout")
        assert refused(await ask("/orders/1")) == (502, "cell_unreachable")
        assert slow.calls == 2


# --- the breaker -------------------------------------------------------------------------------------------------------------


async def test_a_dead_address_is_left_alone_for_a_while_and_says_for_how_long(folder: Path) -> None:
    port, service = free_port(), Service()
    async with (
        edge(folder, port, limits=replace(PATIENT, breaker_failures=3)) as stand,
        HttpClient(timeout=20) as http,
    ):
        stand.settle("ann", placement())
        ask = asking(stand, http)
        for _ in range(3):
            dead = await ask("/orders/1")
            assert (refused(dead), dead.headers["retry-after"]) == ((502, "cell_unreachable"), "1")
        async with serving(service, port=port):
            barred = await ask("/orders/1")
            assert refused(barred) == (502, "cell_unreachable")
            assert 1 < int(barred.headers["retry-after"]) <= 60
            for length in (10, 1_000_000):
                assert (await offered(stand, length)).startswith(b"HTTP/1.1 502 ")
            assert (service.calls, stand.pools.of(f"127.0.0.1:{port}").open) == (0, 0)


async def test_a_service_that_comes_back_is_served_from_again_by_itself(folder: Path) -> None:
    port, service = free_port(), Service()
    async with edge(folder, port, limits=SOON) as stand, HttpClient(timeout=20) as http:
        stand.settle("ann", placement())
        ask = asking(stand, http)
        for _ in range(6):
            assert refused(await ask("/orders/1")) == (502, "cell_unreachable")
        assert health(stand, port).state is not State.CLOSED

        async def served() -> bool:
            return (await ask("/orders/1")).status_code == 200

        async with serving(service, port=port):
            await eventually(served)
            assert health(stand, port).state is State.CLOSED
            assert [(await ask("/orders/1")).status_code for _ in range(5)] == [200] * 5


async def test_one_request_alone_probes_and_its_answer_lets_the_others_in(folder: Path) -> None:
    port, service = free_port(), Service(shut=True)
    async with (
        edge(folder, port, limits=SOON) as stand,
        HttpClient(timeout=20) as http,
        asyncio.TaskGroup() as group,
    ):
        stand.settle("ann", placement())
        ask = asking(stand, http)
        for _ in range(3):
            assert refused(await ask("/orders/1")) == (502, "cell_unreachable")
        asked: list[asyncio.Task[httpx.Response]] = []

        def one_got_through() -> bool:
            asked.append(group.create_task(ask("/orders/1")))
            return service.calls > 0

        async with serving(service, port=port):
            await eventually(one_got_through)
            excess = await asyncio.gather(*(ask("/orders/1") for _ in range(10)))
            assert [refused(each) for each in excess] == [(502, "cell_unreachable")] * 10
            assert service.calls == 1
            service.gate.set()
            assert sorted([(await each).status_code for each in asked]) == [200] + [502] * (len(asked) - 1)
            assert [(await ask("/orders/1")).status_code for _ in range(5)] == [200] * 5


async def test_silence_in_a_row_opens_and_a_long_silence_is_asked_of_nobody_else(folder: Path) -> None:
    asked: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.read()

    limits = replace(PATIENT, first_byte_s=0.2, breaker_failures=2)
    async with tcp(silent) as orders, edge(folder, orders, limits=limits) as stand, HttpClient(timeout=20) as http:
        stand.settle("ann", placement())
        ask = asking(stand, http)
        for _ in range(2):
            assert refused(await ask("/orders/1")) == (504, "upstream_timeout")
        for _ in range(3):
            assert refused(await ask("/orders/1")) == (502, "cell_unreachable")
        assert len(asked) == 2


async def test_answers_of_any_status_open_nothing(folder: Path) -> None:
    failing = Service(500)
    async with (
        serving(failing) as orders,
        edge(folder, orders, limits=replace(PATIENT, breaker_failures=1)) as stand,
        HttpClient(timeout=20) as http,
    ):
        stand.settle("ann", placement())
        ask = asking(stand, http)
        assert [(await ask("/orders/1")).status_code for _ in range(6)] == [500] * 6
        assert health(stand, orders).state is State.CLOSED


async def test_clients_that_leave_open_nothing(folder: Path) -> None:
    slow = Service(shut=True)
    async with (
        serving(slow) as orders,
        edge(folder, orders, limits=replace(PATIENT, breaker_failures=1)) as stand,
        HttpClient(timeout=20) as http,
    ):
        stand.settle("ann", placement())
        token = stand.bearer("ann")["authorization"]
        for number in range(1, 4):
            _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
            writer.write(f"GET /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
            await eventually(partial(slow.called, number))
            writer.close()
            await eventually(lambda: stand.pools.of(f"127.0.0.1:{orders}").open == 0)
        slow.gate.set()
        assert (await asking(stand, http)("/orders/1")).status_code == 200


async def test_an_address_that_is_down_does_not_take_its_sisters_with_it_and_is_asked_again_once_it_is_up() -> None:
    port, first, second = free_port(), Service(), Service()
    async with serving(first) as up:
        pools = Pools(SOON)
        forwarder, hosts = Forwarder(pools), (f"127.0.0.1:{port}", f"127.0.0.1:{up}")

        async def answered() -> int:
            exchange = await forwarder.open(
                hosts, Sending(b"GET / HTTP/1.1\r\n", lambda: b"\r\n", head_only=False, done=True)
            )
            try:
                return (await exchange.head()).status
            finally:
                exchange.end()

        assert [await answered() for _ in range(12)] == [200] * 12
        assert [pools.of(host).health.state is State.CLOSED for host in hosts] == [False, True]
        assert forwarder.barred_s(hosts) is None

        async def asked_again() -> bool:
            assert await answered() == 200
            return second.calls > 0

        async with serving(second, port=port):
            await eventually(asked_again)
            assert [pools.of(host).health.state for host in hosts] == [State.CLOSED, State.CLOSED]
        pools.close()


async def test_a_probe_whose_head_cannot_be_made_leaves_its_turn_to_the_next() -> None:
    def fails() -> bytes:
        raise ValueError("no header today")

    port, service = free_port(), Service()
    pools = Pools(SOON)
    forwarder, hosts = Forwarder(pools), (f"127.0.0.1:{port}",)
    state = pools.of(hosts[0]).health
    while state.state is not State.OPEN:
        ticket = state.admit()
        assert ticket is not None
        state.broke(ticket, Fault.CONNECT)
    async with serving(service, port=port):
        for _ in range(2):
            await eventually(state.admits)
            with pytest.raises(ValueError, match="no header today"):
                await forwarder.open(hosts, Sending(b"GET / HTTP/1.1\r\n", fails, head_only=False, done=True))
            assert (state.state, state.admits()) == (State.HALF_OPEN, True)
    pools.close()

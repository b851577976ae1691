"""A region in trouble, on real servers: dead, silent, full or restarted, and nobody else is asked instead."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from foundation.clock import ManualClock
from foundation.hop_header import LIFETIME_S_MAX
from foundation.http import HttpClient
from gateway.settings import Upstream
from tests.stands.edge import CLOCK, placement, tcp
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.travel import EU, code, world
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


async def test_a_dead_home_region_is_named_and_nobody_else_is_asked(folder: Path) -> None:
    virginia = Mirror("us-va")
    async with world(folder, eu_orders=Mirror("eu-de"), us_orders=virginia) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        stand.settle("bob", placement("us-va"))
        await stand.eu.stop()
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == (502, "cell_unreachable")
        assert "region eu" in response.json()["detail"]
        assert virginia.calls == 0
        assert (await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("bob"))).json()["cell"] == "us-va"


async def test_a_home_region_that_stays_dead_is_left_alone_for_a_while_and_nobody_else_is_asked(folder: Path) -> None:
    berlin, virginia = Mirror("eu-de"), Mirror("us-va")
    limits = Upstream(breaker_failures=2, breaker_open_s=60.0, breaker_open_s_max=60.0)
    async with (
        world(folder, eu_orders=berlin, us_orders=virginia, hop_limits=limits) as stand,
        HttpClient() as http,
    ):
        stand.settle("ann", placement())
        url, headers = f"{stand.us.url}/orders/1", stand.bearer("ann")
        await stand.eu.stop()
        for _ in range(2):
            assert code(await http.get(url, headers=headers)) == (502, "cell_unreachable")
        stand.eu.serving = contextlib.AsyncExitStack()
        await stand.eu.start()
        response = await http.get(url, headers=headers)
        assert code(response) == (502, "cell_unreachable")
        assert 1 < int(response.headers["retry-after"]) <= 60
        assert "region eu" in response.json()["detail"]
        assert (berlin.calls, virginia.calls) == (0, 0)


async def test_what_the_home_cell_has_no_room_for_is_not_booked(folder: Path) -> None:
    berlin = Mirror("eu-de")
    patient = Upstream(exchanges_max=1, first_byte_s=10.0, stall_s=10.0)
    async with (
        world(folder, eu_orders=berlin, limits=patient) as stand,
        HttpClient(timeout=10) as http,
        asyncio.TaskGroup() as group,
    ):
        stand.settle("ann", placement())
        url, headers = f"{stand.us.url}/orders/1", stand.bearer("ann")
        berlin.gate = asyncio.Event()
        first = group.create_task(http.get(url, headers=headers))
        await eventually(lambda: berlin.calls == 1)
        full = await http.get(url, headers=headers)
        assert (code(full), full.headers["retry-after"]) == ((503, "cell_busy"), "1")
        assert (berlin.calls, len(stand.eu.cell.crossings)) == (1, 1)
        berlin.gate.set()
        assert (await first).status_code == 200


async def test_a_silent_home_region_is_waited_for_within_a_bound(folder: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    limits = Upstream(connect_s=1.0, first_byte_s=0.5, stall_s=0.5)
    async with (
        tcp(silent) as port,
        world(folder, eu_orders=Mirror("eu-de"), hop_limits=limits) as stand,
        HttpClient() as http,
    ):
        stand.settle("ann", placement())
        stand.us.travel.carrier._routes = type(stand.us.travel.carrier._routes)({EU: (f"http://127.0.0.1:{port}",)})
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == (504, "upstream_timeout")
        assert "region eu" in response.json()["detail"]


async def test_a_full_queue_towards_one_region_harms_nobody_else(folder: Path) -> None:
    berlin, virginia = Mirror("eu-de"), Mirror("us-va")
    limits = Upstream(connections_max=1, waiters_max=1, wait_s=5.0, first_byte_s=10.0, stall_s=10.0)
    async with (
        world(folder, eu_orders=berlin, us_orders=virginia, hop_limits=limits) as stand,
        HttpClient(timeout=10) as http,
        asyncio.TaskGroup() as group,
    ):
        stand.settle("ann", placement())
        stand.settle("bob", placement("us-va"))
        url, headers = f"{stand.us.url}/orders/1", stand.bearer("ann")
        berlin.gate = asyncio.Event()
        first = group.create_task(http.get(url, headers=headers))
        await eventually(lambda: berlin.calls == 1)
        second = group.create_task(http.get(url, headers=headers))
        await eventually(lambda: any(pool.waiting for pools in stand.us.travel.pools for pool in pools.all()))
        full = await http.get(url, headers=headers)
        assert (code(full), full.headers["retry-after"]) == ((503, "not_ready"), "1")
        assert "region eu" in full.json()["detail"]
        assert (await http.get(url, headers=stand.bearer("bob"))).json()["cell"] == "us-va"
        berlin.gate.set()
        assert [(await each).status_code for each in (first, second)] == [200, 200]


async def test_a_hop_that_waited_for_a_connection_is_signed_when_it_goes(folder: Path) -> None:
    berlin, clock = Mirror("eu-de"), ManualClock(CLOCK.unix_s())
    limits = Upstream(connections_max=1, waiters_max=1, wait_s=20.0, first_byte_s=20.0, stall_s=20.0)
    async with (
        world(folder, eu_orders=berlin, hop_limits=limits, clock=clock) as stand,
        HttpClient(timeout=20) as http,
        asyncio.TaskGroup() as group,
    ):
        stand.settle("ann", placement())
        url, headers = f"{stand.us.url}/orders/1", stand.bearer("ann")
        berlin.gate = asyncio.Event()
        first = group.create_task(http.get(url, headers=headers))
        await eventually(lambda: berlin.calls == 1)
        second = group.create_task(http.get(url, headers=headers))
        await eventually(lambda: any(pool.waiting for pools in stand.us.travel.pools for pool in pools.all()))
        clock.advance(LIFETIME_S_MAX + 1)
        berlin.gate.set()
        assert [(await each).status_code for each in (first, second)] == [200, 200]


async def test_a_connection_that_home_had_closed_is_made_anew_with_a_new_hop(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        headers = stand.bearer("ann")
        assert (await http.get(f"{stand.us.url}/orders/1", headers=headers)).status_code == 200
        await stand.eu.stop()
        stand.eu.serving = contextlib.AsyncExitStack()
        await stand.eu.start()
        assert (await http.get(f"{stand.us.url}/orders/1", headers=headers)).status_code == 200
        assert len({crossing.id for crossing in stand.eu.cell.crossings}) == 2


async def test_a_home_gateway_that_restarts_inside_an_answer_leaves_no_forged_end(folder: Path) -> None:
    half = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2000")]})
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await half.wait()

    async with world(folder, eu_orders=slow) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        async with http.stream("GET", f"{stand.us.url}/orders/1", headers=stand.bearer("ann")) as response:
            pieces = response.aiter_raw()
            assert len(await anext(pieces)) == 1000
            await stand.eu.stop()
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in pieces:
                    pass
        half.set()
        stand.eu.serving = contextlib.AsyncExitStack()
        await stand.eu.start()

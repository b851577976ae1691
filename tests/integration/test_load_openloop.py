"""The open-loop driver sends what is due, whatever became of what was sent before."""

import asyncio
import random
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from foundation.clock import SystemClock
from foundation.http import client
from load_tests.openloop.__main__ import _arrivals
from load_tests.openloop.driver import Driver
from load_tests.openloop.schedule import due
from load_tests.oracle.ledger import Answered, Line
from load_tests.plan import Plan
from load_tests.scenarios.person import Person
from load_tests.scenarios.shape import Scenario
from load_tests.target import Cell, Region, Target
from tests.stands.servers import free_port, serving

pytestmark = pytest.mark.anyio

ARRIVALS = 10


def test_arrivals_are_due_evenly() -> None:
    assert list(due(4.0, 1.5)) == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]


async def test_a_request_that_hangs_holds_up_no_other_and_its_wait_is_counted() -> None:
    everybody_came = asyncio.Event()
    asked = 0

    async def orders(request: Request) -> JSONResponse:
        """The first answer comes only after all others have arrived: a closed loop would wait forever."""
        nonlocal asked
        asked += 1
        if asked == ARRIVALS:
            everybody_came.set()
        await everybody_came.wait()
        told = {"domicile-cell": "eu-de", "domicile-epoch": "7", "domicile-verdict": "serve"}
        return JSONResponse({"orders": []}, headers=told)

    port = free_port()
    lines: list[Line] = []
    async with serving(Starlette(routes=[Route("/orders", orders)]), port=port), client(total_s=20.0) as http:
        url = f"http://127.0.0.1:{port}"
        given = Plan(
            scenario=Scenario(about="x", seconds=1, users=1, people={"DE": 1}, mix={"read_orders": 1}),
            target=Target(
                directory={"url": url},
                regions={"eu": Region(gateway=url, issuer=url)},
                cells={"eu-de": Cell(region="eu", shards={})},
            ),
            out=str(Path()),
            rate=ARRIVALS,
        )
        me = Person("DE", given.world(), lines.append, random.Random(1))
        me.region, me.subject, me.cell, me.epoch, me.token, me.token_until = "eu", "s", "eu-de", 7, "t", 1e12
        clock = SystemClock()
        async with asyncio.timeout(30):
            came = await _arrivals(given, Driver(http, clock), [me], random.Random(1), clock)
    answered = [line for line in lines if isinstance(line, Answered)]
    assert (came.due, came.missed) == (ARRIVALS, None)
    assert len(answered) == ARRIVALS
    assert all(line.status == 200 and not line.violations for line in answered)
    assert max(answered, key=lambda line: line.ms).at == min(line.at for line in answered)

"""Access records of a gateway on real sockets: a person's own requests where settings say so, and what happens when nobody takes them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient
from gateway.edge.room import WhenFull
from gateway.settings import RecordSettings
from tests.stands import accesses
from tests.stands.edge import edge, placement
from tests.stands.mirrors import answer
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


async def orders(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await answer(send, 200)


class Cell:
    """Takes what is handed over; away as long as it is said to be."""

    def __init__(self) -> None:
        self.away = False
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message.get("more_body"):
                break
        if not self.away:
            assert scope["path"] == "/cell/records"
            self.bodies.append(body)
        await answer(send, 503 if self.away else 204)


async def asked(http: HttpClient, headers: dict[str, str], times: int) -> list[int]:
    return [(await http.get("/orders/1", headers=headers)).status_code for _ in range(times)]


def details(cell: Cell) -> list[dict[str, Any]]:
    return [json.loads(bytes(one.details)) for one in accesses.read(*cell.bodies)]


@pytest.mark.parametrize("own", [True, False])
async def test_a_persons_own_requests_reach_the_cell_service_where_settings_say_so(folder: Path, own: bool) -> None:
    cell = Cell()
    async with (
        serving(orders) as port,
        serving(cell) as records_port,
        edge(folder, port, records_port=records_port, records=RecordSettings(own=own)) as stand,
        HttpClient(base_url=stand.url) as http,
        HttpClient() as to_cells,
    ):
        home = placement()
        stand.settle("ann", home)
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(stand.recorder.deliver(to_cells))
            assert await asked(http, stand.bearer("ann"), 5) == [200] * 5
            assert (await http.post("/orders/1", headers=stand.bearer("ann"), content=b"x")).status_code == 200
            await eventually(lambda: stand.recorder.pending == 0)
            worker.cancel()
    found = accesses.read(*cell.bodies)
    assert len(found) == (6 if own else 0)
    assert {(one.actor, one.subject_id) for one in found} <= {(home.subject_id, home.subject_id)}
    assert [one["verb"] for one in details(cell)] == (["read"] * 5 + ["write"] if own else [])


async def test_while_nobody_takes_records_requests_are_refused_and_afterwards_none_is_missing(folder: Path) -> None:
    cell = Cell()
    cell.away = True
    async with (
        serving(orders) as port,
        serving(cell) as records_port,
        edge(folder, port, records_port=records_port, records=RecordSettings(own=True, pending_max=3)) as stand,
        HttpClient(base_url=stand.url) as http,
        HttpClient() as to_cells,
    ):
        stand.settle("ann", placement())
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(stand.recorder.deliver(to_cells))
            assert await asked(http, stand.bearer("ann"), 5) == [200, 200, 200, 503, 503]
            assert (await http.get("/readyz")).status_code == 503
            cell.away = False
            await eventually(lambda: stand.recorder.pending == 0)
            assert (await http.get("/readyz")).status_code == 200
            assert await asked(http, stand.bearer("ann"), 1) == [200]
            await eventually(lambda: stand.recorder.pending == 0)
            worker.cancel()
    assert len(details(cell)) == 4


async def test_where_records_may_be_lost_requests_go_on_and_how_many_were_is_handed_over(folder: Path) -> None:
    cell = Cell()
    cell.away = True
    settings = RecordSettings(own=True, pending_max=3, when_full=WhenFull.COUNT)
    async with (
        serving(orders) as port,
        serving(cell) as records_port,
        edge(folder, port, records_port=records_port, records=settings) as stand,
        HttpClient(base_url=stand.url) as http,
        HttpClient() as to_cells,
    ):
        stand.settle("ann", placement())
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(stand.recorder.deliver(to_cells))
            assert await asked(http, stand.bearer("ann"), 7) == [200] * 7
            assert (await http.get("/readyz")).status_code == 200
            cell.away = False
            await eventually(lambda: stand.recorder.pending == 0 and not stand.recorder.room.untold)
            worker.cancel()
    assert (len(details(cell)), sum(json.loads(body)["records"]["lost"] for body in cell.bodies)) == (3, 4)

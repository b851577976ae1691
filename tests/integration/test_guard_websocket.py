"""Websockets of a product service behind the guard, on a server that speaks them: opened under a decision, closed when it holds no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol
from wsproto.events import BytesMessage, CloseConnection

from cells.guard import sockets
from cells.guard.middleware import Guard, decided
from cells.guard.worker import EpochKeeper
from directory.placement.core import State
from foundation.clock import ManualClock, SystemClock
from foundation.decision_header import ServiceVerifier
from foundation.words import Verb
from tests.stands.edge import edge, placement, service_verifier
from tests.stands.fake_cell import CELL, SERVICE, FakeCell, a_subject, decision, minter, service_keys
from tests.stands.servers import serving
from tests.stands.sockets import Talk, asking, opened, sending
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

ANNA = a_subject(1)
PATH = b"/orders/live"


class Live:
    """Says who it is for, then says back what it is told. `left`: how often a client's end was heard of."""

    def __init__(self) -> None:
        self.left = 0
        self.open = 0

    async def serve(self, websocket: WebSocket) -> None:
        await websocket.accept()
        own = decided(websocket).decision
        self.open += 1
        await websocket.send_bytes(f"{own.subject} {own.epoch}".encode())
        try:
            while True:
                await websocket.send_bytes(await websocket.receive_bytes())
        except WebSocketDisconnect:
            self.left += 1
        finally:
            self.open -= 1

    def app(self) -> Starlette:
        return Starlette(routes=[WebSocketRoute("/orders/live", self.serve)])


class Setup:
    """A guarded service, its cell, and a clock that moves when told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cell = FakeCell(now=self.clock.unix_s)
        self.cell.put(ANNA, 5)
        self.keeper = EpochKeeper(self.cell, self.clock)
        self.live = Live()
        self.port = 0

    def field(self, epoch: int = 5, verb: Verb = Verb.WRITE) -> bytes:
        made = decision(ANNA, epoch, verb, now=self.clock.unix_s())
        return b"Domicile-Decision: " + minter().mint(made).encode()

    @contextlib.asynccontextmanager
    async def talking(self) -> AsyncIterator[Talk]:
        async with opened(self.port, PATH, self.field()) as talk:
            with anyio.fail_after(10):
                assert await talk.message() == f"{ANNA} 5".encode()
                yield talk

    async def refused(self, *fields: bytes) -> bytes:
        async with sending(self.port, asking(PATH, *fields)) as (reader, _):
            with anyio.fail_after(10):
                return (await reader.readuntil(b"\r\n\r\n")).lower()


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    guard = Guard(
        made.live.app(),
        verifier=ServiceVerifier(CELL, SERVICE, service_keys()),
        keeper=made.keeper,
        clock=made.clock,
        signup=["/orders/live"],
    )
    async with serving(guard, http=H11Protocol, ws="wsproto") as made.port, asyncio.TaskGroup() as group:
        following = group.create_task(made.keeper.follow())
        await made.keeper.heard()
        yield made
        following.cancel()
    await made.keeper.aclose()


async def test_it_is_opened_under_a_decision_to_write_and_knows_for_whom(setup: Setup) -> None:
    async with setup.talking() as talk:
        await talk.send(BytesMessage(data=b"hello"))
        assert await talk.message() == b"hello"


async def test_without_one_it_is_refused_by_an_answer(setup: Setup) -> None:
    assert (await setup.refused()).startswith(b"http/1.1 401 ")
    assert (await setup.refused(setup.field(verb=Verb.READ))).startswith(b"http/1.1 403 ")
    stale = await setup.refused(setup.field(epoch=4))
    assert stale.startswith(b"http/1.1 409 ")
    assert b"domicile-refusal: stale_epoch\r\n" in stale
    assert b"domicile-epoch: 5\r\n" in stale
    assert setup.live.open == setup.live.left == 0


async def test_a_decision_to_sign_up_opens_none(setup: Setup) -> None:
    made = decision(None, None, Verb.SIGNUP, now=setup.clock.unix_s())
    refused = await setup.refused(b"Domicile-Decision: " + minter().mint(made).encode())
    assert refused.startswith(b"http/1.1 403 ")


@pytest.mark.parametrize("change", [(6, State.ACTIVE), (6, State.FROZEN), (6, State.MOVED)])
async def test_a_home_that_changes_closes_it(setup: Setup, change: tuple[int, State]) -> None:
    async with setup.talking() as talk:
        setup.cell.put(a_subject(2), 9)
        setup.cell.put(ANNA, *change)
        assert await talk.message() == CloseConnection(code=1008, reason="epoch changed")
    await eventually(lambda: (setup.live.open, setup.live.left) == (0, 1))


async def test_other_peoples_changes_close_nothing(setup: Setup) -> None:
    async with setup.talking() as talk:
        setup.cell.put(a_subject(2), 9)
        await setup.keeper.heard()
        setup.cell.restart()
        await setup.keeper.heard()
        await talk.send(BytesMessage(data=b"still"))
        assert await talk.message() == b"still"


async def test_a_cell_that_is_not_heard_within_the_lease_closes_it(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LOOK_S", 0.01)
    async with setup.talking() as talk:
        setup.cell.silent = True
        setup.clock.advance(60.0)
        assert await talk.message() == CloseConnection(code=1013, reason="the cell service has not been heard")


async def test_a_stale_gateway_asks_anew_and_opens_it(folder: Path) -> None:
    """Gateway and guard together: the handshake is repeated under the epoch that holds."""
    clock, live = SystemClock(), Live()
    cell, home = FakeCell(now=clock.unix_s), placement(epoch=7)
    cell.put(home.subject_id, 8)
    keeper = EpochKeeper(cell, clock)
    guard = Guard(live.app(), verifier=service_verifier("eu-de", "orders"), keeper=keeper, clock=clock)
    async with (
        serving(guard, http=H11Protocol, ws="wsproto") as port,
        edge(folder, port) as stand,
        asyncio.TaskGroup() as group,
    ):
        following = group.create_task(keeper.follow())
        await keeper.heard()
        stand.settle("ann", home)
        key = stand.blinder.login(stand.people.issuer, "ann")[0]
        changed = {name: getattr(home, name) for name in home.__struct_fields__} | {"epoch": 8}
        stand.homes.truth[key] = type(home)(**changed)
        token = b"Authorization: " + stand.bearer("ann")["authorization"].encode()
        async with opened(stand.port, PATH, token) as talk:
            assert b"domicile-epoch: 8\r\n" in talk.head
            with anyio.fail_after(10):
                assert await talk.message() == f"{home.subject_id} 8".encode()
                cell.put(home.subject_id, 9)
                assert await talk.message() == CloseConnection(code=1008, reason="epoch changed")
        following.cancel()
    await keeper.aclose()

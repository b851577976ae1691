"""The guard before an application, over HTTP and against a cell that falls silent, restarts, moves on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cells.guard.client import ChangesPage
from cells.guard.middleware import Guard, decided
from cells.guard.worker import EpochKeeper
from directory.placement.core import State
from foundation.clock import ManualClock
from foundation.decision import RootKey
from foundation.decision_header import ServiceVerifier
from foundation.http import application, json_response
from foundation.mute import Secret
from foundation.words import CellId, ServiceId, Verb
from tests.stands.fake_cell import CELL, SERVICE, FakeCell, a_subject, decision, http_to, minter, service_keys
from tests.stands.servers import serving
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

ANNA = a_subject(1)


class Setup:
    """A guarded application that counts what reaches it, its cell, and a clock that moves when told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cell = FakeCell(now=self.clock.unix_s)
        self.cell.put(ANNA, 5)
        self.keeper = EpochKeeper(self.cell, self.clock)
        self.reached: list[str] = []
        app = application(
            [
                Route("/orders", self.handle, methods=["GET", "POST"]),
                Route("/orders/sign-up", self.handle, methods=["POST"]),
                Route("/orders/health", self.health),
            ],
            ready=self.keeper.ready,
        )
        self.guard = Guard(
            app,
            verifier=ServiceVerifier(CELL, SERVICE, service_keys()),
            keeper=self.keeper,
            clock=self.clock,
            anonymous=["/orders/health", "/readyz"],
            signup=["/orders/sign-up"],
        )

    async def handle(self, request: Request) -> Response:
        self.reached.append(request.method)
        own = decided(request).decision
        return json_response({"subject": own.subject, "epoch": own.epoch, "bytes": len(await request.body())})

    async def health(self, request: Request) -> Response:
        self.reached.append("health")
        return json_response({"status": "ok"})

    def header(self, epoch: int | None = 5, verb: Verb = Verb.READ, **options: Any) -> dict[str, str]:
        subject = options.pop("subject", None if verb is Verb.SIGNUP else ANNA)
        made = decision(subject, epoch, verb, now=self.clock.unix_s(), **options)
        return {"domicile-decision": minter().mint(made)}

    async def heard(self) -> None:
        """One poll, answered at once."""
        self.keeper._wait_ms = 0
        await self.keeper._poll()

    def client(self) -> httpx.AsyncClient:  # noqa: TID251
        return http_to(self.guard)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    await made.heard()
    yield made
    await made.keeper.aclose()


def code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["domicile-refusal"] == response.json()["code"]
    return str(response.json()["code"])


async def test_a_decided_request_reaches_the_application_with_its_decision(setup: Setup) -> None:
    async with setup.client() as http:
        answer = await http.get("/orders", headers=setup.header())
    assert answer.status_code == 200
    assert answer.json() == {"subject": ANNA, "epoch": 5, "bytes": 0}


async def test_a_request_without_decision_is_refused(setup: Setup) -> None:
    async with setup.client() as http:
        answer = await http.get("/orders")
    assert (answer.status_code, code(answer)) == (401, "unauthenticated")
    assert setup.reached == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {"domicile-decision": "v1.k1.e30.x.y"},
        lambda s: {"domicile-decision": s.header()["domicile-decision"].replace(".k1.", ".k1.A", 1)},
        lambda s: s.header(service=ServiceId("wares")),
        lambda s: s.header(life=-1.0),
        lambda s: s.header(life=3600.0),
        lambda s: {
            "domicile-decision": minter(RootKey("k1", Secret(b"z" * 32))).mint(decision(ANNA, 5, now=s.clock.unix_s()))
        },
        lambda s: {
            "domicile-decision": minter(RootKey("k9", Secret(b"r" * 32))).mint(decision(ANNA, 5, now=s.clock.unix_s()))
        },
    ],
    ids=["forged", "mangled", "other service", "expired", "too long", "other key", "unknown kid"],
)
async def test_a_decision_that_does_not_hold_is_refused(setup: Setup, spoil: Callable[[Setup], dict[str, str]]) -> None:
    async with setup.client() as http:
        answer = await http.get("/orders", headers=spoil(setup))
    assert (answer.status_code, code(answer)) == (403, "forbidden")
    assert setup.reached == []


async def test_two_decisions_are_none(setup: Setup) -> None:
    headers = [*setup.header().items(), *setup.header().items()]
    async with setup.client() as http:
        assert (await http.get("/orders", headers=headers)).status_code == 403


async def test_an_older_epoch_is_refused_with_the_current_one(setup: Setup) -> None:
    async with setup.client() as http:
        answer = await http.post("/orders", headers=setup.header(4, Verb.WRITE), content=b"x")
    assert (answer.status_code, code(answer), answer.headers["domicile-epoch"]) == (409, "stale_epoch", "5")
    assert setup.reached == []


async def test_a_change_heard_refuses_the_old_epoch_at_once(setup: Setup) -> None:
    async with setup.client() as http:
        assert (await http.get("/orders", headers=setup.header())).status_code == 200
        setup.cell.put(ANNA, 6)
        await setup.heard()
        assert code(await http.get("/orders", headers=setup.header())) == "stale_epoch"
        assert (await http.get("/orders", headers=setup.header(6))).status_code == 200
    assert setup.cell.asked == 1


async def test_a_newer_epoch_than_held_is_fetched_once_and_passes(setup: Setup) -> None:
    async with setup.client() as http:
        assert (await http.get("/orders", headers=setup.header())).status_code == 200
        setup.cell.put(ANNA, 6)
        assert (await http.get("/orders", headers=setup.header(6))).status_code == 200
    assert setup.cell.asked == 2


async def test_an_epoch_that_the_cell_does_not_know_yet_is_refused_as_behind(setup: Setup) -> None:
    async with setup.client() as http:
        assert code(await http.get("/orders", headers=setup.header(9))) == "cell_behind"
        unknown = await http.get("/orders", headers=setup.header(subject=a_subject(2)))
    assert (unknown.status_code, code(unknown), unknown.headers["retry-after"]) == (503, "cell_behind", "1")


async def test_a_frozen_subject_reads_and_does_not_write(setup: Setup) -> None:
    setup.cell.put(ANNA, 6, State.FROZEN)
    async with setup.client() as http:
        assert (await http.get("/orders", headers=setup.header(6))).status_code == 200
        assert code(await http.post("/orders", headers=setup.header(6, Verb.WRITE))) == "subject_frozen"


async def test_a_read_decision_on_an_unsafe_method_is_refused(setup: Setup) -> None:
    async with setup.client() as http:
        assert code(await http.post("/orders", headers=setup.header())) == "forbidden"


async def test_a_sign_up_decision_opens_its_route_only(setup: Setup) -> None:
    headers = setup.header(None, Verb.SIGNUP)
    async with setup.client() as http:
        assert (await http.post("/orders/sign-up", headers=headers)).status_code == 200
        assert code(await http.post("/orders", headers=headers)) == "forbidden"


async def test_silence_beyond_the_lease_refuses_and_hearing_again_serves(setup: Setup) -> None:
    async with setup.client() as http:
        assert (await http.get("/orders", headers=setup.header())).status_code == 200
        setup.clock.advance(5.0)
        assert code(await http.get("/orders", headers=setup.header())) == "not_ready"
        assert (await http.get("/readyz")).status_code == 503
        await setup.heard()
        assert (await http.get("/orders", headers=setup.header())).status_code == 200
        assert (await http.get("/readyz")).status_code == 200


async def test_a_decision_that_runs_out_while_the_cell_is_asked_does_not_pass(setup: Setup) -> None:
    setup.cell.gate = asyncio.Event()
    async with setup.client() as http, asyncio.TaskGroup() as group:
        asking = group.create_task(http.get("/orders", headers=setup.header(life=3.0)))
        await eventually(lambda: setup.cell.asked == 1)
        setup.clock.advance(4.0)
        setup.cell.gate.set()
        assert code(await asking) == "forbidden"


async def test_a_lease_that_runs_out_while_the_cell_is_asked_does_not_pass(setup: Setup) -> None:
    setup.cell.gate = asyncio.Event()
    async with setup.client() as http, asyncio.TaskGroup() as group:
        asking = group.create_task(http.get("/orders", headers=setup.header()))
        await eventually(lambda: setup.cell.asked == 1)
        setup.clock.advance(6.0)
        setup.cell.gate.set()
        assert code(await asking) == "not_ready"


async def test_a_hundred_first_requests_of_a_subject_ask_once(setup: Setup) -> None:
    setup.cell.gate = asyncio.Event()
    async with setup.client() as http, asyncio.TaskGroup() as group:
        tasks = [group.create_task(http.get("/orders", headers=setup.header())) for _ in range(100)]
        await eventually(lambda: setup.cell.asked == 1)
        setup.cell.gate.set()
        assert {(await task).status_code for task in tasks} == {200}
    assert setup.cell.asked == 1


async def test_a_restarted_cell_makes_the_guard_forget(setup: Setup) -> None:
    async with setup.client() as http:
        assert (await http.get("/orders", headers=setup.header())).status_code == 200
        setup.cell.restart()
        setup.cell.put(ANNA, 8)
        await setup.heard()
        assert code(await http.get("/orders", headers=setup.header())) == "stale_epoch"


class LateCell(FakeCell):
    """Answers about changes come `late_s` after they could. Time passes in questions only, and the lease must hold until each answer."""

    def __init__(self, clock: ManualClock, late_s: float) -> None:
        super().__init__(now=clock.unix_s)
        self.clock = clock
        self.late_s = late_s
        self.keeper = EpochKeeper(self, clock)
        self.lapsed = 0

    async def changes(self, after: int, wait_ms: int) -> ChangesPage:
        self.polled += 1
        self.clock.advance(wait_ms / 1000 + self.late_s)
        self.lapsed += self.keeper.ready() is not None
        return self.page(after)


@pytest.mark.parametrize("late_s", [0.0, 0.8, 1.6])
async def test_the_lease_holds_while_every_answer_is_late(late_s: float) -> None:
    cell = LateCell(ManualClock(), late_s)
    await cell.keeper._poll()
    assert cell.lapsed == 1  # before the first answer there is none
    for _ in range(10):
        await cell.keeper._poll()
    assert cell.lapsed == 1
    assert cell.clock.monotonic_s() > 10 * 5 / 3 - 0.1  # and it was asked no more often


async def test_a_silent_cell_refuses_who_is_met_for_the_first_time(setup: Setup) -> None:
    setup.cell.silent = True
    async with setup.client() as http:
        assert code(await http.get("/orders", headers=setup.header())) == "cell_behind"


async def test_anonymous_paths_are_open_and_speak_of_nobody(setup: Setup) -> None:
    async with setup.client() as http:
        assert (await http.get("/orders/health")).status_code == 200
        for near in ("/orders/health/", "/orders/health/x", "/orders//health", "/orders/healthz"):
            assert (await http.get(near)).status_code == 401
    assert setup.reached == ["health"]


async def test_a_websocket_without_decision_is_closed_where_no_answer_can_be_sent(setup: Setup) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await setup.guard({"type": "websocket", "path": "/orders", "headers": []}, _never, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def _never() -> Any:
    raise AssertionError("nothing is read")


async def test_a_refusal_is_sent_before_anything_of_the_body_is_read(setup: Setup) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"60000"), *[(k.encode(), v.encode()) for k, v in setup.header(4).items()]]
    scope = {"type": "http", "method": "GET", "path": "/orders", "headers": headers}
    await setup.guard(scope, _never, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 409


async def test_follow_hears_changes_and_outlives_silence() -> None:
    setup = Setup()
    following = asyncio.get_running_loop().create_task(setup.keeper.follow())
    try:
        await eventually(lambda: setup.keeper.ready() is None)
        await setup.keeper.ask(ANNA)
        setup.cell.put(ANNA, 6)
        await eventually(lambda: setup.keeper.known(ANNA).epoch == 6)  # type: ignore[union-attr]
        setup.cell.silent = True
        setup.cell.restart()
        setup.clock.advance(6.0)
        assert setup.keeper.ready() is not None
        setup.cell.silent = False
        setup.cell.put(ANNA, 7)
        await eventually(lambda: setup.keeper.ready() is None)
        assert setup.keeper.known(ANNA) is None
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await setup.keeper.aclose()


async def test_a_cell_that_never_waits_is_not_hammered() -> None:
    setup = Setup()
    setup.cell.changes = _at_once(setup.cell)  # type: ignore[method-assign]
    following = asyncio.get_running_loop().create_task(setup.keeper.follow())
    try:
        await eventually(lambda: setup.cell.polled > 3)
        before = setup.cell.polled
        for _ in range(200):
            await asyncio.sleep(0)
        assert setup.cell.polled - before < 50
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def _at_once(cell: FakeCell) -> Any:
    async def changes(after: int, wait_ms: int) -> Any:
        cell.polled += 1
        return cell.page(after)

    return changes


# --- over a real server ------------------------------------------------------------------------------------------------------


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines[1:] if line)
    return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}


@contextlib.asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_large_upload_is_refused_at_its_head_and_the_refusal_arrives(setup: Setup) -> None:
    stale = setup.header(4, Verb.WRITE)["domicile-decision"]
    async with serving(setup.guard) as port, _connection(port) as (reader, writer):
        writer.write(
            f"POST /orders HTTP/1.1\r\nHost: x\r\nDomicile-Decision: {stale}\r\nContent-Length: 900000\r\n\r\n".encode()
        )
        status, headers = await _head(reader)
        assert (status, headers["domicile-refusal"], headers["connection"]) == (409, "stale_epoch", "close")
        body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 5)
        assert b"stale_epoch" in body
        writer.write(b"x" * 900_000)
        await asyncio.wait_for(writer.drain(), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert setup.reached == []


async def test_a_small_refused_body_leaves_the_connection_usable(setup: Setup) -> None:
    stale, good = (setup.header(epoch, Verb.WRITE)["domicile-decision"] for epoch in (4, 5))
    async with serving(setup.guard) as port, _connection(port) as (reader, writer):
        for header, expected in ((stale, 409), (good, 200), (stale, 409)):
            writer.write(
                f"POST /orders HTTP/1.1\r\nHost: x\r\nDomicile-Decision: {header}\r\nContent-Length: 5\r\n\r\nhello".encode()
            )
            status, headers = await _head(reader)
            await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 5)
            assert status == expected
            assert "connection" not in headers


async def test_an_upload_that_never_ends_is_cut_off(setup: Setup) -> None:
    stale = setup.header(4, Verb.WRITE)["domicile-decision"]
    async with serving(setup.guard) as port, _connection(port) as (reader, writer):
        writer.write(
            f"POST /orders HTTP/1.1\r\nHost: x\r\nDomicile-Decision: {stale}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        status, _ = await _head(reader)
        assert status == 409
        with pytest.raises((ConnectionError, TimeoutError)):  # noqa: PT012
            async with asyncio.timeout(20):
                while True:
                    writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                    await writer.drain()


async def test_the_guard_is_silent_about_lifespan() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    setup = Setup()
    guard = Guard(app, verifier=ServiceVerifier(CellId("x"), SERVICE, {}), keeper=setup.keeper, clock=setup.clock)
    await guard({"type": "lifespan"}, _never, _never)
    assert seen == ["lifespan"]

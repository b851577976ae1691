"""Verdicts on the wire: two regions, outages, second tries, records of refusals; streaming in bounded memory."""

import asyncio
import hashlib
import multiprocessing
import os
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from directory.feed.client import FeedFollower
from directory.placement.core import State
from directory.rules.client import HeldRules, RulesFollower
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import ManualClock
from foundation.http import HttpClient
from foundation.ledger.port import Event, Kind
from foundation.mute import Secret
from foundation.words import RegionId
from gateway.edge.desk import Desk
from gateway.edge.events import Recorder
from gateway.edge.keeper import Keeper
from gateway.edge.ports import Homeless
from gateway.edge.tries import BEHIND_WAITS_S
from gateway.identity.tokens import Identities
from gateway.settings import Upstream
from tests.stands.edge import (
    CLOCK,
    REGION_ROOT,
    MemoryHomes,
    People,
    edge,
    placement,
    policy_text,
    service_verifier,
)
from tests.stands.memory_directory import MemoryDirectory
from tests.stands.mirrors import answer
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


class Guarded:
    """A service whose guard holds `epoch`; `behind` refusals of cell_behind come first. Keeps the bodies it was given."""

    def __init__(self, epoch: int, *, behind: int = 0) -> None:
        self.epoch = epoch
        self.behind = behind
        self.bodies: list[bytes] = []
        self.verifier = service_verifier("eu-de", "orders")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = dict(scope["headers"])[b"domicile-decision"].decode()
        decision = self.verifier.verify(header, CLOCK.unix_s())
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        if self.behind:
            self.behind -= 1
            await answer(send, 503, b"{}", [(b"domicile-refusal", b"cell_behind")])
        elif decision.epoch != self.epoch:
            current = str(self.epoch).encode()
            await answer(send, 409, b"{}", [(b"domicile-refusal", b"stale_epoch"), (b"domicile-epoch", current)])
        else:
            await answer(send, 200, b"served")


async def test_a_stale_epoch_is_refreshed_and_tried_once_more(folder: Path) -> None:
    service = Guarded(epoch=8)
    async with serving(service) as port, edge(folder, port) as stand:
        old = placement(epoch=7)
        stand.settle("ann", old)
        key = stand.blinder.login(stand.people.issuer, "ann")[0]
        stand.homes.truth[key] = placement(epoch=8)
        async with HttpClient(base_url=stand.url) as http:
            response = await http.post("/orders/1", headers=stand.bearer("ann"), content=b"keep me")
            assert (response.status_code, response.text, response.headers["domicile-epoch"]) == (200, "served", "8")
        assert service.bodies == [b"keep me", b"keep me"]
        assert stand.homes.refreshed == 1


async def test_a_chunked_body_is_kept_for_the_second_try_too(folder: Path) -> None:
    async def pieces() -> Any:
        yield b"in "
        yield b"pieces"

    service = Guarded(epoch=7, behind=1)
    async with serving(service) as port, edge(folder, port) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url) as http:
            response = await http.post("/orders/1", headers=stand.bearer("ann"), content=pieces())
            assert (response.status_code, response.text) == (200, "served")
        assert service.bodies == [b"in pieces", b"in pieces"]


async def test_a_cell_that_was_behind_when_the_epoch_changed_is_waited_for(folder: Path) -> None:
    service = Guarded(epoch=7, behind=len(BEHIND_WAITS_S))
    async with serving(service) as port, edge(folder, port) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url) as http:
            response = await http.post("/orders/1", headers=stand.bearer("ann"), content=b"once")
            assert (response.status_code, response.text) == (200, "served")


async def test_a_home_that_was_reserved_when_last_heard_of_is_served_once_it_is_confirmed(folder: Path) -> None:
    async with serving(Guarded(epoch=7)) as port, edge(folder, port) as stand:
        reserved = placement(epoch=7, state=State.RESERVED)
        stand.settle("ann", reserved)
        key = stand.blinder.login(stand.people.issuer, "ann")[0]
        async with HttpClient(base_url=stand.url) as http:
            early = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (early.status_code, early.json()["code"]) == (503, "cell_behind")
            stand.homes.truth[key] = msgspec.structs.replace(reserved, state=State.ACTIVE)
            stand.homes.dark = True
            dark = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (dark.status_code, dark.json()["code"]) == (503, "cell_behind")
            stand.homes.dark = False
            confirmed = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (confirmed.status_code, confirmed.text) == (200, "served")
        assert stand.homes.refreshed == 3


async def test_nobody_is_told_to_sign_up_by_an_absence_that_has_ended(folder: Path) -> None:
    async with serving(Guarded(epoch=7)) as port, edge(folder, port) as stand:
        key = stand.blinder.login(stand.people.issuer, "ann")[0]
        stand.homes.cached[key] = Homeless.NONE
        async with HttpClient(base_url=stand.url) as http:
            stranger = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (stranger.status_code, stranger.json()["code"]) == (404, "no_home")
            assert stand.homes.refreshed == 1
            stand.homes.truth[key] = placement(epoch=7)
            placed = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (placed.status_code, placed.text) == (200, "served")
            stand.homes.cached[key], stand.homes.dark = Homeless.NONE, True
            dark = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (dark.status_code, dark.json()["code"]) == (503, "home_unknown")


async def test_a_cell_that_stays_behind_is_a_503_after_a_bounded_number_of_tries(folder: Path) -> None:
    service = Guarded(epoch=7, behind=100)
    async with serving(service) as port, edge(folder, port) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url) as http:
            response = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (response.status_code, response.json()["code"]) == (503, "cell_behind")
            assert response.headers["retry-after"] == "1"
            assert "domicile-refusal" not in response.headers
        assert len(service.bodies) == 1 + len(BEHIND_WAITS_S)


async def test_a_body_too_large_to_keep_is_not_tried_again(folder: Path) -> None:
    service = Guarded(epoch=8)
    async with serving(service) as port, edge(folder, port) as stand:
        stand.settle("ann", placement(epoch=7))
        async with HttpClient(base_url=stand.url) as http:
            response = await http.post("/orders/1", headers=stand.bearer("ann"), content=b"x" * 70_000)
            assert (response.status_code, response.json()["code"]) == (503, "cell_behind")
        assert len(service.bodies) == 1


async def test_a_person_who_moved_away_meanwhile_is_sent_there(folder: Path) -> None:
    service = Guarded(epoch=8)
    async with serving(service) as port, edge(folder, port) as stand:
        stand.settle("ann", placement(epoch=7))
        key = stand.blinder.login(stand.people.issuer, "ann")[0]
        stand.homes.truth[key] = placement("us-va", epoch=8)
        async with HttpClient(base_url=stand.url) as http:
            response = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (response.status_code, response.json()["home"]) == (421, "https://us.example.com")


async def test_a_success_that_claims_to_be_a_refusal_is_not_tried_again(folder: Path) -> None:
    calls = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await answer(send, 200, b"done", [(b"domicile-refusal", b"stale_epoch")])

    async with serving(app) as port, edge(folder, port) as stand:
        stand.settle("ann", placement())
        async with HttpClient(base_url=stand.url) as http:
            assert (await http.post("/orders/1", headers=stand.bearer("ann"))).text == "done"
    assert calls == 1


async def test_each_region_serves_its_own_and_names_the_other(folder: Path) -> None:
    service = Guarded(epoch=7)
    home = placement(epoch=7)
    async with serving(service) as port, edge(folder, port) as eu, edge(folder, 9, region="us") as us:
        eu.settle("ann", home)
        us.homes.truth[us.blinder.login(us.people.issuer, "ann")[0]] = home
        async with HttpClient() as http:
            assert (await http.get(f"{eu.url}/orders/1", headers=eu.bearer("ann"))).status_code == 200
            away = await http.get(f"{us.url}/orders/1", headers=us.bearer("ann"))
            assert (away.status_code, away.json()["code"]) == (421, "home_elsewhere")
            assert away.json()["home"] == "https://eu.example.com"
            assert away.headers["domicile-verdict"] == "redirect"


async def test_the_known_are_served_while_the_directory_is_dark_and_the_unknown_refused(folder: Path) -> None:
    async with serving(Guarded(epoch=7)) as port, edge(folder, port) as stand:
        stand.settle("ann", placement(epoch=7))
        stand.homes.dark = True
        async with HttpClient(base_url=stand.url) as http:
            assert (await http.get("/orders/1", headers=stand.bearer("ann"))).status_code == 200
            stranger = await http.get("/orders/1", headers=stand.bearer("bob"))
            assert (stranger.status_code, stranger.json()["code"]) == (503, "home_unknown")
            assert stranger.headers["retry-after"] == "1"
            stand.homes.dark = False
            known = await http.get("/orders/1", headers=stand.bearer("bob"))
            assert (known.status_code, known.json()["code"]) == (404, "no_home")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [({"domicile-for": "somebody"}, 403, "forbidden"), ({"domicile_for": "somebody"}, 403, "forbidden")],
)
async def test_nobody_acts_for_a_subject_here(folder: Path, headers: dict[str, str], status: int, code: str) -> None:
    async with edge(folder, 9) as stand:
        stand.settle("ann", placement())
        async with HttpClient(base_url=stand.url) as http:
            response = await http.get("/orders/1", headers=stand.bearer("ann") | headers)
            assert (response.status_code, response.json()["code"]) == (status, code)


async def test_residency_refusals_reach_the_cell_service_in_order_and_once(folder: Path) -> None:
    taken: list[dict[str, Any]] = []
    troubles = 2

    async def cell(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal troubles
        import msgspec

        body = (await receive())["body"]
        assert scope["path"] == "/cell/events"
        if troubles:
            troubles -= 1
            await answer(send, 503)
            return
        taken.extend(msgspec.json.decode(body)["events"])
        await answer(send, 204)

    async with serving(cell) as records_port, edge(folder, 9, records_port=records_port) as stand:
        home = placement("us-va")
        stand.settle("ann", home)
        async with HttpClient(base_url=stand.url) as http, HttpClient() as to_cells, asyncio.TaskGroup() as group:
            worker = group.create_task(stand.recorder.deliver(to_cells))
            for _ in range(3):
                assert (await http.get("/orders/1", headers=stand.bearer("ann"))).status_code == 421
            await eventually(lambda: len(taken) == 3)
            worker.cancel()
    assert {event["kind"] for event in taken} == {Kind.REFUSAL.value}
    assert {event["subject_id"] for event in taken} == {home.subject_id}
    assert {event["details"]["observed_country"] for event in taken} == {"FR"}
    assert len({event["id"] for event in taken}) == 3


async def test_a_refusal_that_cannot_be_recorded_turns_into_not_ready(folder: Path) -> None:
    async with edge(folder, 9, pending_max=1) as stand:
        stand.settle("ann", placement("us-va"))
        async with HttpClient(base_url=stand.url) as http:
            assert (await http.get("/readyz")).status_code == 200
            first = await http.get("/orders/1", headers=stand.bearer("ann"))
            second = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (first.status_code, second.status_code, second.json()["code"]) == (421, 503, "not_ready")
            assert (await http.get("/readyz")).status_code == 503


async def test_a_gateway_without_rules_serves_nobody(folder: Path) -> None:
    async with edge(folder, 9) as stand:
        stand.settle("ann", placement())
        stand.desk.book = None
        async with HttpClient(base_url=stand.url) as http:
            response = await http.get("/orders/1", headers=stand.bearer("ann"))
            assert (response.status_code, response.json()["code"]) == (503, "not_ready")


async def test_metrics_and_preview_are_the_gateways_own(folder: Path) -> None:
    async with edge(folder, 9) as stand, HttpClient(base_url=stand.url) as http:
        await http.get("/orders/1")
        exposition = (await http.get("/metrics")).text
        assert 'domicile_gateway_verdicts_total{code="unauthenticated"}' in exposition
        preview = (
            await http.get("/.well-known/domicile/preview", params={"residence": "US", "service": "orders"})
        ).json()
        assert (preview["jurisdiction"], preview["region"], preview["home"]) == ("us", "us", "https://us.example.com")
        assert (await http.get("/.well-known/domicile/preview")).json()["code"] == "residence_required"
        assert preview["questions"] == ["residence_observed_elsewhere"], "the stand's addresses point at France"
        french = {"residence": "FR", "service": "orders"}
        assert (await http.get("/.well-known/domicile/preview", params=french)).json()["questions"] == []
        told = {"residence": "DE", "subdivision": "US-TX", "service": "orders"}
        assert (await http.get("/.well-known/domicile/preview", params=told)).json()["code"] == "bad_request"
        twice = await http.get("/.well-known/domicile/preview?residence=DE&residence=US&service=orders")
        assert twice.json()["code"] == "bad_request"


# --- rules -------------------------------------------------------------------------------------------------------------------

ADDRESSES = {"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:2"}


async def test_the_desk_gets_a_book_of_each_rules_that_come_to_hold(folder: Path) -> None:
    directory, clock = MemoryDirectory(), ManualClock()
    blinder = Blinder((BlindingKey("b1", Secret(b"b" * 32)),))
    desk = Desk(RegionId("eu"), Identities(People(folder).verifier(), blinder, clock), MemoryHomes())
    feed = FeedFollower(directory, clock)
    rules = RulesFollower(directory, feed, HeldRules(), clock)
    keeper = Keeper(rules, desk, region=RegionId("eu"), root=("r1", Secret(REGION_ROOT)), clock=clock)
    assert keeper.problem() is not None
    changes: list[object] = []
    desk.on_change.append(lambda: changes.append(desk.book))
    text = policy_text(ADDRESSES, ADDRESSES)
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(feed.run()), group.create_task(rules.run())]
        directory.publish(text)
        await eventually(lambda: desk.book is not None)
        assert keeper.problem() is None
        wanted = directory.publish(text + "# newer\n")
        del directory.documents[wanted.digest]
        await eventually(lambda: feed.position == wanted.seq)
        clock.advance(keeper.stale_s_max + 1)
        assert keeper.problem() is not None, "newer rules are wanted for too long"
        directory.documents[wanted.digest] = wanted
        await eventually(lambda: desk.book is not None and desk.book.seq == wanted.seq)
        assert keeper.problem() is None
        assert changes[-1] is desk.book, "whoever remembers anything is told"
        for worker in workers:
            worker.cancel()


def test_the_recorders_buffer_is_bounded() -> None:
    recorder = Recorder(list, pending_max=2)
    event = Event(id="1", at=0.0, kind=Kind.REFUSAL, actor="gateway:eu")
    assert [recorder.add(event) for _ in range(3)] == [True, True, False]
    assert recorder.problem() is not None


# --- bounded memory ----------------------------------------------------------------------------------------------------------

MIB = 1 << 20
DEEP = "LARGE_BODY_MIB" in os.environ
"""10240 is what the edge promises: some minutes."""
SIZE = int(os.environ.get("LARGE_BODY_MIB", "96")) * MIB
PAUSE_EACH, PAUSE_S = 8 * MIB, 0.01


def _edge_process(folder: str, upstream: int, pipe: Any) -> None:
    import uvloop

    async def main() -> None:
        async with edge(Path(folder), upstream, limits=Upstream()) as stand:
            stand.settle("ann", placement())
            pipe.send((stand.port, stand.bearer("ann")["authorization"]))
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    uvloop.run(main())


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.timeout(7_200 if DEEP else 120)
@pytest.mark.parametrize("slow", ["service", "client", *(["nobody"] if DEEP else [])])
async def test_large_bodies_pass_both_ways_in_bounded_memory_whoever_is_slow(folder: Path, slow: str) -> None:
    received = 0
    piece = bytes(64 * 1024)

    async def paces(side: str, passed: int, more: int) -> None:
        """A side that is slow stops once in a while: the other has gigabytes ready meanwhile."""
        if slow == side and passed % PAUSE_EACH < more:
            await asyncio.sleep(PAUSE_S)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal received
        if scope["method"] == "POST":
            more = True
            while more:
                message = await receive()
                received += len(message.get("body", b""))
                more = message.get("more_body", False)
                await paces("service", received, len(message.get("body", b"")))
        if scope["method"] == "POST" or scope["path"] == "/orders/health":
            await answer(send, 200, b"ok")
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(SIZE).encode())]})
        for number in range(SIZE // len(piece)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await paces("service", number * len(piece), len(piece))
        await send({"type": "http.response.body", "body": b""})

    async def upload() -> Any:
        for number in range(SIZE // len(piece)):
            yield piece
            await paces("client", number * len(piece), len(piece))

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    async with serving(app) as port:
        process = context.Process(target=_edge_process, args=(str(folder), port, theirs), daemon=True)
        process.start()
        theirs.close()  # a child that dies early is an end of file here, not a wait for ever
        try:
            gateway_port, token = await anyio.to_thread.run_sync(ours.recv)
            headers = {"authorization": token}
            async with HttpClient(base_url=f"http://127.0.0.1:{gateway_port}", timeout=60) as http:
                await http.get("/orders/health")
                assert process.pid is not None
                before = peak = rss_mib(process.pid)
                digest, seen = hashlib.sha256(), 0
                async with http.stream("GET", "/orders/big", headers=headers) as response:
                    async for chunk in response.aiter_raw():
                        seen += len(chunk)
                        await paces("client", seen, len(chunk))
                        peak = max(peak, rss_mib(process.pid)) if seen % (8 * MIB) < len(chunk) else peak
                        digest.update(chunk[:16])
                assert seen == SIZE
                async with asyncio.TaskGroup() as group:
                    sent = group.create_task(http.post("/orders/big", headers=headers, content=upload()))
                    while not sent.done():
                        peak = max(peak, rss_mib(process.pid))
                        await asyncio.sleep(0.05)
                assert sent.result().text == "ok"
                assert received == SIZE
                assert max(peak, rss_mib(process.pid)) - before < 64
        finally:
            ours.send("end")
            await anyio.to_thread.run_sync(process.join, 10)
            if process.is_alive():
                process.kill()


async def test_a_slow_reader_holds_the_service_back_not_the_gateways_memory(folder: Path) -> None:
    sent = 0
    piece = bytes(64 * 1024)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(SIZE).encode())]})
        for _ in range(SIZE // len(piece)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += len(piece)

    async with serving(app) as port, edge(folder, port) as stand:
        stand.settle("ann", placement())
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port, limit=1024)
        token = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/big HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != sent:
            before = sent
            await anyio.sleep(0.3)  # not a wait for an event: it shows that nothing goes on
        assert sent < 64 * MIB
        writer.transport.abort()

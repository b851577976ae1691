"""A person away from home on real servers: carried home in one hop, booked before anything is forwarded, and never anywhere else."""

import asyncio
import contextlib
import datetime
import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from foundation.clock import SKEW_S_MAX, ManualClock
from foundation.hop_header import LIFETIME_S_MAX
from foundation.http import HttpClient
from foundation.ledger.port import Kind
from foundation.mute import Secret
from foundation.words import Epoch, RegionId
from gateway.settings import Upstream
from load_tests.conductor.stated import grounds
from load_tests.oracle.crossings import key
from tests.stands.edge import CLOCK, placement, service_verifier, tcp
from tests.stands.travel import EU, GROUNDS, US, Sent, World, world
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the product runs on: transports differ."""
    return "asyncio", {"use_uvloop": True}


class Mirror:
    """Orders of one cell: answers with what it saw; holds each answer back while `gate` is shut."""

    def __init__(self, cell: str) -> None:
        self.cell = cell
        self.calls = 0
        self.gate: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if self.gate is not None:
            await self.gate.wait()
        seen = {"cell": self.cell, "headers": headers, "body": body.decode(), "path": scope["path"]}
        document = json.dumps(seen).encode()
        head = [(b"content-length", b"%d" % len(document)), (b"domicile-verdict", b"mine")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": document})


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# --- carried home ------------------------------------------------------------------------------------------------------------


async def test_a_berliner_in_virginia_is_served_at_home_and_the_crossing_is_booked(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin, us_orders=Mirror("us-va")) as stand, HttpClient() as http:
        subject = stand.settle("ann", placement(epoch=7))
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        response = await http.post(
            f"{stand.us.url}/orders/1?x=%20",
            headers=stand.bearer("ann")
            | {
                "host": "us.shop.example",
                "x-note": "1",
                "traceparent": trace,
                "domicile-cell": "us-va",
                "te": "trailers",
            },
            content=b"a note",
        )
        assert response.status_code == 200, response.text
        told = {name: response.headers[name] for name in ("domicile-cell", "domicile-epoch", "domicile-verdict")}
        assert told == {"domicile-cell": "eu-de", "domicile-epoch": "7", "domicile-verdict": "hairpin"}
        seen = response.json()
        assert (seen["cell"], seen["body"], seen["path"]) == ("eu-de", "a note", "/orders/1")
        headers = seen["headers"]
        assert not {"authorization", "domicile-hop", "domicile-cell", "te"} & set(headers)
        assert (headers["x-note"], headers["x-forwarded-for"], headers["x-forwarded-host"]) == (
            "1",
            "127.0.0.1",
            "us.shop.example",
        )
        assert headers["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        assert headers["via"] == "1.1 domicile, 1.1 domicile"
        decision = service_verifier("eu-de", "orders").verify(headers["domicile-decision"], CLOCK.unix_s())
        assert (decision.subject, decision.actor, decision.verb, decision.epoch) == (subject, subject, "write", 7)
        (crossing,) = stand.eu.cell.crossings
        assert (crossing.subject_id, crossing.from_region, crossing.from_country, crossing.home_cell) == (
            subject,
            "us",
            "US",
            "eu-de",
        )
        assert (crossing.service, crossing.verb, crossing.purpose, crossing.kind) == (
            "orders",
            "write",
            "service",
            "hairpin",
        )
        assert "scc" in crossing.basis
        assert crossing.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert stand.us.cell.crossings == []
        assert stand.us.recorder.pending == stand.eu.recorder.pending == 0


async def test_a_crossing_is_booked_on_the_ground_that_a_load_test_expects(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        assert (await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))).status_code == 200
        (crossing,) = stand.eu.cell.crossings
        today = datetime.datetime.fromtimestamp(crossing.at, datetime.UTC).date()
        held = stand.eu.desk.book
        assert held is not None
        expected = grounds(held.rules, {"DE": frozenset({"eu-de"})}, today)
        assert expected == {key("DE", "eu-de", "us"): crossing.ground}


async def test_the_crossing_is_booked_before_the_service_hears_anything(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient() as http, asyncio.TaskGroup() as group:
        stand.settle("ann", placement())
        stand.eu.cell.gate = asyncio.Event()
        asked = group.create_task(http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann")))
        await eventually(lambda: stand.eu.cell.asked == 1)
        assert berlin.calls == 0
        stand.eu.cell.gate.set()
        assert (await asked).status_code == 200
        assert berlin.calls == 1


@pytest.mark.parametrize("status", [503, 404, 500])
async def test_nothing_is_forwarded_that_the_cell_did_not_book(folder: Path, status: int) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        stand.eu.cell.status = status
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == (503, "not_ready")
        assert response.headers["retry-after"] == "1"
        assert berlin.calls == 0


async def test_a_cell_service_that_stays_silent_is_waited_for_within_a_bound(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient(timeout=10) as http:
        stand.settle("ann", placement())
        stand.eu.cell.gate = asyncio.Event()
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == (503, "not_ready")
        stand.eu.cell.gate.set()
        assert berlin.calls == 0


async def test_a_cell_service_whose_answer_trickles_in_is_not_waited_for_beyond_the_bound(folder: Path) -> None:
    """Each piece comes soon; the whole would come after the ingress has given up on home."""
    berlin = Mirror("eu-de")

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n")
        for _ in range(40):
            writer.write(b"x-more: 1\r\n")
            await writer.drain()
            await anyio.sleep(0.1)  # the pace of the misbehaviour
        writer.write(b"\r\n")
        await writer.drain()

    async with (
        tcp(trickle) as port,
        world(folder, eu_orders=berlin) as stand,
        HttpClient(timeout=10) as http,
    ):
        stand.settle("ann", placement())
        bookings = stand.eu.travel.bookings
        assert bookings is not None
        trickling = (f"127.0.0.1:{port}",)
        bookings._services = lambda _: trickling
        assert code(await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))) == (503, "not_ready")
        assert berlin.calls == 0


async def test_the_home_region_verifies_the_token_itself(folder: Path) -> None:
    """A token that the ingress has long believed, and home has learnt to refuse, opens nothing at home."""
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        headers = stand.bearer("ann")
        assert (await http.get(f"{stand.us.url}/orders/1", headers=headers)).status_code == 200
        stand.eu.desk.identities._verifier._issuers = {}  # type: ignore[attr-defined]
        stand.eu.desk.identities._known.clear()
        assert code(await http.get(f"{stand.us.url}/orders/1", headers=headers)) == (401, "unauthenticated")
        assert berlin.calls == 1


async def test_an_american_in_frankfurt_is_carried_the_other_way(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de"), us_orders=Mirror("us-va")) as stand, HttpClient() as http:
        stand.settle("bob", placement("us-va"))
        response = await http.get(f"{stand.eu.url}/orders/1", headers=stand.bearer("bob"))
        assert (response.json()["cell"], response.headers["domicile-verdict"]) == ("us-va", "hairpin")
        assert [crossing.from_country for crossing in stand.us.cell.crossings] == ["DE"]


@pytest.mark.parametrize(
    ("travel", "expected"), [("home", (421, "home_elsewhere")), ("refuse", (451, "residency_refused"))]
)
async def test_policy_may_send_people_home_or_refuse_them(folder: Path, travel: str, expected: tuple[int, str]) -> None:
    berlin = Mirror("eu-de")
    grounds = GROUNDS.replace('default = "hairpin"', f'default = "hairpin"\n"eu->us" = "{travel}"')
    async with world(folder, eu_orders=berlin, grounds=grounds) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == expected
        assert "travellers.eu->us" in response.json()["ground"]
        assert stand.us.recorder.pending == 1
    assert berlin.calls == 0


async def test_without_a_ground_in_law_nobody_is_carried(folder: Path) -> None:
    grounds = '[travellers]\ndefault = "hairpin"\n'
    async with world(folder, eu_orders=Mirror("eu-de"), grounds=grounds) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        assert code(await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))) == (421, "home_elsewhere")


async def test_a_stale_epoch_is_cured_at_home_under_one_crossing(folder: Path) -> None:
    verifier = service_verifier("eu-de", "orders")

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        decision = verifier.verify(dict(scope["headers"])[b"domicile-decision"].decode(), CLOCK.unix_s())
        stale = decision.epoch != 8
        headers = [(b"content-length", b"0"), *([(b"domicile-refusal", b"stale_epoch")] if stale else [])]
        await send({"type": "http.response.start", "status": 409 if stale else 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with world(folder, eu_orders=guarded) as stand, HttpClient() as http:
        held = placement(epoch=7)
        stand.settle("ann", held)
        key = stand.blinder.login(stand.people.issuer, "ann")[0]
        stand.eu.homes.truth[key] = msgspec.structs.replace(held, epoch=Epoch(8))
        response = await http.put(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"), content=b"keep me")
        assert (response.status_code, response.headers["domicile-epoch"]) == (204, "8")
        assert len(stand.eu.cell.crossings) == 1


async def test_a_login_that_leads_to_another_subject_meanwhile_is_not_served_under_the_first_ones_crossing(
    folder: Path,
) -> None:
    served: list[str] = []

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        header = dict(scope["headers"])[b"domicile-decision"].decode()
        decision = service_verifier("eu-de", "orders").verify(header, CLOCK.unix_s())
        stale = decision.epoch != 8
        served.extend([] if stale else [str(decision.subject)])
        headers = [(b"content-length", b"0"), *([(b"domicile-refusal", b"stale_epoch")] if stale else [])]
        await send({"type": "http.response.start", "status": 409 if stale else 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with world(folder, eu_orders=guarded) as stand, HttpClient() as http:
        first = stand.settle("ann", placement(epoch=7))
        stand.eu.homes.truth[stand.blinder.login(stand.people.issuer, "ann")[0]] = placement(epoch=8)
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == (503, "not_ready")
        assert [crossing.subject_id for crossing in stand.eu.cell.crossings] == [first]
        assert served == []
        assert (await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))).status_code == 204
        assert [crossing.subject_id for crossing in stand.eu.cell.crossings] == [first, *served]


async def test_a_person_who_leaves_is_left_by_both_gateways(folder: Path) -> None:
    """While the answer is awaited, and inside a body of either framing; the crossing stands."""
    begun, gone, whole = 0, 0, 0

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal begun, gone, whole
        begun += 1
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                gone += 1
                return
            whole += not message.get("more_body", False)

    async with world(folder, eu_orders=endless) as stand:
        stand.settle("ann", placement())
        token = stand.bearer("ann")["authorization"]
        parts = {
            b"GET": b"\r\n",
            b"POST": b"Content-Length: 1000000\r\n\r\nx",
            b"PUT": b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        }
        for number, (method, rest) in enumerate(parts.items(), 1):
            _, writer = await asyncio.open_connection("127.0.0.1", stand.us.port)
            writer.write(method + f" /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n".encode() + rest)
            await eventually(lambda number=number: begun == number)
            writer.transport.abort()
            await eventually(lambda number=number: gone == number)
        assert whole == 1, "the GET's"
        assert len(stand.eu.cell.crossings) == 3
        await eventually(lambda: not any(pool.open for pools in stand.us.travel.pools for pool in pools.all()))


# --- hops that are none ------------------------------------------------------------------------------------------------------


def sent(stand: World, method: str = "GET", target: str = "/orders/1") -> tuple[Sent, dict[str, str]]:
    headers = stand.bearer("ann")
    return Sent(method, target, headers["authorization"].encode()), headers


async def recorded(stand: World) -> list[str]:
    events = list(stand.eu.recorder._pending)
    assert all(event.kind is Kind.REFUSAL and event.subject_id is None for event in events)
    return [str(event.details["ground"]) for event in events]


async def test_a_hop_passes_once(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient(base_url=stand.eu.url) as http:
        stand.settle("ann", placement())
        request, headers = sent(stand)
        hop = stand.hop(request)
        assert (await http.get("/orders/1", headers=headers | hop)).status_code == 200
        assert code(await http.get("/orders/1", headers=headers | hop)) == (403, "forbidden")
        assert await recorded(stand) == ["hop: replayed"]
        assert berlin.calls == len(stand.eu.cell.crossings) == 1


async def test_forged_hops_are_refused_and_recorded(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient(base_url=stand.eu.url) as http:
        stand.settle("ann", placement())
        request, headers = sent(stand)
        other = Sent("GET", "/orders/2", request.authorization)
        stranger = (("h1", Secret(b"x" * 32)),)
        good = stand.hop(request)["domicile-hop"]
        past, future = ManualClock(CLOCK.unix_s() - LIFETIME_S_MAX), ManualClock(CLOCK.unix_s() + SKEW_S_MAX + 2)
        tried = {
            "hop: shape": {"domicile-hop": "v1.forged"},
            "hop: mac": stand.hop(request, ring=stranger),
            "hop: kid": {"domicile-hop": good.replace("v1.h1.", "v1.h9.")},
            "hop: other": stand.hop(other),
            "hop: expired": stand.hop(request, clock=past),
        }
        for ground, hop in tried.items():
            assert code(await http.get("/orders/1", headers=headers | hop)) == (403, "forbidden"), ground
        ways: list[tuple[str, dict[str, str]]] = [
            ("hop: mac", stand.hop(request, by=EU, to=US)),  # the other direction
            ("hop: mac", stand.hop(request, by=RegionId("in"), to=EU)),  # a region of no key
            ("hop: expired", stand.hop(request, clock=future)),  # from too far ahead
            ("hop: shape", {"domicile_hop": good}),  # spelt so that only some would read it
        ]
        for _, hop in ways:
            assert code(await http.get("/orders/1", headers=headers | hop)) == (403, "forbidden")
        assert code(await http.delete("/orders/1", headers=headers | {"domicile-hop": good})) == (403, "forbidden")
        assert code(await http.get("/orders/1", headers=stand.bearer("eve") | {"domicile-hop": good})) == (
            403,
            "forbidden",
        )
        acting = {"domicile-hop": good, "domicile-for": placement().subject_id}
        assert code(await http.get("/orders/1", headers=headers | acting)) == (403, "forbidden")
        assert code(
            await http.get("/orders/health", headers=headers | stand.hop(Sent("GET", "/orders/health", b"")))
        ) == (403, "forbidden")
        twice = [*headers.items(), ("domicile-hop", good), ("domicile-hop", good)]
        assert code(await http.get("/orders/1", headers=twice)) == (403, "forbidden")
        grounds = await recorded(stand)
        assert grounds == [*tried, *(ground for ground, _ in ways), *["hop: other"] * 4, "hop: shape"]
        assert berlin.calls == 0
        assert stand.eu.cell.crossings == []


async def test_a_full_memory_of_nonces_refuses_for_a_moment_and_forgets_nothing(folder: Path) -> None:
    async with (
        world(folder, eu_orders=Mirror("eu-de"), nonces_max=1) as stand,
        HttpClient(base_url=stand.eu.url) as http,
    ):
        stand.settle("ann", placement())
        request, headers = sent(stand)
        first = stand.hop(request)
        assert (await http.get("/orders/1", headers=headers | first)).status_code == 200
        full = await http.get("/orders/1", headers=headers | stand.hop(request))
        assert (code(full), full.headers["retry-after"]) == ((503, "not_ready"), "1")
        assert code(await http.get("/orders/1", headers=headers | first)) == (403, "forbidden")
        carried = await http.get(f"{stand.us.url}/orders/1", headers=headers)
        assert (code(carried), carried.headers["retry-after"]) == ((503, "not_ready"), "1")


@pytest.mark.parametrize(
    "stated",
    [
        {"host": "us.example.com\r\nx-more: 1"},
        {"scheme": "https\r\nx-more: 1"},
        {"client": "192.0.2.7\r\nx-more: 1"},
        {"client": "fe80::1%\r\nx-more: 1"},
        {"client": "\u00fc"},
        {"host": "\u20ac.example"},
        {"trace": "\u20ac"},
        {"country": "XX1"},
    ],
)
async def test_a_peer_states_nothing_that_would_end_a_header_field_at_home(
    folder: Path, stated: dict[str, Any]
) -> None:
    """Signed by the peer's own key: its travellers are its word, the heads of requests in this region are not."""
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient(base_url=stand.eu.url) as http:
        stand.settle("ann", placement())
        request, headers = sent(stand)
        assert code(await http.get("/orders/1", headers=headers | stand.hop(request, **stated))) == (403, "forbidden")
        assert await recorded(stand) == ["hop: shape"]
        assert berlin.calls == 0
        assert stand.eu.cell.crossings == []


async def test_strangers_bad_hops_leave_room_for_the_records_of_known_people(folder: Path) -> None:
    async with (
        world(folder, eu_orders=Mirror("eu-de"), pending_max=4) as stand,
        HttpClient(base_url=stand.eu.url) as http,
    ):
        for _ in range(6):
            assert code(await http.get("/orders/1", headers={"domicile-hop": "x"})) == (403, "forbidden")
        assert stand.eu.recorder.pending == 2
        assert (await http.get("/readyz")).status_code == 200


async def test_a_home_that_does_not_take_the_hop_is_the_gateways_trouble_not_the_persons(folder: Path) -> None:
    """Clocks apart beyond the bound, or keys that do not match: 502, and the reason is in both gateways' logs."""
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        stand.us.travel.hops._clock = ManualClock(CLOCK.unix_s() - 60)
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == (502, "upstream_broken")
        assert "region eu" in response.json()["detail"]
        assert await recorded(stand) == ["hop: expired"]


# --- one hop, never two ------------------------------------------------------------------------------------------------------


async def test_two_regions_that_each_take_the_other_for_home_do_not_send_a_request_round(folder: Path) -> None:
    berlin, virginia = Mirror("eu-de"), Mirror("us-va")
    async with world(folder, eu_orders=berlin, us_orders=virginia) as stand, HttpClient() as http:
        home = placement(epoch=7)
        stand.settle("ann", home, known_to=(US,))
        moved = placement("us-va", epoch=8)
        stand.settle("ann", moved, known_to=(EU,))
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert (code(response), response.headers["retry-after"]) == ((503, "home_unknown"), "1")
        assert berlin.calls == virginia.calls == 0
        assert stand.eu.cell.crossings == stand.us.cell.crossings == []
        assert len(stand.us.travel.hops._nonces) == 0, "nothing came back to where it started"


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        (GROUNDS.replace('"hairpin"', '"home"'), (421, "home_elsewhere")),
        (GROUNDS.replace('"hairpin"', '"refuse"'), (451, "residency_refused")),
        ('[travellers]\ndefault = "hairpin"\n', (421, "home_elsewhere")),
    ],
)
async def test_where_rules_differ_the_home_regions_verdict_is_the_answer(
    folder: Path, older: str, expected: tuple[int, str]
) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        stand.rewrite(stand.eu, older)
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert code(response) == expected
        assert response.headers["domicile-verdict"] in ("redirect", "refuse")
        assert stand.eu.recorder.pending == 1
        assert berlin.calls == 0


async def test_who_has_no_home_at_home_is_not_signed_up_by_a_hop(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin) as stand, HttpClient() as http:
        stand.settle("ann", placement(), known_to=(US,))
        response = await http.post(f"{stand.us.url}/orders/sign-up?residence=DE", headers=stand.bearer("ann"))
        assert code(response) == (404, "no_home")
        assert berlin.calls == 0


# --- a region in trouble -----------------------------------------------------------------------------------------------------


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


# --- large bodies ------------------------------------------------------------------------------------------------------------

MIB = 1 << 20
SIZE = 50 * MIB
PIECE = bytes(64 * 1024)


# On asyncio's own loop: closing a uvloop under a connection that was aborted over full buffers hung once in some hundred runs.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_fifty_megabytes_to_a_slow_reader_wait_at_the_service_not_in_the_gateways(folder: Path) -> None:
    given = 0

    async def big(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal given
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]})
        for _ in range(SIZE // len(PIECE)):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            given += len(PIECE)

    patient = Upstream(connect_s=1.0, first_byte_s=5.0, stall_s=20.0, total_s=60.0)
    async with world(folder, eu_orders=big, hop_limits=patient) as stand:
        stand.settle("ann", placement())
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.us.port, limit=1024)
        token = stand.bearer("ann")["authorization"]
        writer.write(f"GET /orders/big HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"domicile-verdict: hairpin" in head
        before = -1
        while before != given:
            before = given
            await anyio.sleep(0.3)  # not a wait for an event: it shows that nothing goes on
        assert given < SIZE // 2
        taken = 0
        while taken < SIZE:
            piece = await reader.read(MIB)
            assert piece
            taken += len(piece)
        assert (taken, given) == (SIZE, SIZE)
        writer.transport.abort()


async def test_fifty_megabytes_go_up_in_pieces_and_whole(folder: Path) -> None:
    taken = 0

    async def sink(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken
        more = True
        while more:
            message = await receive()
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def upload() -> Any:
        for _ in range(SIZE // len(PIECE)):
            yield PIECE

    async with world(folder, eu_orders=sink) as stand, HttpClient(timeout=60) as http:
        stand.settle("ann", placement())
        response = await http.post(f"{stand.us.url}/orders/big", headers=stand.bearer("ann"), content=upload())
        assert (response.status_code, taken) == (204, SIZE)
        assert len(stand.eu.cell.crossings) == 1


async def test_a_person_who_is_refused_at_home_hears_so_before_the_body_has_gone_up(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand:
        stand.settle("ann", placement())
        stand.rewrite(stand.eu, GROUNDS.replace('"hairpin"', '"refuse"'))
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.us.port)
        token = stand.bearer("ann")["authorization"]
        head = f"POST /orders/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: {SIZE}\r\n\r\n"
        writer.write(head.encode() + PIECE)
        with anyio.fail_after(5):
            answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 451 ")
        assert b"connection: close" in answered
        writer.transport.abort()

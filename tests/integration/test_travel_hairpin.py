"""A person away from home on real servers: carried home in one hop, booked before anything is forwarded, and never anywhere else."""

import asyncio
import datetime
from pathlib import Path

import anyio
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from foundation.http import HttpClient
from foundation.words import Epoch
from load_tests.conductor.stated import grounds
from load_tests.oracle.crossings import key
from tests.stands.edge import CLOCK, placement, service_verifier, tcp
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.travel import EU, GROUNDS, US, code, world
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


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

"""Hops that are none: passed twice, forged, too old, sealed by a stranger, or telling what would end a field."""

from pathlib import Path
from typing import Any

import pytest

from foundation.clock import SKEW_S_MAX, ManualClock
from foundation.hop_header import LIFETIME_S_MAX
from foundation.http import HttpClient
from foundation.ledger.port import Kind
from foundation.mute import Secret
from foundation.words import RegionId
from tests.stands.edge import CLOCK, placement
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.travel import EU, US, Sent, World, code, world

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


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

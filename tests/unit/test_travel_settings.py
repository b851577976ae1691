"""The gateways' settings for hops: what the stack writes is read again, and ways that lead nowhere are refused at the start."""

from pathlib import Path

import pytest

from deploy.local import keys, render
from deploy.local.layout import Layout, Paths, fixed_ports
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.settings import SettingsError, load
from gateway.settings import HopTls, Settings
from gateway.travel.assembly import hop_context, travel
from gateway.travel.bookings import Bookings
from gateway.travel.routes import Route, Routes, route_of

pytestmark = pytest.mark.anyio
CLOCK = SystemClock()


def settings_of(tmp_path: Path, region: str) -> Settings:
    paths = Paths(tmp_path / "state")
    paths.state.mkdir(exist_ok=True)
    keys.ensure(paths)
    text = render.settings(Layout(paths, fixed_ports(7400)), contracts="x")[f"gateway-{region}"]
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return load(file, Settings)


async def test_the_stacks_gateways_know_each_other_both_ways(tmp_path: Path) -> None:
    async with HttpClient() as http:
        bookings = Bookings(http, lambda _cell: (), CLOCK)
        eu, us = (travel(settings_of(tmp_path, region), bookings, CLOCK) for region in ("eu", "us"))
    assert [eu.hops.knows(region) for region in ("us", "in", "eu")] == [True, True, False]
    sent = {"method": "GET", "target": b"/orders/1", "authorization": b"Bearer t"}
    header = us.hops.mint(
        "eu", scheme="http", host="x", country=None, client=None, trace="t", rules="sha256:" + "0" * 64, **sent
    )
    assert eu.hops.take(header.encode(), **sent).origin == "us"


async def test_a_region_that_shares_a_keyring_with_itself_is_a_mistake(tmp_path: Path) -> None:
    from msgspec.structs import replace

    held = settings_of(tmp_path, "eu")
    wrong = replace(held, hop_keyrings={"eu": held.blinding_keyring})
    async with HttpClient() as http:
        with pytest.raises(SettingsError, match="itself"):
            travel(wrong, Bookings(http, lambda _cell: (), CLOCK), CLOCK)


@pytest.mark.parametrize(
    ("origins", "route"),
    [
        (("https://eu.example.com",), Route(("eu.example.com:443",), secure=True)),
        (("http://127.0.0.1:7430/",), Route(("127.0.0.1:7430",), secure=False)),
        (("https://[::1]:8443", "https://b"), Route(("[::1]:8443", "b:443"), secure=True)),
        (("https://a", "http://b"), None),
        (("ftp://a",), None),
        (("https://a/path",), None),
        (("https://u@a",), None),
        (("https://a:port",), None),
        (("eu.example.com",), None),
        ((), None),
    ],
)
def test_a_route_is_origins_of_one_kind(origins: tuple[str, ...], route: Route | None) -> None:
    assert route_of(origins) == route


def test_inside_addresses_go_before_the_public_origin() -> None:
    routes = Routes({"eu": ("http://10.0.0.1:7430",)})
    assert routes.of("eu", "https://eu.example.com") == Route(("10.0.0.1:7430",), secure=False)
    assert routes.of("us", "https://us.example.com") == Route(("us.example.com:443",), secure=True)
    with pytest.raises(SettingsError, match=r"hop_routes\.eu"):
        Routes({"eu": ("10.0.0.1:7430",)})


def test_certificates_that_cannot_be_used_are_refused_at_the_start(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(SettingsError, match="hop_tls"):
        hop_context(HopTls(certificate=nothing, key=nothing, authorities=nothing), CLOCK)

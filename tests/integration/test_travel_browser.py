"""Browsers with policy's session cookie, on real servers: redirected where they navigate, and never used against their person."""

from pathlib import Path

import httpx
import pytest

from foundation.http import HttpClient
from tests.stands.edge import placement
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.travel import GROUNDS, World, code, world

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

SESSION = 'session_cookie = "__Host-session"'
HOME = GROUNDS.replace('default = "hairpin"', 'default = "home"')


def cookie(stand: World, sub: str = "ann", more: str = "") -> dict[str, str]:
    return {"cookie": f"theme=dark; __Host-session={stand.people.token(sub)}{more}"}


async def test_a_browser_away_from_home_is_sent_there_with_the_same_path(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de"), grounds=HOME, product=SESSION) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        for method in ("GET", "HEAD"):
            response = await http.request(method, f"{stand.us.url}/orders/a%2Fb?x=1&y", headers=cookie(stand))
            assert response.status_code == 308
            assert response.headers["location"] == f"{stand.eu.url}/orders/a%2Fb?x=1&y"
            assert (response.headers["cache-control"], response.headers["domicile-verdict"]) == ("no-store", "redirect")
        assert stand.us.recorder.pending == 2


async def test_what_is_no_navigation_gets_421(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de"), grounds=HOME, product=SESSION) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        url = f"{stand.us.url}/orders/1"
        by_page = cookie(stand) | {"sec-fetch-mode": "cors"}
        assert code(await http.get(url, headers=by_page)) == (421, "home_elsewhere")
        write = cookie(stand) | {"origin": stand.us.url}
        assert code(await http.post(url, headers=write)) == (421, "home_elsewhere")
        assert code(await http.get(url, headers=stand.bearer("ann"))) == (421, "home_elsewhere")
        both = cookie(stand) | stand.bearer("ann")
        assert code(await http.get(url, headers=both)) == (421, "home_elsewhere")


async def test_at_home_the_cookie_identifies_and_does_not_reach_the_service(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de"), product=SESSION) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        url = f"{stand.eu.url}/orders/1"
        response = await http.get(url, headers=cookie(stand, more="; last=1"))
        assert (response.status_code, response.json()["headers"]["cookie"]) == (200, "theme=dark; last=1")
        with_token = await http.get(url, headers=cookie(stand, "eve") | stand.bearer("ann"))
        assert (with_token.status_code, with_token.json()["headers"]["cookie"]) == (200, "theme=dark")
        anonymous = await http.get(f"{stand.eu.url}/orders/1", headers={"cookie": "theme=dark"})
        assert code(anonymous) == (401, "unauthenticated")


async def test_on_anonymous_routes_the_session_ends_at_the_gateway_too(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de"), product=SESSION) as stand, HttpClient() as http:
        url = f"{stand.eu.url}/orders/health"
        response = await http.get(url, headers=cookie(stand))
        assert (response.status_code, response.json()["headers"]["cookie"]) == (200, "theme=dark")
        twice = await http.post(
            url, headers=cookie(stand, more="; __Host-session=x") | {"origin": "https://evil.example"}
        )
        assert (twice.status_code, twice.json()["headers"]["cookie"]) == (200, "theme=dark")


async def test_a_browser_may_be_carried_home_too(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de"), product=SESSION) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        response = await http.get(f"{stand.us.url}/orders/1", headers=cookie(stand))
        assert (response.status_code, response.headers["domicile-verdict"]) == (200, "hairpin")
        assert response.json()["headers"]["cookie"] == "theme=dark"


async def test_writes_by_cookie_come_from_the_products_own_pages_only(folder: Path) -> None:
    berlin = Mirror("eu-de")
    async with world(folder, eu_orders=berlin, product=SESSION) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        url, own = f"{stand.eu.url}/orders/1", {"origin": stand.eu.url}

        async def write(method: str = "POST", **headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await http.request(method, url, headers=cookie(stand) | named)

        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert code(await write(method)) == (403, "forbidden")
        for origin in ("https://evil.example", "null", stand.eu.url + ".evil.example", stand.eu.url + "/", ""):
            assert code(await write(origin=origin)) == (403, "forbidden")
        twice = [*cookie(stand).items(), ("origin", stand.eu.url), ("origin", "https://evil.example")]
        assert code(await http.post(url, headers=twice)) == (403, "forbidden")
        assert code(await write(**own, sec_fetch_site="cross-site")) == (403, "forbidden")
        assert berlin.calls == 0
        assert (await write(**own, sec_fetch_site="same-origin")).status_code == 200
        assert (await write(origin=stand.us.url.upper().replace("HTTP", "http"))).status_code == 200
        asked = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        socket = (
            cookie(stand) | asked | {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-fetch-mode": "websocket"}
        )
        for origin in ("https://evil.example", "null"):
            assert code(await http.get(url, headers=socket | {"origin": origin})) == (403, "forbidden")
        assert code(await http.get(url, headers=socket)) == (403, "forbidden")
        assert berlin.calls == 2
        token = await http.post(url, headers=stand.bearer("ann") | {"origin": "https://evil.example"})
        assert token.status_code == 200, "a token is sent by a program that means it"


async def test_a_session_that_stands_twice_or_has_run_out_is_nobodys(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de"), product=SESSION) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        url = f"{stand.eu.url}/orders/1"
        twice = cookie(stand, more=f"; __Host-session={stand.people.token('eve')}")
        assert code(await http.get(url, headers=twice)) == (401, "malformed_token")
        old = {"cookie": f"__Host-session={stand.people.token('ann', ttl_s=-60)}"}
        assert code(await http.get(url, headers=old)) == (401, "unauthenticated")
        for text in ("__Host-session=", "__Host-session", "__host-session=x"):
            assert (await http.get(url, headers={"cookie": text})).status_code == 401


async def test_without_the_key_in_policy_cookies_are_the_services_own(folder: Path) -> None:
    async with world(folder, eu_orders=Mirror("eu-de")) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        url = f"{stand.eu.url}/orders/1"
        assert code(await http.get(url, headers=cookie(stand))) == (401, "unauthenticated")
        kept = await http.post(url, headers=cookie(stand) | stand.bearer("ann"))
        assert "__Host-session" in kept.json()["headers"]["cookie"]

"""Hops inside TLS with certificates on both sides: who cannot be believed is not spoken to, and who shows nothing is not let in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.tls import Credentials, Tls, Watched
from gateway.edge.door import EdgeDoor
from gateway.edge.upstream.forwarder import Forwarder
from gateway.edge.upstream.pool import Pools
from gateway.settings import HopTls
from gateway.travel.assembly import contexts, hop_context
from gateway.travel.routes import Routes
from tests.stands.certificates import Authority
from tests.stands.edge import placement
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving
from tests.stands.travel import EU, HOP_LIMITS, World, code, world
from tests.stands.waiting import eventually

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


@dataclass
class Between:
    """Two regions whose gateways meet inside TLS: what the EU's shows, what the US's shows, the connections between them."""

    stand: World
    home: Credentials
    away: Watched
    pools: Pools

    def renewed(self) -> None:
        """What both gateways do about new files within seconds. Connections that nobody uses are given up, so that new ones are made."""
        for each in (self.home, self.away):
            each.look()
            each.look()
        for pool in self.pools.all():
            while (idle := pool.acquire_now()) is not None:
                idle.close()


@asynccontextmanager
async def behind_tls(folder: Path, mine: HopTls, ours: Path, shown: tuple[Path, Path]) -> AsyncIterator[Between]:
    """The EU's gateway shows `shown`, and asks for certificates under `ours`; those of the US go there with `mine`."""
    async with world(folder, eu_orders=Mirror("eu-de"), nonces_max=100_000) as stand:
        home = Credentials(Tls(certificate=shown[0], key=shown[1], authorities=ours), SystemClock())
        away = hop_context(mine, SystemClock())
        async with serving(stand.eu.app, http=EdgeDoor, tls=home) as port:
            secure = Pools(HOP_LIMITS, tls=contexts(away))
            routes = Routes({EU: (f"https://127.0.0.1:{port}",)})
            stand.us.travel.carrier._forwarders[True] = Forwarder(secure)
            stand.us.travel.carrier._routes = routes
            stand.settle("ann", placement())
            yield Between(stand, home, away, secure)
            secure.close()


async def test_a_hop_travels_inside_tls_that_both_sides_prove(folder: Path) -> None:
    ours = Authority(folder, "ours")
    certificate, key = ours.sign("gateway-us")
    mine = HopTls(certificate=certificate, key=key, authorities=ours.file)
    async with behind_tls(folder, mine, ours.file, ours.sign("gateway-eu")) as between, HttpClient() as http:
        stand = between.stand
        for body in (b"small", b"x" * (3 << 20)):
            response = await http.post(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"), content=body)
            assert (response.status_code, response.headers["domicile-verdict"]) == (200, "hairpin")
            assert len(response.json()["body"]) == len(body)


async def test_a_home_under_another_authority_is_not_spoken_to(folder: Path) -> None:
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    certificate, key = ours.sign("gateway-us")
    mine = HopTls(certificate=certificate, key=key, authorities=theirs.file)
    async with behind_tls(folder, mine, ours.file, ours.sign("gateway-eu")) as between, HttpClient() as http:
        stand = between.stand
        assert code(await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))) == (
            502,
            "cell_unreachable",
        )
        assert stand.eu.cell.crossings == []


async def test_a_gateway_that_proves_nothing_is_not_let_in(folder: Path) -> None:
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    certificate, key = theirs.sign("gateway-us")
    mine = HopTls(certificate=certificate, key=key, authorities=ours.file)
    async with behind_tls(folder, mine, ours.file, ours.sign("gateway-eu")) as between, HttpClient() as http:
        stand = between.stand
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert response.status_code == 502
        assert stand.eu.cell.crossings == []


async def test_no_hop_is_lost_while_certificates_and_then_their_authority_are_changed(folder: Path) -> None:
    former, new, both = Authority(folder, "former"), Authority(folder, "new"), folder / "both.pem"
    both.write_bytes(former.file.read_bytes())
    certificate, key = former.sign("gateway-us")
    shown = former.sign("gateway-eu")
    mine = HopTls(certificate=certificate, key=key, authorities=both)
    asked, over = 0, False
    async with behind_tls(folder, mine, both, shown) as between, asyncio.TaskGroup() as group:

        async def ask() -> None:
            nonlocal asked
            async with HttpClient(timeout=20) as http:
                while not over:
                    response = await http.post(
                        f"{between.stand.us.url}/orders/1", headers=between.stand.bearer("ann"), content=b"x"
                    )
                    assert (response.status_code, response.headers["domicile-verdict"]) == (200, "hairpin")
                    asked += 1

        async def go_on() -> None:
            between.renewed()
            goal = asked + 20
            await eventually(lambda: asked >= goal, s_max=30)

        for _ in range(4):
            group.create_task(ask())
        await go_on()
        both.write_bytes(former.file.read_bytes() + new.file.read_bytes())
        await go_on()
        for name in ("gateway-us", "gateway-eu"):
            new.sign(name)
            await go_on()
        both.write_bytes(new.file.read_bytes())
        await go_on()
        over = True
    assert asked >= 100


async def test_a_certificate_that_is_believed_no_more_carries_nobody(folder: Path) -> None:
    former, new, believed = Authority(folder, "former"), Authority(folder, "new"), folder / "believed.pem"
    believed.write_bytes(former.file.read_bytes() + new.file.read_bytes())
    certificate, key = former.sign("gateway-us")
    mine = HopTls(certificate=certificate, key=key, authorities=new.file)
    async with behind_tls(folder, mine, believed, new.sign("gateway-eu")) as between, HttpClient() as http:
        url, bearer = f"{between.stand.us.url}/orders/1", between.stand.bearer("ann")
        assert (await http.get(url, headers=bearer)).status_code == 200
        believed.write_bytes(new.file.read_bytes())
        between.renewed()
        assert (await http.get(url, headers=bearer)).status_code == 502

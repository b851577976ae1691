"""Hops inside TLS with certificates on both sides: who cannot be believed is not spoken to, and who shows nothing is not let in."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from foundation.http import HttpClient
from gateway.edge.door import Door
from gateway.edge.upstream.forwarder import Forwarder
from gateway.edge.upstream.pool import Pools
from gateway.settings import HopTls
from gateway.travel.routes import Routes, tls_context
from tests.integration.test_travel_hairpin import Mirror, anyio_backend, code
from tests.stands.certificates import Authority
from tests.stands.edge import placement
from tests.stands.servers import serving
from tests.stands.travel import EU, HOP_LIMITS, World, world

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def behind_tls(folder: Path, mine: HopTls | None, ours: Authority) -> AsyncIterator[World]:
    """The EU's gateway behind mutual TLS under `ours`; those of the US go there with `mine`."""
    certificate, key = ours.sign("gateway-eu")
    async with world(folder, eu_orders=Mirror("eu-de")) as stand:
        options = {
            "ssl_certfile": str(certificate), "ssl_keyfile": str(key), "ssl_ca_certs": str(ours.file), "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }  # fmt: skip
        async with serving(stand.eu.app, http=Door, **options) as port:
            secure = Pools(HOP_LIMITS, tls=tls_context(mine))
            routes = Routes({EU: (f"https://127.0.0.1:{port}",)})
            stand.us.travel.carrier._forwarders[True] = Forwarder(secure)
            stand.us.travel.carrier._routes = routes
            stand.settle("ann", placement())
            yield stand
            secure.close()


async def test_a_hop_travels_inside_tls_that_both_sides_prove(folder: Path) -> None:
    ours = Authority(folder, "ours")
    certificate, key = ours.sign("gateway-us")
    mine = HopTls(certificate=certificate, key=key, authorities=ours.file)
    async with behind_tls(folder, mine, ours) as stand, HttpClient() as http:
        for body in (b"small", b"x" * (3 << 20)):
            response = await http.post(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"), content=body)
            assert (response.status_code, response.headers["domicile-verdict"]) == (200, "hairpin")
            assert len(response.json()["body"]) == len(body)


async def test_a_home_under_another_authority_is_not_spoken_to(folder: Path) -> None:
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    certificate, key = ours.sign("gateway-us")
    mine = HopTls(certificate=certificate, key=key, authorities=theirs.file)
    async with behind_tls(folder, mine, ours) as stand, HttpClient() as http:
        assert code(await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))) == (
            502,
            "cell_unreachable",
        )
        assert stand.eu.cell.crossings == []


async def test_a_gateway_that_proves_nothing_is_not_let_in(folder: Path) -> None:
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    certificate, key = theirs.sign("gateway-us")
    mine = HopTls(certificate=certificate, key=key, authorities=ours.file)
    async with behind_tls(folder, mine, ours) as stand, HttpClient() as http:
        response = await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann"))
        assert response.status_code == 502
        assert stand.eu.cell.crossings == []

"""Who asks too often is told when to come again, on real servers: 429 with Retry-After, before a body is read, and nobody else is touched.

The limits' clock stands still unless a test moves it, so nothing here depends on how fast the machine is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from foundation.clock import ManualClock
from foundation.http import HttpClient
from gateway.edge.limits.assembly import gate_of
from gateway.edge.limits.gate import Gate
from gateway.edge.limits.table import Wanting
from gateway.identity.address import networks
from gateway.settings import Budget, Limits
from tests.stands.edge import Stand, edge, placement
from tests.stands.mirrors import Mirror
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import serving
from tests.stands.travel import EU, US, code, world

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

FEW = Budget(per_s=1, burst=8)
"""Of which a process grants 2 by itself, and one more every 4 s."""
LIMITED = (429, "rate_limited")


def gate(limits: Limits, clock: ManualClock | None = None, proxies: tuple[str, ...] = ()) -> Gate:
    return gate_of(limits, Wanting(), networks(proxies), clock or ManualClock())


@dataclass
class Facing:
    stand: Stand
    http: HttpClient
    service: Mirror
    clock: ManualClock

    async def get(self, sub: str | None = None, path: str = "/orders/1", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.get(path, headers=(self.stand.bearer(sub) if sub else {}) | named)


@asynccontextmanager
async def facing(folder: Path, limits: Limits, proxies: tuple[str, ...] = ()) -> AsyncIterator[Facing]:
    service, clock = Mirror("eu-de"), ManualClock()
    async with (
        serving(service) as port,
        edge(folder, port, proxies=proxies, gate=gate(limits, clock, proxies)) as stand,
        HttpClient(base_url=stand.url) as http,
    ):
        for sub in ("ann", "bob"):
            stand.settle(sub, placement())
        yield Facing(stand, http, service, clock)


async def test_a_subject_that_asks_too_often_is_told_when_to_come_again(folder: Path) -> None:
    async with facing(folder, Limits(subject=FEW)) as it:
        assert [(await it.get("ann")).status_code for _ in range(2)] == [200, 200]
        refused = await it.get("ann")
        assert code(refused) == LIMITED
        assert refused.headers["retry-after"] == "4"
        assert refused.headers["domicile-verdict"] == "refuse"
        assert refused.headers["content-type"] == "application/problem+json"
        assert [(await it.get("bob")).status_code for _ in range(2)] == [200, 200]
        assert it.service.calls == 4
        it.clock.advance(3.5)
        assert (await it.get("ann")).headers["retry-after"] == "1"
        it.clock.advance(0.5)
        assert (await it.get("ann")).status_code == 200


@pytest.mark.parametrize("limits", [Limits(subject=FEW), Limits(address=FEW), Limits(subject=FEW, address=FEW)])
async def test_what_is_answered_without_a_task_counts_once_and_no_less(folder: Path, limits: Limits) -> None:
    """With one token over one connection all but the first are plain; the first finds no connection to the service that is idle."""
    async with facing(folder, limits) as it:
        token = it.stand.bearer("ann")["authorization"]
        answers = [await it.get(authorization=token) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        it.clock.advance(4)
        assert [(await it.get(authorization=token)).status_code for _ in range(2)] == [200, 429]
        assert it.service.calls == 3


async def test_another_token_of_the_same_subject_is_no_other_subject(folder: Path) -> None:
    async with facing(folder, Limits(subject=FEW)) as it:
        answers = [await it.get(authorization=it.stand.bearer("ann", jti=str(n))["authorization"]) for n in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_whoever_has_no_home_yet_does_not_ask_the_directory_without_end(folder: Path) -> None:
    async with facing(folder, Limits(subject=FEW)) as it:
        answers = [await it.get("stranger") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [404, 404, 429, 429, 429]
        assert it.stand.homes.refreshed == 2


async def test_an_address_that_asks_too_often_is_refused_before_its_token_is_looked_at(folder: Path) -> None:
    async with facing(folder, Limits(address=FEW)) as it:
        assert [(await it.get(authorization=f"Bearer {n}.{n}.{n}")).status_code for n in range(2)] == [401, 401]
        refused = await it.get("ann")
        assert (code(refused), refused.headers["retry-after"]) == (LIMITED, "4")
        assert it.stand.desk.identities.size == 0
        assert it.service.calls == 0


async def test_an_anonymous_route_counts_by_address_alone(folder: Path) -> None:
    async with facing(folder, Limits(subject=FEW)) as it:
        answers = [await it.get(path="/orders/health") for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200}
    async with facing(folder, Limits(subject=FEW, address=FEW)) as it:
        answers = [await it.get(path="/orders/health") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_the_gateways_own_paths_are_not_counted(folder: Path) -> None:
    async with facing(folder, Limits(subject=FEW, address=FEW)) as it:
        assert {(await it.get(path="/healthz")).status_code for _ in range(6)} == {200}


async def test_a_stranger_evades_nothing_by_what_it_says_of_its_address(folder: Path) -> None:
    async with facing(folder, Limits(address=FEW)) as it:
        answers = [
            await it.get(
                "ann", x_forwarded_for=f"198.51.100.{n}", x_real_ip=f"198.51.100.{n}", forwarded=f"for=10.0.0.{n}"
            )
            for n in range(4)
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


async def test_behind_a_trusted_proxy_each_client_counts_for_itself(folder: Path) -> None:
    async with facing(folder, Limits(address=FEW), proxies=("127.0.0.1/32",)) as it:
        one = [await it.get("ann", x_forwarded_for=f"192.0.2.{n}, 198.51.100.7") for n in range(3)]
        assert [answer.status_code for answer in one] == [200, 200, 429]
        assert (await it.get("ann", x_forwarded_for="198.51.100.8")).status_code == 200
        six = [await it.get("ann", x_forwarded_for=f"2001:db8:1:2::{n:x}") for n in range(3)]
        assert [answer.status_code for answer in six] == [200, 200, 429]
        assert {(await it.get("ann")).status_code for _ in range(6)} == {200}  # the proxy's own


async def test_a_hop_that_no_gateway_made_evades_no_more_than_its_refusal(folder: Path) -> None:
    async with facing(folder, Limits(address=FEW)) as it:
        assert {code(await it.get("ann", domicile_hop=f"v1.k.{n}.x")) for n in range(6)} == {(403, "forbidden")}
        assert it.stand.desk.identities.size == 0


async def test_no_body_is_read_of_what_is_refused(folder: Path) -> None:
    async with facing(folder, Limits(subject=FEW)) as it:
        for _ in range(2):
            assert (await it.get("ann")).status_code == 200
        token = it.stand.bearer("ann")["authorization"].encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", it.stand.port)
        writer.write(
            b"POST /orders/1 HTTP/1.1\r\nHost: eu.example.com\r\nAuthorization: %b\r\nContent-Length: 1000000\r\n\r\n"
            % token
        )
        with anyio.fail_after(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"connection: close" in head.lower()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        assert it.service.calls == 2


async def test_a_refusal_is_logged_once_a_name_and_no_address_is(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with facing(folder, Limits(subject=FEW, address=FEW), proxies=("127.0.0.1/32",)) as it:
        subject = it.stand.settle("ann", placement())
        with caplog.at_level("INFO", logger="gateway"):
            for _ in range(6):
                await it.get("ann")
            for _ in range(6):
                await it.get("bob", x_forwarded_for="198.51.100.7")
        said = [record.__dict__["fields"] for record in caplog.records if record.message == "limited"]
        assert said == [{"kind": "subject", "subject_id": subject}, {"kind": "address"}]
        assert "198.51.100.7" not in str([record.__dict__ for record in caplog.records])


# --- services that act, people away from home ----------------------------------------------------------------------------------


async def test_a_service_that_acts_uses_up_its_own_budget_and_nobody_elses(folder: Path) -> None:
    gates = {EU: gate(Limits(subject=FEW, actor=FEW))}
    async with (
        world(folder, eu_orders=Mirror("eu-de"), gates=gates) as stand,
        HttpClient(base_url=stand.eu.url) as http,
    ):
        ann, bob = stand.settle("ann", placement()), stand.settle("bob", placement())
        acting = stand.actor("support-desk")
        answers = [await http.get("/orders/1", headers=acting | {"domicile-for": who}) for who in (ann, ann, bob)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [(await http.get("/orders/1", headers=stand.bearer("ann"))).status_code for _ in range(3)] == [
            200,
            200,
            429,
        ]


async def test_who_is_carried_home_counts_by_address_where_the_request_came_in(folder: Path) -> None:
    gates = {EU: gate(Limits(address=FEW)), US: gate(Limits())}
    async with world(folder, eu_orders=Mirror("eu-de"), gates=gates) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        away = [await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann")) for _ in range(5)]
        assert [answer.status_code for answer in away] == [200] * 5
    gates, berlin = {EU: gate(Limits()), US: gate(Limits(address=FEW))}, Mirror("eu-de")
    async with world(folder, eu_orders=berlin, gates=gates) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        away = [await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann")) for _ in range(3)]
        assert [answer.status_code for answer in away] == [200, 200, 429]
        assert berlin.calls == 2


async def test_who_is_carried_home_counts_as_the_subject_at_home_too(folder: Path) -> None:
    gates = {EU: gate(Limits(subject=FEW))}
    async with world(folder, eu_orders=Mirror("eu-de"), gates=gates) as stand, HttpClient() as http:
        stand.settle("ann", placement())
        assert (await http.get(f"{stand.eu.url}/orders/1", headers=stand.bearer("ann"))).status_code == 200
        away = [await http.get(f"{stand.us.url}/orders/1", headers=stand.bearer("ann")) for _ in range(2)]
        assert [answer.status_code for answer in away] == [200, 429]
        assert (code(away[1]), away[1].headers["retry-after"]) == (LIMITED, "4")

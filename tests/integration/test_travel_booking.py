"""Crossings from the gateway's side against a real cell: what a gateway sends is booked, once, whichever gateway of the region sends it."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.postgres import PostgresServer
from foundation import trace
from foundation.hop_header import Hop, digest_of, new_nonce
from foundation.http import HttpClient
from foundation.problems import Code
from foundation.words import Country, Epoch, RegionId, ServiceId, SubjectId, Verb
from gateway.edge.headers import RequestFields
from gateway.edge.outcome import Admitted
from gateway.edge.request import Request
from gateway.edge.target import Route, Target
from gateway.travel.bookings import Bookings
from routing_rules.verdicts import Hairpin
from tests.stands.cell import Stand, stand
from tests.stands.crossings import TWO_REGIONS, booked_ids, gateway, shown
from tests.stands.edge import CLOCK
from tests.stands.servers import free_port, serving
from tests.stands.shard import CELL

pytestmark = pytest.mark.anyio
ORDERS = ServiceId("orders")


@pytest.fixture(scope="module")
async def live(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("cell")
    with pytest.MonkeyPatch.context() as patch:
        async with stand(postgres_server, folder, patch, policy=TWO_REGIONS) as built, built.running():
            yield built


def hop() -> Hop:
    return Hop(
        origin=RegionId("us"),
        to=RegionId("eu"),
        method="GET",
        target=digest_of(b"/orders/1"),
        token=digest_of(b"t"),
        scheme="https",
        host="us.example.com",
        country=Country("US"),
        client="192.0.2.1",
        nonce=new_nonce(),
        expires=CLOCK.unix_s() + 5,
        trace=trace.start().header(),
        rules="sha256:" + "0" * 64,
    )


def carried(
    live: Stand, subject: SubjectId, ground: str = "policy: travellers.default = hairpin"
) -> tuple[Request, Admitted, Hairpin]:
    target = Target(ORDERS, Route.ORDINARY)
    request = Request(
        method="GET",
        raw_path=b"/orders/1",
        query=b"",
        sent=b"/orders/1",
        fields=RequestFields(),
        target=target,
        peer="",
        scheme="http",
        verb=Verb.READ,
        trace=trace.start(),
    )
    verdict = Hairpin(
        cell=CELL, region=RegionId("eu"), home="https://eu.example.com", purpose="service", basis="eu -> * #1 scc: is shown",
        ground=ground, valid_until=None, digest=live.cell.context.rules.require().digest,
    )  # fmt: skip
    admitted = Admitted(
        cell=CELL, service=ORDERS, hosts=("127.0.0.1:1",), verb=Verb.READ, purpose="service", subject=subject, epoch=Epoch(1),
        digest=verdict.digest, crosses=verdict,
    )  # fmt: skip
    return request, admitted, verdict


async def test_the_cell_books_what_a_gateway_sends_and_takes_one_hop_once(live: Stand) -> None:
    subject, _ = await live.place()
    policy = live.cell.context.rules.require().policy
    async with serving(live.cell.app) as port, HttpClient(headers=gateway(live)) as http:
        here = (f"127.0.0.1:{port}",)
        one, another = (Bookings(http, lambda _cell: here, CLOCK) for _ in range(2))
        request, admitted, verdict = carried(live, subject)
        first = hop()
        assert await one.book(request, first, admitted, verdict, policy) is None
        refused = await another.book(request, first, admitted, verdict, policy)
        assert refused is not None
        assert refused.code is Code.NOT_READY
        assert await booked_ids(live, subject) == [first.nonce]
        told = await shown(live, subject)
        assert "192.0.2.1" not in str(told)
        long = "x" * 5000
        assert (
            await one.book(*carried(live, subject, long)[:1], hop(), *carried(live, subject, long)[1:], policy) is None
        )


async def test_a_cell_that_cannot_be_asked_or_does_not_know_the_subject_books_nothing(live: Stand) -> None:
    policy = live.cell.context.rules.require().policy
    subject = SubjectId("0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77")
    request, admitted, verdict = carried(live, subject)
    async with serving(live.cell.app) as port, HttpClient(headers=gateway(live)) as http, HttpClient() as nobody:
        here = (f"127.0.0.1:{port}",)
        for client, addresses in ((http, here), (http, ()), (http, (f"127.0.0.1:{free_port()}",)), (nobody, here)):
            problem = await Bookings(client, lambda _cell, to=addresses: to, CLOCK).book(
                request, hop(), admitted, verdict, policy
            )
            assert problem is not None
            assert (problem.status, problem.retry_after_s) == (503, 1)

"""Two gateways' limits over one real Valkey: what they grant together, and what each grants while it is away."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.valkey import ValkeyServer
from foundation.clock import SystemClock
from foundation.mute import Secret
from gateway.edge.limits.core import terms_of
from gateway.edge.limits.region import valkey_region
from gateway.edge.limits.table import Table, Wanting
from gateway.edge.limits.worker import Lessor
from tests.stands.servers import free_port, listens, running
from tests.stands.waiting import eventually, wait_for

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()
KEY = Secret(b"k" * 32)
TERMS = terms_of(per_s=40, burst=80, parts=16)
OWN = TERMS.own.burst


class Limiter:
    """One gateway's table with its worker under way. `granted` counts."""

    def __init__(self, wanting: Wanting) -> None:
        self.table = Table("subject", TERMS, wanting)
        self.granted = 0

    def ask(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            self.granted += self.table.take(name, CLOCK.monotonic_s() * 1_000) == 0

    def holds(self, name: str) -> int:
        return self.table._shares[name].held


@asynccontextmanager
async def limiter(url: Secret[str]) -> AsyncIterator[Limiter]:
    wanting = Wanting()
    async with valkey_region(url) as region, asyncio.TaskGroup() as group:
        worker = group.create_task(Lessor(region, wanting, KEY, CLOCK).run())
        yield Limiter(wanting)
        worker.cancel()


@pytest.fixture
def name() -> str:
    return secrets.token_hex(8)


def budget(since_s: float) -> float:
    return TERMS.region.burst + (CLOCK.monotonic_s() - since_s) * 1_000 / TERMS.region.interval_ms


def grants_alone(one: Limiter, name: str) -> Callable[[], bool]:
    """Asks for a name that nothing is leased for; whether some more was granted than it may have at once, which is never more than its own
    part."""
    since, before = CLOCK.monotonic_s(), one.granted

    def goes_on() -> bool:
        one.ask(name, 20)
        granted = one.granted - before
        own = OWN + (CLOCK.monotonic_s() - since) * 1_000 / TERMS.own.interval_ms
        assert granted <= own + 1
        return granted >= OWN + 3

    return goes_on


async def test_two_that_share_a_name_never_grant_more_than_the_bound_together(
    valkey_server: ValkeyServer, name: str
) -> None:
    """Both are asked for far more, until what one budget allows is well spent; at every moment the bound holds."""
    async with limiter(valkey_server.url()) as one, limiter(valkey_server.url()) as other:
        since = CLOCK.monotonic_s()

        def asked() -> bool:
            for each in (one, other):
                each.ask(name, 20)
            granted = one.granted + other.granted
            assert granted <= budget(since) + 2 * 2 * OWN
            return granted >= TERMS.region.burst + 2 * 2 * OWN + 5

        await eventually(asked, s_max=30)
        assert min(one.granted, other.granted) >= OWN


async def test_a_burst_at_one_gateway_is_served_from_the_regions_budget(valkey_server: ValkeyServer, name: str) -> None:
    async with limiter(valkey_server.url()) as one:

        def served() -> bool:
            one.ask(name)
            return one.granted >= TERMS.region.burst

        await eventually(served)  # by itself it would take half a minute


async def test_what_one_gateway_used_up_is_used_up_at_the_other(valkey_server: ValkeyServer, name: str) -> None:
    async with limiter(valkey_server.url()) as one, limiter(valkey_server.url()) as other:
        since = CLOCK.monotonic_s()

        def used_up() -> bool:
            one.ask(name, 20)
            return one.granted >= TERMS.region.burst

        await eventually(used_up)

        def told() -> bool:
            other.ask(name, 20)
            return other.table._shares[name].again_ms > CLOCK.monotonic_s() * 1_000  # it got less than it wanted

        await eventually(told)
        assert other.granted >= OWN
        assert one.granted + other.granted <= budget(since) + 2 * 2 * OWN


async def test_while_valkey_is_away_each_grants_its_own_part_and_shares_again_after(tmp_path: Path, name: str) -> None:
    server = ValkeyServer(folder=tmp_path / "valkey", port=free_port(), password=Secret(secrets.token_urlsafe(16)))
    server.prepare()

    async with limiter(server.url()) as one, limiter(server.url()) as other:
        with running(server.command()):
            wait_for(lambda: listens(server.port))

            def leased() -> bool:
                one.ask(name)
                return bool(one.holds(name))

            await eventually(leased)

        # Nobody answers any more: what was leased runs out or is spent, and then each has its own part, and never none.
        strangers = secrets.token_hex(8)
        for each in (one, other):
            await eventually(grants_alone(each, strangers))

        with running(server.command()):
            wait_for(lambda: listens(server.port))

            def shares_again() -> bool:
                other.ask(strangers)
                return bool(other.holds(strangers))

            await eventually(shares_again)


async def test_while_valkey_hangs_nobody_waits_for_it_and_it_is_shared_with_again_after(
    tmp_path: Path, name: str
) -> None:
    """It takes connections and what is sent on them, and answers nothing."""
    server = ValkeyServer(folder=tmp_path / "valkey", port=free_port(), password=Secret(secrets.token_urlsafe(16)))
    server.prepare()

    async with limiter(server.url()) as one:
        with running(server.command()) as valkey:
            wait_for(lambda: listens(server.port))

            def leased(name: str) -> bool:
                one.ask(name)
                return bool(one.holds(name))

            await eventually(lambda: leased(name))
            valkey.send_signal(signal.SIGSTOP)
            try:
                strangers = secrets.token_hex(8)
                await eventually(grants_alone(one, strangers))
            finally:
                valkey.send_signal(signal.SIGCONT)
            await eventually(lambda: leased(strangers))


async def test_no_name_leaves_a_gateway_in_the_clear(valkey_server: ValkeyServer) -> None:
    address = "203.0.113.77"
    async with limiter(valkey_server.url()) as one, valkey_region(valkey_server.url()) as region:

        def leased() -> bool:
            one.ask(address, 2)
            return bool(one.holds(address))

        await eventually(leased)
        names = [key async for key in region._client.scan_iter(match="domicile:limit:*")]
        assert names
        assert not any(address.encode() in key for key in names)

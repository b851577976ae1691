"""What the limits need of the region's buckets, kept by those in memory and those in Valkey alike."""

import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from deploy.local.valkey import ValkeyServer
from foundation.clock import ManualClock
from foundation.mute import Secret
from foundation.rates import Rate
from gateway.edge.limits.region import Ask, Region, RegionDown, ValkeyRegion, valkey_region
from tests.stands.memory_region import MemoryRegion
from tests.stands.servers import free_port
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

TEN = Rate(3_600_000.0, 10)
"""Ten, and one more an hour: none comes back while a test runs."""


@pytest.fixture(params=["memory", "valkey"])
async def region(request: pytest.FixtureRequest) -> AsyncIterator[Region]:
    if request.param == "memory":
        yield MemoryRegion(ManualClock())
        return
    server: ValkeyServer = request.getfixturevalue("valkey_server")
    async with valkey_region(server.url()) as real:
        yield real


@pytest.fixture
def asking() -> Callable[[int, int], Ask]:
    """Asks of one bucket, by what is told and wanted."""
    name = f"t:{secrets.token_hex(8)}"
    return lambda told, wanted: Ask(name, TEN, told, wanted)


async def granted(region: Region, *asks: Ask) -> list[int]:
    return [one.granted for one in await region.lease(asks)]


async def test_no_more_is_granted_than_the_burst(region: Region, asking: Callable[[int, int], Ask]) -> None:
    assert await granted(region, *[asking(0, 4)] * 4) == [4, 4, 2, 0]


async def test_what_is_told_of_counts_even_where_nothing_is_left(
    region: Region, asking: Callable[[int, int], Ask]
) -> None:
    assert await granted(region, asking(3, 5), asking(0, 5)) == [5, 2]
    told, later = await region.lease([asking(4, 1), asking(0, 1)])
    assert (told.granted, later.granted) == (0, 0)
    assert 4 < told.wait_ms / TEN.interval_ms <= 5


async def test_a_bucket_owes_at_most_one_burst(region: Region, asking: Callable[[int, int], Ask]) -> None:
    owing = (await region.lease([asking(10, 0)] * 5))[-1]
    assert 10 < owing.wait_ms / TEN.interval_ms <= 11


async def test_each_name_has_a_bucket_of_its_own(region: Region, asking: Callable[[int, int], Ask]) -> None:
    other = asking(0, 10)._replace(name=f"t:{secrets.token_hex(8)}")
    assert await granted(region, asking(0, 10), other, asking(0, 1)) == [10, 10, 0]


async def test_a_smaller_budget_counts_what_a_greater_one_granted(
    region: Region, asking: Callable[[int, int], Ask]
) -> None:
    assert await granted(region, asking(0, 10), asking(0, 1)._replace(rate=TEN._replace(burst=5))) == [10, 0]


# --- of Valkey alone ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def valkey(valkey_server: ValkeyServer) -> AsyncIterator[ValkeyRegion]:
    async with valkey_region(valkey_server.url()) as region:
        yield region


async def test_a_bucket_fills_again_as_time_goes_by_and_is_forgotten_once_it_is_full(valkey: ValkeyRegion) -> None:
    ask = Ask(f"t:{secrets.token_hex(8)}", Rate(25.0, 2), 0, 2)
    assert await granted(valkey, ask) == [2]

    async def again() -> bool:
        return await granted(valkey, ask) != [0]

    await eventually(again)

    async def forgotten() -> bool:
        return not await valkey._client.exists(ask.name)

    await eventually(forgotten)
    assert await granted(valkey, ask) == [2]


@pytest.mark.parametrize("held", ["", "x", "nan", "-1", "1e300", ["of another kind"]])
async def test_what_is_no_number_of_ours_keeps_nobody_out_for_longer_than_two_bursts(
    valkey: ValkeyRegion, held: str | list[str]
) -> None:
    ask = Ask(f"t:{secrets.token_hex(8)}", Rate(1_000.0, 5), 0, 5)
    if isinstance(held, list):
        await valkey._client.rpush(ask.name, *held)
    else:
        await valkey._client.set(ask.name, held)
    (answer,) = await valkey.lease([ask])
    assert answer.granted == 5 or answer.wait_ms <= 6 * 1_000.0
    (answer,) = await valkey.lease([ask])
    assert answer.granted == 0
    assert 0 < await valkey._client.pttl(ask.name) <= 2 * 5 * 1_000


async def test_buckets_that_are_gone_say_so() -> None:
    async with valkey_region(Secret(f"redis://127.0.0.1:{free_port()}/0")) as nobody:
        with pytest.raises(RegionDown):
            await nobody.lease([Ask("a", TEN, 0, 1)])

"""The region's buckets: a port of one call, and its form in Valkey or Redis (each script touches one key)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import redis.asyncio
from redis.exceptions import RedisError

from directory.client.second_level.valkey import valkey_client
from foundation.mute import Secret
from foundation.rates import Rate

CALL_S_MAX = 0.1
CONNECTIONS_MAX = 2
"""One call at a time; the connection of one that was broken off may still be on its way back."""


class Ask(NamedTuple):
    """`told` were granted already and count whatever is left; `wanted` are asked for."""

    name: str
    rate: Rate
    told: int
    wanted: int


class Granted(NamedTuple):
    """`wait_ms` until the bucket has one more."""

    granted: int
    wait_ms: float


class RegionDown(Exception):
    """The region's buckets did not answer in time."""


class Region(Protocol):
    """Buckets that are full when first asked for. A bucket owes at most one burst, however much it is told of."""

    async def lease(self, asks: Sequence[Ask]) -> list[Granted]:
        """In the order of `asks`. Raises RegionDown, within CALL_S_MAX; what was granted then is lost."""
        ...


# Charges what was granted already, then grants of what is wanted as much as is left. The number is when the bucket would be full again, in
# milliseconds of the server's own clock; one that cannot be (the clock was set back, the budget is another now) counts as the most owed.
_LEASE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local interval, burst, told, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held = redis.pcall('GET', KEYS[1])
local full = type(held) == 'string' and tonumber(held) or now
if not (full > now) then full = now end
full = math.min(full + told * interval, now + 2 * interval * burst)
local room = math.floor((now + interval * burst - full) / interval + 0.001)
local granted = math.max(0, math.min(wanted, room))
full = full + granted * interval
if full > now then
  redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now))
end
return {granted, tostring(math.max(0, full + interval - now - interval * burst))}
"""


class ValkeyRegion:
    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client

    async def lease(self, asks: Sequence[Ask]) -> list[Granted]:
        pipeline = self._client.pipeline(transaction=False)
        for ask in asks:
            pipeline.eval(_LEASE, 1, ask.name, ask.rate.interval_ms, ask.rate.burst, ask.told, ask.wanted)
        try:
            async with asyncio.timeout(CALL_S_MAX):
                answers: list[Any] = await pipeline.execute()
            return [Granted(int(granted), float(wait)) for granted, wait in answers]
        except (RedisError, OSError, TimeoutError, TypeError, ValueError) as exc:
            raise RegionDown(type(exc).__name__) from exc


@asynccontextmanager
async def valkey_region(url: Secret[str]) -> AsyncIterator[ValkeyRegion]:
    async with valkey_client(url, connections_max=CONNECTIONS_MAX) as client:
        yield ValkeyRegion(client)

"""How often hints may be asked for: by client address and by key prefix, counted in the region's Valkey; by each process alone, tighter,
while that does not answer.

Both by `foundation.rates`' algorithm.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import redis.asyncio
from redis.exceptions import RedisError

from directory.client.circuit import Circuit
from directory.client.second_level.valkey import valkey_client
from foundation import logs
from foundation.clock import Clock
from foundation.mute import Secret
from foundation.rates import Buckets, Rate

log = logs.get(__name__)

CALL_S_MAX = 0.1
CONNECTIONS_MAX = 8
NAMES_MAX = 65_536
TIGHTER = 4
"""By how much less one process allows on its own."""


class Ask(NamedTuple):
    name: str
    rate: Rate


def tighter(rate: Rate) -> Rate:
    return Rate(rate.interval_ms * TIGHTER, max(1, rate.burst // TIGHTER))


class CounterDown(Exception):
    """The shared counter did not answer in time."""


class Counter(Protocol):
    """Counts an ask under each name; how many milliseconds to wait by name, 0 where it is allowed. Raises CounterDown."""

    async def take(self, asks: Sequence[Ask]) -> list[float]: ...


# Each call touches one key: the number is kept in milliseconds of the server's own clock.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.pcall('GET', KEYS[1])
local full = type(held) == 'string' and tonumber(held) or now
if full < now or full > now + 2 * interval * burst then full = now end
local wait = full + interval - now - interval * burst
if wait > 0.001 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.3f', full + interval), 'PX', math.ceil(full + interval - now))
return '0'
"""


class ValkeyCounter:
    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client

    async def take(self, asks: Sequence[Ask]) -> list[float]:
        pipeline = self._client.pipeline(transaction=False)
        for name, rate in asks:
            pipeline.eval(_TAKE, 1, name, rate.interval_ms, rate.burst)
        try:
            async with asyncio.timeout(CALL_S_MAX):
                answers: list[Any] = await pipeline.execute()
                return [float(answer) for answer in answers]
        except (RedisError, OSError, TimeoutError, ValueError) as exc:
            raise CounterDown(type(exc).__name__) from exc


@asynccontextmanager
async def valkey_counter(url: Secret[str]) -> AsyncIterator[ValkeyCounter]:
    async with valkey_client(url, connections_max=CONNECTIONS_MAX) as client:
        yield ValkeyCounter(client)


class LocalCounter:
    """The same in this process (`foundation.rates.Buckets`)."""

    def __init__(self, clock: Clock, *, names_max: int = NAMES_MAX) -> None:
        self._clock = clock
        self._buckets = Buckets(names_max=names_max)

    async def take(self, asks: Sequence[Ask]) -> list[float]:
        now_ms = self._clock.monotonic_s() * 1000
        return [self._buckets.take(name, rate, now_ms) for name, rate in asks]


class Limiter:
    """The shared counter, and this process's own while that is down."""

    def __init__(self, shared: Counter, clock: Clock) -> None:
        self._shared = shared
        self._local = LocalCounter(clock)
        self._clock = clock
        self._circuit = Circuit(failures_max=2)

    async def wait_s(self, asks: Sequence[Ask]) -> int:
        """Whole seconds to wait, 0 where all are allowed."""
        return math.ceil(max(await self._take(asks)) / 1000)

    async def _take(self, asks: Sequence[Ask]) -> list[float]:
        if self._circuit.allows(self._clock.monotonic_s()):
            try:
                waits = await self._shared.take(asks)
            except CounterDown as exc:
                self._circuit.failed(self._clock.monotonic_s())
                log.warning("hints_counted_alone", reason=str(exc))
            else:
                self._circuit.succeeded()
                return waits
        return await self._local.take([Ask(name, tighter(rate)) for name, rate in asks])

"""The region's buckets in memory: the port `gateway.edge.limits.region.Region` as one server would keep it, on a clock of the test's."""

from collections.abc import Sequence

from foundation.clock import Clock
from gateway.edge.limits.region import Ask, Granted, RegionDown


class MemoryRegion:
    """`down`: nobody is answered. `leased` counts what was granted, by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_ms: dict[str, float] = {}
        self.down = False
        self.asked = 0
        self.leased: dict[str, int] = {}

    async def lease(self, asks: Sequence[Ask]) -> list[Granted]:
        self.asked += 1
        if self.down:
            raise RegionDown("test")
        return [self._one(ask) for ask in asks]

    def _one(self, ask: Ask) -> Granted:
        now_ms = self._clock.monotonic_s() * 1_000
        interval_ms, burst = ask.rate
        owed = max(0.0, self._full_ms.get(ask.name, now_ms) - now_ms) / interval_ms
        owed = min(owed + ask.told, 2 * burst)
        granted = max(0, min(ask.wanted, int(burst - owed + 0.001)))
        owed += granted
        self._full_ms[ask.name] = now_ms + owed * interval_ms
        self.leased[ask.name] = self.leased.get(ask.name, 0) + granted
        return Granted(granted, max(0.0, owed + 1 - burst) * interval_ms)

"""Rates: so many at once, and one more each interval. Pure; time is an argument.

The generic cell rate algorithm (ITU-T I.371, annex A): one number per name, the time at which its bucket would be full again.
"""

from typing import NamedTuple

SLACK_MS = 0.001
"""Less than this is rounding, no wait."""


class Rate(NamedTuple):
    """`burst` at once, and one more each `interval_ms`."""

    interval_ms: float
    burst: int


def per_minute(count: int) -> Rate:
    return Rate(60_000 / count, count)


class Buckets:
    """Counts by name in this process. Bounded: the name asked for longest ago is forgotten first."""

    def __init__(self, *, names_max: int) -> None:
        self._names_max = names_max
        self._full: dict[str, float] = {}

    def take(self, name: str, rate: Rate, now_ms: float) -> float:
        """Milliseconds to wait, and 0 where it is allowed, which alone counts."""
        full = max(self._full.pop(name, now_ms), now_ms)
        wait = _wait_ms(full, rate, now_ms)
        if not wait:
            full += rate.interval_ms
        while len(self._full) >= self._names_max:
            del self._full[next(iter(self._full))]
        self._full[name] = full
        return wait

    def wait_ms(self, name: str, rate: Rate, now_ms: float) -> float:
        """What `take` would say; nothing is counted."""
        return _wait_ms(max(self._full.get(name, now_ms), now_ms), rate, now_ms)


def _wait_ms(full: float, rate: Rate, now_ms: float) -> float:
    wait = full + rate.interval_ms - now_ms - rate.interval_ms * rate.burst
    return wait if wait > SLACK_MS else 0.0

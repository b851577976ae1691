"""The only place that reads a clock. Cores take time as an argument; shells take a `Clock`."""

import time
from typing import Protocol


class Clock(Protocol):
    def unix_s(self) -> float:
        """Wall clock, seconds since 1970 (bounded skew between machines: `SKEW_S_MAX`)."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back, comparable inside one process only; leases use these."""
        ...


SKEW_S_MAX = 2.0
"""The one bound on disagreement of wall clocks; beyond it a process is not ready."""


class SystemClock:
    unix_s = staticmethod(time.time)  # noqa: TID251 - this is the place
    monotonic_s = staticmethod(time.monotonic)  # noqa: TID251 - this is the place


class ManualClock:
    """A clock that moves when told to; for simulations and tests."""

    def __init__(self, unix_s: float = 1_800_000_000.0) -> None:
        self._unix_s = unix_s
        self._monotonic_s = 0.0

    def advance(self, seconds: float) -> None:
        self._unix_s += seconds
        self._monotonic_s += seconds

    def unix_s(self) -> float:
        return self._unix_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

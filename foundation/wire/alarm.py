"""A bound on time that is moved often and rings seldom: one timer, which looks at the clock when it rings."""

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings once the time that `within` last stated has passed."""

    __slots__ = ("_due", "_loop", "_ring", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float | None) -> None:
        """From now; None: it does not ring."""
        self._due = None if seconds is None else self._loop.time() + seconds
        if self._due is None:
            return
        if self._timer is not None and self._timer.when() > self._due:
            self.cancel()
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._look)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
        else:
            self._due = None
            self._ring()

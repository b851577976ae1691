"""A bound on time that is moved often and rings seldom: one timer, which looks at the clock when it rings."""

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings once the time that `within` last stated has passed."""

    __slots__ = ("_at", "_loop", "_ring", "_timer", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self.due: float | None = None
        """When, on the loop's clock. Whoever sets it to None puts it off for good, as `within` does."""
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0  # when the timer rings

    def within(self, seconds: float | None) -> None:
        """From now; None: it does not ring."""
        if seconds is None:
            self.due = None
            return
        self.at(self._loop.time() + seconds)

    def at(self, due: float) -> None:
        """The same, on the loop's clock."""
        self.due = due
        if self._timer is not None and self._at > due:
            self.cancel()
        if self._timer is None:
            self._at = due
            self._timer = self._loop.call_at(due, self._look)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.due is None:
            return
        if self._loop.time() < self.due:
            self._at = self.due
            self._timer = self._loop.call_at(self.due, self._look)
        else:
            self.due = None
            self._ring()

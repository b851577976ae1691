"""Turns: so many at once, the others wait in line, bounded in number and time."""

import asyncio
from collections import deque


class Crowded(Exception):
    """As many wait already as may, or the turn did not come in time."""


class Turns:
    """At most `at_once` between `enter` and `leave`; at most `waiters_max` wait, each for `wait_s` at most, and are let in in their order.

    A place that becomes free is handed to whoever waits longest, so nobody who comes later goes before. Neither call waits, or takes a
    task or a timer, while there are places.
    """

    __slots__ = ("_at_once", "_inside", "_line", "_wait_s", "_waiters_max")

    def __init__(self, *, at_once: int, waiters_max: int, wait_s: float) -> None:
        self._at_once = at_once
        self._waiters_max = waiters_max
        self._wait_s = wait_s
        self._inside = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def idle(self) -> bool:
        """Whether nobody is inside; then nobody waits either."""
        return self._inside == 0

    @property
    def free(self) -> bool:
        """Whether `enter` would not wait."""
        return self._inside < self._at_once

    def enter_now(self) -> bool:
        """Whether there was a place, which is taken then."""
        if self._inside >= self._at_once:
            return False
        self._inside += 1
        return True

    async def enter(self) -> None:
        """Raises Crowded. Every return asks for one `leave`."""
        if self._inside < self._at_once:
            self._inside += 1
            return
        if len(self._line) >= self._waiters_max:
            raise Crowded
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            async with asyncio.timeout(self._wait_s):
                await place
        except BaseException as exc:
            if place in self._line:
                self._line.remove(place)
            elif not place.cancelled():
                self.leave()  # handed over in the moment of leaving the line
            if isinstance(exc, TimeoutError):
                raise Crowded from exc
            raise

    def leave(self) -> None:
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._inside -= 1

"""Wakes the polls that wait for locks. No I/O; a hint, never the truth: whoever wakes asks the database."""

import asyncio
from contextlib import suppress

from foundation.tasks import Bell

WAITERS_MAX = 500


class LockBell:
    """Rung by this process's own changes and by the listener."""

    def __init__(self) -> None:
        self.count = 0
        self._bell = Bell()
        self._waiting = 0

    @property
    def full(self) -> bool:
        """Whether as many wait as may; a further one is answered at once."""
        return self._waiting >= WAITERS_MAX

    def ring(self) -> None:
        self.count += 1
        self._bell.ring()

    async def beyond(self, count: int, wait_s: float) -> None:
        """Until it was rung more than `count` times, at most `wait_s`."""
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while self.count <= count:
                        await self._bell.heard()
        finally:
            self._waiting -= 1

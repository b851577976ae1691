"""Follows what the directory says of locks: one question after another, each answered as soon as something changes and after a second
at the latest."""

import asyncio

from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.source import LockSource
from directory.client.remote import DirectoryUnavailable
from foundation import logs
from foundation.clock import Clock
from foundation.tasks import Backoff

log = logs.get(__name__)

WAIT_MS = 1_000
PAUSE_S = 0.1
"""After an answer that came before its wait was over and says nothing new: of a directory that is leaving, or has too many who wait."""


class Following:
    """`run` is a worker of the process."""

    def __init__(self, source: LockSource, elsewhere: Elsewhere, clock: Clock, recalled: asyncio.Event) -> None:
        """`recalled`: what was heard before this process began is known."""
        self._recalled = recalled
        self._source = source
        self._elsewhere = elsewhere
        self._clock = clock

    async def run(self) -> None:
        """For ever."""
        await self._recalled.wait()
        backoff = Backoff(first_s=0.05, max_s=1.0)
        while True:
            asked_s = self._clock.monotonic_s()
            try:
                page = await self._source.page(self._elsewhere.state, wait_ms=WAIT_MS)
            except DirectoryUnavailable as exc:
                log.warning("locks_unheard", reason=exc.reason, age_s=_shown(self._elsewhere.age_s()))
                await asyncio.sleep(backoff.next_s())
                continue
            if not self._elsewhere.hear(page, asked_s):
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            if page.cells is None and self._clock.monotonic_s() - asked_s < WAIT_MS / 2_000:
                await asyncio.sleep(PAUSE_S)


def _shown(age_s: float) -> float:
    return round(min(age_s, 1e9), 1)

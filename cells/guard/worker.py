"""Keeps epochs and lease true against the cell service: follows its changes, asks about subjects met for the first time."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from cells.guard.client import CellSilent, ChangesPage
from cells.guard.core import EpochBook, Known, Lease, wait_ms
from foundation import logs
from foundation.clock import Clock
from foundation.problems import Code, Problem
from foundation.tasks import Backoff, SingleFlight
from foundation.words import SubjectId

log = logs.get(__name__)

WAIT_MS_MAX = 10_000
"""Longest long-poll."""
PAUSE_S = 0.02
"""Least time between two questions that brought nothing: a cell service that never waits is not hammered."""
ASKING_MAX = 256
"""Questions about subjects under way at once; beyond it a request is refused rather than queued."""


class CellPort(Protocol):
    """What the keeper asks of a cell service: `cells.guard.client.CellService`, or a simulated one."""

    def epoch(self, subject: SubjectId) -> Awaitable[Known | None]: ...

    def changes(self, after: int, wait_ms: int) -> Awaitable[ChangesPage]: ...


class EpochKeeper:
    """Owns an `EpochBook`. Run `follow` as a worker of the process; `aclose` ends questions that are still under way."""

    def __init__(self, cell: CellPort, clock: Clock, book: EpochBook | None = None) -> None:
        self._cell = cell
        self._clock = clock
        self._book = book or EpochBook()
        self._flight = SingleFlight()
        self._asking = 0
        self._wait_ms = 0
        self._late_ms = 0
        self._silent: bool | None = None
        self._round = asyncio.Event()

    @property
    def lease(self) -> Lease:
        return self._book.lease

    def known(self, subject: SubjectId) -> Known | None:
        return self._book.known(subject)

    async def heard(self) -> None:
        """Until the cell service answers about changes, the next time."""
        await self._round.wait()

    def ready(self) -> Problem | None:
        """None while the lease holds."""
        if self._book.lease.holds(self._clock.monotonic_s()):
            return None
        return Problem(code=Code.NOT_READY, detail="the cell service has not been heard", retry_after_s=1)

    async def ask(self, subject: SubjectId) -> None:
        """Asks the cell service about one subject; afterwards `known` holds what it said, if it said anything."""
        if self._asking >= ASKING_MAX and not self._flight.busy(subject):
            return
        await self._flight.run(subject, lambda: self._ask(subject))

    async def _ask(self, subject: SubjectId) -> None:
        question = self._book.begin(subject)
        answer: Known | None = None
        self._asking += 1
        try:
            answer = await self._cell.epoch(subject)
        except CellSilent as exc:
            log.warning("cell_silent", kind="epoch", reason=str(exc))
        finally:
            self._asking -= 1
            self._book.end(question, answer)

    async def follow(self) -> None:
        """Long-polls changes for ever. Silence is outlived: the lease runs out meanwhile, and comes back with the cell service."""
        backoff = Backoff(first_s=PAUSE_S, max_s=0.5)
        while True:
            pause_s = PAUSE_S
            try:
                if await self._poll():
                    pause_s = 0.0
                backoff.reset()
            except CellSilent as exc:
                pause_s = backoff.next_s()
                self._say_silent(str(exc))
            await asyncio.sleep(pause_s)

    async def _poll(self) -> bool:
        """One question; true when the next may follow at once. Raises CellSilent."""
        sent_s = self._clock.monotonic_s()
        page = await self._cell.changes(self._book.position, self._wait_ms)
        self._book.heard(page.changes, upto=page.next, reset=page.reset, sent_s=sent_s, lease_ms=page.lease_ms)
        self._round.set()
        self._round = asyncio.Event()
        late_ms = int((self._clock.monotonic_s() - sent_s) * 1000) - self._wait_ms
        # An answer that had something to tell did not wait: how late it was cannot be said.
        self._late_ms = max(late_ms, self._late_ms) if page.changes else max(0, late_ms)
        self._wait_ms = min(wait_ms(page.lease_ms, late_ms=self._late_ms), WAIT_MS_MAX)
        if self._silent is not False or page.reset:
            log.info("cell_heard", seq=page.next, reason="reset" if page.reset else "answered")
        self._silent = False
        return bool(page.changes) or self._clock.monotonic_s() - sent_s >= PAUSE_S

    def _say_silent(self, reason: str) -> None:
        if self._silent is not True:
            log.warning("cell_silent", kind="changes", reason=reason)
        self._silent = True

    async def aclose(self) -> None:
        await self._flight.aclose()

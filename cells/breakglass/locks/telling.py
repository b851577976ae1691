"""Tells the directory which locks stand in this cell: at once when one is made or lifted here, and a second later at most where another
process, a review or the time did it.

Nothing is kept for it beside the cell's own history, which is durable before a lock is answered: what stands follows from that, and what
was not told yet is told after a restart, an outage or a restoration of the directory.
"""

import asyncio

from cells.breakglass.book import Book
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.core import standing
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.metrics import AGE, ELSEWHERE, UNTOLD
from cells.breakglass.locks.source import LockSource, Otherwise, Shorter
from directory.client.remote import DirectoryUnavailable
from directory.locks.core import LOCKS_MAX, LockStands, TellRequest, ToldAnswer
from foundation import logs
from foundation.clock import Clock
from foundation.problems import ProblemError
from foundation.tasks import Backoff
from foundation.words import CellId

log = logs.get(__name__)

LOOK_S = 1.0
"""Between two looks at the book while nobody calls."""
TRIES_MAX = 3
"""Of one telling, where somebody else of this cell is faster."""


class Telling:
    """`run` is a worker of the process."""

    def __init__(self, *, cell: CellId, keeper: Keeper, source: LockSource, elsewhere: Elsewhere, clock: Clock) -> None:
        self._cell = cell
        self._keeper = keeper
        self._source = source
        self._elsewhere = elsewhere
        self._clock = clock
        self._called = asyncio.Event()
        self._told: tuple[tuple[LockStands, ...], int] | None = None
        self._told_s = float("-inf")
        self._number = 0
        self._untold_since_s: float | None = None
        self._waits = ""

    def alarm(self) -> None:
        """A lock was made or lifted: look now."""
        self._called.set()

    def told(self, book: Book, at_us: int) -> bool:
        """Whether the directory has taken what stands by this book."""
        return self._told == (standing(book, at_us, self._elsewhere.issuer), book.locking)

    async def run(self) -> None:
        """For ever."""
        backoff = Backoff(first_s=0.05, max_s=1.0)
        while True:
            self._called.clear()
            told = await self._round()
            self._observe()
            if told:
                backoff.reset()
            wait_s = LOOK_S if told else backoff.next_s()
            try:
                async with asyncio.timeout(wait_s):
                    await self._called.wait()
            except TimeoutError:
                continue

    async def _round(self) -> bool:
        """Whether all that stands is told."""
        try:
            for _ in range(TRIES_MAX):
                book, at_us = await self._keeper.book()
                now = standing(book, at_us, self._elsewhere.issuer), book.locking
                if self._holds(now):
                    self._untold_since_s, self._waits = None, ""
                    return True
                if self._untold_since_s is None:
                    self._untold_since_s = self._clock.monotonic_s()
                if not await self._tell(*now):
                    return False
        except ProblemError as exc:
            self._wait(exc.problem.code.value)
        except DirectoryUnavailable as exc:
            self._wait(exc.reason)
        return False

    def _wait(self, why: str) -> None:
        """Said once for each reason, not at each try."""
        if why != self._waits:
            log.warning("locks_untold", reason=why)
        self._waits = why

    def _holds(self, now: tuple[tuple[LockStands, ...], int]) -> bool:
        """Whether the directory has it, and has not lost it since."""
        if self._told != now:
            return False
        held, asked_s = self._elsewhere.own
        if asked_s <= self._told_s:
            return True
        if held is None or held.number < self._number or held.locks != now[0]:
            log.warning("locks_lost", seq=self._number, reason="the directory holds another telling: restored?")
            self._told = None
            return False
        self._number = held.number
        return True

    async def _tell(self, locks: tuple[LockStands, ...], locking: int) -> bool:
        """Whether it is worth another look at once. Raises DirectoryUnavailable."""
        if len(locks) > LOCKS_MAX:
            log.error("locks_untold", reason="too many", count=len(locks))
            return False
        answer = await self._source.tell(self._cell, TellRequest(after=self._number, locking=locking, locks=locks))
        match answer:
            case ToldAnswer(number=number):
                self._told, self._told_s, self._number = (locks, locking), self._clock.monotonic_s(), number
            case Otherwise(number=number):
                self._number = number
            case Shorter():
                log.error("locks_shorter", reason="the directory was told of more than this cell's history holds")
                return False
        return True

    def _observe(self) -> None:
        since_s = self._untold_since_s
        UNTOLD.set(0 if since_s is None else self._clock.monotonic_s() - since_s)
        AGE.set(min(self._elsewhere.age_s(), 1e9))
        ELSEWHERE.set(sum(1 for _ in self._elsewhere.locks()))

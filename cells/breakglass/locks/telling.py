"""Tells the directory which locks stand in this cell: at once when one is made or lifted here, and a second later at most where another
process, a review or the time did it.

Nothing is kept for it beside the cell's own history, which is durable before a lock is answered: what stands follows from that, and what
was not told yet is told after a restart, an outage or a restoration of the directory.
"""

import asyncio

from cells.breakglass.book import Book
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.core import standing, telling
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.metrics import AGE, ELSEWHERE, KEPT, UNTOLD
from cells.breakglass.locks.source import LockSource, Otherwise, Overfull
from directory.client.remote import DirectoryUnavailable
from directory.locks.core import LOCKS_MAX, TellRequest, ToldAnswer
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

    def __init__(
        self,
        *,
        cell: CellId,
        keeper: Keeper,
        source: LockSource,
        elsewhere: Elsewhere,
        clock: Clock,
        recalled: asyncio.Event,
    ) -> None:
        """`recalled`: what was heard before this process began is known; nothing is told before, since it may be what nobody else knows."""
        self._recalled = recalled
        self._cell = cell
        self._keeper = keeper
        self._source = source
        self._elsewhere = elsewhere
        self._clock = clock
        self._called = asyncio.Event()
        self._told: TellRequest | None = None
        self._told_s = float("-inf")
        self._number = 0
        self._steps = 0
        self._untold_since_s: float | None = None
        self._waits = ""

    def alarm(self) -> None:
        """A lock was made or lifted: look now."""
        self._called.set()

    def told(self, book: Book, at_us: int) -> bool:
        """Whether the directory has taken what stands by this book."""
        told, now = self._told, standing(book, at_us, self._elsewhere.issuer)
        return told is not None and told.locks == now and told.history is not None and told.history.digest == book.head

    async def run(self) -> None:
        """For ever."""
        backoff = Backoff(first_s=0.05, max_s=1.0)
        while True:
            self._called.clear()
            told = await self._round() if self._recalled.is_set() else self._late()
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
                asked = await self._asked()
                if self._holds(asked):
                    self._untold_since_s, self._waits = None, ""
                    return True
                self._late()
                if not await self._tell(asked):
                    return False
        except ProblemError as exc:
            self._wait(exc.problem.code.value)
        except DirectoryUnavailable as exc:
            self._wait(exc.reason)
        return False

    def _late(self) -> bool:
        """From now on at the latest something waits to be told."""
        if self._untold_since_s is None:
            self._untold_since_s = self._clock.monotonic_s()
        return False

    def _wait(self, why: str) -> None:
        """Said once for each reason, not at each try."""
        if why != self._waits:
            log.warning("locks_untold", reason=why)
        self._waits = why

    async def _asked(self) -> TellRequest:
        """What is to be told now. Raises ProblemError."""
        book, at_us = await self._keeper.book()
        return telling(
            book,
            at_us,
            self._elsewhere.issuer,
            number=self._number,
            steps=self._steps,
            held=self._elsewhere.own_locks(),
            known=self._elsewhere.newest,
        )

    def _holds(self, now: TellRequest) -> bool:
        """Whether the directory has it, what is kept included, and has not lost it since."""
        if self._told is None or (self._told.locks, self._told.history) != (now.locks, now.history):
            return False
        held, asked_s = self._elsewhere.own
        if asked_s <= self._told_s:
            return True
        newest = max(self._number, self._elsewhere.number)
        if held is None or held.number < newest or {*held.told} != {*now.locks} or not {*now.kept} <= {*held.locks}:
            log.warning("locks_lost", seq=newest, reason="the directory holds another telling: restored?")
            self._told = None
            return False
        self._number, self._steps = held.number, held.steps
        return not now.lifted

    async def _tell(self, asked: TellRequest) -> bool:
        """Whether it is worth another look at once. Raises DirectoryUnavailable."""
        if len(asked.locks) > LOCKS_MAX:
            log.error("locks_untold", reason="too many", count=len(asked.locks))
            return False
        if len(asked.kept) > LOCKS_MAX:
            return self._overfull()
        answer = await self._source.tell(self._cell, asked)
        match answer:
            case ToldAnswer(number=number, parted=parted):
                self._told, self._told_s, self._number = asked, self._clock.monotonic_s(), number
                self._elsewhere.taken(asked, number)
                self._steps = 0 if asked.history is None else asked.history.steps
                if parted:
                    log.error("locks_parted", seq=number, reason="told before by another history: restored? it is kept")
            case Otherwise(number=number, steps=steps):
                if number > self._elsewhere.number:
                    return False  # to be heard first: an operator may have forgotten what this cell would tell again
                self._number, self._steps = number, steps
            case Overfull():
                return self._overfull()
        return True

    def _overfull(self) -> bool:
        log.error("locks_overfull", reason="more was told by histories that are lost than is kept")
        return False

    def _observe(self) -> None:
        since_s = self._untold_since_s
        UNTOLD.set(0 if since_s is None else self._clock.monotonic_s() - since_s)
        AGE.set(min(self._elsewhere.age_s(), 1e9))
        ELSEWHERE.set(sum(len(told.locks) for told in self._elsewhere.others))
        KEPT.set(len(self._elsewhere.kept()))

"""The book as the outbox of the cell's first shard has it, and the one way to write in it: a step and its record in one transaction.

Writers take turns by a lock in the database, so a second process of this cell sees what the first has done. The book in memory is a copy,
ahead of the database only inside a transaction: whatever goes wrong there, it is read anew.
"""

import asyncio
from collections.abc import Callable, Sequence

from cells.breakglass.book import Book
from cells.breakglass.core import take
from cells.breakglass.refusals import Refused
from cells.breakglass.replay import Unfit, event_id, fold
from cells.breakglass.steps import AnyStep, MalformedStep, Taken
from cells.breakglass.store import PAGE, Row, Steps, Turn
from foundation import logs
from foundation.clock import Clock
from foundation.problems import Code, refuse
from foundation.words import ActorId

log = logs.get(__name__)

Decide = Callable[[Book, int], Sequence[AnyStep] | Refused]
"""(book, time) → the steps to take, or why none is. Synchronous: the book stands still meanwhile."""


class NotRecorded(Exception):
    """The outbox holds another event under the name of a step, so that the step was not written."""


class Keeper:
    """Owns the copy."""

    def __init__(self, steps: Steps, clock: Clock) -> None:
        self._steps = steps
        self._clock = clock
        self._mutex = asyncio.Lock()
        self._book = Book()
        self._history: list[Taken] = []
        self._position = 0
        self._last: Row | None = None
        self._held: Book | None = None
        """The copy as it was held last."""

    async def book(self) -> tuple[Book, int]:
        """As it stands in the database now, and the time; to be read, and not kept over an await. Raises ProblemError."""
        await self.act(ActorId(""), lambda _book, _at_us: ())
        return self._book, self.now_us()

    def glance(self) -> Book | None:
        """The copy as it is held, to be read and not kept: perhaps behind what another process has written, never behind what this one has.
        While it is to be read anew, as it was held last, with steps that may not have been written. None before it was read first."""
        return self._held

    async def history(self) -> list[Taken]:
        """Every step, oldest first. Raises ProblemError."""
        await self.book()
        return list(self._history)

    async def act(self, by: ActorId, decide: Decide) -> Book:
        """Takes the steps that `decide` names, all of them or none, durably. Raises ProblemError: its refusal, a lost shard, or a
        history that does not hold together: nothing is granted on that."""
        async with self._mutex:
            try:
                async with self._steps.turn() as turn:
                    refused = await self._acted(turn, by, decide)
            except (MalformedStep, Unfit, NotRecorded) as exc:
                self._forget()
                log.fault("access_history_unfit", exc)
                raise refuse(Code.NOT_READY, "what is recorded of access does not hold together; see the log") from exc
            except BaseException:
                self._forget()
                raise
            if refused is not None:
                raise refused.error()
            return self._book

    async def _acted(self, turn: Turn, by: ActorId, decide: Decide) -> Refused | None:
        await self._catch_up(turn)
        at_us = self.now_us()
        steps = decide(self._book, at_us)
        if isinstance(steps, Refused):
            return steps
        named: list[tuple[str, Taken]] = []
        for step in steps:
            taken = Taken(at_us, by, step)
            name = event_id(taken, self._book)
            refused = take(self._book, taken)
            if refused is not None:
                if named:
                    self._forget()
                return refused
            named.append((name, taken))
        if named:
            await turn.record(named)
            await self._written(turn, named)
        return None

    async def _written(self, turn: Turn, named: Sequence[tuple[str, Taken]]) -> None:
        """The rows are there as they were given. Raises NotRecorded."""
        found = (await turn.rows(self._position + 1))[: len(named)]
        if [(row.id, row.taken) for row in found] != list(named):
            raise NotRecorded(f"{len(named)} steps were to be recorded")
        self._position, self._last = found[-1].position, found[-1]
        self._history += [taken for _, taken in named]

    async def _catch_up(self, turn: Turn) -> None:
        """Raises MalformedStep, Unfit, ProblemError."""
        while True:
            rows = await turn.rows(self._position)
            if self._last is not None and (not rows or rows[0] != self._last):
                log.warning("access_history_changed", seq=self._position)
                self._forget()
                continue
            fresh = rows if self._last is None else rows[1:]
            if not fresh:
                break
            fold((row.taken for row in fresh), self._book)
            self._position, self._last = fresh[-1].position, fresh[-1]
            self._history += [row.taken for row in fresh]
            if len(rows) < PAGE:
                break
        self._held = self._book

    def now_us(self) -> int:
        """Microseconds since 1970, and never before what was recorded last: clocks of two processes may differ."""
        return max(int(self._clock.unix_s() * 1_000_000), self._book.at_us)

    def _forget(self) -> None:
        self._book, self._history, self._position, self._last = Book(), [], 0, None

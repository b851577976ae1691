"""The record of the door: a statement stands in the cell's ledger before it runs, and what came of it soon after.

Rules that it keeps:
- An intent is told of once the statement is durable in the ledger and the session may still run it; else of why it must not.
- What a statement came to is written later, with others; while too much of that waits, nothing runs.
- A session that could not be recorded does not begin; what cannot be recorded at its end is tried again while the process lives.
- None begins before it is known what processes before this one have left: what a grant has had it has had, whoever counted.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from cells.breakglass.door.ports import Column, Ending, Intent, NotRun, Outcome, Session, Spent, Statement
from cells.breakglass.statements import entries
from cells.breakglass.statements.before import Left
from cells.breakglass.statements.entries import Result, result_of
from cells.breakglass.statements.reading import Finding
from cells.breakglass.statements.spending import Spending, size_of
from cells.breakglass.statements.watching import Watch
from cells.breakglass.words import SECOND_US
from foundation import logs
from foundation.clock import Clock
from foundation.ledger.committing import Committer, NotCommitted, Waiting
from foundation.ledger.port import Spelled
from foundation.tasks import Backoff

log = logs.get(__name__)

SOURCE = "access.door"
"""What these entries come from. Shards' outboxes are sources by the shards' names, in which there is no dot."""
GATHER_S = 0.1
"""How long results gather."""
RESULTS_MAX = 500
"""Of one session in one entry."""
KNOWN_S_MAX = 5.0
"""Longest wait for what processes before this one have left; beyond it a session does not begin."""
LEFT = "left by its process"
"""Why a session has ended whose process did before it could say so."""
WAITING_MAX = 5_000
"""Results that wait to be written. Beyond it nothing runs."""


class _Held:
    """A session, and what of it is not written yet. `written`: entries of results; `numbered`: the last statement that was intended;
    `untold`: of how many nobody knows what came; `columns`: what it was shown, `last` by the last result; `closing`: why it ended."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.results: list[Result] = []
        self.written = 0
        self.numbered = 0
        self.untold = 0
        self.columns: dict[Column, None] = {}
        self.last: tuple[Column, ...] = ()
        self.closing: str | None = None
        self.turn = asyncio.Lock()


def _left(one: Left) -> _Held:
    """As of its own process, at its end."""
    held = _Held(one.session)
    held.numbered, held.untold, held.columns, held.closing = one.numbered, one.untold, dict.fromkeys(one.columns), LEFT
    return held


class _Intent:
    """Implements `cells.breakglass.door.ports.Intent`."""

    __slots__ = ("_waiting", "_withheld")

    def __init__(self, waiting: Waiting, withheld: Callable[[Ending], None]) -> None:
        self._waiting = waiting
        self._withheld = withheld

    def give_up(self) -> None:
        """It may stand in the ledger, and it was not run."""
        self._waiting.give_up()
        self._withheld(Ending.NOT_RECORDED)


class Recorder:
    """Implements `cells.breakglass.door.ports.Record`. `run` is a worker of the process, beside those of the committer and the watch."""

    def __init__(self, committer: Committer, watch: Watch, clock: Clock, finding: Finding, spending: Spending) -> None:
        """`finding`: what stands in the ledger already."""
        self._finding = finding
        self._known = asyncio.Event()
        self._committer = committer
        self._watch = watch
        self._clock = clock
        self._spending = spending
        self._held: dict[str, _Held] = {}
        self._waiting = 0

    async def spent(self, grant: str) -> Spent:
        await self._until_known()
        return self._spending.before(grant)

    async def opened(self, session: Session, backend: str, end: Callable[[Ending], None]) -> None:
        await self._until_known()
        await self._watch.begin(session, end)
        try:
            at = self._clock.unix_s()
            self._spending.opened(session, at)
            event = entries.opened(session, backend, at)
            self._spend(session.grant, size_of(event))
            await self._commit(event)
        except BaseException:
            self._watch.leave(session.id)
            raise
        self._held[session.id] = _Held(session)

    def intend(self, statement: Statement, then: Callable[[Ending | None], None]) -> Intent:
        held = self._held.get(statement.session)
        if held is None or held.closing is not None:
            raise NotRun(Ending.UNKNOWN)
        if self._waiting >= WAITING_MAX:
            raise NotRun(Ending.NOT_RECORDED)
        why = self._watch.why(held.session.id)
        if why is not None:
            raise NotRun(why)
        event = self._affordable(held, statement)
        withheld = partial(self._withheld, held, statement.number)
        try:
            told = partial(self._committed, held, statement.number, then)
            return _Intent(self._committer.begin(event, told, again=True), withheld)
        except NotCommitted as exc:
            withheld(Ending.NOT_RECORDED)
            raise NotRun(Ending.NOT_RECORDED) from exc

    def ended(self, outcome: Outcome) -> None:
        held = self._held.get(outcome.session)
        if held is not None:
            if outcome.columns is not held.last:
                held.last = outcome.columns
                held.columns |= dict.fromkeys(outcome.columns)
            self._gather(held, result_of(outcome))

    async def closed(self, session_id: str, why: str) -> None:
        held = self._held.get(session_id)
        self._watch.leave(session_id)
        if held is None or held.closing is not None:
            return
        held.closing = why
        await self._give_on(held)

    async def run(self) -> None:
        """For ever: writes what has gathered; at first the ends of sessions that a process before this one left without."""
        left, spent = await self._finding.found(lambda: round(self._clock.unix_s() * SECOND_US))
        self._spending.begin(spent)
        for one in left:
            self._spending.opened(one.session, self._clock.unix_s())
            self._held[one.session.id] = _left(one)
        self._known.set()
        await self._write()

    async def _until_known(self) -> None:
        """Raises NotRun."""
        try:
            async with asyncio.timeout(KNOWN_S_MAX):
                await self._known.wait()
        except TimeoutError as exc:
            raise NotRun(Ending.NOT_RECORDED) from exc

    async def _write(self) -> None:
        backoff = Backoff(first_s=GATHER_S, max_s=5.0)
        while True:
            await asyncio.sleep(GATHER_S)
            some = [held for held in self._held.values() if held.results or held.closing is not None]
            if all(await asyncio.gather(*(self._give_on(held) for held in some))):
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s())

    def _committed(
        self, held: _Held, number: int, then: Callable[[Ending | None], None], told: int | NotCommitted
    ) -> None:
        """An intent is durable, or nobody knows that it is."""
        if isinstance(told, NotCommitted):
            why: Ending | None = Ending.NOT_RECORDED
        else:
            held.numbered = number
            why = self._watch.why(held.session.id)
        if why is not None:
            self._withheld(held, number, why)
        then(why)

    def _affordable(self, held: _Held, statement: Statement) -> Spelled:
        """Its entry, which the grant may still put on the record. Raises NotRun."""
        try:
            event = entries.intended(held.session, statement, self._clock.unix_s())
            size = size_of(event)
        except ValueError as exc:
            self._withheld(held, statement.number, Ending.NOT_RECORDED)
            raise NotRun(Ending.NOT_RECORDED) from exc
        self._spend(held.session.grant, size)
        return event

    def _spend(self, grant: str, size: int) -> None:
        """Raises NotRun where that is more than is left."""
        if not self._spending.fits(grant, size):
            raise NotRun(Ending.SPENT)
        self._spending.add(grant, size)

    def _withheld(self, held: _Held, number: int, why: Ending) -> None:
        self._gather(held, Result(number=number, withheld=why.value))

    def _gather(self, held: _Held, result: Result) -> None:
        held.results.append(result)
        self._waiting += 1

    async def _give_on(self, held: _Held) -> bool:
        """Writes the results that a session has, and its end once there are no more; whether all is. If not, nothing is forgotten."""
        try:
            async with held.turn:
                due = len(held.results)  # what comes meanwhile gathers, unless nothing more comes
                while due > 0 or (held.results and held.closing is not None):
                    due -= await self._write_results(held)
                if held.closing is not None and held.session.id in self._held:
                    await self._write_end(held, held.closing)
                    del self._held[held.session.id]
        except NotCommitted as exc:
            log.fault("access_results_wait", exc, count=self._waiting, shard=held.session.shard)
            return False
        return True

    async def _write_results(self, held: _Held) -> int:
        """How many. Raises NotCommitted."""
        batch = tuple(held.results[:RESULTS_MAX])
        event = entries.ended(held.session, held.written + 1, batch, self._clock.unix_s())
        await self._committer.commit(event)
        self._spending.add(held.session.grant, size_of(event))
        held.written += 1
        del held.results[: len(batch)]
        self._waiting -= len(batch)
        return len(batch)

    async def _write_end(self, held: _Held, why: str) -> None:
        """And a notice for each subject, where anything was asked. Raises NotCommitted."""
        at = self._clock.unix_s()
        told = (
            entries.notices(held.session, held.numbered, held.columns, at, untold=held.untold) if held.numbered else ()
        )
        last = entries.closed(held.session, why, held.numbered, at)
        await asyncio.gather(*(self._committer.commit(one) for one in told))
        await self._committer.commit(last)
        self._spending.add(held.session.grant, size_of(last) + sum(map(size_of, told[:1])) * len(told))

    async def _commit(self, event: Spelled) -> None:
        """Raises NotRun."""
        try:
            await self._committer.commit(event)
        except NotCommitted as exc:
            raise NotRun(Ending.NOT_RECORDED) from exc

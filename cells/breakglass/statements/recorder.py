"""The record of the door: a statement stands in the cell's ledger before it runs, and what came of it soon after.

Rules that it keeps:
- `intend` returns once the statement is durable in the ledger and the session may still run it; in every other case it raises.
- What a statement came to is written later, with others; while too much of that waits, nothing runs.
- A session that could not be recorded does not begin; what cannot be recorded at its end is tried again while the process lives.
"""

import asyncio
from collections.abc import Callable

from cells.breakglass.door.ports import Column, Ending, NotRun, Outcome, Session, Statement
from cells.breakglass.statements import entries
from cells.breakglass.statements.entries import Result, result_of
from cells.breakglass.statements.history import Left
from cells.breakglass.statements.reading import DoorLog
from cells.breakglass.statements.watching import Watch
from cells.breakglass.words import SECOND_US
from foundation import logs
from foundation.clock import Clock
from foundation.ledger.committing import Committer, NotCommitted
from foundation.ledger.port import Event
from foundation.problems import ProblemError
from foundation.tasks import Backoff

log = logs.get(__name__)

SOURCE = "access.door"
"""What these entries come from. Shards' outboxes are sources by the shards' names, in which there is no dot."""
GATHER_S = 0.1
"""How long results gather."""
RESULTS_MAX = 500
"""Of one session in one entry."""
SETTLE_S = 1.0
"""Between two looks at a log that cannot be read yet."""
LEFT = "left by its process"
"""Why a session has ended whose process did before it could say so."""
WAITING_MAX = 5_000
"""Results that wait to be written. Beyond it nothing runs."""


class _Held:
    """A session, and what of it is not written yet. `written`: entries of results; `numbered`: the last statement that was intended;
    `columns`: what it was shown; `closing`: why it ended."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.results: list[Result] = []
        self.written = 0
        self.numbered = 0
        self.columns: dict[Column, None] = {}
        self.closing: str | None = None
        self.turn = asyncio.Lock()


def _left(one: Left) -> _Held:
    """As of its own process, at its end."""
    opened = one.opened
    session = Session(
        id=opened.session,
        grant=opened.grant,
        engineer=one.engineer,
        certificate=opened.certificate,
        purpose=opened.purpose,
        ticket=opened.ticket,
        shard=opened.shard,
        inside=opened.inside,
        subjects=opened.subjects,
        expires_at=opened.until_us / SECOND_US,
    )
    held = _Held(session)
    held.numbered, held.columns, held.closing = one.numbered, one.columns, LEFT
    return held


class Recorder:
    """Implements `cells.breakglass.door.ports.Record`. `run` is a worker of the process, beside those of the committer and the watch."""

    def __init__(self, committer: Committer, watch: Watch, clock: Clock, before: DoorLog) -> None:
        """`before`: what stands in the ledger already."""
        self._before = before
        self._own: set[str] | None = set()
        self._committer = committer
        self._watch = watch
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._waiting = 0

    async def opened(self, session: Session, backend: str, end: Callable[[Ending], None]) -> None:
        await self._watch.begin(session, end)
        if self._own is not None:
            self._own.add(session.id)
        try:
            await self._commit(entries.opened(session, backend, self._clock.unix_s()))
        except BaseException:
            self._watch.leave(session.id)
            raise
        self._held[session.id] = _Held(session)

    async def intend(self, statement: Statement) -> None:
        held = self._held.get(statement.session)
        if held is None or held.closing is not None:
            raise NotRun(Ending.UNKNOWN)
        if self._waiting >= WAITING_MAX:
            raise NotRun(Ending.NOT_RECORDED)
        self._may_run(held, None)
        try:
            await self._commit(entries.intended(held.session, statement, self._clock.unix_s()))
        except BaseException as exc:
            # Also of whoever gave up meanwhile: it may stand in the ledger, and it was not run.
            self._withheld(held, statement.number, Ending.NOT_RECORDED)
            if isinstance(exc, ValueError):
                raise NotRun(Ending.NOT_RECORDED) from exc
            raise
        held.numbered = statement.number
        self._may_run(held, statement.number)

    def ended(self, outcome: Outcome) -> None:
        held = self._held.get(outcome.session)
        if held is not None:
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
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settle(), name="access sessions before")
            group.create_task(self._write(), name="access results")

    async def _settle(self) -> None:
        """Once the log can be read."""
        while self._own is not None:
            try:
                found = await self._before.left()
            except ProblemError:
                await asyncio.sleep(SETTLE_S)
                continue
            for one in found:
                if one.opened.session not in self._own:
                    self._held[one.opened.session] = _left(one)
            self._own = None

    async def _write(self) -> None:
        backoff = Backoff(first_s=GATHER_S, max_s=5.0)
        while True:
            await asyncio.sleep(GATHER_S)
            some = [held for held in self._held.values() if held.results or held.closing is not None]
            if all(await asyncio.gather(*(self._give_on(held) for held in some))):
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s())

    def _may_run(self, held: _Held, intended: int | None) -> None:
        """`intended`: the number under which it stands in the ledger already. Raises NotRun."""
        why = self._watch.why(held.session.id)
        if why is None:
            return
        if intended is not None:
            self._withheld(held, intended, why)
        raise NotRun(why)

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
        await self._committer.commit(entries.ended(held.session, held.written + 1, batch, self._clock.unix_s()))
        held.written += 1
        del held.results[: len(batch)]
        self._waiting -= len(batch)
        return len(batch)

    async def _write_end(self, held: _Held, why: str) -> None:
        """And a notice for each subject, where anything was asked. Raises NotCommitted."""
        at = self._clock.unix_s()
        if held.numbered:
            told = entries.notices(held.session, held.numbered, held.columns, at)
            await asyncio.gather(*(self._committer.commit(one) for one in told))
        await self._committer.commit(entries.closed(held.session, why, held.numbered, at))

    async def _commit(self, event: Event) -> None:
        """Raises NotRun, ValueError."""
        try:
            await self._committer.commit(event)
        except NotCommitted as exc:
            raise NotRun(Ending.NOT_RECORDED) from exc

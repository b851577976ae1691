"""Entries straight into the log that this process writes, with no outbox between: durable when whoever waits is told.

Whoever waits while the disk writes shares the next write, and so do those whom that one lets go, where they come back soon
(`sharing`). What is committed so stands in the log alone: a log that is begun anew does not take it in again.

A thread of its own writes what the event loop has sealed. It is woken once a write, and so is the loop, by what came of it.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple, TypeAlias

from foundation import logs
from foundation.ledger import metrics
from foundation.ledger.ahead import LogBehind
from foundation.ledger.draining import Writer
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.port import Spelled
from foundation.ledger.salts import Salts
from foundation.ledger.segments import Sealed, sealed_of
from foundation.ledger.sharing import Sharing

log = logs.get(__name__)

ROWS_MAX = 500
"""Entries that go into one write."""
BYTES_MAX = 16 << 20
"""Of their details, beyond the first one's."""
SHARED_ENOUGH = 32
"""Where so many wait, the next write waits for nobody else."""
WAITING_MAX = 4_096
"""Entries that may wait, those included that are being written. Another one is refused."""
COMMIT_S_MAX = 5.0
"""Longest wait for the disk. What was being written then may stand in the log all the same."""


class NotCommitted(Exception):
    """It is not known to be durable: the log cannot be written just now, or the disk does not answer in time."""


Then: TypeAlias = Callable[[int | NotCommitted], None]
"""Hears of the index of an entry, durably, or why there is none. Never raises."""


class Waiting:
    """One that waits to be told, once. `by`: when it is given up, on the loop's clock. `again`: whether whoever it is may come back."""

    __slots__ = ("_then", "again", "by", "event")

    def __init__(self, event: Spelled, then: Then, by: float, *, again: bool) -> None:
        self.event = event
        self.by = by
        self.again = again
        self._then: Then | None = then

    @property
    def waits(self) -> bool:
        return self._then is not None

    def tell(self, what: int | NotCommitted) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(what)

    def give_up(self) -> None:
        """It is told nothing any more, and left out of the writes to come. The one under way may have it."""
        self._then = None


Written: TypeAlias = range | OSError | LogBehind | LogBroken | ValueError
"""The indexes of a batch, or why there are none."""


class _Turn(NamedTuple):
    """A write that the thread is to do: `sealed` goes into `opened`."""

    opened: Log
    batch: Sequence[Waiting]
    sealed: Sealed


class Committer:
    """Appends to the log while it is open, as one source of it. `run` is a worker of the process."""

    def __init__(self, writer: Writer, source: str) -> None:
        """`source`: none of those that a drain takes in."""
        self._writer = writer
        self._source = source
        self._salts = Salts(secrets.token_bytes)
        self._queue: deque[Waiting] = deque()
        """Those who are not written yet, nor being written."""
        self._waiting: deque[Waiting] = deque()
        """Those who are not told yet, the oldest first."""
        self._turns: SimpleQueue[_Turn | None] = SimpleQueue()
        """For the thread; None where there are no more."""
        self._writing, self._begun_s = False, 0.0
        """Whether it has one to do, and since when on the loop's clock."""
        self._on: asyncio.AbstractEventLoop | None = None
        self._sharing = Sharing()
        self._patience: asyncio.TimerHandle | None = None
        self._overdue: asyncio.TimerHandle | None = None

    def begin(self, event: Spelled, then: Then, *, again: bool = False) -> Waiting:
        """`then` is called once, from the event loop and after this has returned, unless it gives up. `again`: once told, whoever asks may
        ask for the next one at once. Raises NotCommitted where nothing can be written just now."""
        if self._writer.log is None or len(self._waiting) >= WAITING_MAX:
            raise NotCommitted("the log cannot be written just now")
        loop = self._loop
        now_s = loop.time()
        waiting = Waiting(event, then, now_s + COMMIT_S_MAX, again=again)
        self._waiting.append(waiting)
        self._queue.append(waiting)
        if again:
            self._sharing.came()
        if not self._writing:
            self._write_unless_shared(now_s)
        if self._overdue is None:
            self._overdue = loop.call_at(
                self._waiting[0].by, self._give_up
            )  # somebody older may wait: whoever is told may begin anew
        return waiting

    async def commit(self, event: Spelled, *, again: bool = False) -> int:
        """The index of its entry, durably. Raises NotCommitted."""
        done: asyncio.Future[int] = self._loop.create_future()
        waiting = self.begin(event, partial(_resolve, done), again=again)
        try:
            return await done
        finally:
            waiting.give_up()

    async def run(self) -> None:
        """For ever. Whoever still waits when it is cancelled is told that nothing is known."""
        loop = self._loop
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-committing") as thread:
            try:
                await asyncio.shield(loop.run_in_executor(thread, self._write, loop))
            finally:
                self._turns.put(None)
                left = [*self._waiting]
                self._waiting.clear()
                for timer in (self._patience, self._overdue):
                    if timer is not None:
                        timer.cancel()
                self._patience = self._overdue = None
                _tell(left, NotCommitted("the process ends"))

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """Asked for once: Python 3.11 answers with a system call."""
        if self._on is None:
            self._on = asyncio.get_running_loop()
        return self._on

    # --- who shares a write --------------------------------------------------------------------------------------------------

    def _write_unless_shared(self, now_s: float) -> None:
        """While the thread does not write. Where more are waited for, this is called again once they have come, or are waited for no
        more."""
        if not self._queue:
            return
        if len(self._queue) < SHARED_ENOUGH and self._sharing.waits(now_s):
            if self._patience is None:
                self._patience = self._loop.call_at(self._sharing.until_s, self._alone)
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        batch = self._batch()
        if batch:
            self._writing, self._begun_s = True, now_s
            self._hand_over(batch)

    def _alone(self) -> None:
        """Somebody waits, and nobody is waited for any more."""
        self._patience = None
        self._sharing.waited_in_vain()
        self._write_unless_shared(self._loop.time())

    def _batch(self) -> list[Waiting]:
        """The oldest that fit into one write. Who gave up while waiting is left out: it was never written."""
        batch, size = list[Waiting](), 0
        while self._queue:
            waiting = self._queue[0]
            if waiting.waits:
                size += len(waiting.event.details)
                if batch and (size > BYTES_MAX or len(batch) == ROWS_MAX):
                    break
                batch.append(waiting)
            self._queue.popleft()
        return batch

    def _hand_over(self, batch: Sequence[Waiting]) -> None:
        """Seals a batch here, where it was made, and gives it to the thread. Nobody else appends for this source."""
        opened = self._writer.log
        try:
            if opened is None:
                raise LogBroken("the log is not open")
            first = opened.seen(self._source).position + 1
            rows = [_recorded(waiting.event, first + at) for at, waiting in enumerate(batch)]
            self._turns.put(_Turn(opened, batch, sealed_of(self._source, rows, self._salts.take)))
        except (LogBroken, ValueError) as exc:
            self._loop.call_soon(self._told, batch, exc)

    # --- what came of it -----------------------------------------------------------------------------------------------------

    def _told(self, batch: Sequence[Waiting], written: Written) -> None:
        """The next write begins before anybody hears of this one, where it waits for none of them."""
        now_s, self._writing = self._loop.time(), False
        again = sum(one.again for one in batch) if isinstance(written, range) else 0
        self._sharing.let_go(again, now_s, now_s - self._begun_s)
        self._write_unless_shared(now_s)
        if isinstance(written, range):
            for index, waiting in zip(written, batch, strict=True):
                waiting.tell(index)
        else:
            log.fault("ledger_not_committed", written, count=len(batch))
            if isinstance(written, LogBehind):
                metrics.WRITABLE.set(0)
            refused = NotCommitted("the log cannot be written just now")
            refused.__cause__ = written
            _tell(batch, refused)
        self._forget()

    def _give_up(self) -> None:
        """Tells those whose time is over. One timer serves all: they come in the order of their times."""
        loop, self._overdue = self._loop, None
        late = NotCommitted(f"the disk did not answer within {COMMIT_S_MAX:.0f} s")
        _tell([one for one in self._waiting if one.by <= loop.time()], late)
        while self._queue and not self._queue[0].waits:
            self._queue.popleft()
        self._forget()
        if self._waiting and self._overdue is None:
            self._overdue = loop.call_at(self._waiting[0].by, self._give_up)

    def _forget(self) -> None:
        while self._waiting and not self._waiting[0].waits:
            self._waiting.popleft()

    # --- in the thread -------------------------------------------------------------------------------------------------------

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        """Batch after batch, until the process ends."""
        while (turn := self._turns.get()) is not None:
            loop.call_soon_threadsafe(self._told, turn.batch, _written(turn))


def _written(turn: _Turn) -> Written:
    try:
        return turn.opened.append_sealed(turn.sealed)
    except (OSError, LogBehind, LogBroken, ValueError) as exc:
        return exc


def _recorded(event: Spelled, position: int) -> Recorded:
    return Recorded(
        position=position,
        id=event.id,
        at_us=round(event.at * 1_000_000),
        kind=event.kind.value,
        actor=event.actor,
        subject_id=event.subject_id,
        details=event.details,
    )


def _resolve(done: asyncio.Future[int], what: int | NotCommitted) -> None:
    if done.done():
        return
    if isinstance(what, NotCommitted):
        done.set_exception(what)
    else:
        done.set_result(what)


def _tell(those: Iterable[Waiting], refused: NotCommitted) -> None:
    for waiting in those:
        waiting.tell(refused)

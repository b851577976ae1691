"""Entries straight into the log that this process writes, with no outbox between: durable when whoever waits is told.

Whoever waits while the disk writes shares the next write. What is committed so stands in the log alone: a log that is begun anew does not
take it in again.

A thread of its own takes what waits and writes it, write after write, without asking the event loop in between: that is woken once a write,
by what came of it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias

from foundation import logs
from foundation.ledger import metrics
from foundation.ledger.ahead import LogBehind
from foundation.ledger.draining import Writer
from foundation.ledger.entries import Recorded
from foundation.ledger.log import LogBroken
from foundation.ledger.port import Spelled

log = logs.get(__name__)

ROWS_MAX = 500
"""Entries that go into one write."""
BYTES_MAX = 16 << 20
"""Of their details, beyond the first one's."""
WAITING_MAX = 4_096
"""Entries that may wait, those included that are being written. Another one is refused."""
COMMIT_S_MAX = 5.0
"""Longest wait for the disk. What was being written then may stand in the log all the same."""


class NotCommitted(Exception):
    """It is not known to be durable: the log cannot be written just now, or the disk does not answer in time."""


Then: TypeAlias = Callable[[int | NotCommitted], None]
"""Hears of the index of an entry, durably, or why there is none. Never raises."""


class Waiting:
    """One that waits to be told, once. `by`: when it is given up, on the loop's clock."""

    __slots__ = ("_then", "by", "event")

    def __init__(self, event: Spelled, then: Then, by: float) -> None:
        self.event = event
        self.by = by
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


class Committer:
    """Appends to the log while it is open, as one source of it. `run` is a worker of the process."""

    def __init__(self, writer: Writer, source: str) -> None:
        """`source`: none of those that a drain takes in."""
        self._writer = writer
        self._source = source
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._first: Waiting | None = None
        """Begins the next batch: it did not fit into the one before. The thread's alone, as the queue's other end."""
        self._waiting: deque[Waiting] = deque()
        """Those who are not told yet, the oldest first."""
        self._overdue: asyncio.TimerHandle | None = None

    def begin(self, event: Spelled, then: Then) -> Waiting:
        """`then` is called once, from the event loop and after this has returned, unless it gives up. Raises NotCommitted where nothing can
        be written just now."""
        if self._writer.log is None or len(self._waiting) >= WAITING_MAX:
            raise NotCommitted("the log cannot be written just now")
        loop = asyncio.get_running_loop()
        waiting = Waiting(event, then, loop.time() + COMMIT_S_MAX)
        self._waiting.append(waiting)
        self._queue.put(waiting)
        if self._overdue is None:
            self._overdue = loop.call_at(
                self._waiting[0].by, self._give_up
            )  # somebody older may wait: whoever is told may begin anew
        return waiting

    async def commit(self, event: Spelled) -> int:
        """The index of its entry, durably. Raises NotCommitted."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting = self.begin(event, partial(_resolve, done))
        try:
            return await done
        finally:
            waiting.give_up()

    async def run(self) -> None:
        """For ever. Whoever still waits when it is cancelled is told that nothing is known."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-committing") as thread:
            try:
                await asyncio.shield(loop.run_in_executor(thread, self._write, loop))
            finally:
                self._queue.put(None)
                left = [*self._waiting]
                self._waiting.clear()
                if self._overdue is not None:
                    self._overdue.cancel()
                    self._overdue = None
                _tell(left, NotCommitted("the process ends"))

    def _told(self, batch: Sequence[Waiting], written: Written) -> None:
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
        loop, self._overdue = asyncio.get_running_loop(), None
        late = NotCommitted(f"the disk did not answer within {COMMIT_S_MAX:.0f} s")
        _tell([one for one in self._waiting if one.by <= loop.time()], late)
        self._forget()
        if self._waiting and self._overdue is None:
            self._overdue = loop.call_at(self._waiting[0].by, self._give_up)

    def _forget(self) -> None:
        while self._waiting and not self._waiting[0].waits:
            self._waiting.popleft()

    # --- in the thread -------------------------------------------------------------------------------------------------------

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        """Batch after batch, until the process ends."""
        while batch := self._batch():
            loop.call_soon_threadsafe(self._told, batch, self._written(batch))

    def _batch(self) -> list[Waiting]:
        """The oldest that fit into one write, once there is any; none when the process ends. Who gave up while waiting is left out: it was
        never written."""
        batch, size = list[Waiting](), 0
        waiting, self._first = self._first or self._queue.get(), None
        while waiting is not None:
            if waiting.waits:
                size += len(waiting.event.details)
                if batch and (size > BYTES_MAX or len(batch) == ROWS_MAX):
                    self._first = waiting
                    return batch
                batch.append(waiting)
            try:
                waiting = self._queue.get(block=not batch)
            except Empty:
                return batch
        return []

    def _written(self, batch: Sequence[Waiting]) -> Written:
        """Nobody else appends for this source."""
        opened = self._writer.log
        try:
            if opened is None:
                raise LogBroken("the log is not open")
            first = opened.seen(self._source).position + 1
            rows = [_recorded(waiting.event, first + at) for at, waiting in enumerate(batch)]
            return opened.append({self._source: rows})
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

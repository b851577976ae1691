"""Entries straight into the log that this process writes, with no outbox between: durable when `commit` returns.

Whoever waits while the disk writes shares the next write. What is committed so stands in the log alone: a log that is begun anew does not
take it in again.

A thread of its own takes what waits and writes it, write after write, without asking the event loop in between: that is woken once a write,
by what came of it.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeAlias

import msgspec

from foundation import logs
from foundation.ledger.ahead import LogBehind
from foundation.ledger.draining import Writer
from foundation.ledger.entries import Recorded
from foundation.ledger.log import LogBroken
from foundation.ledger.port import Event

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


class Waiting(NamedTuple):
    """`by`: when it is given up, on the loop's clock."""

    event: Event
    details: bytes
    done: asyncio.Future[int]
    by: float


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

    async def commit(self, event: Event) -> int:
        """The index of its entry, durably. Raises NotCommitted."""
        if self._writer.log is None or len(self._waiting) >= WAITING_MAX:
            raise NotCommitted("the log cannot be written just now")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        waiting = Waiting(event, msgspec.json.encode(event.details), done, loop.time() + COMMIT_S_MAX)
        self._waiting.append(waiting)
        self._queue.put(waiting)
        if self._overdue is None:
            self._overdue = loop.call_at(waiting.by, self._give_up)
        return await done

    async def run(self) -> None:
        """For ever. Whoever still waits when it is cancelled is told that nothing is known."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-committing") as thread:
            try:
                await asyncio.shield(loop.run_in_executor(thread, self._write, loop))
            finally:
                self._queue.put(None)
                _tell(self._waiting, NotCommitted("the process ends"))
                self._waiting.clear()
                if self._overdue is not None:
                    self._overdue.cancel()
                    self._overdue = None

    def _told(self, batch: Sequence[Waiting], written: Written) -> None:
        if isinstance(written, range):
            for index, waiting in zip(written, batch, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(index)
        else:
            log.fault("ledger_not_committed", written, count=len(batch))
            refused = NotCommitted("the log cannot be written just now")
            refused.__cause__ = written
            _tell(batch, refused)
        self._forget()

    def _give_up(self) -> None:
        """Tells those whose time is over. One timer serves all: they come in the order of their times."""
        loop, self._overdue = asyncio.get_running_loop(), None
        late = NotCommitted(f"the disk did not answer within {COMMIT_S_MAX:.0f} s")
        _tell((one for one in self._waiting if one.by <= loop.time()), late)
        self._forget()
        if self._waiting:
            self._overdue = loop.call_at(self._waiting[0].by, self._give_up)

    def _forget(self) -> None:
        while self._waiting and self._waiting[0].done.done():
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
            if not waiting.done.done():
                size += len(waiting.details)
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
            rows = [_recorded(waiting, first + at) for at, waiting in enumerate(batch)]
            return opened.append({self._source: rows})
        except (OSError, LogBehind, LogBroken, ValueError) as exc:
            return exc


def _recorded(waiting: Waiting, position: int) -> Recorded:
    event = waiting.event
    return Recorded(
        position=position,
        id=event.id,
        at_us=round(event.at * 1_000_000),
        kind=event.kind.value,
        actor=event.actor,
        subject_id=event.subject_id,
        details=msgspec.Raw(waiting.details),
    )


def _tell(those: Iterable[Waiting], refused: NotCommitted) -> None:
    for waiting in those:
        if not waiting.done.done():
            waiting.done.set_exception(refused)

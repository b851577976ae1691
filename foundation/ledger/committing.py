"""Entries straight into the log that this process writes, with no outbox between: durable when whoever waits is told.

Whoever waits while the disk writes shares the next write, and so do those whom that one lets go, where others wait already and they come
back soon (`sharing`). What is committed so stands in the log alone: a log that is begun anew does not take it in again.

A thread of its own takes what waits and writes it. It is woken once a write, and so is the event loop, by what came of it.
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


class Committer:
    """Appends to the log while it is open, as one source of it. `run` is a worker of the process."""

    def __init__(self, writer: Writer, source: str) -> None:
        """`source`: none of those that a drain takes in."""
        self._writer = writer
        self._source = source
        self._queue: SimpleQueue[Waiting] = SimpleQueue()
        self._first: Waiting | None = None
        """Begins the next batch: it did not fit into the one before. The thread's while it writes, as the queue's other end."""
        self._turns: SimpleQueue[bool] = SimpleQueue()
        """For the thread: whether it is to write what waits, or to end."""
        self._writing = False
        """Whether it writes, or is about to."""
        self._sharing = Sharing()
        self._patience: asyncio.TimerHandle | None = None
        self._waiting: deque[Waiting] = deque()
        """Those who are not told yet, the oldest first."""
        self._overdue: asyncio.TimerHandle | None = None

    def begin(self, event: Spelled, then: Then, *, again: bool = False) -> Waiting:
        """`then` is called once, from the event loop and after this has returned, unless it gives up. `again`: once told, whoever asks may
        ask for the next one at once. Raises NotCommitted where nothing can be written just now."""
        if self._writer.log is None or len(self._waiting) >= WAITING_MAX:
            raise NotCommitted("the log cannot be written just now")
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        waiting = Waiting(event, then, now_s + COMMIT_S_MAX, again=again)
        self._waiting.append(waiting)
        self._queue.put(waiting)
        if again:
            self._sharing.came()
        if not self._writing:
            self._write_unless_shared(loop, now_s)
        if self._overdue is None:
            self._overdue = loop.call_at(
                self._waiting[0].by, self._give_up
            )  # somebody older may wait: whoever is told may begin anew
        return waiting

    async def commit(self, event: Spelled, *, again: bool = False) -> int:
        """The index of its entry, durably. Raises NotCommitted."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting = self.begin(event, partial(_resolve, done), again=again)
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
                self._turns.put(False)  # noqa: FBT003 - a queue's
                left = [*self._waiting]
                self._waiting.clear()
                for timer in (self._patience, self._overdue):
                    if timer is not None:
                        timer.cancel()
                self._patience = self._overdue = None
                _tell(left, NotCommitted("the process ends"))

    # --- who shares a write --------------------------------------------------------------------------------------------------

    def _write_unless_shared(self, loop: asyncio.AbstractEventLoop, now_s: float) -> None:
        """For a thread that does not write. Where more are waited for, this is called again once they have come, or are waited for no
        more."""
        count = self._queue.qsize()
        if count == 0 and self._first is None:
            return
        if count < SHARED_ENOUGH and self._sharing.waits(now_s):
            if self._patience is None:
                self._patience = loop.call_at(self._sharing.until_s, self._alone)
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._writing = True
        self._turns.put(True)  # noqa: FBT003 - a queue's

    def _alone(self) -> None:
        """Somebody waits, and nobody is waited for any more."""
        loop, self._patience = asyncio.get_running_loop(), None
        self._sharing.waited_in_vain()
        self._write_unless_shared(loop, loop.time())

    # --- what came of it -----------------------------------------------------------------------------------------------------

    def _told(self, batch: Sequence[Waiting], written: Written) -> None:
        """The next write begins before anybody hears of this one, where it waits for none of them."""
        loop = asyncio.get_running_loop()
        now_s, self._writing = loop.time(), False
        self._sharing.let_go(sum(one.again for one in batch) if isinstance(written, range) else 0, now_s)
        self._write_unless_shared(loop, now_s)
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
        while self._turns.get():
            batch = self._batch()
            loop.call_soon_threadsafe(self._told, batch, self._written(batch) if batch else range(0))

    def _batch(self) -> list[Waiting]:
        """The oldest that fit into one write. Who gave up while waiting is left out: it was never written."""
        batch, size = list[Waiting](), 0
        waiting, self._first = self._first, None
        try:
            while True:
                waiting = waiting or self._queue.get_nowait()
                if waiting.waits:
                    size += len(waiting.event.details)
                    if batch and (size > BYTES_MAX or len(batch) == ROWS_MAX):
                        self._first = waiting
                        return batch
                    batch.append(waiting)
                waiting = None
        except Empty:
            return batch

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

"""Entries straight into the log that this process writes, with no outbox between: durable when `commit` returns.

Whoever waits while the disk writes shares the next write. What is committed so stands in the log alone: a log that is begun anew does not
take it in again.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from foundation import logs
from foundation.ledger.draining import Writer
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.port import Event

log = logs.get(__name__)

ROWS_MAX = 500
"""Entries that go into one write."""
BYTES_MAX = 16 << 20
"""Of their details, beyond the first one's."""
WAITING_MAX = 4_096
"""Entries that may wait. Another one is refused."""
COMMIT_S_MAX = 5.0
"""Longest wait for the disk. What was being written then may stand in the log all the same."""


class NotCommitted(Exception):
    """It is not known to be durable: the log cannot be written just now, or the disk does not answer in time."""


class Waiting(NamedTuple):
    event: Event
    details: bytes
    done: asyncio.Future[int]


class Committer:
    """Appends to the log while it is open, as one source of it. `run` is a worker of the process."""

    def __init__(self, writer: Writer, source: str) -> None:
        """`source`: none of those that a drain takes in."""
        self._writer = writer
        self._source = source
        self._waiting: deque[Waiting] = deque()
        self._some = asyncio.Event()

    async def commit(self, event: Event) -> int:
        """The index of its entry, durably. Raises NotCommitted."""
        if self._writer.log is None or len(self._waiting) >= WAITING_MAX:
            raise NotCommitted("the log cannot be written just now")
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(event, msgspec.json.encode(event.details), done))
        self._some.set()
        try:
            async with asyncio.timeout(COMMIT_S_MAX):
                return await done
        except TimeoutError as exc:
            raise NotCommitted(f"the disk did not answer within {COMMIT_S_MAX:.0f} s") from exc

    async def run(self) -> None:
        """For ever. Whoever still waits when it is cancelled is told that nothing is known."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-committing") as thread:
            try:
                while True:
                    await self._some.wait()
                    self._some.clear()
                    while batch := self._batch():
                        await self._written(thread, batch)
            finally:
                _tell(self._waiting, NotCommitted("the process ends"))

    async def _written(self, thread: Executor, batch: Sequence[Waiting]) -> None:
        opened = self._writer.log
        try:
            if opened is None:
                raise LogBroken("the log is not open")
            indexes = await asyncio.get_running_loop().run_in_executor(thread, self._append, opened, batch)
        except (OSError, LogBroken, ValueError) as exc:
            log.fault("ledger_not_committed", exc, count=len(batch))
            refused = NotCommitted("the log cannot be written just now")
            refused.__cause__ = exc
            _tell(batch, refused)
        except asyncio.CancelledError:
            _tell(batch, NotCommitted("the process ends"))
            raise
        else:
            for index, waiting in zip(indexes, batch, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(index)

    def _append(self, opened: Log, batch: Sequence[Waiting]) -> range:
        """In the thread: nobody else appends for this source. Raises OSError, LogBroken, ValueError."""
        first = opened.seen(self._source).position + 1
        rows = [_recorded(waiting, first + at) for at, waiting in enumerate(batch)]
        return opened.append({self._source: rows})

    def _batch(self) -> list[Waiting]:
        """The oldest that fit into one write. Who gave up while waiting is left out: it was never written."""
        batch, size = list[Waiting](), 0
        while self._waiting and len(batch) < ROWS_MAX:
            if self._waiting[0].done.done():
                self._waiting.popleft()
                continue
            size += len(self._waiting[0].details)
            if batch and size > BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch


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


def _tell(those: Sequence[Waiting] | deque[Waiting], refused: NotCommitted) -> None:
    for waiting in those:
        if not waiting.done.done():
            waiting.done.set_exception(refused)

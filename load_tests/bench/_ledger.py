"""A log that a bench writes: the rows, the writer, and what it has cost."""

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

import msgspec

from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.mute import Secret
from load_tests.bench._disk import Arrived, arriving

T = TypeVar("T")
SIGNER = Signer("bench.invalid/log", Secret(os.urandom(32)))
DETAILS = msgspec.Raw(
    b'{"from": "reserved", "to": "active", "cell": "eu-de", "shard": "s1", "epoch": 812773, "reason": "acknowledged by its cell"}'
)


def rows(first: int, count: int) -> list[Recorded]:
    return [
        Recorded(
            position=position,
            id=f"placement:6f2b7a52-1111-4222-8333-444455556666:{position}",
            at_us=1_800_000_000_000_000 + position,
            kind="placement",
            actor="cell:eu-de",
            subject_id="6f2b7a52-1111-4222-8333-444455556666",
            details=DETAILS,
        )
        for position in range(first, first + count)
    ]


class Writer:
    """A log, the rows given so far, and what they have cost."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.position = log.size + 1
        self.cpu_s = self.took_s = 0.0
        self.entries = 0

    def made(self, count: int) -> list[Recorded]:
        self.position += count
        return rows(self.position - count, count)

    def timed(self, work: Callable[[], T]) -> T:
        begun, cpu, before = time.perf_counter(), time.process_time(), self.log.size
        found = work()
        self.took_s += time.perf_counter() - begun
        self.cpu_s += time.process_time() - cpu
        self.entries += self.log.size - before
        return found

    def told(self) -> str:
        return f"{self.entries / self.took_s:9,.0f} entries/s  CPU {self.cpu_s / self.entries * 1e6:6.1f} us an entry"

    def closed(self, batch: int, rounds: int) -> list[float]:
        """Waits of appends, one after the other, each followed by a checkpoint."""
        batches = [self.made(batch) for _ in range(rounds)]
        waits = []
        for given in batches:
            before = time.perf_counter()
            self.log.append({"s1": given})
            waits.append(time.perf_counter() - before)
            self.log.publish()
        return waits

    def paced(self, given: list[Recorded], rate: float, every_s: float) -> Arrived:
        """Rows that arrive at a rate; checkpoints are signed aside of them, as the drain does it."""
        with ThreadPoolExecutor(1) as aside:
            signing = Signing(self.log, aside, every_s)
            found = arriving(
                len(given), rate, lambda first, end: self.log.append({"s1": given[first:end]}), signing.look
            )
        self.log.publish()
        return found


class Signing:
    """One checkpoint at a time, as often as is said."""

    def __init__(self, log: Log, aside: Executor, every_s: float) -> None:
        self._log = log
        self._aside = aside
        self._every_s = every_s
        self._since = time.perf_counter()
        self._under_way: Future[Checkpoint] | None = None

    def look(self) -> None:
        now = time.perf_counter()
        if now - self._since > self._every_s and (self._under_way is None or self._under_way.done()):
            self._under_way, self._since = self._aside.submit(self._log.publish), now

"""The disk that a log lies on, by itself, and how waits are told: the same bytes at the end of a growing file, or over what stands there,
fdatasync, and nothing else.

One after the other, or as rows arrive: whoever writes then takes whatever waits, as a log does. So a row waits for the write that is under
way when it comes and then for its own, and more rows come while a write is slow: their p99 is above that of fdatasync for any writer.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from foundation.ledger.draining import BATCH_MAX
from foundation.ledger.files import put_at
from foundation.ledger.wal import PAGE_BYTES

RECORD_BYTES = 530
"""Of the write-ahead file, for each entry: what a row of these benches makes, rounded."""
OVER_BYTES = 16 << 20
"""Of a file that is written over: as long as pg_test_fsync's."""


class Waits(NamedTuple):
    """Milliseconds."""

    p50: float
    p99: float
    most: float

    def __str__(self) -> str:
        return f"{self.p50:.2f} · {self.p99:.2f} · {self.most:.2f} ms"


def spread(waits_s: list[float]) -> Waits:
    ordered = sorted(waits_s)
    return Waits(*(ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1e3 for part in (0.5, 0.99, 1.0)))


def paged(entries: int) -> int:
    """Bytes of a record with so many entries."""
    return -(-entries * RECORD_BYTES // PAGE_BYTES) * PAGE_BYTES


class Disk:
    """One file in a folder, from its making to `close`. Each write is at its end; `over`: over what was written and synced before, from the
    beginning again once the end is reached, as pg_test_fsync writes."""

    def __init__(self, folder: Path, *, over: bool = False) -> None:
        self._descriptor = os.open(folder / ("over" if over else "alone"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._content = memoryview(os.urandom(paged(BATCH_MAX)))
        self._over_bytes = OVER_BYTES if over else 0
        self._at = 0
        while self._at < self._over_bytes:
            self._put(len(self._content))
        self._at = 0
        os.fsync(self._descriptor)  # also that a former file's room is free: not for the first write to wait for

    def write(self, size: int) -> None:
        if self._over_bytes and self._at + size > self._over_bytes:
            self._at = 0
        self._put(size)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _put(self, size: int) -> None:
        put_at(self._descriptor, self._content[:size], self._at)
        self._at += size


def disk_alone(folder: Path, size: int, rounds: int, *, over: bool = False) -> list[float]:
    """Waits of that many writes of `size` bytes, one after the other; `over`: over what was written before."""
    waits, disk = list[float](), Disk(folder, over=over)
    try:
        for _ in range(rounds):
            begun = time.perf_counter()
            disk.write(size)
            waits.append(time.perf_counter() - begun)
    finally:
        disk.close()
    return waits


class Arrived(NamedTuple):
    """Seconds: of each row from when it was due until it was durable, and of each write."""

    rows: list[float]
    writes: list[float]

    def add(self, more: "Arrived") -> None:
        self.rows.extend(more.rows)
        self.writes.extend(more.writes)

    def told(self) -> tuple[Waits, Waits]:
        return spread(self.rows), spread(self.writes)


def arriving(count: int, rate: float, write: Callable[[int, int], object], written: Callable[[], object]) -> Arrived:
    """Rows by their numbers, so many a second: `write` takes those from one to before another, at most as many as the drain; `written` is
    called after each."""
    found, taken, begun = Arrived([], []), 0, time.perf_counter()
    while taken < count:
        at = time.perf_counter() - begun
        due = min(count, int(at * rate) + 1, taken + BATCH_MAX)
        if due == taken:
            time.sleep(max(0.0, taken / rate - at))
            continue
        write(taken, due)
        durable = time.perf_counter() - begun
        found.writes.append(durable - at)
        found.rows.extend(durable - number / rate for number in range(taken, due))
        taken = due
        written()
    return found


def disk_arriving(folder: Path, count: int, rate: float) -> Arrived:
    """What a log's rows would wait if there were nothing but the disk."""
    disk = Disk(folder)
    try:
        return arriving(count, rate, lambda first, end: disk.write(paged(end - first)), lambda: None)
    finally:
        disk.close()

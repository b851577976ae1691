"""What a log costs beside the disk that it lies on: durable appends a second and their waits, checkpoints, proofs, at growing sizes.

Closed: for each batch size a writer appends and signs a checkpoint, in turn. Paced: rows arrive at a rate, and the writer takes whatever
waits, at most as many as the drain; a row's wait is from its arrival until it is durable; as often as the drain looks at outboxes (--every)
a checkpoint is signed beside the next ones. Both take turns with the disk alone, which writes as many bytes as a record has and calls
fdatasync, in the same folder. Grown: at each size of a log appends, proofs, their verification, opening it anew, and the memory of the
process.

Run: python -m load_tests.bench.ledger [--entries N …] [--rates N …] [--rounds N] [--every S] [--folder DIR] [--without-payloads]
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.draining import BATCH_MAX, POLL_S
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.ledger.reading import LogReader, of_folder
from foundation.ledger.tiles import TiledHashes
from foundation.ledger.wal import PAGE_BYTES
from foundation.mute import Secret
from load_tests.bench.records import resident_mib

SIGNER = Signer("bench.invalid/log", Secret(os.urandom(32)))
BATCHES = (1, 16, 128, 500)
TURNS = 5
"""A measurement and the disk alone take turns so many times."""
GROWING_BATCH = 4_000
WINDOW = (300, 16)
"""Appends at each size, and entries in each."""
RECORD_BYTES = 620
"""Of the write-ahead file, for each entry: what a row of this bench makes, rounded."""
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


def disk_alone(folder: Path, size: int, rounds: int) -> list[float]:
    """Waits of that many writes of `size` bytes, each with fdatasync, at the end of a growing file."""
    waits, content = [], os.urandom(size)
    descriptor = os.open(folder / "alone", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for _ in range(rounds):
            begun = time.perf_counter()
            os.write(descriptor, content)
            os.fdatasync(descriptor)
            waits.append(time.perf_counter() - begun)
    finally:
        os.close(descriptor)
    return waits


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

    def timed(self, work: Callable[[], list[float]]) -> list[float]:
        begun, cpu, before = time.perf_counter(), time.process_time(), self.log.size
        waits = work()
        self.took_s += time.perf_counter() - begun
        self.cpu_s += time.process_time() - cpu
        self.entries += self.log.size - before
        return waits

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

    def paced(self, given: list[Recorded], rate: float, every_s: float) -> list[float]:
        """Waits of rows that arrive at a rate, from when each was due until it was durable."""
        with ThreadPoolExecutor(1) as aside:
            waits = self._paced(given, rate, every_s, aside)
        self.log.publish()
        return waits

    def _paced(self, given: list[Recorded], rate: float, every_s: float, aside: Executor) -> list[float]:
        """`aside`: where checkpoints are signed, while rows go on being taken in, as the drain does it."""
        waits, taken, begun = list[float](), 0, time.perf_counter()
        unsigned_since = begun
        signing: Future[Checkpoint] | None = None
        while taken < len(given):
            due = min(len(given), int((time.perf_counter() - begun) * rate) + 1, taken + BATCH_MAX)
            if due == taken:
                time.sleep(max(0.0, begun + taken / rate - time.perf_counter()))
                continue
            self.log.append({"s1": given[taken:due]})
            durable = time.perf_counter() - begun
            waits += [durable - number / rate for number in range(taken, due)]
            taken = due
            if time.perf_counter() - unsigned_since > every_s and (signing is None or signing.done()):
                signing = aside.submit(self.log.publish)
                unsigned_since = time.perf_counter()
        return waits


def closed(folder: Path, rounds: int) -> None:
    for batch in BATCHES:
        with Log(folder / f"batch-{batch}", SIGNER) as log:
            writer, waits, alone = Writer(log), list[float](), list[float]()
            for _ in range(TURNS):
                waits += writer.timed(lambda: writer.closed(batch, rounds // TURNS))  # noqa: B023 - called at once
                alone += disk_alone(folder, paged(batch), rounds // TURNS)
        told("closed", f"batch {batch:5}", writer, waits, alone)


def paced(folder: Path, rates: list[int], seconds: float, every_s: float) -> None:
    for rate in rates:
        with Log(folder / f"rate-{rate}", SIGNER) as log:
            writer, waits, alone = Writer(log), list[float](), list[float]()
            for _ in range(TURNS):
                given = writer.made(int(rate * seconds / TURNS))
                waits += writer.timed(lambda: writer.paced(given, rate, every_s))  # noqa: B023 - called at once
                alone += disk_alone(folder, paged(16), 200)
        told("paced", f"{rate:6,}/s    ", writer, waits, alone)


def paged(entries: int) -> int:
    return -(-entries * RECORD_BYTES // PAGE_BYTES) * PAGE_BYTES


def told(how: str, which: str, writer: Writer, waits: list[float], alone: list[float]) -> None:
    durable, disk = spread(waits), spread(alone)
    print(
        f"{how} {which}: {writer.told()}  durable {durable}  disk alone {disk}  p99 is {durable.p99 / disk.p99:.1f} times",
        flush=True,
    )


def grown(folder: Path, sizes: list[int], *, with_payloads: bool) -> None:
    """Prints, at each size, what an append, a proof, its verification and opening cost, and the memory that the process holds."""
    place = folder / "grown"
    for size in sizes:
        begun = time.perf_counter()
        with Log(place, SIGNER) as log:
            opening, writer = time.perf_counter() - begun, Writer(log)
            growth = Writer(log)
            while log.size < size:
                growth.position = log.size + 1
                given = growth.made(min(GROWING_BATCH, size - log.size))
                growth.timed(lambda: grow(log, given))  # noqa: B023 - called at once
                if not with_payloads:
                    drop_payloads(place, log.size)
            writer.position, waits, alone = log.size + 1, list[float](), list[float]()
            for _ in range(TURNS):
                waits += writer.timed(lambda: writer.closed(WINDOW[1], WINDOW[0] // TURNS))  # noqa: B023 - called at once
                alone += disk_alone(folder, paged(WINDOW[1]), WINDOW[0] // TURNS)
            proving, verifying, used = proofs(place, log.size)
            memory, most = resident_mib(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{size:10,} entries: grown at {growth.told() if growth.entries else ''}  opened before in {opening * 1e3:.0f} ms"
        )
        told("  ", f"append of {WINDOW[1]}", writer, waits, alone)
        print(
            f"   prove {spread(proving)}  verify {spread(verifying)}, its CPU {spread(used)}  memory {memory:.0f} MiB, {most:.0f} at most",
            flush=True,
        )


def grow(log: Log, given: list[Recorded]) -> list[float]:
    log.append({"s1": given})
    log.publish()
    return []


def drop_payloads(place: Path, size: int) -> None:
    """Of all full bundles but the last ones: they are most of the bytes, and nothing that is measured reads them."""
    for group in (place / "payload").glob("x*"):
        if group.is_dir() and int(group.name[1:]) < size // 256 // 1000 - 1:
            shutil.rmtree(group)


def proofs(place: Path, size: int) -> tuple[list[float], list[float], list[float]]:
    """Waits of proving entries all over the log, each from cold tiles, and of verifying each proof; and the CPU time of the latter."""
    reader = LogReader(of_folder(place), SIGNER.verifier)
    proving, verifying, used = [], [], []
    for index in range(0, size, max(1, size // 200)):
        found = reader.bundle(index // 256)[index % 256]
        reader.hashes = TiledHashes(reader.checkpoint.size, reader.tile)
        begun = time.perf_counter()
        proof = reader.prove(found)
        proving.append(time.perf_counter() - begun)
        begun, cpu = time.perf_counter(), time.thread_time()
        proof.verify(SIGNER.verifier)
        verifying.append(time.perf_counter() - begun)
        used.append(time.thread_time() - cpu)
    return proving, verifying, used


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.ledger", description=__doc__)
    parser.add_argument("--entries", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="sizes of the log")
    parser.add_argument("--rates", type=int, nargs="*", default=[1_000, 5_000, 10_000], help="rows a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate")
    parser.add_argument(
        "--every",
        type=float,
        default=POLL_S,
        help="seconds between checkpoints while rows arrive; default: the drain's",
    )
    parser.add_argument("--rounds", type=int, default=400, help="appends of each batch size; 0: none")
    parser.add_argument("--folder", type=Path, default=Path(), help="where, so which disk; default: here")
    parser.add_argument(
        "--without-payloads", action="store_true", help="grow without keeping them: a third of the disk"
    )
    asked = parser.parse_args()
    print("waits are p50 · p99 · the longest", flush=True)
    with tempfile.TemporaryDirectory(prefix=".bench-ledger-", dir=asked.folder) as made:
        if asked.rounds:
            closed(Path(made), asked.rounds)
        paced(Path(made), asked.rates, asked.seconds, asked.every)
        grown(Path(made), sorted(asked.entries), with_payloads=not asked.without_payloads)


if __name__ == "__main__":
    main()

"""What a log costs beside the disk that it lies on: durable appends a second and their waits, checkpoints, proofs, at growing sizes.

Closed: for each batch size a writer appends and signs a checkpoint, in turn. Paced: rows arrive at a rate, and the writer takes whatever
waits, at most as many as the drain; a row's wait is from its arrival until it is durable; as often as the drain looks at outboxes (--every)
a checkpoint is signed beside the next ones. Both take turns with the disk alone in the same folder (`_disk`), which does the same with as
many bytes and fdatasync: one after the other, at the end of a file and over what stands there, or for rows that arrive at that rate. Grown:
at each size of a log appends, proofs, their verification, opening it anew, and the memory of the process.

Run: python -m load_tests.bench.ledger [--entries N …] [--rates N …] [--rounds N] [--every S] [--folder DIR] [--without-payloads]
"""

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from foundation.ledger.draining import POLL_S
from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.reading import LogReader, of_folder
from foundation.ledger.tiles import TiledHashes
from load_tests.bench._disk import Arrived, disk_alone, disk_arriving, paged, spread
from load_tests.bench._ledger import SIGNER, Writer
from load_tests.bench.records import resident_mib

BATCHES = (1, 16, 128, 500)
TURNS = 5
"""A measurement and the disk alone take turns so many times."""
GROWING_BATCH = 4_000
WINDOW = (300, 16)
"""Appends at each size, and entries in each."""


def in_turn(*works: Callable[[], object]) -> None:
    """TURNS times, now from the first to the last, now the other way: what the machine does besides falls on all."""
    for turn in range(TURNS):
        for work in works if turn % 2 == 0 else reversed(works):
            work()


class Beside(NamedTuple):
    """Waits of closed appends, and of the disk alone in turn with them: at the end of a growing file, and over what stands there."""

    ours: list[float]
    alone: list[float]
    over: list[float]

    def __str__(self) -> str:
        ours, alone, over = map(spread, self)
        return (
            f"durable {ours}  disk alone {alone}, over what stands there {over}  "
            f"p99 is {ours.p99 / alone.p99:.1f} times, and {ours.p99 / over.p99:.1f}"
        )


def beside_disk(folder: Path, writer: Writer, batch: int, rounds: int) -> Beside:
    found, each = Beside([], [], []), rounds // TURNS
    in_turn(
        lambda: found.ours.extend(writer.timed(lambda: writer.closed(batch, each))),
        lambda: found.alone.extend(disk_alone(folder, paged(batch), each)),
        lambda: found.over.extend(disk_alone(folder, paged(batch), each, over=True)),
    )
    return found


def closed(folder: Path, rounds: int) -> None:
    for batch in BATCHES:
        with Log(folder / f"batch-{batch}", SIGNER) as log:
            writer = Writer(log)
            found = beside_disk(folder, writer, batch, rounds)
        print(f"closed batch {batch:5}: {writer.told()}  {found}", flush=True)


def paced(folder: Path, rates: list[int], seconds: float, every_s: float) -> None:
    for rate in rates:
        count, ours, alone = int(rate * seconds / TURNS), Arrived([], []), Arrived([], [])
        with Log(folder / f"rate-{rate}", SIGNER) as log:
            writer = Writer(log)
            in_turn(
                partial(arrived_at, writer, ours, count, rate, every_s),
                lambda: alone.add(disk_arriving(folder, count, rate)),  # noqa: B023 - called at once
            )
        (rows, appends), (ideal, syncs) = ours.told(), alone.told()
        print(
            f"paced {rate:6,}/s: {writer.told()}\n"
            f"   a row {rows}, onto the disk alone {ideal}, p99 is {rows.p99 / ideal.p99:.1f} times\n"
            f"   an append {appends}, fdatasync of as many bytes {syncs}, p99 is {appends.p99 / syncs.p99:.1f} times\n"
            f"   a row's p99 is {rows.p99 / syncs.p99:.1f} times fdatasync's",
            flush=True,
        )


def arrived_at(writer: Writer, to: Arrived, count: int, rate: int, every_s: float) -> None:
    given = writer.made(count)
    writer.timed(lambda: to.add(writer.paced(given, rate, every_s)))


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
            writer.position = log.size + 1
            found = beside_disk(folder, writer, WINDOW[1], WINDOW[0])
            proving, verifying, used = proofs(place, log.size)
            memory, most = resident_mib(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{size:10,} entries: grown at {growth.told() if growth.entries else ''}  opened before in {opening * 1e3:.0f} ms"
        )
        print(f"   append of {WINDOW[1]}: {writer.told()}  {found}")
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

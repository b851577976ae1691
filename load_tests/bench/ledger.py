"""What a log costs beside the disk that it lies on: durable appends a second and their waits, checkpoints, proofs, at growing sizes.

For each batch size a writer appends as the drain does (append, then tiles and checkpoint), and the disk alone writes as many bytes as the
record has and calls fdatasync; both in one folder, one after the other. Then the log is grown, and at each size an append, a proof and
its verification are timed.

Run: python -m load_tests.bench.ledger [--entries N …] [--rounds N] [--folder DIR]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from foundation.ledger.entries import Recorded
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.ledger.reading import LogReader, of_folder
from foundation.ledger.tiles import TiledHashes
from foundation.mute import Secret

SIGNER = Signer("bench.invalid/log", Secret(os.urandom(32)))
BATCHES = (1, 16, 128, 500)
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


def told(waits: list[float]) -> str:
    ordered = sorted(waits)
    return f"p50 {statistics.median(ordered) * 1e3:7.2f} ms  p99 {ordered[int(len(ordered) * 0.99)] * 1e3:7.2f} ms"


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


def appends(folder: Path, batch: int, rounds: int) -> None:
    """Prints rate and CPU time with checkpoints, the waits of the appends alone, and the disk's own."""
    with Log(folder / f"batch-{batch}", SIGNER) as log:
        waits, position = [], 1
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(rounds):
            given = {"s1": rows(position, batch)}
            before = time.perf_counter()
            log.append(given)
            waits.append(time.perf_counter() - before)
            log.publish()
            position += batch
        took, used = time.perf_counter() - begun, time.process_time() - cpu
    alone = disk_alone(folder, 700 * batch, rounds)
    print(
        f"batch {batch:4}: {batch * rounds / took:9,.0f} entries/s   CPU {used / batch / rounds * 1e6:6.0f} us an entry   "
        f"append {told(waits)}   disk alone {told(alone)}",
        flush=True,
    )


def grown(folder: Path, sizes: list[int]) -> None:
    """Prints, at each size, what an append, a proof and a verification cost."""
    place, position = folder / "grown", 1
    with Log(place, SIGNER) as log:
        for size in sizes:
            begun, before = time.perf_counter(), log.size
            while log.size < size:
                log.append({"s1": rows(position, 500)})
                position += 500
                log.publish()
            rate = (log.size - before) / (time.perf_counter() - begun)
            waits = []
            for _ in range(200):
                given = {"s1": rows(position, 16)}
                started = time.perf_counter()
                log.append(given)
                waits.append(time.perf_counter() - started)
                position += 16
                log.publish()
            proving, verifying = proofs(place, log.size)
            used = sum(path.stat().st_blocks * 512 for path in place.rglob("*") if path.is_file()) / log.size
            print(
                f"{log.size:10,} entries: grown at {rate:8,.0f}/s   append of 16 {told(waits)}   prove {told(proving)}   "
                f"verify {told(verifying)}   {used:,.0f} bytes on disk an entry",
                flush=True,
            )


def proofs(place: Path, size: int) -> tuple[list[float], list[float]]:
    """Waits of proving entries all over the log, each from cold tiles, and of verifying each proof."""
    reader = LogReader(of_folder(place), SIGNER.verifier)
    proving, verifying = [], []
    for index in range(0, size, max(1, size // 200)):
        found = reader.bundle(index // 256)[index % 256]
        reader.hashes = TiledHashes(reader.checkpoint.size, reader.tile)
        begun = time.perf_counter()
        proof = reader.prove(found)
        proving.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        proof.verify(SIGNER.verifier)
        verifying.append(time.perf_counter() - begun)
    return proving, verifying


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.ledger", description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes of the log")
    parser.add_argument("--rounds", type=int, default=400, help="appends of each batch size")
    parser.add_argument("--folder", type=Path, default=Path(), help="where, so which disk; default: here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".bench-ledger-", dir=asked.folder) as made:
        for batch in BATCHES:
            appends(Path(made), batch, asked.rounds)
        grown(Path(made), sorted(asked.entries))


if __name__ == "__main__":
    main()

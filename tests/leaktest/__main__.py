"""`python -m tests.leaktest [--rows N] [--seed S]` (`make leaktest`): no planted value escapes by any way, a planted leak is caught.

Exits by it. N rows by each way (releases as NDJSON, CSV, Arrow and Parquet, batches of events
in JSON and in Arrow), in two processes. Rows are made as they
are read, and parts are looked into as they become durable, so memory does not grow with N; the disk holds a release for each process.
"""

import argparse
import asyncio
import concurrent.futures
import itertools
import resource
import sys
import tempfile
from pathlib import Path

from tests.leaktest.planting import ENCODINGS, KINDS, pool
from tests.leaktest.rows import Rows
from tests.leaktest.running import WAYS, Came, Leak, failures, through

ROUNDS = 8
PAGE_ROWS = 200
LEAKING_ROWS = 4_000


def one_way(way: str, rows: int, seed: int, leak: Leak) -> tuple[Came, list[str], float]:
    """What came, what is wrong with it, and the process's peak of memory in MB. Every way plants other values in kept fields first."""
    held = pool(seed, ROUNDS)
    stated = Rows(pool=held, count=rows, page_rows=PAGE_ROWS, first=WAYS.index(way) * len(held) // len(WAYS))
    with tempfile.TemporaryDirectory(prefix="leaktest-") as folder:
        came = asyncio.run(through(way, stated, Path(folder), leak))
    return came, failures(came, stated), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(rows: int, seed: int) -> int:
    print(f"{rows:,} rows by each of {', '.join(WAYS)}; seed {seed}")
    print(f"{len(KINDS)} kinds of value in {len(ENCODINGS)} encodings ({', '.join(ENCODINGS)})", flush=True)
    wrong: list[str] = []
    with concurrent.futures.ProcessPoolExecutor(max_workers=2) as workers:
        asked = [workers.submit(one_way, way, rows, seed, Leak.NONE) for way in WAYS]
        for done in concurrent.futures.as_completed(asked):
            came, found, peak = done.result()
            print(told(came), f"{peak:5.0f} MB", flush=True)
            wrong += found
        for leak, way in itertools.product((Leak.TREATMENT, Leak.SCANNER), WAYS):
            came, found, _ = workers.submit(one_way, way, min(rows, LEAKING_ROWS), seed, leak).result()
            print(f"a planted leak ({leak}): {told(came)}", flush=True)
            if not came.looked.escaped:
                wrong.append(f"{way}: the planted leak ({leak}) was not caught")
    print(*wrong, sep="\n" if wrong else "")
    print("FAILED" if wrong else "0 planted values escaped, and every planted leak was caught")
    return 1 if wrong else 0


def told(came: Came) -> str:
    looked = came.looked
    return (
        f"{came.way:8} {came.read:10,} rows in, {looked.rows:9,} out, {came.held:6,} batches held, "
        f"{looked.strings:11,} strings looked at, {looked.escaped:6,} escaped"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.leaktest", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=8)
    stated = parser.parse_args()
    sys.exit(main(stated.rows, stated.seed))

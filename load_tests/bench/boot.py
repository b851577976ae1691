"""The boot of a cell service beside many people: `python -m load_tests.bench.boot [--subjects N]`. Figures go to docs/scale.md.

A real PostgreSQL of its own with a shard that holds N fence rows. Timed, in a process of its own: from the start of the interpreter until
the shard is open, which is when its requests are served; and what the process then holds in memory. The peer is the reading of the same
rows by asyncpg, which keeps none of them.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time

from cells.shards.homes import Homes
from cells.shards.shard import Dsns, Shard
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.postgres import connect
from load_tests.bench.fence import CELL, S1, running_postgres
from load_tests.bench.records import resident_mib

# purpose: fence rows of people who are at home there
FILL = """
INSERT INTO domicile.home (subject_id, epoch, state, services)
SELECT md5('s' || n)::uuid, n, 'active', '{orders,records}' FROM generate_series(1, $1::bigint) AS n
"""
READ = "SELECT subject_id::text AS subject_id, epoch, state, services FROM domicile.home"


async def booted(dsns: Dsns, started_unix_s: float) -> None:
    """What the child does: opens the shard as the cell service does."""
    clock = SystemClock()
    homes = Homes(started_unix_s=clock.unix_s())
    before = resident_mib()
    shard = Shard(cell=CELL, shard=S1, dsns=dsns, contracts={}, homes=homes, clock=clock)
    async with shard.opened():
        took = clock.unix_s() - started_unix_s
        print(
            f"cell service: {len(homes):,} fences known {took:.1f} s after its start; "
            f"{before:.0f} MiB before, {resident_mib():.0f} MiB then",
            flush=True,
        )


async def read(dsns: Dsns) -> float:
    """Seconds that asyncpg takes to read the rows."""
    started = time.perf_counter()
    async with connect(dsns.cell) as connection, connection.transaction(readonly=True):
        async for _ in connection.cursor(READ, prefetch=10_000):
            pass
    return time.perf_counter() - started


async def main(subjects: int) -> None:
    async with running_postgres() as (_, dsns):
        clock = SystemClock()
        homes = Homes(started_unix_s=clock.unix_s())
        async with Shard(cell=CELL, shard=S1, dsns=dsns, contracts={}, homes=homes, clock=clock).opened():
            pass  # its migrations
        async with connect(dsns.owner) as owner:
            await owner.execute(FILL, subjects, timeout=600)
            await owner.execute("VACUUM ANALYZE domicile.home")
        told = json.dumps([secret.reveal() for secret in (dsns.owner, dsns.cell, dsns.records)])
        for _ in range(3):
            command = [sys.executable, "-P", "-m", "load_tests.bench.boot", "--boot", str(SystemClock().unix_s())]
            await asyncio.to_thread(subprocess.run, command, check=True, timeout=300, input=told, text=True)
            print(f"  asyncpg alone reads the rows in {await read(dsns):.1f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.boot", description=__doc__)
    parser.add_argument("--subjects", type=int, default=1_000_000)
    parser.add_argument("--boot", type=float, metavar="STARTED", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.boot is None:
        asyncio.run(main(asked.subjects))
    else:
        owner, cell, records = (Secret(word) for word in json.loads(sys.stdin.read()))
        asyncio.run(booted(Dsns(owner, cell, records), asked.boot))

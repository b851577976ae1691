"""What the SQL door costs beside Postgres itself: `make bench-door`. Figures go to docs/benchmarks/door.md.

A real PostgreSQL with durability on; clients are asyncpg's, the same statement direct and through the door, in turns: TLS 1.3, each
statement durable in the ledger before it runs. One client: what a statement takes longer. Eight clients: statements a second, and the
door's CPU time. A million rows in one answer: how much longer it takes. Beside it the disk's own fdatasync, in the ledger's folder.

Run: python -m load_tests.bench.door [--statements N] [--rounds N] [--rows N] [--folder DIR]
"""

import argparse
import asyncio
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import uvloop

from cells.shards.shard import Dsns
from deploy.local import access
from deploy.local.layout import Paths
from foundation.ledger.wal import PAGE_BYTES
from load_tests.bench._disk import disk_alone, spread
from load_tests.bench.fence import CELL, running_postgres

ROOT = Path(__file__).parents[2]
CLIENTS = 8
STATEMENT = "SELECT n, repeat('x', 80) AS note FROM generate_series(1, $1::int) AS n"
ROWS = "SELECT n, repeat('x', 40) AS note FROM generate_series(1, $1::int) AS n"
SHOWN = 5
"""Rows of the statement that is repeated."""


class Way:
    """To Postgres, or to the door."""

    def __init__(self, **given: Any) -> None:
        self._given = given

    @asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[Any]]:
        opened = [await asyncpg.connect(**self._given) for _ in range(count)]  # noqa: TID251 - as an engineer's own client
        try:
            yield opened
        finally:
            for one in opened:
                await one.close()


@asynccontextmanager
async def door(folder: Path, dsns: Dsns) -> AsyncIterator[tuple[Way, psutil.Process]]:
    child = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-P", "-m", "load_tests.bench._door", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    try:
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("no way to the door's process")
        child.stdin.write("".join(f"{dsn.reveal()}\n" for dsn in (dsns.owner, dsns.cell, dsns.records)))
        child.stdin.flush()
        port = int(await asyncio.to_thread(child.stdout.readline))
        shown = ssl.create_default_context(cafile=access.door_certificate(Paths(folder), CELL))
        shown.load_cert_chain(folder / "alice.pem", folder / "alice.key")
        given = {"host": "127.0.0.1", "port": port, "user": "alice", "database": "s1", "ssl": shown}
        yield Way(**given), psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(20)


async def one_client(way: Way, statements: int) -> list[float]:
    """Waits of one statement after the other."""
    waits = list[float]()
    async with way.clients(1) as (connection,):
        prepared = await connection.prepare(STATEMENT)
        for _ in range(statements):
            begun = time.perf_counter()
            await prepared.fetch(SHOWN)
            waits.append(time.perf_counter() - begun)
    return waits


async def many_clients(way: Way, statements: int) -> float:
    """Statements a second."""

    async def run(connection: Any) -> None:
        prepared = await connection.prepare(STATEMENT)
        for _ in range(statements // CLIENTS):
            await prepared.fetch(SHOWN)

    async with way.clients(CLIENTS) as opened:
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(run(connection))
        return statements / (time.perf_counter() - begun)


async def many_rows(way: Way, rows: int) -> float:
    async with way.clients(1) as (connection,):
        begun = time.perf_counter()
        found = await connection.fetch(ROWS, rows, timeout=300)
        took = time.perf_counter() - begun
        if len(found) != rows:
            raise RuntimeError(f"{len(found)} rows came")
    return took


def cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


async def measure(folder: Path, asked: argparse.Namespace) -> None:
    async with running_postgres() as (_, dsns), door(folder, dsns) as (through, process):
        direct = Way(dsn=dsns.records.reveal())
        for _ in range(asked.rounds):
            disk = spread(disk_alone(folder, PAGE_BYTES, 500))
            plain, behind = [spread(await one_client(way, asked.statements)) for way in (direct, through)]
            print(
                f"one client: direct {plain}, door {behind}: added p50 {behind.p50 - plain.p50:.2f} ms; fdatasync {disk}"
            )
        for _ in range(asked.rounds):
            rate = await many_clients(direct, asked.statements)
            before = cpu_s(process)
            there = await many_clients(through, asked.statements)
            used = (cpu_s(process) - before) / asked.statements * 1e6
            print(
                f"{CLIENTS} clients: direct {rate:,.0f}/s, door {there:,.0f}/s, CPU of the door {used:.0f} us a statement"
            )
        for _ in range(asked.rounds):
            plain_s = await many_rows(direct, asked.rows)
            before = cpu_s(process)
            behind_s = await many_rows(through, asked.rows)
            used = cpu_s(process) - before
            print(
                f"{asked.rows:,} rows: direct {plain_s:.2f} s, door {behind_s:.2f} s: {behind_s / plain_s:.2f} times, "
                f"CPU of the door {used:.2f} s"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--statements", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="whose disk the ledger lies on"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        uvloop.run(measure(Path(folder), asked))


if __name__ == "__main__":
    main()

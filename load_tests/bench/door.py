"""What the SQL door costs beside Postgres itself: `make bench-door`. Figures go to docs/benchmarks/door.md.

A real PostgreSQL with durability on; clients are asyncpg's, the same statement direct, through the door and through PgBouncer where it is
installed, in turns: TLS 1.3 with a client's certificate; at the door each statement is durable in the ledger before it runs. One client:
what a statement takes longer. Eight clients: statements a second. A million rows in one answer, of one length and of differing ones: how
much longer it takes. Of the process in front its CPU time. Beside it the disk's own fdatasync, in the ledger's folder.

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
from contextlib import AsyncExitStack, asynccontextmanager
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
from load_tests.bench._pgbouncer import pgbouncer
from load_tests.bench.fence import CELL, running_postgres
from load_tests.bench.peers.starting import NotStarted

ROOT = Path(__file__).parents[2]
CLIENTS = 8
STATEMENT = "SELECT n, repeat('x', 80) AS note FROM generate_series(1, $1::int) AS n"
ROWS = {
    "of one length": "SELECT n, repeat('x', 40) AS note FROM generate_series(1, $1::int) AS n",
    "of differing lengths": "SELECT n, repeat('x', 20 + n % 41) AS note FROM generate_series(1, $1::int) AS n",
}
SHOWN = 5
"""Rows of the statement that is repeated."""


class Way:
    """To Postgres itself, or through a process in front of it. `given`: how asyncpg connects."""

    def __init__(self, name: str, process: psutil.Process | None, **given: Any) -> None:
        self.name = name
        self.given = given
        self._process = process

    def cpu_s(self) -> float:
        """What its process has used so far."""
        used = None if self._process is None else self._process.cpu_times()
        return 0.0 if used is None else float(used.user + used.system)

    @asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[Any]]:
        opened = [await asyncpg.connect(**self.given) for _ in range(count)]  # noqa: TID251 - as an engineer's own client
        try:
            yield opened
        finally:
            for one in opened:
                await one.close()


@asynccontextmanager
async def door(folder: Path, dsns: Dsns) -> AsyncIterator[Way]:
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
        yield Way("door", psutil.Process(child.pid), **given)
    finally:
        child.terminate()
        child.wait(20)


@asynccontextmanager
async def standing(folder: Path, dsns: Dsns) -> AsyncIterator[list[Way]]:
    """Direct first, then the door, then PgBouncer where there is one."""
    async with AsyncExitStack() as held:
        through = await held.enter_async_context(door(folder, dsns))
        ways = [Way("direct", None, dsn=dsns.records.reveal()), through]
        try:
            port, process = await held.enter_async_context(pgbouncer(folder, dsns))
            ways.append(Way("pgbouncer", process, **(through.given | {"port": port})))
        except NotStarted as exc:
            print(f"left out: {exc} (Debian and Ubuntu: apt-get install pgbouncer)", flush=True)
        yield ways


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


async def many_rows(way: Way, text: str, rows: int) -> float:
    async with way.clients(1) as (connection,):
        begun = time.perf_counter()
        found = await connection.fetch(text, rows, timeout=300)
        took = time.perf_counter() - begun
        if len(found) != rows:
            raise RuntimeError(f"{len(found)} rows came")
    return took


async def measure(folder: Path, asked: argparse.Namespace) -> None:
    async with running_postgres() as (_, dsns), standing(folder, dsns) as (direct, *others):
        for _ in range(asked.rounds):
            disk = spread(disk_alone(folder, PAGE_BYTES, 500))
            plain = spread(await one_client(direct, asked.statements))
            print(f"one client: direct {plain}; fdatasync {disk}")
            for way in others:
                used = way.cpu_s()
                behind = spread(await one_client(way, asked.statements))
                spent = (way.cpu_s() - used) / asked.statements * 1e6
                print(f"  {way.name} {behind}: added p50 {behind.p50 - plain.p50:.2f} ms, its CPU {spent:.0f} us each")
        for _ in range(asked.rounds):
            print(f"{CLIENTS} clients: direct {await many_clients(direct, asked.statements):,.0f}/s")
            for way in others:
                used = way.cpu_s()
                rate = await many_clients(way, asked.statements)
                spent = (way.cpu_s() - used) / asked.statements * 1e6
                print(f"  {way.name} {rate:,.0f}/s, its CPU {spent:.0f} us each")
        for kind, text in ROWS.items():
            for _ in range(asked.rounds):
                plain_s = await many_rows(direct, text, asked.rows)
                print(f"{asked.rows:,} rows {kind}: direct {plain_s:.2f} s")
                for way in others:
                    used = way.cpu_s()
                    behind_s = await many_rows(way, text, asked.rows)
                    spent = way.cpu_s() - used
                    print(f"  {way.name} {behind_s:.2f} s: {behind_s / plain_s:.2f} times, its CPU {spent:.2f} s")


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

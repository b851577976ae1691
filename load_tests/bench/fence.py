"""What the fence costs: `python -m load_tests.bench.fence [--cuts N] [--statements N]`. Figures go to docs/benchmarks/fence.md.

A real PostgreSQL of its own with durability on, as the stack has it, and the sample product's tables. Cuts: 64 connections hold the
fence of one subject in overlapping transactions; the cut is the product's own, then the same without the closing row, bounded.
Statements: one connection, one after the other, the records API's statements beside plain ones; CPU time is the backend's, from /proc.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from cells.records.body import inserted
from cells.records.contracts import Contract, read_folder
from cells.records.core import Bound, grant
from cells.records.dialect import parse_query
from cells.records.preferences import Returned
from cells.records.ranges import Page
from cells.records.statements import Builder, Statement
from cells.shards import store
from cells.shards.core import Home
from cells.shards.homes import Homes
from cells.shards.shard import Dsns, Shard
from deploy.local import postgres, provision
from deploy.local.account import data_folder, outside, unprivileged
from deploy.local.layout import database_name
from directory.placement.core import State
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.postgres import Connection, connect
from foundation.words import CellId, Epoch, ServiceId, ShardId, SubjectId, mint_subject_id

HERE = Path(__file__).parents[2] / "deploy" / "local"
HOLDERS = 64
HELD_S = 0.01
STARVED_S = 3.0
CELL = CellId("eu-de")
S1 = ShardId("s1")


@asynccontextmanager
async def running_postgres() -> AsyncIterator[tuple[postgres.PostgresServer, Dsns]]:
    account = unprivileged()
    with tempfile.TemporaryDirectory(prefix="fence-bench-") as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        state = Path(folder)
        server = postgres.PostgresServer(
            bin=postgres.bin_folder(state, account),
            data=data_folder(state, account) / f"pg-{secrets.token_hex(4)}" / "data",
            port=port,
            password=Secret(secrets.token_urlsafe(16)),
            account=account,
        )
        postgres.prepare(server)
        child = subprocess.Popen(  # type: ignore[call-overload]  # noqa: ASYNC220
            server.command(), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **server.popen_identity()
        )
        try:
            await postgres.wait_until_it_answers(server)
            passwords = {role: Secret(secrets.token_urlsafe(16)) for role in ("owner", "cell", "records")}
            await provision.cell(server, CELL, passwords, HERE / "product")
            name = database_name(CELL, S1)
            yield (
                server,
                Dsns(*(server.dsn(name, user=f"domicile_{role}", password=word) for role, word in passwords.items())),
            )
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(20)
            shutil.rmtree(server.data.parent, ignore_errors=True)
            with contextlib.suppress(OSError):
                outside(state).rmdir()


async def hold(
    service: asyncpg.Connection, subject: SubjectId, current: Callable[[], int], stop: asyncio.Event
) -> None:
    """Takes the fence again and again, and keeps it for HELD_S each time."""
    await service.execute("SET transaction_timeout = '1s'")
    while not stop.is_set():
        try:
            async with service.transaction():
                await service.execute("SELECT domicile.fence($1, $2)", subject, current())
                await service.execute("SELECT pg_sleep($1)", HELD_S)
        except asyncpg.PostgresError as exc:
            if exc.sqlstate not in ("DM001", "DM002"):
                raise
            await asyncio.sleep(HELD_S)


async def without_closing(cell: Connection, subject: SubjectId, home: Home) -> None:
    """The cut as it would be without the row that holds newcomers off."""
    await cell.execute(store.RAISE, subject, home.epoch, home.state.value, [])


async def cuts(shard: Shard, dsns: Dsns, number: int) -> None:
    subject, epoch, decided = mint_subject_id(), 1, 1

    def home() -> Home:
        return Home(S1, Epoch(epoch), State.ACTIVE, ())

    await shard.raise_fence(subject, home())
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(HOLDERS):
            group.create_task(_holder(dsns, subject, lambda: decided, stop))
        await asyncio.sleep(2.0)
        took = []
        for _ in range(number):
            epoch += 1
            took.append(await timed(lambda: shard.raise_fence(subject, home())))
            decided = epoch
            await asyncio.sleep(0.5)
        print(
            f"cut under {HOLDERS} overlapping transactions of {HELD_S * 1e3:.0f} ms: {spread(took, 1e3)} ms, {number} cuts"
        )
        starved, took = 0, []
        async with connect(dsns.cell) as cell:
            await cell.execute(f"SET statement_timeout = {int(STARVED_S * 1000)}")
            for _ in range(max(3, number // 5)):
                epoch += 1
                try:
                    took.append(await timed(lambda: without_closing(cell, subject, home())))
                    decided = epoch
                except asyncpg.QueryCanceledError:
                    starved += 1
                    epoch -= 1
                await asyncio.sleep(0.5)
        given_up = f"{starved} of {starved + len(took)} given up after {STARVED_S:.0f} s"
        others = f"; others {spread(took, 1e3)} ms" if took else ""
        print(f"the same without the closing row: {given_up}{others}")
        stop.set()


async def _holder(dsns: Dsns, subject: SubjectId, current: Callable[[], int], stop: asyncio.Event) -> None:
    async with connect(dsns.records) as service:
        await hold(service, subject, current, stop)


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


def spread(seconds: list[float], scale: float) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered) * scale:.1f}, p99 {p99 * scale:.1f}, max {ordered[-1] * scale:.1f}"


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def statements(shard: Shard, dsns: Dsns, contract: Contract, number: int) -> None:
    subject = mint_subject_id()
    await shard.raise_fence(subject, Home(S1, Epoch(1), State.ACTIVE, ()))
    granted = grant(contract, ServiceId("orders"), "service")
    bound = Bound(subject=subject, epoch=Epoch(1), owner=subject, owner_only=False)
    builder = Builder(contract, granted, bound)

    def order() -> Statement:
        row = f'{{"id":"{mint_subject_id()}","item":"book","quantity":1,"total_cents":1200,"currency":"EUR"}}'
        return builder.insert(inserted(row.encode(), contract, granted, bound), parse_query(""), Returned.MINIMAL)

    plain_insert = (
        "INSERT INTO product.orders (subject_id, id, item, quantity, total_cents, currency)"
        " VALUES ($1::uuid, $2::text::uuid, $3::text, $4::text::int, $5::text::bigint, $6::text) RETURNING 1"
    )
    plain_read = (
        'SELECT to_json(_w)::text AS row FROM (SELECT * FROM product."orders" AS t WHERE t.subject_id = $1::uuid'
        ' AND t."id" = $2::text::uuid LIMIT $3::text::bigint) AS _w'
    )
    locked_read = (
        "WITH h AS MATERIALIZED (SELECT 1 FROM domicile.home AS f WHERE f.subject_id = $1::uuid AND f.epoch = 1 FOR SHARE)"
        ' SELECT to_json(_w)::text AS row FROM (SELECT t.* FROM h, product."orders" AS t WHERE t.subject_id = $1::uuid'
        ' AND t."id" = $2::text::uuid LIMIT $3::text::bigint) AS _w'
    )
    row = str(mint_subject_id())
    async with connect(dsns.records) as one:
        await one.execute(plain_insert, subject, row, "book", "1", "1200", "EUR")
        fenced_read = builder.read(parse_query(f"id=eq.{row}"), Page(limit=1000))
        cases: list[tuple[str, Callable[[], Statement]]] = [
            ("read, plain", lambda: Statement(plain_read, (subject, row, "1000"))),
            ("read, fenced", lambda: fenced_read),
            ("read, share-locked", lambda: Statement(locked_read, (subject, row, "1000"))),
            (
                "insert, plain",
                lambda: Statement(plain_insert, (subject, str(mint_subject_id()), "book", "1", "1200", "EUR")),
            ),
            ("insert, fenced", order),
        ]
        pid = one.get_server_pid()
        for name, make in cases:
            prepared = [make() for _ in range(number)]
            for statement in prepared[:50]:
                await one.fetch(statement.sql, *statement.arguments)
            took, before = [], cpu_s(pid)
            for statement in prepared[50:]:
                began = time.perf_counter()
                await one.fetch(statement.sql, *statement.arguments)
                took.append(time.perf_counter() - began)
            used = (cpu_s(pid) - before) / len(took)
            print(f"{name}: {spread(took, 1e6)} µs; backend CPU {used * 1e6:.0f} µs")


async def main(number: int, each: int) -> None:
    contracts = read_folder(HERE / "contracts")
    async with running_postgres() as (_, dsns):
        clock = SystemClock()
        homes = Homes(started_unix_s=clock.unix_s())
        shard = Shard(cell=CELL, shard=S1, dsns=dsns, contracts=contracts, homes=homes, clock=clock)
        async with shard.opened():
            await cuts(shard, dsns, number)
            await statements(shard, dsns, contracts["orders"], each)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.fence", description=__doc__)
    parser.add_argument("--cuts", type=int, default=25)
    parser.add_argument("--statements", type=int, default=3000)
    asked = parser.parse_args()
    asyncio.run(main(asked.cuts, asked.statements))

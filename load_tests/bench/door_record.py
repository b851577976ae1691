"""What it costs a statement to stand in the ledger before it runs: the record of the SQL door alone, beside the disk.

Each client records a statement and a parameter, waits until that is durable, tells what came of it, and goes on; beside that the log's own
worker signs and writes tiles, as in a cell. In turn with the disk alone, which writes as many bytes as one statement's record has and calls
fdatasync, in the same folder. Waits are of `intend`, which is what a statement waits for.

Run: python -m load_tests.bench.door_record [--clients N …] [--statements N] [--rounds N] [--folder DIR]
"""

import argparse
import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from cells.breakglass.door.ports import Outcome, Session, Statement
from cells.breakglass.statements import entries
from cells.breakglass.statements.entries import result_of
from cells.breakglass.statements.recorder import SOURCE
from foundation.clock import SystemClock
from foundation.ledger.committing import Committer
from foundation.ledger.draining import Writer, drain
from foundation.ledger.wal import PAGE_BYTES
from foundation.words import mint_subject_id
from load_tests.bench._disk import Waits, disk_alone, spread
from load_tests.bench._ledger import SIGNER

TEXT = "SELECT id, email, note, total_cents FROM live.orders WHERE subject_id = $1 ORDER BY id LIMIT 20"
RESULTS = 50
"""Of one session in one entry."""


def session(number: int) -> Session:
    return Session(
        id=f"{number:032x}",
        grant="ab" * 16,
        engineer="engineer:alice",
        certificate=f"{number:032x}",
        purpose="debugging",
        ticket="OPS-7",
        shard="s1",
        inside=False,
        subjects=(mint_subject_id(),),
        expires_at=SystemClock().unix_s() + 900,
    )


@asynccontextmanager
async def committing(folder: Path) -> AsyncIterator[tuple[Committer, Writer]]:
    """Into a new log, which its worker keeps."""
    writer = Writer()
    committer = Committer(writer, SOURCE)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(drain(folder / "log", SIGNER, dict, None, writer)),
            group.create_task(committer.run()),
        ]
        while writer.log is None:  # noqa: ASYNC110 - its worker rings no bell
            await asyncio.sleep(0.01)
        yield committer, writer
        for task in tasks:
            task.cancel()


async def client(committer: Committer, held: Session, statements: int, waits: list[float]) -> None:
    """One session: intents one after the other, what came of them some at a time."""
    clock, results = SystemClock(), []
    for number in range(1, statements + 1):
        asked = Statement(
            session=held.id, number=number, text=TEXT, parameters=(bytes(16),), formats=(1,), kind="extended"
        )
        begun = time.perf_counter()
        await committer.commit(entries.intended(held, asked, clock.unix_s()), again=True)
        waits.append(time.perf_counter() - begun)
        results.append(result_of(Outcome(session=held.id, number=number, tag="SELECT 20", rows=20, bytes=1_840)))
        if len(results) == RESULTS:
            await committer.commit(entries.ended(held, number, tuple(results), clock.unix_s()))
            results.clear()


async def recorded(folder: Path, clients: int, statements: int) -> tuple[Waits, float, float]:
    """Waits, statements a second, CPU microseconds a statement."""
    waits = list[float]()
    async with committing(folder) as (committer, _):
        begun, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(client(committer, session(number), statements // clients, waits))
        took, used = time.perf_counter() - begun, time.process_time() - cpu
    return spread(waits), len(waits) / took, used / len(waits) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--statements", type=int, default=8_000, help="a round, over all clients")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="which disk is measured")
    asked = parser.parse_args()
    print(f"clients, then: intend p50 · p99 · most; fdatasync of {PAGE_BYTES} bytes on that disk, the same", flush=True)
    for clients in asked.clients:
        for _ in range(asked.rounds):
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                disk = spread(disk_alone(Path(folder), PAGE_BYTES, 500))
                waits, rate, cpu = uvloop.run(recorded(Path(folder), clients, asked.statements))
                with contextlib.suppress(OSError):
                    shutil.rmtree(Path(folder) / "log")
            print(f"{clients:3}: {waits}; {disk}; {rate:7,.0f} statements/s, CPU {cpu:5.0f} us each", flush=True)


if __name__ == "__main__":
    main()

"""What flows into a log: rows of an outbox in a real PostgreSQL drained into it, and what access records cost the edge.

Drained: a shard's outbox holds N rows; the product's own drain takes them in, to a disk with durability on. Access: what a gateway does for
each request that goes on record: the record made and gathered, then its share of what is handed over together: JSON, and the exchange with
a server on loopback that answers 204 from another thread. CPU time of the edge's thread.

Run: python -m load_tests.bench.ledger_flow [--rows N] [--records N] [--folder DIR]
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from cells.ledger.worker import ShardOutbox
from cells.shards.homes import Homes
from cells.shards.shard import Shard
from foundation.clock import SystemClock
from foundation.http import client
from foundation.ledger.draining import Drain
from foundation.ledger.handed import RECORDS_MAX
from foundation.ledger.log import Log
from foundation.postgres import connect
from foundation.words import ActorId, CellId, Epoch, RegionId, RulesDigest, ServiceId, Verb, mint_subject_id
from gateway.edge.events import Recorder
from gateway.edge.headers import RequestFields
from gateway.edge.outcome import Admitted
from gateway.edge.records import Records
from gateway.edge.request import Request, trace_of
from gateway.edge.room import PENDING_MAX
from gateway.edge.target import Route, Target
from gateway.identity.country import CountryDatabase
from load_tests.bench._ledger import SIGNER
from load_tests.bench.fence import CELL, S1, running_postgres

SUBJECTS = 500
"""Whose requests take turns, each by an address of its own."""
# purpose: events as placements write them
FILL = """
INSERT INTO domicile.outbox (id, at, kind, actor, subject_id, details)
SELECT 'placement:' || n, now(), 'placement', 'cell:eu-de', md5('s' || n)::uuid,
       jsonb_build_object('from', 'reserved', 'to', 'active', 'cell', 'eu-de', 'shard', 's1', 'epoch', n, 'reason', 'acknowledged')
FROM generate_series(1, $1::bigint) AS n
"""


async def drained(folder: Path, rows: int) -> None:
    async with running_postgres() as (_, dsns):
        clock = SystemClock()
        shard = Shard(
            cell=CELL, shard=S1, dsns=dsns, contracts={}, homes=Homes(started_unix_s=clock.unix_s()), clock=clock
        )
        async with shard.opened():
            async with connect(dsns.owner) as owner:
                await owner.execute(FILL, rows)
            with Log(folder / "log", SIGNER) as log:
                drain, source = Drain(log, folder / "log"), ShardOutbox(shard)
                begun, cpu = time.perf_counter(), time.process_time()
                while await drain.once({"s1": source}):
                    pass
                took, used = time.perf_counter() - begun, time.process_time() - cpu
                print(
                    f"outbox to ledger: {log.size:,} rows at {log.size / took:,.0f} rows/s, CPU {used / log.size * 1e6:.1f} us a row",
                    flush=True,
                )


def request(peer: str) -> Request:
    fields = RequestFields()
    fields.traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    return Request(
        method="GET", raw_path=b"/orders/1", query=b"", sent=b"/orders/1", fields=fields,
        target=Target(ServiceId("orders"), Route.ORDINARY), peer=peer, scheme="https", verb=Verb.READ, trace=trace_of(fields.traceparent),
    )  # fmt: skip


@contextlib.contextmanager
def answering() -> Iterator[int]:
    """A cell service on a thread of its own, whose time is not the edge's: answers each request with 204. Its port."""
    loop, port = asyncio.new_event_loop(), Future[int]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
        port.set_result(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    def run() -> None:
        serving = loop.create_task(serve())
        stopping.append(serving)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)

    stopping = list[asyncio.Task[None]]()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield port.result(10)
    finally:
        loop.call_soon_threadsafe(stopping[0].cancel)
        thread.join(10)


async def access(records: int, port: int) -> None:
    recorder = Recorder(lambda: [f"127.0.0.1:{port}"])
    made = Records(recorder, CountryDatabase(), (), region=RegionId("eu"), clock=SystemClock())
    subjects = [mint_subject_id() for _ in range(SUBJECTS)]
    admitted = [
        Admitted(
            cell=CellId("eu-de"), service=ServiceId("orders"), hosts=(), verb=Verb.READ, purpose="service",
            subject=subject, epoch=Epoch(7), digest=RulesDigest("sha256:" + "0" * 64), actor=ActorId("service:support-desk"),
        )
        for subject in subjects
    ]  # fmt: skip
    asked = [request(f"198.51.100.{number % 250}") for number in range(SUBJECTS)]
    made_us, delivered_us = list[float](), list[float]()
    async with client() as http, asyncio.TaskGroup() as group:
        for _ in range(max(1, records // PENDING_MAX)):
            begun = time.thread_time()
            for at in range(PENDING_MAX):
                made.access(asked[at % SUBJECTS], admitted[at % SUBJECTS])
            made_us.append((time.thread_time() - begun) / PENDING_MAX * 1e6)
            begun = time.thread_time()
            worker = group.create_task(recorder.deliver(http))
            while recorder.pending:  # noqa: ASYNC110 - nobody tells when it is empty
                await asyncio.sleep(0.05)
            delivered_us.append((time.thread_time() - begun) / PENDING_MAX * 1e6)
            worker.cancel()
    both = [sum(pair) for pair in zip(made_us, delivered_us, strict=True)]
    print(
        f"access records: {min(both):.2f} us of the edge's CPU each at the least of {len(both)} rounds, {statistics.median(both):.2f} in "
        f"the middle: {statistics.median(made_us):.2f} for making one and what is closed with it, "
        f"{statistics.median(delivered_us):.2f} for handing over, {RECORDS_MAX} together",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.ledger_flow", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of the outbox")
    parser.add_argument("--records", type=int, default=200_000, help="accesses")
    parser.add_argument("--folder", type=Path, default=Path(), help="where, so which disk; default: here")
    asked = parser.parse_args()
    with answering() as port:
        asyncio.run(access(asked.records, port))
    with tempfile.TemporaryDirectory(prefix=".bench-ledger-", dir=asked.folder) as made:
        asyncio.run(drained(Path(made), asked.rows))


if __name__ == "__main__":
    main()

"""What flows into a log: rows of an outbox in a real PostgreSQL drained into it, and what access records cost the edge.

Drained: a shard's outbox holds N rows; the product's own drain takes them in, to a disk with durability on. Access: what a gateway does for
each request of a service that acts for a person: the event made and put into its buffer, then its share of a batch of 500: JSON, and the
exchange with a server on loopback that answers 204. CPU time of the process. For a person's own requests nothing of it is done.

Run: python -m load_tests.bench.ledger_flow [--rows N] [--records N] [--folder DIR]
"""

import argparse
import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

from cells.ledger.worker import ShardOutbox
from cells.shards.homes import Homes
from cells.shards.shard import Shard
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.ledger.draining import Drain
from foundation.ledger.log import Log
from foundation.postgres import connect
from foundation.words import ActorId, CellId, Epoch, RegionId, RulesDigest, ServiceId, Verb, mint_subject_id
from gateway.edge.events import BATCH_MAX, PENDING_MAX, Recorder
from gateway.edge.headers import RequestFields
from gateway.edge.outcome import Admitted
from gateway.edge.records import Records
from gateway.edge.request import Request
from gateway.edge.target import Route, Target
from gateway.identity.country import CountryDatabase
from load_tests.bench.fence import CELL, S1, running_postgres
from load_tests.bench.ledger import SIGNER

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


def request() -> Request:
    fields = RequestFields()
    fields.traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    return Request(
        method="GET", raw_path=b"/orders/1", query=b"", sent=b"/orders/1", fields=fields,
        target=Target(ServiceId("orders"), Route.ORDINARY), peer="198.51.100.7:40312", scheme="https",
    )  # fmt: skip


async def access(records: int) -> None:
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Of the CPU time this takes little: it reads a head and a body, and answers."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()
        ended.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    recorder = Recorder(lambda: [f"127.0.0.1:{port}"])
    made = Records(recorder, CountryDatabase(), (), region=RegionId("eu"), clock=SystemClock())
    admitted = Admitted(
        cell=CellId("eu-de"), service=ServiceId("orders"), hosts=(), verb=Verb.READ, purpose="service",
        subject=mint_subject_id(), epoch=Epoch(7), digest=RulesDigest("sha256:" + "0" * 64), actor=ActorId("support-desk"),
    )  # fmt: skip
    asked, actor = request(), ActorId("support-desk")
    made_s = delivered_s = 0.0
    async with HttpClient() as http, asyncio.TaskGroup() as group:
        for _ in range(max(1, records // PENDING_MAX)):
            begun = time.process_time()
            for _ in range(PENDING_MAX):
                made.access(asked, admitted, actor)
            made_s += time.process_time() - begun
            begun = time.process_time()
            worker = group.create_task(recorder.deliver(http))
            while recorder.pending:  # noqa: ASYNC110 - nobody tells when it is empty
                await asyncio.sleep(0.05)
            delivered_s += time.process_time() - begun
            worker.cancel()
    await ended.wait()
    server.close()
    count = max(1, records // PENDING_MAX) * PENDING_MAX
    print(
        f"access records: {made_s / count * 1e6:.2f} us of CPU each for making and buffering one, {delivered_s / count * 1e6:.2f} us "
        f"for handing it over in batches of {BATCH_MAX} (with the answering side)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.ledger_flow", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of the outbox")
    parser.add_argument("--records", type=int, default=50_000, help="accesses")
    parser.add_argument("--folder", type=Path, default=Path(), help="where, so which disk; default: here")
    asked = parser.parse_args()
    asyncio.run(access(asked.records))
    with tempfile.TemporaryDirectory(prefix=".bench-ledger-", dir=asked.folder) as made:
        asyncio.run(drained(Path(made), asked.rows))


if __name__ == "__main__":
    main()

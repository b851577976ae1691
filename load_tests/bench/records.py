"""The records API: what a request costs in process, and what a large answer takes in memory.

Decision, statement and answer as in service, without an HTTP server and its client; real PostgreSQL, durability on.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from cells.records import api
from cells.records.contracts import read_folder
from cells.service.context import Context
from cells.service.directory import CellDirectory
from cells.shards.core import Home
from cells.shards.homes import Homes
from cells.shards.shard import Dsns, Shard
from directory.placement.core import State
from directory.rules.client import HeldRules
from foundation.clock import SystemClock
from foundation.decision import Decision, RootKey
from foundation.decision_header import CellVerifier, Minter, new_decision_id
from foundation.http import ServiceAuth, client, token_verifier
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.words import RECORDS, ActorId, Epoch, FeedSeq, ShardId, SubjectId, Verb, mint_subject_id
from load_tests.bench._policies import policy
from load_tests.bench.fence import CELL, HERE, S1, running_postgres, spread
from routing_rules.rules import load

ROOT = RootKey("k1", Secret(b"c" * 32))
POLICY = policy({"records": {"eu-de": "127.0.0.1:7101"}})
FILL = (
    "INSERT INTO product.notes (subject_id, title, body, rank, extra)"
    " SELECT $1, 'note ' || n, repeat('x', 100), n, jsonb_build_object('n', n) FROM generate_series(1, $2::int) AS n"
)


def resident_mib() -> float:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Stand:
    """One subject's requests, as the gateway would have decided them."""

    def __init__(self, app: Any, context: Context, subject: SubjectId) -> None:
        self._app = app
        self._context = context
        self._minter = Minter(CELL, ROOT)
        self.subject = subject

    async def ask(
        self, query: str, *, method: str = "GET", prefer: str = "", body: bytes = b""
    ) -> tuple[int, int, float]:
        """Status, bytes, and the most memory while they came; they are dropped as they come."""
        decision = Decision(
            cell=CELL, service=RECORDS, subject=self.subject, actor=ActorId(self.subject), epoch=Epoch(1), verb=Verb.WRITE,
            purpose="service", rules=self._context.rules.require().digest, expires=SystemClock().unix_s() + 20, id=new_decision_id(),
        )  # fmt: skip
        headers = [(b"domicile-decision", self._minter.mint(decision).encode()), (b"prefer", prefer.encode())]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": method, "path": "/records/notes",
            "raw_path": b"/records/notes", "query_string": query.encode(), "root_path": "", "scheme": "http",
            "http_version": "1.1", "server": ("cell", 80), "client": ("127.0.0.1", 1), "headers": headers,
        }  # fmt: skip
        status, size, most, asked = 0, 0, 0.0, False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, size, most
            status = message.get("status", status)
            size += len(message.get("body", b""))
            most = max(most, resident_mib())

        await self._app(scope, receive, send)
        return status, size, most


@asynccontextmanager
async def stand(dsns: Dsns, rows_max: int) -> AsyncIterator[Stand]:
    contracts = {"notes": read_folder(HERE / "contracts")["notes"]}
    clock, rules = SystemClock(), HeldRules()
    rules.take(load(POLICY), FeedSeq(1), 0.0)
    homes = Homes(started_unix_s=clock.unix_s())
    shard = Shard(cell=CELL, shard=S1, dsns=dsns, contracts=contracts, homes=homes, clock=clock)
    async with client() as outside, shard.opened():
        subject = mint_subject_id()
        await shard.raise_fence(subject, Home(ShardId(S1), Epoch(1), State.ACTIVE, ()))
        context = Context(
            cell=CELL,
            clock=clock,
            auth=ServiceAuth(token_verifier([], outside, clock), clock),
            verifier=CellVerifier(CELL, (ROOT,)),
            minter=Minter(CELL, ROOT),
            rules=rules,
            homes=homes,
            directory=CellDirectory(outside),
            shards={S1: shard},
        )
        yield Stand(Starlette(routes=api.routes(context, contracts, rows_max)), context, subject)


async def requests(built: Stand, number: int) -> None:
    """Each form of request alone, one after the other."""
    cases = {
        "read, one row": {"query": "rank=eq.500"},
        "read, a tree of filters": {
            "query": "or=(rank.eq.500,and(title.like.note*,rank.lt.3))&order=rank.desc&limit=10"
        },
        "read, a path into JSON": {"query": "select=title,n:extra->>n&extra->n=eq.500"},
        "read, counted": {"query": "rank=lt.11", "prefer": "count=exact"},
        "read, 1,000 rows": {"query": "limit=1000"},
        "read, 1,001 rows (streamed)": {"query": "limit=1001"},
        "upsert": {
            "method": "POST",
            "query": "on_conflict=title",
            "prefer": "resolution=merge-duplicates,return=minimal",
            "body": b'{"title":"note 1","rank":1}',
        },
    }
    for name, asked in cases.items():
        took, before = [], time.process_time()
        for _ in range(number):
            began = time.perf_counter()
            status, _, _ = await built.ask(**asked)  # type: ignore[arg-type]
            took.append(time.perf_counter() - began)
            if status >= 400:
                raise SystemExit(f"{name}: status {status}")
        used = (time.process_time() - before) / number
        print(f"{name}: {spread(took[number // 10 :], 1e6)} µs; CPU here {used * 1e6:.0f} µs")


async def large(built: Stand, dsns: Dsns, subject: SubjectId, number: int) -> None:
    """All rows of one subject in one answer, and the same rows fetched at once for comparison."""
    before = resident_mib()
    began = time.perf_counter()
    status, size, most = await built.ask("order=id")
    took = time.perf_counter() - began
    print(
        f"{number:,} rows streamed: status {status}, {size / 2**20:.0f} MiB in {took:.1f} s"
        f" ({number / took:,.0f} rows/s), memory {before:.0f} → at most {most:.0f} MiB"
    )
    async with connect(dsns.records) as whole:
        found = await whole.fetch(
            "SELECT to_json(t)::text AS row FROM live.notes AS t WHERE t.subject_id = $1", subject
        )
        print(f"the same {len(found):,} rows fetched at once: {resident_mib():.0f} MiB")


async def main(rows: int, number: int) -> None:
    async with running_postgres() as (_, dsns), stand(dsns, 10_000_000) as built:
        subject = built.subject
        async with connect(dsns.owner) as owner:
            await owner.execute(FILL, subject, 2_000)
            await owner.execute("VACUUM ANALYZE product.notes")
            await requests(built, number)
            await owner.execute("DELETE FROM product.notes")
            await owner.execute(FILL, subject, rows)
            await owner.execute("VACUUM ANALYZE product.notes")
        await large(built, dsns, subject, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.records", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=1_000)
    asked = parser.parse_args()
    asyncio.run(main(asked.rows, asked.requests))

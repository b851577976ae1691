"""What a read of one row costs on its way: `python -m load_tests.bench.way [--state DIR] [--rows N]`, on a running stack.

One client, one request after the other, five ways in turn so that all meet the same machine: asyncpg with the records role's own login and
a plain SELECT by primary key; the fenced statement that the records API makes of the request, by asyncpg too; a process that answers HTTP
without a look at it, so what client, kernel and wake-ups take of an exchange; the cell service over HTTP with a decision, made before the
clock runs; the gateway with a person's token. The HTTP client is a bare protocol on httptools, so that the figures are the servers'.
CPU time is each process's, from /proc. Milliseconds and microseconds; nothing is asserted.
"""

import argparse
import json
import os
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from cells.records.contracts import read_folder
from cells.records.core import Bound, grant
from cells.records.dialect import parse_query
from cells.records.ranges import Page
from cells.records.statements import Builder, Statement
from deploy.local.layout import Paths
from foundation import http
from foundation.clock import SystemClock
from foundation.decision import Decision, RootKey
from foundation.decision_header import HEADER, Minter, new_decision_id
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.settings import read_keyring
from foundation.words import RECORDS, ActorId, CellId, Epoch, RulesDigest, SubjectId, Verb
from load_tests.bench._bare import Connection, connected
from load_tests.bench._hop import answering
from load_tests.bench.edge import cpu_s

CELL = CellId("eu-de")
REGION = "eu"
PEOPLE = 8
ANSWER_BYTES = 500
"""What a note's answer has, about."""
DIRECT, CELL_ALONE, GATEWAY = "asyncpg direct, by primary key", "the cell service", "gateway and cell service"
HOP = "an exchange of as many bytes"
CONTRACTS = Path(__file__).parents[2] / "deploy" / "local" / "contracts"
CLOCK = SystemClock()
Once = Callable[[], Awaitable[int]]
"""One read; answers how many bytes came."""
Ready = Callable[[], Once]
"""Makes one ready: what it sends is made before the clock runs, since the gateway makes a decision and the cell service does not."""

# purpose: the row as a service of its own would read it, by primary key
PLAIN = """
SELECT subject_id, id, title, body, rank, starred, tags, extra, created_at FROM product.notes WHERE subject_id = $1 AND id = $2
"""


class Stack:
    """What the bench needs of a running stack: addresses, pids, logins."""

    def __init__(self, state: Path) -> None:
        paths = Paths(state.absolute())
        self._found = json.loads((paths.state / "stack.json").read_text())
        self._secrets = paths.state / "secrets"
        self.cell = self._found["cells"][CELL]["service"]
        self.gateway = self._found["regions"][REGION]["gateway"]
        self.issuer = self._found["regions"][REGION]["issuer"]

    def pid(self, process: str) -> int:
        return int(self._found["processes"][process]["pid"])

    def records_dsn(self, shard: str) -> Secret[str]:
        dsns = json.loads((self._secrets / "dsns.json").read_text())
        return Secret(dsns[self._found["cells"][CELL]["shards"][shard] + "_RECORDS"])

    def minter(self) -> Minter:
        kid, key = read_keyring(self._secrets / f"cell-{CELL}.root.json")[0]
        return Minter(CELL, RootKey(kid, key))

    async def rules(self) -> RulesDigest:
        async with http.client(self._found["directory"]["url"]) as directory:
            token = (self._secrets / "operator.jwt").read_text().strip()
            answer = await directory.get("/v1/rules/current", headers={"authorization": f"Bearer {token}"})
            return RulesDigest(answer.json()["digest"])


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who reads, and the note that is read."""

    token: str
    subject: SubjectId
    epoch: Epoch
    shard: str
    note: str


async def signed_up(stack: Stack, rows: int) -> Person:
    """Somebody new in Germany, with `rows` notes."""
    async with http.client(total_s=30) as client:
        token = (await client.post(f"{stack.issuer}/mint", json={"sub": f"way-{uuid.uuid4()}"})).json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        signup = f"{stack.gateway}/orders/sign-up?residence=DE"
        placed = await client.post(signup, headers=headers, json={"name": "Bench"})
        placed.raise_for_status()
        notes = [
            {"title": f"note {number}", "body": "x" * 200, "rank": number, "extra": {"n": number}}
            for number in range(rows)
        ]
        written = await client.post(
            f"{stack.gateway}/records/notes", headers=headers | {"prefer": "return=representation"}, json=notes
        )
        written.raise_for_status()
    subject = SubjectId(placed.json()["subject_id"])
    for shard in ("s1", "s2"):
        async with connect(stack.records_dsn(shard)) as connection:
            if await connection.fetchval("SELECT 1 FROM live.notes WHERE subject_id = $1 LIMIT 1", subject):
                return Person(
                    token=token,
                    subject=subject,
                    epoch=Epoch(placed.json()["epoch"]),
                    shard=shard,
                    note=written.json()[rows // 2]["id"],
                )
    raise SystemExit("the notes lie on no shard of the cell")


def statement(person: Person) -> Statement:
    """What the records API makes of the read."""
    contract = read_folder(CONTRACTS)["notes"]
    bound = Bound(subject=person.subject, epoch=person.epoch, owner=person.subject, owner_only=False)
    builder = Builder(contract, grant(contract, RECORDS, "service"), bound)
    return builder.read(parse_query(f"id=eq.{person.note}"), Page(offset=0, limit=1000))


def direct(connection: "asyncpg.Connection[asyncpg.Record]", sql: str, *arguments: object) -> Ready:
    async def once() -> int:
        return len(await connection.fetch(sql, *arguments))

    return lambda: once


def asking(connection: Connection, target: str, header: Callable[[], str]) -> Ready:
    def ready() -> Once:
        request = f"GET {target} HTTP/1.1\r\nHost: bench\r\n{header()}\r\n\r\n".encode()
        return partial(connection.ask, request)

    return ready


def bearing(person: Person) -> Callable[[], str]:
    return lambda: f"Authorization: Bearer {person.token}"


def deciding(minter: Minter, person: Person, rules: RulesDigest) -> Callable[[], str]:
    """A decision for each request, as a gateway makes them."""

    def header() -> str:
        decision = Decision(
            cell=CELL, service=RECORDS, subject=person.subject, actor=ActorId(person.subject), epoch=person.epoch, verb=Verb.READ,
            purpose="service", rules=rules, expires=CLOCK.unix_s() + 20, id=new_decision_id(),
        )  # fmt: skip
        return f"{HEADER}: {minter.mint(decision)}"

    return header


async def measure(ways: Sequence[dict[str, Ready]], rounds: int, number: int) -> dict[str, list[float]]:
    """Milliseconds of each read. The ways take turns, `number` reads at a time, and the people in turn, so that none comes to a limit; the
    first round is not counted."""
    took: dict[str, list[float]] = {name: [] for name in ways[0]}
    for turn in range(rounds + 1):
        for name, counted in took.items():
            for count in range(number):
                once = ways[count % len(ways)][name]()
                began = time.perf_counter()
                await once()
                if turn:
                    counted.append((time.perf_counter() - began) * 1e3)
    return took


def _line(name: str, took: list[float], base: float) -> str:
    ordered = sorted(took)
    p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    return f"{name:<34} p50 {p50:6.3f} ms   p99 {p99:6.3f} ms   p50 over asyncpg direct {p50 - base:+6.3f} ms"


async def main(state: Path, rows: int, rounds: int, number: int) -> None:
    stack = Stack(state)
    people = [await signed_up(stack, rows) for _ in range(PEOPLE)]
    rules, minter = await stack.rules(), stack.minter()
    async with AsyncExitStack() as held:
        logins = {
            shard: await held.enter_async_context(connect(stack.records_dsn(shard)))
            for shard in {p.shard for p in people}
        }
        cell, gateway = await connected(stack.cell), await connected(stack.gateway)
        hop = await connected(await held.enter_async_context(answering(ANSWER_BYTES)))
        ways = []
        for person in people:
            made, target = statement(person), f"/records/notes?id=eq.{person.note}"
            ways.append(
                {
                    DIRECT: direct(logins[person.shard], PLAIN, person.subject, uuid.UUID(person.note)),
                    "asyncpg, the fenced statement": direct(logins[person.shard], made.sql, *made.arguments),
                    HOP: asking(hop, target, deciding(minter, person, rules)),
                    CELL_ALONE: asking(cell, target, deciding(minter, person, rules)),
                    GATEWAY: asking(gateway, target, bearing(person)),
                }
            )
        took = await measure(ways, rounds, number)
        base = statistics.median(took[DIRECT])
        print(f"one of {rows} rows, {rounds} x {number} reads each, load {os.getloadavg()[0]:.1f}")
        for name, values in took.items():
            print(_line(name, values, base))
        await _processor_time(stack, ways, number * rounds)


async def _processor_time(stack: Stack, ways: Sequence[dict[str, Ready]], number: int) -> None:
    for name, processes in {CELL_ALONE: (f"cell-{CELL}",), GATEWAY: (f"gateway-{REGION}", f"cell-{CELL}")}.items():
        before = [sum(cpu_s(stack.pid(one))) for one in processes]
        for count in range(number):
            await ways[count % len(ways)][name]()()
        after = [sum(cpu_s(stack.pid(one))) for one in processes]
        used = ", ".join(
            f"{one} {(end - begin) / number * 1e6:.0f} µs"
            for one, begin, end in zip(processes, before, after, strict=True)
        )
        print(f"CPU a request, {name}: {used}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.way", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".domicile"))
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--number", type=int, default=200)
    asked = parser.parse_args()
    uvloop.run(main(asked.state, asked.rows, asked.rounds, asked.number))

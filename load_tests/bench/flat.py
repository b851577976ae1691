"""Whether the cost of a request grows with people or cells: `python -m load_tests.bench.flat [--subjects N …] [--cells N …] [--rounds N]`.

Processes on loopback: a load generator (this one), two gateways' edges as in production, and a service that listens on a port for each
cell. One gateway knows the fewest subjects and cells; the other one more of either. Rounds take turns between the two, so both meet the
same machine; counted is user and system time of a gateway's process for each request, and its ratio to the other's in the same turn.

Requests are drawn over all subjects: those who ask are scattered over the whole table, in random order, each with a token of their own
that was verified before the first round. A gateway remembers 65,536 verified tokens; so at most `--askers` people of a million ask, and
what a person's first request costs, with its verification, is printed apart (cold).
"""

import argparse
import asyncio
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import uvloop

from gateway.identity.tokens import IDENTITIES_MAX, REMEMBERED_S_MAX
from gateway.settings import Upstream
from load_tests.bench import _kept
from load_tests.bench._figures import Figure, row, table
from load_tests.bench.bulkhead import rules_of
from load_tests.bench.edge import cpu_s, edge_process, free_port, listening, people, running
from load_tests.bench.peers import load
from load_tests.bench.peers.cases import CASES
from load_tests.bench.peers.stand import files_open
from load_tests.bench.peers.upstream import Service

CASE = CASES[0]
STARTS_MAX = 6
"""Times that `listening` may give up: a million subjects take a process a while to learn."""
SPARE_S = 20.0
WARM = 1_000
"""Requests before each counted round, at least: connections to services that were idle for too long are made anew by then."""


class Size(msgspec.Struct, frozen=True):
    """What a gateway knows."""

    subjects: int
    cells: int

    def __str__(self) -> str:
        return f"{self.subjects:,} subjects, {self.cells} cells"


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """CPU microseconds a request, by round, of the least size and of a larger one; `cold`: of each one's first requests."""

    base: list[float]
    larger: list[float]
    cold: tuple[float, float]


def sizes(subjects: Sequence[int], cells: Sequence[int]) -> list[Size]:
    """The least of both first, then each that is larger in one of them. Pure."""
    least = Size(min(subjects), min(cells))
    more = [Size(number, least.cells) for number in sorted(set(subjects)) if number > least.subjects]
    wider = [Size(least.subjects, number) for number in sorted(set(cells)) if number > least.cells]
    return [least, *more, *wider]


def names(cells: int) -> list[str]:
    return [f"eu-{number:03d}" for number in range(cells)]


def settled(subs: Sequence[str], cells: int) -> dict[str, str]:
    """The cell of each sub, all cells in turn. Pure."""
    known = names(cells)
    return {sub: known[number % cells] for number, sub in enumerate(subs)}


# --- the processes -----------------------------------------------------------------------------------------------------------


def services_process(pipe: Connection, cells: int) -> None:
    """The same service for every cell, each on a port of its own."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Service, "127.0.0.1", 0, backlog=1024) for _ in range(cells)]
        pipe.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    uvloop.run(main())


# --- the rounds --------------------------------------------------------------------------------------------------------------


class Gateway:
    """One that runs, and what is asked of it."""

    def __init__(self, pid: int, port: int, requests: list[bytes], asked: argparse.Namespace) -> None:
        self._pid = pid
        self._port = port
        self._requests = requests
        self._connections: int = asked.connections

    async def up(self) -> None:
        for left in reversed(range(STARTS_MAX)):
            try:
                await listening(self._port)
                return
            except TimeoutError:
                if not left:
                    raise

    async def cold(self) -> float:
        """Of each person's first request."""
        return await self.round(len(self._requests))

    async def round(self, count: int) -> float:
        before = sum(cpu_s(self._pid))
        await load.closed(self._port, self._requests, count, self._connections, answer=CASE.answer)
        return (sum(cpu_s(self._pid)) - before) / count * 1e6


async def _turns(base: Gateway, larger: Gateway, asked: argparse.Namespace) -> Pair:
    await base.up()
    await larger.up()
    began = time.perf_counter()
    found = Pair(base=[], larger=[], cold=(await base.cold(), await larger.cold()))
    for _ in range(asked.rounds):
        for gateway, counted in ((base, found.base), (larger, found.larger)):
            await gateway.round(max(WARM, asked.requests // 10))
            counted.append(await gateway.round(asked.requests))
    if time.perf_counter() - began > REMEMBERED_S_MAX - SPARE_S:
        raise SystemExit(
            "the rounds took so long that tokens had to be verified again: ask for fewer --requests or --rounds"
        )
    return found


def measured(least: Size, size: Size, asked: argparse.Namespace, folder: Path) -> Pair:
    context = multiprocessing.get_context("spawn")
    jwks, subs, tokens = people(folder, min(max(least.subjects, size.subjects), asked.askers))
    ours, theirs = context.Pipe()
    service = context.Process(target=services_process, args=(theirs, size.cells), daemon=True)
    service.start()
    with running([service]):
        ports = ours.recv()
        started, gateways = [], []
        for one in (least, size):
            asking = min(one.subjects, asked.askers)
            homes = settled(subs[:asking], one.cells)
            text = rules_of(dict(zip(names(one.cells), ports, strict=False)))
            port = free_port()
            process = context.Process(
                target=edge_process,
                args=(port, text, str(jwks), homes, Upstream(), one.subjects - asking),
                daemon=True,
            )
            process.start()
            started.append(process)
            requests = CASE.requests(tokens[:asking])
            random.Random(asking).shuffle(requests)
            gateways.append(Gateway(process.pid or 0, port, requests, asked))
        with running([*started]):
            base, larger = gateways
            return uvloop.run(_turns(base, larger, asked))


def figures(least: Size, taken: dict[Size, Pair]) -> tuple[Figure, ...]:
    """One for subjects and one for cells. The least size stands there with the rounds of all its pairs; each ratio is of a pair's turns."""
    found = []
    for what, part in (
        ("subjects", [size for size in taken if size.subjects > least.subjects]),
        ("cells", [size for size in taken if size.cells > least.cells]),
    ):
        larger = [row(str(size), taken[size].larger, taken[size].base) for size in part]
        if larger:
            beside = row(str(least), [one for size in part for one in taken[size].base])
            found.append(
                Figure(
                    name=what,
                    title=f"CPU time of the gateway a request, by {what} known",
                    unit="µs",
                    rows=(beside, *larger),
                    base=str(least),
                    ours=tuple(map(str, part)),
                )
            )
    return tuple(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.flat", description=__doc__)
    parser.add_argument("--subjects", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--cells", type=int, nargs="+", default=[3, 30, 300])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=15_000, help="of each round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--askers", type=int, default=15_000, help="people who ask, where more are known")
    _kept.keeping(parser)
    asked = parser.parse_args()
    if not 0 < asked.askers <= IDENTITIES_MAX:
        parser.error(f"a gateway remembers {IDENTITIES_MAX:,} tokens: ask for fewer --askers")
    files_open()
    met = _kept.conditions(
        "flat", f"{asked.rounds} rounds of {asked.requests:,} requests, {asked.connections} connections", asked.remark
    )
    print("\n".join(met.notes()), flush=True)
    least, *others = sizes(asked.subjects, asked.cells)
    taken: dict[Size, Pair] = {}
    for size in others:
        with tempfile.TemporaryDirectory() as folder:
            taken[size] = measured(least, size, asked, Path(folder))
        pair = taken[size]
        print(
            f"{size}: {statistics.median(pair.larger):.0f} µs beside {statistics.median(pair.base):.0f};"
            f" cold {pair.cold[1]:.0f} beside {pair.cold[0]:.0f}",
            flush=True,
        )
    drawn = figures(least, taken)
    for figure in drawn:
        print(table(figure), flush=True)
    _kept.keep(asked.out, met, drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())

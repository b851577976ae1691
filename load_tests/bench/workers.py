"""What further gateway processes bring: `python -m load_tests.bench.workers [--workers N …] [--rounds N]`.

Processes on loopback: gateways' edges as in production, each on a port of its own (on one port, as `--workers` has it, the kernel deals
out connections by their addresses, and so few of them unevenly), a service for each of them, and a process of load for each. Rounds take
turns between numbers of workers. Printed: requests a second of all together, CPU microseconds of the gateways for each request, and how
much of the machine was busy. Load and services stand on the same cores: once they are all busy, further workers bring nothing, and it is
the CPU time for each request that says whether workers cost each other anything.
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import psutil
import uvloop

from load_tests.bench import _kept
from load_tests.bench._figures import Figure, rows, table
from load_tests.bench.edge import cpu_s, free_port, gateway_process, listening, people, running, service_process
from load_tests.bench.peers import load
from load_tests.bench.peers.cases import CASES
from load_tests.bench.peers.stand import files_open

CASE = CASES[0]
WARM = 2_000


class Round(msgspec.Struct, frozen=True):
    """`busy`: of all cores, from 0 to 1."""

    per_s: float
    cpu_us: float
    busy: float


def counts(wanted: Sequence[int], cores: int) -> list[int]:
    """Numbers of workers: 1 always, and those wanted, or 2 and each doubling up to the cores at hand. Pure."""
    if wanted:
        return sorted({1, *wanted})
    doubled = [1, 2]
    while doubled[-1] * 2 <= cores:
        doubled.append(doubled[-1] * 2)
    return doubled


def ask(port: int, requests: list[bytes], count: int, connections: int) -> float:
    """In a process of load; the seconds that it took."""
    return uvloop.run(load.closed(port, requests, count, connections, answer=CASE.answer))


def one_round(
    loads: ProcessPoolExecutor, gateways: Sequence[tuple[int, int]], requests: list[bytes], asked: argparse.Namespace
) -> Round:
    """`gateways`: (pid, port) of those that are asked, all at the same time, `asked.requests` of each."""
    psutil.cpu_percent()
    before = [sum(cpu_s(pid)) for pid, _ in gateways]
    began = time.perf_counter()
    asking = [loads.submit(ask, port, requests, asked.requests, asked.connections) for _, port in gateways]
    for one in asking:
        one.result()
    took = time.perf_counter() - began
    busy = psutil.cpu_percent() / 100
    spent = sum(sum(cpu_s(pid)) for pid, _ in gateways) - sum(before)
    number = asked.requests * len(gateways)
    return Round(per_s=number / took, cpu_us=spent / number * 1e6, busy=busy)


def figures(taken: dict[int, list[Round]]) -> tuple[Figure, ...]:
    def figure(name: str, title: str, unit: str) -> Figure:
        values = {_named(count): [getattr(one, name) for one in rounds] for count, rounds in taken.items()}
        found = rows(values, _named(1))
        return Figure(
            name=name.replace("_", "-"), title=title, unit=unit, rows=found, base=_named(1), ours=tuple(values)
        )

    return (
        figure("per_s", "Requests a second, by workers", "requests/s"),
        figure("cpu_us", "CPU time of all gateways a request, by workers", "µs"),
        figure("busy", "Share of the machine that was busy, by workers", "of 1"),
    )


def _named(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _measured(asked: argparse.Namespace, numbers: Sequence[int], folder: Path) -> dict[int, list[Round]]:
    context, most = multiprocessing.get_context("spawn"), max(numbers)
    jwks, subs, tokens = people(folder, asked.people)
    requests, gateways = CASE.requests(tokens), list[tuple[int, int]]()
    taken: dict[int, list[Round]] = {count: [] for count in numbers}
    with contextlib.ExitStack() as held:
        for _ in range(most):
            ours, theirs = context.Pipe()
            service = context.Process(target=service_process, args=(theirs,), daemon=True)
            service.start()
            held.enter_context(running([service]))
            port = free_port()
            gateway = context.Process(target=gateway_process, args=(port, ours.recv(), str(jwks), subs), daemon=True)
            gateway.start()
            held.enter_context(running([gateway]))
            gateways.append((gateway.pid or 0, port))
        for _, port in gateways:
            uvloop.run(listening(port))
        loads = held.enter_context(ProcessPoolExecutor(most, mp_context=context))
        for warm in [
            loads.submit(ask, port, requests, max(WARM, len(requests)), asked.connections) for _, port in gateways
        ]:
            warm.result()
        for _ in range(asked.rounds):
            for count in numbers:
                taken[count].append(one_round(loads, gateways[:count], requests, asked))
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.workers", description=__doc__)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[], help="else 1, 2 and each doubling up to the cores at hand"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=15_000, help="of each round and worker")
    parser.add_argument("--connections", type=int, default=32, help="to each worker")
    parser.add_argument("--people", type=int, default=1_000)
    _kept.keeping(parser)
    asked = parser.parse_args()
    files_open()
    sizes = f"{asked.rounds} rounds of {asked.requests:,} requests a worker, {asked.connections} connections to each"
    met = _kept.conditions("workers", sizes, asked.remark)
    print("\n".join(met.notes()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        taken = _measured(asked, counts(asked.workers, os.cpu_count() or 1), Path(folder))
    *drawn, busy = figures(taken)
    for figure in (*drawn, busy):
        print(table(figure), flush=True)
    _kept.keep(asked.out, met, drawn, [busy])
    return 0


if __name__ == "__main__":
    sys.exit(main())

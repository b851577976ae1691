"""What an idle keep-alive connection costs: `python -m load_tests.bench.idle [--connections N …] [--proxy NAME …]`.

Processes on loopback: the connections (this one), a gateway's edge as in production without TLS, and a service. Each connection makes one
request with a token and then stays open. Counted is what the resident memory of the gateway's processes grew by, in KiB a connection,
from before the first to when so many were open; what the kernel holds for sockets is not in it. nginx and Caddy beside it, where they are
installed. Connections that the limit on open files forbids are left out, and said so.
"""

import argparse
import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Collection, Sequence

import msgspec
import psutil
import uvloop

from load_tests.bench import _kept
from load_tests.bench._bare import Connection
from load_tests.bench._figures import Figure, row, table
from load_tests.bench.peers import load
from load_tests.bench.peers.cases import CASES
from load_tests.bench.peers.report import OURS
from load_tests.bench.peers.stand import Standing, files_open, service, started

CONNECTIONS = (1_000, 4_000, 8_000)
PROXIES = (OURS, "nginx", "Caddy")
PEOPLE = 64
WARM = 5_000
AT_ONCE = 64
"""Connections that are being opened at the same time: less than any listener's backlog."""
FILES_BESIDE = 512
"""Open files of a proxy, or of this process, that are no such connection."""
EPHEMERAL_SHARE = 0.5
"""Of the ports that the kernel hands out: as many are taken at most."""
ANSWER_S_MAX = 30.0
SETTLE_S = 1.0
CASE = CASES[0]


class Held(Connection):
    """One connection. Counts itself out of `open_now` when the other side ends it."""

    def __init__(self, open_now: set["Held"]) -> None:
        super().__init__()
        self._open_now = open_now

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._open_now.discard(self)

    def drop(self) -> None:
        """With a reset, so that no port of this side waits for minutes (TIME_WAIT)."""
        held = self._transport.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.close()


class Level(msgspec.Struct, frozen=True):
    """So many connections were open, and the processes had grown by so much."""

    connections: int
    grown_bytes: int

    @property
    def kib(self) -> float:
        return self.grown_bytes / 1024 / self.connections


def possible(wanted: Sequence[int], *, files: int, ports: int) -> tuple[list[int], int]:
    """Those of `wanted` numbers of connections that open files and ports allow, in order, and how many that are at most. Pure."""
    most = max(0, min(files - FILES_BESIDE, int(ports * EPHEMERAL_SHARE)))
    return sorted({one for one in wanted if 0 < one <= most}), most


def ephemeral_ports() -> int:
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as told:  # noqa: PTH123 - one line of the kernel's
        low, high = map(int, told.read().split())
    return high - low + 1


def resident(pids: Sequence[int]) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


async def grown(one: Standing, levels: Sequence[int], requests: Sequence[bytes]) -> list[Level]:
    """Opens as many connections as the last level says, and looks at each. Raises RuntimeError when one is lost under way."""
    await load.closed(one.running.port, requests, WARM, AT_ONCE, answer=CASE.answer)
    await asyncio.sleep(SETTLE_S)
    before, found = resident(one.running.pids), list[Level]()
    open_now: set[Held] = set()
    opened = 0
    try:
        for level in levels:
            while opened < level:
                count = min(AT_ONCE, level - opened)
                await _opened(one.running.port, count, requests, open_now)
                opened += count
            await asyncio.sleep(SETTLE_S)
            if len(open_now) < level:
                raise RuntimeError(f"{one.name} ended {level - len(open_now)} of {level} connections meanwhile")
            found.append(Level(level, resident(one.running.pids) - before))
    finally:
        await _dropped(open_now)
    return found


async def _opened(port: int, count: int, requests: Sequence[bytes], open_now: set[Held]) -> None:
    async def one(number: int) -> None:
        _, held = await asyncio.get_running_loop().create_connection(lambda: Held(open_now), "127.0.0.1", port)
        open_now.add(held)
        await held.ask(requests[number % len(requests)])

    async with asyncio.timeout(ANSWER_S_MAX), asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


async def _dropped(open_now: Collection[Held]) -> None:
    for connection in tuple(open_now):
        connection.drop()
    await asyncio.sleep(SETTLE_S)  # the loop closes them in turns of its own


def figure(found: dict[str, list[Level]]) -> Figure:
    """KiB a connection; without rounds, since memory is not given back between them."""
    named = {f"{name}, {level.connections:,}": level.kib for name, levels in found.items() for level in levels}
    return Figure(
        name="connections",
        title="Resident memory of an idle keep-alive connection (no TLS)",
        unit="KiB",
        rows=tuple(row(name, [kib]) for name, kib in named.items()),
        ours=tuple(name for name in named if name.startswith(f"{OURS},")),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.idle", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--proxy", action="append", choices=PROXIES)
    _kept.keeping(parser)
    asked = parser.parse_args()
    files, ports = files_open(), ephemeral_ports()
    levels, most = possible(asked.connections, files=files, ports=ports)
    met = _kept.conditions("idle", "each connection made one request, then none", asked.remark)
    print("\n".join(met.notes()), flush=True)
    if len(levels) < len(set(asked.connections)):
        print(f"left out: more than {most:,} connections ({files:,} open files at most, {ports:,} ports)", flush=True)
    found: dict[str, list[Level]] = {}
    with service(PEOPLE) as stand:
        requests = CASE.requests(stand.tokens)
        for name in asked.proxy or PROXIES:  # one after the other: 8,000 connections are open once
            with contextlib.ExitStack() as held:
                for one in started(stand.given, (name,), held):
                    found[name] = uvloop.run(grown(one, levels, requests))
    kept = figure(found)
    print(table(kept))
    _kept.keep(asked.out, met, [kept])
    return 0


if __name__ == "__main__":
    sys.exit(main())

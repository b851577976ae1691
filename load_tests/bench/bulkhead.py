"""What one cell that answers late costs the others: `python -m load_tests.bench.bulkhead [--rounds N] [--seconds S]`.

Three processes on loopback: people who ask (this one), a gateway's edge as in production, and the services of three cells. In every
round people of two cells and people of the third ask at steady rates, whatever became of what they asked before; each time counts from
when the request was due. Rounds take turns: all cells answer at once, then the third cell answers after 30 seconds. Printed: p50 and p99 of
the others in each round, what the third cell's people got, and the ratio of the medians of p99.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from time import perf_counter

import httptools
import uvloop

from gateway.settings import Upstream
from load_tests.bench._policies import policy
from load_tests.bench.edge import edge_process, free_port, listening, people, running

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 360\r\n\r\n" + b"x" * 360
LATE_S = 30.0
LOOK_S = 0.05
SETTLE_S = 1.5
"""The beginning of a round that is not measured: by then the late cell's places are taken."""
ANSWERS_S_MAX = 10.0
"""How long after a round its last answers may take."""
CELLS = ("eu-de", "eu-fr", "eu-nl")
LATE = CELLS[-1]
PEOPLE_PER_CELL = 16


def rules_of(ports: dict[str, int]) -> str:
    hosts = {cell: f"127.0.0.1:{port}" for cell, port in ports.items()}
    return policy({"orders": hosts, "records": hosts})


# --- the services ------------------------------------------------------------------------------------------------------------


class Service(asyncio.Protocol):
    """Answers every request with the same bytes: at once, or after LATE_S while `late` is set."""

    def __init__(self, late: "Synchronized[int] | None", held: dict["Service", asyncio.TimerHandle]) -> None:
        self._late = late
        self._held = held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._late is not None and self._late.value:
            self._held[self] = asyncio.get_running_loop().call_later(LATE_S, self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        self._held.pop(self, None)
        self._transport.write(ANSWER)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        held = self._held.pop(self, None)
        if held is not None:
            held.cancel()


def services_process(pipe: Connection, late: "Synchronized[int]") -> None:
    async def main() -> None:
        loop, held = asyncio.get_running_loop(), dict[Service, asyncio.TimerHandle]()
        servers = {
            cell: await loop.create_server(
                partial(Service, late if cell == LATE else None, held), "127.0.0.1", 0, backlog=1024
            )
            for cell in CELLS
        }
        pipe.send({cell: server.sockets[0].getsockname()[1] for cell, server in servers.items()})
        while True:
            await asyncio.sleep(LOOK_S)
            if not late.value:
                for service, timer in tuple(held.items()):
                    timer.cancel()
                    service.answer()

    uvloop.run(main())


# --- the people --------------------------------------------------------------------------------------------------------------


class Caller(asyncio.Protocol):
    """One keep-alive connection to the gateway, for one request at a time."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        due, self._due = self._due, None
        if due is not None:
            self._crowd.answered(due, self._parser.get_status_code())
            self._crowd.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self in self._crowd.free:
            self._crowd.free.remove(self)
        if self._due is not None:
            self._crowd.answered(self._due, 0)


class Crowd:
    """People who ask `rate` times a second in turn; each request goes over a connection that is free, else over a new one."""

    def __init__(self, port: int, tokens: list[str], rate: float) -> None:
        self._port = port
        self._rate = rate
        self._requests = [
            f"GET /orders/1?page=2 HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            for token in tokens
        ]
        self.free: list[Caller] = []
        self.times: dict[float, tuple[int, float]] = {}
        """By when it was due: status (0: broken off) and seconds."""
        self.asked = 0
        self._complete = asyncio.Event()

    def answered(self, due: float, status: int) -> None:
        self.times[due] = (status, perf_counter() - due)
        if len(self.times) == self.asked:
            self._complete.set()

    async def ask(self, seconds: float) -> None:
        """Asks for so long; does not wait for answers."""
        self.times, self.asked = {}, 0
        began = perf_counter()
        async with asyncio.TaskGroup() as group:
            while self.asked < seconds * self._rate:
                due = began + self.asked / self._rate
                await asyncio.sleep(due - perf_counter())
                request = self._requests[self.asked % len(self._requests)]
                self.asked += 1
                self._complete.clear()
                if self.free:
                    self.free.pop().ask(request, due)
                else:
                    group.create_task(self._ask_anew(request, due))

    async def _ask_anew(self, request: bytes, due: float) -> None:
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(partial(Caller, self), "127.0.0.1", self._port)
        caller.ask(request, due)

    async def all_answered(self) -> None:
        async with asyncio.timeout(ANSWERS_S_MAX):
            await self._complete.wait()

    def measured(self) -> list[tuple[int, float]]:
        """Status and seconds of what was asked once the round had settled."""
        first = min(self.times) + SETTLE_S
        return [answer for due, answer in self.times.items() if due >= first]


async def one_round(others: Crowd, theirs: Crowd, late: "Synchronized[int]", seconds: float, *, is_late: bool) -> float:
    """p99 of the others, in seconds."""
    late.value = is_late
    async with asyncio.TaskGroup() as group:
        group.create_task(theirs.ask(SETTLE_S + seconds))
        group.create_task(others.ask(SETTLE_S + seconds))
    await others.all_answered()
    meanwhile = Counter(status for status, _ in theirs.times.values())
    waiting = theirs.asked - meanwhile.total()
    late.value = False
    await theirs.all_answered()
    measured = others.measured()
    times = sorted(took for status, took in measured if status == 200)
    p50, p99 = (times[int(len(times) * share)] for share in (0.5, 0.99))
    answers = ", ".join(f"{status}: {count}" for status, count in sorted(meanwhile.items()))
    print(
        f"{'one late' if is_late else 'all well'}: others p50 {p50 * 1e3:.2f} p99 {p99 * 1e3:.2f} ms of {len(times)},"
        f" {len(measured) - len(times)} failed; the third cell's people got {answers or 'nothing'}, {waiting} waited at the end",
        flush=True,
    )
    return p99


async def _rounds(given: argparse.Namespace, port: int, tokens: list[str], late: "Synchronized[int]") -> None:
    await listening(port)
    others = Crowd(port, tokens[: 2 * PEOPLE_PER_CELL], given.others_rate)
    theirs = Crowd(port, tokens[2 * PEOPLE_PER_CELL :], given.late_rate)
    print(
        f"{given.others_rate:.0f} requests/s to two cells, {given.late_rate:.0f} to the third;"
        f" load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {given.exchanges_max} places a cell's service"
    )
    for crowd in (others, theirs):
        await crowd.ask(1.0)
        await crowd.all_answered()
    seen: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(given.rounds):
        for is_late in (False, True):
            seen[is_late].append(await one_round(others, theirs, late, given.seconds, is_late=is_late))
    well, beside = statistics.median(seen[False]), statistics.median(seen[True])
    print(
        f"p99 of the others, medians of {given.rounds}: {well * 1e3:.2f} ms, beside a late cell {beside * 1e3:.2f} ms;"
        f" ratio {beside / well:.2f}"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=4, help="of each kind")
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--others-rate", type=float, default=400.0)
    arguments.add_argument("--late-rate", type=float, default=400.0)
    arguments.add_argument("--exchanges-max", type=int, default=Upstream().exchanges_max)
    given = arguments.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    late = context.Value("i", 0)
    with tempfile.TemporaryDirectory() as folder:
        jwks, subs, tokens = people(Path(folder), len(CELLS) * PEOPLE_PER_CELL)
        services = context.Process(target=services_process, args=(theirs, late), daemon=True)
        services.start()
        port = free_port()
        settled = {sub: CELLS[number // PEOPLE_PER_CELL] for number, sub in enumerate(subs)}
        limits = Upstream(exchanges_max=given.exchanges_max)
        gateway = context.Process(
            target=edge_process, args=(port, rules_of(ours.recv()), str(jwks), settled, limits), daemon=True
        )
        gateway.start()
        with running([services, gateway]):
            uvloop.run(_rounds(given, port, tokens, late))


if __name__ == "__main__":
    main()

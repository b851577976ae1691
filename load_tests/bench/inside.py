"""The edge without sockets: `python -m load_tests.bench.inside [--rounds N] [--subjects N] [--cells N]`. CPU time of a request, without a
task and by one, and of its parts.

One process: a client's requests are given to the gateway's protocol, its answers taken from it, the service's answers given to the
connection that the request came out of; the transports between are lists. So the figures are those of the code alone, and two versions of
it can be compared on a machine that others use too: what counts is the least of many short rounds. Of the parts, each runs alone in a
loop, which flatters it: together they are less than the whole. `--subjects` and `--cells` are what the gateway knows: those who ask are
scattered over both. Figures: docs/benchmarks/edge.md.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from foundation.wire.answer import whole
from foundation.wire.head import RequestHead, StatusHead
from foundation.wire.requests import RequestReader
from foundation.wire.responses import ResponseReader
from foundation.wire.serving import State
from foundation.wire.targets import Asked, asked_of
from gateway.edge.answers import client_fields, stated
from gateway.edge.desk import Desk
from gateway.edge.door import EdgeDoor
from gateway.edge.headers import RequestFields, read_request
from gateway.edge.lane import Lane
from gateway.edge.outbound import Outbound
from gateway.edge.outcome import Admitted
from gateway.edge.request import Request, trace_of, verb_of
from gateway.edge.target import Target, target_of
from gateway.edge.upstream.connection import Connection
from gateway.edge.upstream.pool import AddressPool, Pools
from gateway.identity.country import CountryDatabase
from gateway.settings import Upstream
from load_tests.bench._policies import policy
from load_tests.bench.edge import app_of, desk_of, people
from load_tests.bench.flat import names, settled
from load_tests.bench.peers.cases import CASES

REQUESTS_A_ROUND = 512
CONNECTIONS = 16
"""Clients that ask in one turn of the loop, and are answered in one, as under load."""
PART_ROUNDS = 7
TURNS_MAX = 1_000
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 360\r\n\r\n" + b"x" * 360


class Pipe(asyncio.Transport):
    """Keeps who wrote on it; everything else is of no account here."""

    def __init__(self, writes: object, written: list[Any]) -> None:
        super().__init__()
        self._writes = writes
        self._written = written

    def write(self, data: Any) -> None:  # noqa: ARG002 - the transport's signature
        self._written.append(self._writes)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 4000), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def close(self) -> None:
        """Nothing is connected."""

    def resume_reading(self) -> None:
        """Nothing is paused."""

    def abort(self) -> None:
        """Nothing is connected."""


def nothing_comes_again(_: bytes) -> None:
    """Every head is read."""


class Walking(EdgeDoor):
    """Every request is a task's."""

    def answer_now(self, *_: Any, **__: Any) -> None:
        return None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.looks = nothing_comes_again


class Anew(EdgeDoor):
    """Each request's head is read, whatever came before."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.looks = nothing_comes_again


WAYS: dict[str, type[EdgeDoor]] = {"without a task": EdgeDoor, "each head read": Anew, "by a task": Walking}


class Rig:
    """A gateway's protocol between pipes: to `CONNECTIONS` clients, and as many to each of the services."""

    def __init__(
        self, app: Lane, pools: Sequence[AddressPool], http: type[EdgeDoor], requests: Sequence[bytes]
    ) -> None:
        loop = asyncio.get_running_loop()
        self._requests = requests
        self._answered: list[Any] = []
        self._asked: list[Connection] = []
        for pool in [pool for pool in pools for _ in range(CONNECTIONS)]:
            connection = Connection(Upstream(), pool.let_go, loop)
            connection.connection_made(Pipe(connection, self._asked))
            pool._offer(connection)  # noqa: SLF001 - as if it had been made, and had carried an exchange
        config = uvicorn.Config(app, http=http, log_config=None, proxy_headers=False, lifespan="off", ws="none")
        config.load()
        state = State()
        state.default_headers = [(b"date", b"Thu, 26 Nov 2026 20:00:00 GMT")]
        self._doors = [http(config, state, {}, loop) for _ in range(CONNECTIONS)]
        for door in self._doors:
            door.connection_made(Pipe(door, self._answered))

    async def round(self) -> float:
        """CPU microseconds a request."""
        began = time.process_time()
        for first in range(0, REQUESTS_A_ROUND, CONNECTIONS):
            for door, request in zip(self._doors, self._requests[first : first + CONNECTIONS], strict=True):
                door.data_received(request)
            await _turns(lambda: len(self._asked) == CONNECTIONS)
            asked = tuple(self._asked)
            self._asked.clear()
            for connection in asked:
                connection.data_received(ANSWER)
            await _turns(lambda: len(self._answered) == CONNECTIONS and not any(one.busy for one in asked))  # noqa: B023 - called before the next turn
            self._answered.clear()
        return (time.process_time() - began) / REQUESTS_A_ROUND * 1e6


async def _turns(until: Callable[[], object]) -> None:
    """Lets the loop turn, a bounded number of times."""
    for _ in range(TURNS_MAX):
        if until():
            return
        await asyncio.sleep(0)
    raise SystemExit("the edge does not answer")


async def whole_way(
    desk: Desk, countries: CountryDatabase, requests: Sequence[bytes], addresses: Sequence[str], rounds: int
) -> None:
    ways = {}
    for name, http in WAYS.items():
        pools = Pools(Upstream())
        ways[name] = Rig(app_of(desk, pools, Upstream(), countries), list(map(pools.of, addresses)), http, requests)
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, rig in ways.items():
            took[name].append(await rig.round())
    for name, values in took.items():
        ordered = sorted(values[1:])
        print(f"{name:<24} {ordered[0]:7.1f} µs CPU/request at least, {ordered[len(ordered) // 2]:7.1f} in the median")


def parts(desk: Desk, requests: Sequence[bytes]) -> None:
    """Each part alone, for the same people: microseconds."""
    book = desk.book
    if book is None:
        raise SystemExit("the desk has no rules")
    heads: list[RequestHead] = _part("request's head", _requests_read(), requests)
    asked: list[Asked] = _part("target taken apart", asked_of, heads)
    fields: list[RequestFields] = _part("fields sorted", lambda head: read_request(head.fields), heads)
    target: list[Target] = _part(
        "service found", lambda one: target_of(one.method, one.path, book.policy.services), asked
    )
    made: list[Request] = _part(
        "request made",
        lambda n: Request(
            method=asked[n].method,
            raw_path=asked[n].path,
            query=asked[n].query,
            sent=asked[n].sent,
            fields=fields[n],
            target=target[n],
            peer="127.0.0.1",
            scheme="http",
            verb=verb_of(asked[n].method, fields[n]),
            trace=trace_of(fields[n].traceparent),
        ),
        range(len(asked)),
    )
    gathered = _part("facts gathered", desk.gather_now, made)
    admitted: list[Admitted] = _part("verdict", lambda facts: desk.judge(facts, book), gathered)
    _part("decision signed", book.mint, admitted)
    outbound = Outbound(())
    _part(
        "head to the service",
        lambda n: outbound.rest(made[n], admitted[n], b"", book),
        range(len(made)),
    )
    answered: list[StatusHead] = _part("answer read", _answers_read(), requests)
    shown = _part(
        "answer's fields",
        lambda n: client_fields(answered[n], stated(admitted[n]), method="GET"),
        range(len(answered)),
    )
    _part("answer written", lambda one: whole(200, one, b"x" * 360, b"", method="GET", keep=True), shown)


def _requests_read() -> Callable[[bytes], Any]:
    reader = RequestReader()

    def read(request: bytes) -> Any:
        reader.another()
        reader.feed(request)
        return reader.event()

    return read


def _answers_read() -> Callable[[bytes], Any]:
    reader = ResponseReader()

    def read(_: bytes) -> Any:
        reader.begin(head_only=False)
        reader.feed(ANSWER)
        head = reader.event()
        reader.event()
        reader.event()
        return head

    return read


def _part(name: str, of: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """What it makes of the values; prints what it takes of each at least."""
    least, made = float("inf"), []
    for _ in range(PART_ROUNDS):
        began = time.process_time()
        made = [of(value) for value in values]
        least = min(least, time.process_time() - began)
    print(f"  {name:<22} {least / len(values) * 1e6:6.2f}")
    return made


async def main(asked: argparse.Namespace) -> None:
    cells = names(asked.cells)
    hosts = {cell: f"127.0.0.1:{port}" for port, cell in enumerate(cells, start=1)}
    with tempfile.TemporaryDirectory() as folder, CountryDatabase() as countries:
        jwks, subs, tokens = people(Path(folder), REQUESTS_A_ROUND)
        rules = policy({"orders": hosts, "records": hosts})
        desk = desk_of(rules, jwks, settled(subs, asked.cells), max(0, asked.subjects - len(subs)))
        for token in tokens:
            await desk.identities.establish(b"Bearer " + token.encode("ascii"))
        requests = CASES[0].requests(tokens)
        await whole_way(desk, countries, requests, list(hosts.values()), asked.rounds)
        print("its parts, each alone, µs:")
        parts(desk, requests)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.inside", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--subjects", type=int, default=REQUESTS_A_ROUND, help="known")
    parser.add_argument("--cells", type=int, default=1)
    uvloop.run(main(parser.parse_args()))

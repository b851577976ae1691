"""What the gateway adds to the time of a request: `python -m load_tests.bench.latency [--rounds N] [--seconds S] [--proxy NAME …]`.

First how much it carries at most of requests that come one by one: what a second of its processor time is enough for. (Of a closed load,
whose requests come many at a time, it carries more; that is printed beside it.) Then, at 60 % of that, requests at a constant rate: to
the service directly and through the gateway in turn, so that both meet the same machine; each time counts from when the request was due,
waiting for a free connection included. Where there are two cores the gateway has one for itself, load and service share the rest, both
ways: else each waits for the others' turns on its core, milliseconds at a time, which says nothing of the gateway. Printed: p50 and p99
directly, through, and what was added, in the median of turns and with their spread. `python -m load_tests.bench.peers` does the same with
other proxies, all on the same cores.
"""

import argparse
import contextlib
import statistics
import sys
from collections.abc import Mapping, Sequence

import msgspec
import uvloop

from load_tests.bench import _kept
from load_tests.bench._figures import Figure, percentile, row, table
from load_tests.bench.peers import load, paced
from load_tests.bench.peers.cases import CASES
from load_tests.bench.peers.proxies import PROXIES
from load_tests.bench.peers.report import OURS
from load_tests.bench.peers.stand import Standing, apart, files_open, service, started

SHARE = 0.6
CASE = CASES[0]
WARM = 2_000
CLOSED_ROUNDS = 3
OPEN_CONNECTIONS = 64
MOST_S = 3.0
SHARES = {"p50": 0.5, "p99": 0.99}


class Turn(msgspec.Struct, frozen=True):
    """Milliseconds of requests to the service and through a proxy, one after the other, in order."""

    direct: Sequence[float]
    through: Sequence[float]

    def added(self, share: float) -> float:
        return percentile(self.through, share) - percentile(self.direct, share)


def turn(upstream: int, port: int, requests: Sequence[bytes], *, rate: float, seconds: float) -> Turn:
    """Blocks until both have been asked."""

    def asked(where: int) -> list[float]:
        took = paced.opened(
            where, requests, rate=rate, seconds=seconds, connections=OPEN_CONNECTIONS, answer=CASE.answer
        )
        return sorted(took)

    return Turn(asked(upstream), asked(port))


def most(one: Standing, requests: Sequence[bytes], *, closed: float, seconds: float) -> float:
    """Requests a second that take all of a core's time where they come one by one; `closed`: of a closed load. Blocks."""
    carried, rate = closed, SHARE * closed
    for _ in range(2):  # the second at a rate near that which is asked at
        before, count = one.spent_s(), int(rate * seconds)
        paced.opened(
            one.running.port, requests, rate=rate, seconds=seconds, connections=OPEN_CONNECTIONS, answer=CASE.answer
        )
        carried = min(closed, count / (one.spent_s() - before))
        rate = SHARE * carried
    return carried


def figures(taken: Mapping[str, Sequence[Turn]], rates: Mapping[str, float]) -> tuple[Figure, ...]:
    """What each proxy added, by percentile."""
    return tuple(
        Figure(
            name=f"added-{name}",
            title=f"Added latency at {SHARE:.0%} of each one's own most, {name}",
            unit="ms",
            rows=tuple(
                row(f"{proxy} at {rates[proxy]:,.0f}/s", [one.added(share) for one in turns])
                for proxy, turns in taken.items()
            ),
            ours=tuple(f"{proxy} at {rates[proxy]:,.0f}/s" for proxy in taken if proxy == OURS),
        )
        for name, share in SHARES.items()
    )


def beside(taken: Mapping[str, Sequence[Turn]]) -> tuple[Figure, ...]:
    """What those differences are of: each way's own times."""
    return tuple(
        Figure(
            name=f"{way}-{name}",
            title=f"Latency, {way}, {name}",
            unit="ms",
            rows=tuple(
                row(proxy, [percentile(getattr(one, way), share) for one in turns]) for proxy, turns in taken.items()
            ),
        )
        for way in ("direct", "through")
        for name, share in SHARES.items()
    )


async def _measured(
    asked: argparse.Namespace, standing: Sequence[Standing], upstream: int, requests: Sequence[bytes]
) -> tuple[dict[str, list[Turn]], dict[str, float]]:
    rates = {}
    for one in standing:
        await load.closed(one.running.port, requests, max(WARM, len(requests)), asked.connections, answer=CASE.answer)
        per_s = [
            asked.requests
            / await load.closed(one.running.port, requests, asked.requests, asked.connections, answer=CASE.answer)
            for _ in range(CLOSED_ROUNDS)
        ]
        closed = statistics.median(per_s)
        carried = most(one, requests, closed=closed, seconds=MOST_S)
        rates[one.name] = SHARE * carried
        print(
            f"{one.name} carries {carried:,.0f}/s one by one, {closed:,.0f}/s of a closed load; asked at {rates[one.name]:,.0f}/s",
            flush=True,
        )
    taken: dict[str, list[Turn]] = {one.name: [] for one in standing}
    for _ in range(asked.rounds):
        for one in standing:
            taken[one.name].append(
                turn(upstream, one.running.port, requests, rate=rates[one.name], seconds=asked.seconds)
            )
    return taken, rates


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of directly and through")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each half of a turn")
    parser.add_argument("--requests", type=int, default=10_000, help="of each round that finds the most")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--people", type=int, default=1_000)
    parser.add_argument(
        "--proxy", action="append", choices=[one.name for one in PROXIES], help=f"{OURS} where none is named"
    )
    _kept.keeping(parser)
    asked = parser.parse_args()
    files_open()
    sizes = f"{CASE.headline}, {asked.people} people, {asked.rounds} turns of twice {asked.seconds:g} s"
    met = _kept.conditions("latency", sizes, asked.remark)
    print("\n".join(met.notes()), flush=True)
    with contextlib.ExitStack() as held:
        stand = held.enter_context(service(asked.people))
        standing = started(stand.given, asked.proxy or (OURS,), held)
        print(held.enter_context(apart(stand, standing)), flush=True)
        taken, rates = uvloop.run(_measured(asked, standing, stand.given.upstream, CASE.requests(stand.tokens)))
    added, ways = figures(taken, rates), beside(taken)
    for figure in (*ways, *added):
        print(table(figure), flush=True)
    _kept.keep(asked.out, met, added, ways)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m load_tests.bench.peers [--rounds N] [--case NAME …] [--proxy NAME …] [--out FOLDER]`: the gateway beside other proxies.

The same service, the same people with ES256 tokens of their own, one worker each, no access logs (the gateway writes what it must).
Rounds alternate between proxies. What counts is user and system time of a proxy's processes for each request; nothing is asserted. A peer
that is not installed is left out, and said so (`make bench-peers` installs what it can).
"""

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence

import uvloop

from load_tests.bench import _figures, _kept, latency
from load_tests.bench._figures import Figure
from load_tests.bench.peers import load, report
from load_tests.bench.peers.cases import CASES, MIB, Case
from load_tests.bench.peers.proxies import PROXIES
from load_tests.bench.peers.stand import Standing, files_open, service, started

OPEN_S = 8.0


def main() -> int:
    asked = _asked()
    files_open()
    sizes = f"{asked.people} people, {asked.connections} connections, {asked.rounds} rounds"
    met = _kept.conditions("peers", sizes, asked.remark)
    with contextlib.ExitStack() as held:
        stand = held.enter_context(service(asked.people))
        standing = started(stand.given, asked.proxy or (), held)
        print("\n".join(met.notes()), flush=True)
        drawn, undrawn = uvloop.run(_measured(asked, standing, stand.given.upstream, stand.tokens))
    _kept.keep(asked.out, met, drawn, undrawn)
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=1_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--share", type=float, default=1.0, help="of each case's requests")
    parser.add_argument("--case", action="append", choices=[one.name for one in CASES])
    parser.add_argument("--proxy", action="append", choices=[one.name for one in PROXIES])
    parser.add_argument("--no-latency", action="store_true", help="leave out the open load")
    parser.add_argument("--latency-rounds", type=int, default=3, help="turns of directly and through, for each proxy")
    _kept.keeping(parser)
    return parser.parse_args()


async def _measured(
    asked: argparse.Namespace, standing: Sequence[Standing], upstream: int, tokens: Sequence[str]
) -> tuple[list[Figure], list[Figure]]:
    """Figures that are drawn, and those that are only kept."""
    drawn: list[Figure] = []
    undrawn: list[Figure] = []
    cold = CASES[0].requests(tokens)
    for one in standing:
        first = await _round(one, CASES[0], cold, len(tokens), asked.connections)
        print(
            f"  cold, {one.name}: {first.cpu_us:.0f} µs a request, each person's first ({first.per_s:,.0f}/s)",
            flush=True,
        )
    for case in CASES:
        if asked.case and case.name not in asked.case:
            continue
        requests = case.requests(tokens if case.body < 1 << 16 else tokens[:32])
        count = max(asked.connections, int(case.count * asked.share))
        taken = await _taken(asked, case, standing, requests, count)
        print(report.table(f"{case.headline} ({count} a round)", report.rows(taken)), flush=True)
        large = MIB in (case.body, case.answer)  # then it is throughput that counts
        (undrawn if large else drawn).append(report.cpu(case, taken))
        (drawn if large else undrawn).append(report.speed(case, taken))
        if case is CASES[0] and not asked.no_latency:
            added, ways = _latency(asked, standing, upstream, requests, taken)
            drawn += added
            undrawn += ways
    return drawn, undrawn


async def _taken(
    asked: argparse.Namespace, case: Case, standing: Sequence[Standing], requests: Sequence[bytes], count: int
) -> dict[str, list[report.Round]]:
    """The rounds of each, in turn. One that does not give the answers that were asked for is left out of this case, by name."""
    taken: dict[str, list[report.Round]] = {one.name: [] for one in standing}
    for _ in range(asked.rounds):
        for one in [one for one in standing if one.name in taken]:
            try:
                round_ = await _round(one, case, requests, count, asked.connections)
            except* (load.Failed, OSError) as failures:
                print(f"  left out of this case: {one.name} {failures.exceptions[0]}", flush=True)
                del taken[one.name]
            else:
                taken[one.name].append(round_)
    return taken


async def _round(one: Standing, case: Case, requests: Sequence[bytes], count: int, connections: int) -> report.Round:
    """Says so where connections did not last."""
    before, closing = one.spent_s(), load.Closing()
    took = await load.closed(one.running.port, requests, count, connections, answer=case.answer, closing=closing)
    if closing.count:
        print(f"  {one.name} ended {closing.count} connections, as it had said it would", flush=True)
    return report.Round((one.spent_s() - before) / count * 1e6, count / took)


def _latency(
    asked: argparse.Namespace,
    standing: Sequence[Standing],
    upstream: int,
    requests: Sequence[bytes],
    taken: Mapping[str, Sequence[report.Round]],
) -> tuple[Sequence[Figure], Sequence[Figure]]:
    closed = {one.proxy: one.per_s for one in report.rows(taken)}
    rates = {
        one.name: latency.SHARE * latency.most(one, requests, closed=closed[one.name], seconds=latency.MOST_S)
        for one in standing
        if one.name in closed
    }
    turns: dict[str, list[latency.Turn]] = {one.name: [] for one in standing if one.name in rates}
    for _ in range(asked.latency_rounds):
        for one in [one for one in standing if one.name in turns]:
            try:
                turn = latency.turn(upstream, one.running.port, requests, rate=rates[one.name], seconds=OPEN_S)
            except (load.Failed, OSError) as failure:
                print(f"  left out of the open load: {one.name} {failure}", flush=True)
                del turns[one.name]
            else:
                turns[one.name].append(turn)
    added = latency.figures(turns, rates)
    for figure in added:
        print(_figures.table(figure), flush=True)
    return added, latency.beside(turns)


if __name__ == "__main__":
    sys.exit(main())

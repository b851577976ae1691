"""`python -m load_tests.bench.peers [--rounds N] [--case NAME …] [--proxy NAME …] [--out FOLDER]`: the gateway beside other proxies.

The same service, the same people with ES256 tokens of their own, one worker each, no access logs (the gateway writes what it must).
Rounds alternate between proxies. What counts is user and system time of a proxy's processes for each request; nothing is asserted. A peer
that is not installed is left out, and said so (`make bench-peers` installs what it can).
"""

import argparse
import contextlib
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jwt
import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec

from load_tests.bench.edge import cpu_s, people
from load_tests.bench.peers import load, report
from load_tests.bench.peers.cases import CASES, Case
from load_tests.bench.peers.proxies import PROXIES, Proxy
from load_tests.bench.peers.starting import Given, NotStarted, Running, command, port_free

OPEN_SHARE = 0.6
"""Of what a proxy carries at most: the rate at which its latency is measured."""
OPEN_S = 8.0


class Standing(msgspec.Struct, frozen=True):
    """A proxy that runs."""

    proxy: Proxy
    running: Running


def main() -> int:
    asked = _asked()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
        Path(folder).chmod(0o755)  # some of them leave root behind
        jwks, subs, tokens = people(Path(folder), asked.people)
        upstream = port_free()
        given = Given(folder=Path(folder), upstream=upstream, jwks=jwks, subs=subs, public=_public(jwks))
        held.enter_context(
            command(
                given,
                "service",
                [sys.executable, "-P", "-m", "load_tests.bench.peers.upstream", str(upstream)],
                upstream,
            )
        )
        standing = []
        for proxy in PROXIES:
            if asked.proxy and proxy.name not in asked.proxy:
                continue
            if proxy.missing is not None:
                print(f"left out: {proxy.name}, {proxy.missing} is not installed", flush=True)
                continue
            try:
                standing.append(Standing(proxy, held.enter_context(proxy.start(given))))
            except NotStarted as exc:
                print(f"left out: {proxy.name} did not start ({exc})", flush=True)
        found = uvloop.run(_measured(asked, standing, upstream, tokens))
    if asked.out is not None:
        _keep(asked.out, found)
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
    parser.add_argument("--out", type=Path, help="where peers.json and the plots go")
    return parser.parse_args()


async def _measured(
    asked: argparse.Namespace, standing: Sequence[Standing], upstream: int, tokens: Sequence[str]
) -> dict[str, list[report.Row]]:
    found: dict[str, list[report.Row]] = {}
    print(
        f"load average {os.getloadavg()[0]:.1f}, {asked.people} people, {asked.connections} connections, {asked.rounds} rounds"
    )
    cold = CASES[0].requests(tokens)
    for one in standing:
        spent, per_s = await _round(one, CASES[0], cold, len(tokens), asked.connections)
        print(f"  cold, {one.proxy.name}: {spent:.0f} µs a request, each person's first ({per_s:,.0f}/s)", flush=True)
    for case in CASES:
        if asked.case and case.name not in asked.case:
            continue
        requests = case.requests(tokens if case.body < 1 << 16 else tokens[:32])
        count = max(asked.connections, int(case.count * asked.share))
        taken = await _taken(asked, case, standing, requests, count)
        found[case.name] = report.rows(taken)
        print(report.table(f"{case.headline} ({count} a round)", found[case.name]), flush=True)
        if case is CASES[0] and not asked.no_latency:
            await _latency(standing, upstream, requests, {one.proxy: one.per_s for one in found[case.name]})
    return found


async def _taken(
    asked: argparse.Namespace, case: Case, standing: Sequence[Standing], requests: Sequence[bytes], count: int
) -> dict[str, list[report.Round]]:
    """The rounds of each, in turn. One that does not give the answers that were asked for is left out of this case, by name."""
    taken: dict[str, list[report.Round]] = {one.proxy.name: [] for one in standing}
    for _ in range(asked.rounds):
        for one in [one for one in standing if one.proxy.name in taken]:
            try:
                round_ = report.Round(*await _round(one, case, requests, count, asked.connections))
            except* (load.Failed, OSError) as failures:
                print(f"  left out of this case: {one.proxy.name} {failures.exceptions[0]}", flush=True)
                del taken[one.proxy.name]
            else:
                taken[one.proxy.name].append(round_)
    return taken


async def _round(
    one: Standing, case: Case, requests: Sequence[bytes], count: int, connections: int
) -> tuple[float, float]:
    """CPU microseconds a request, and requests a second. Says so where connections did not last."""
    before, closing = _spent(one.running.pids), load.Closing()
    took = await load.closed(one.running.port, requests, count, connections, answer=case.answer, closing=closing)
    if closing.count:
        print(f"  {one.proxy.name} ended {closing.count} connections, as it had said it would", flush=True)
    return (_spent(one.running.pids) - before) / count * 1e6, count / took


def _spent(pids: Sequence[int]) -> float:
    return sum(sum(cpu_s(pid)) for pid in pids)


async def _latency(
    standing: Sequence[Standing], upstream: int, requests: Sequence[bytes], per_s: dict[str, float]
) -> None:
    print(f"latency at {OPEN_SHARE:.0%} of each one's own most, ms, over the service alone at the same rate:")
    for one in standing:
        rate = OPEN_SHARE * per_s[one.proxy.name]
        direct = sorted(await load.opened(upstream, requests, rate=rate, seconds=OPEN_S, connections=64))
        through = sorted(await load.opened(one.running.port, requests, rate=rate, seconds=OPEN_S, connections=64))
        added = [through[int(len(through) * at)] - direct[int(len(direct) * at)] for at in (0.5, 0.99)]
        print(f"  {one.proxy.name:24} {rate:7,.0f}/s   p50 {added[0]:+.2f}   p99 {added[1]:+.2f}", flush=True)


def _public(jwks: Path) -> ec.EllipticCurvePublicKey:
    key = jwt.PyJWKSet.from_json(jwks.read_text()).keys[0].key
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("the issuer's key is of another kind")
    return key


def _keep(out: Path, found: dict[str, list[report.Row]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    headlines: dict[str, Case] = {one.name: one for one in CASES}
    for name, rows in found.items():
        (out / f"peers-{name}.svg").write_text(report.svg(f"CPU time a request: {headlines[name].headline}", rows))


if __name__ == "__main__":
    sys.exit(main())

"""The figures of a run: medians, spread and ratios; as text, and as what is kept."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from load_tests.bench import _figures
from load_tests.bench._figures import Figure
from load_tests.bench.peers.cases import Case

BASE = "nginx"
OURS = "domicile"


class Round(msgspec.Struct, frozen=True):
    """CPU microseconds a request, requests a second."""

    cpu_us: float
    per_s: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One proxy in one case. `ratio`: of its CPU time to nginx's without any work, in the median of rounds."""

    proxy: str
    cpu_us: float
    cpu_us_low: float
    cpu_us_high: float
    per_s: float
    ratio: float | None


def row(proxy: str, rounds: Sequence[Round], base: Sequence[Round] | None) -> Row:
    """Rounds of two proxies alternate, so each is set beside the other's of the same turn."""
    cpu = [one.cpu_us for one in rounds]
    ratio = None
    if base:
        beside = [one.cpu_us / other.cpu_us for one, other in zip(rounds, base, strict=False) if other.cpu_us]
        ratio = statistics.median(beside) if beside else None
    return Row(
        proxy=proxy,
        cpu_us=round(statistics.median(cpu), 1),
        cpu_us_low=round(min(cpu), 1),
        cpu_us_high=round(max(cpu), 1),
        per_s=round(statistics.median(one.per_s for one in rounds)),
        ratio=None if ratio is None else round(ratio, 2),
    )


def rows(taken: Mapping[str, Sequence[Round]]) -> list[Row]:
    return [row(name, rounds, taken.get(BASE)) for name, rounds in taken.items() if rounds]


def table(title: str, found: Sequence[Row]) -> str:
    lines = [title, f"  {'':24}{'CPU µs/request':>18}{'spread':>18}{'requests/s':>12}{'to nginx':>10}"]
    for one in found:
        spread = f"{one.cpu_us_low:.0f}-{one.cpu_us_high:.0f}"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        lines.append(f"  {one.proxy:24}{one.cpu_us:18.1f}{spread:>18}{one.per_s:12,.0f}{ratio:>10}")
    return "\n".join(lines)


def cpu(case: Case, taken: Mapping[str, Sequence[Round]]) -> Figure:
    """CPU time a request, the shortest first."""
    return _figure(case.name, f"CPU time a request: {case.headline}", "µs", taken, lambda one: one.cpu_us)


def speed(case: Case, taken: Mapping[str, Sequence[Round]]) -> Figure:
    return _figure(f"{case.name}-per-s", f"Throughput: {case.headline}", "requests/s", taken, lambda one: one.per_s)


def _figure(
    name: str, title: str, unit: str, taken: Mapping[str, Sequence[Round]], value: Callable[[Round], float]
) -> Figure:
    values = {proxy: [value(one) for one in rounds] for proxy, rounds in taken.items() if rounds}
    base = BASE if BASE in values else None
    found = sorted(_figures.rows(values, base), key=lambda one: one.median)
    return Figure(name=name, title=title, unit=unit, rows=tuple(found), base=base, ours=(OURS,))

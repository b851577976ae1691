"""The figures of a run: medians, spread and ratios; as text, JSON and a plot."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape

import msgspec

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


def svg(title: str, found: Sequence[Row]) -> str:
    """Bars of CPU time, the shortest is the best."""
    longest = max((one.cpu_us for one in found), default=1.0)
    left, width, step = 190, 560, 30
    bars = []
    for number, one in enumerate(sorted(found, key=lambda one: one.cpu_us)):
        top = 44 + number * step
        length = max(1.0, width * one.cpu_us / longest)
        colour = "#2e9a63" if one.proxy == OURS else "#8aa0b4"
        bars.append(
            f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{escape(one.proxy)}</text>'
            f'<rect x="{left}" y="{top}" width="{length:.1f}" height="20" fill="{colour}"/>'
            f'<text x="{left + length + 6:.1f}" y="{top + 15}">{one.cpu_us:,.0f} µs</text>'
        )
    height = 54 + len(found) * step
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {height}" font-family="sans-serif" font-size="13">'
        f'<rect width="860" height="{height}" fill="#fff"/><text x="16" y="26" font-size="16">{escape(title)}</text>{"".join(bars)}</svg>\n'
    )

"""Figures of alternating rounds: medians, spread and ratios; as text and as bars. Pure."""

import statistics
from collections.abc import Mapping, Sequence

import msgspec

from load_tests.report.plots import OTHERS, OURS, Bar, bars


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was measured in rounds. `ratio`: to the base's figure of the same turn, in the median of turns."""

    name: str
    median: float
    low: float
    high: float
    rounds: tuple[float, ...]
    ratio: float | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What one plot shows. `base`: the row that ratios are to; `ours`: names of rows that are drawn in the gateway's colour."""

    name: str
    title: str
    unit: str
    rows: tuple[Row, ...]
    base: str | None = None
    ours: tuple[str, ...] = ()


def row(name: str, rounds: Sequence[float], base: Sequence[float] | None = None) -> Row:
    """Rounds of two alternate, so each is set beside the other's of the same turn. Raises ValueError where nothing was measured."""
    if not rounds:
        raise ValueError(f"no rounds of {name}")
    ratio = None
    if base and all(base):
        ratio = round(statistics.median(one / other for one, other in zip(rounds, base, strict=True)), 3)
    return Row(
        name=name,
        median=round(statistics.median(rounds), 3),
        low=round(min(rounds), 3),
        high=round(max(rounds), 3),
        rounds=tuple(round(one, 3) for one in rounds),
        ratio=ratio,
    )


def rows(taken: Mapping[str, Sequence[float]], base: str | None = None) -> tuple[Row, ...]:
    return tuple(row(name, rounds, taken[base] if base is not None else None) for name, rounds in taken.items())


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of values in order: that which `share` of them lie below. Raises ValueError where there are none."""
    if not ordered:
        raise ValueError("no values")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def table(figure: Figure) -> str:
    wide = max([16, *(len(one.name) + 2 for one in figure.rows)])
    ratio = f"to {figure.base}" if figure.base is not None else ""
    lines = [figure.title, f"  {'':{wide}}{figure.unit:>18}{'spread':>20}  {ratio}"]
    for one in figure.rows:
        spread = f"{number(one.low)} to {number(one.high)}"
        beside = "" if one.ratio is None else f"{one.ratio:.2f}"
        lines.append(f"  {one.name:{wide}}{number(one.median):>18}{spread:>20}  {beside}")
    return "\n".join(lines)


def number(value: float) -> str:
    """As many decimals as tell something: none from a hundred on, two below ten."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def svg(figure: Figure, notes: Sequence[str] = ()) -> str:
    drawn = []
    for one in figure.rows:
        ratio = "" if one.ratio is None or one.name == figure.base else f" ({one.ratio:.2f})"
        colour = OURS if one.name in figure.ours else OTHERS
        drawn.append(Bar(one.name, one.median, one.low, one.high, f"{number(one.median)} {figure.unit}{ratio}", colour))
    above = [] if figure.base is None else [f"In brackets: to {figure.base}, in the median of turns."]
    return bars(figure.title, drawn, notes=[*above, *notes])

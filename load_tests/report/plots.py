"""Plots as SVG: inline in the page (`lines`, `stacked`), or a picture of its own (`bars`). Nothing is fetched from anywhere."""

import itertools
import textwrap
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 1080, 220, 56, 24, 30
CHAR, ROW = 7, 16
"""As wide as a character may be, and as far as rows of a legend or of notes lie apart."""
BARS_WIDTH, BAR, BAR_STEP, BAR_LONG_MIN = 860, 20, 30, 120
BARS_HEIGHT_MIN = 160
"""Of a picture of less than some 150 a browser without a window draws the upper part alone (Chromium 156)."""
OURS, OTHERS, _SPREAD = "#2e9a63", "#8aa0b4", "#33404f"


class Series(NamedTuple):
    """Values by second from the start."""

    name: str
    colour: str
    values: Sequence[float]


class Band(NamedTuple):
    """A stretch of time that something held; `mark` is written over it."""

    mark: str
    name: str
    began_s: float
    ended_s: float


class Bar(NamedTuple):
    """One figure between the least and the most that was seen of it; `told` stands behind it."""

    name: str
    value: float
    low: float
    high: float
    told: str
    colour: str = OTHERS


def lines(series: Sequence[Series], bands: Sequence[Band], *, unit: str, step_s: float = 1.0) -> str:
    """Lines over time, with bands behind them; `step_s` lies between two values."""
    return _plot(series, bands, unit, [_line(one, _scale(series)) for one in series], step_s)


def stacked(series: Sequence[Series], bands: Sequence[Band], *, unit: str) -> str:
    """Areas on top of one another."""
    tops: list[Series] = []
    heights = [0.0] * max((len(one.values) for one in series), default=0)
    for one in series:
        heights = [height + value for height, value in zip(heights, one.values, strict=True)]
        tops.append(Series(one.name, one.colour, list(heights)))
    scale = _scale(tops)
    return _plot(tops, bands, unit, [_area(one, scale) for one in reversed(tops)])


def bars(title: str, found: Sequence[Bar], *, notes: Sequence[str] = ()) -> str:
    """In the order given, each with its spread as a line across it; a figure below nothing has a bar of no length. `notes` stand below."""
    left = 24 + CHAR * max((len(one.name) for one in found), default=0)
    right = 24 + CHAR * max((len(one.told) for one in found), default=0)
    below = [row for note in notes for row in textwrap.wrap(note, (BARS_WIDTH - 32) // CHAR)]
    width = max(BARS_WIDTH, left + BAR_LONG_MIN + right)
    foot = 44 + BAR_STEP * len(found)
    height = max(foot + ROW * len(below) + 8, BARS_HEIGHT_MIN)
    longest = max((max(one.value, one.high) for one in found), default=0.0) or 1.0
    room = width - left - right
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"',
        f' font-family="sans-serif" font-size="13"><rect x="0" y="0" width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="26" font-size="16">{escape(title)}</text>',
    ]
    parts += [_bar(one, 44 + BAR_STEP * number, left, room, longest) for number, one in enumerate(found)]
    parts += [
        f'<text x="16" y="{foot + ROW * (number + 1) - 4}" font-size="11" fill="#5b6675">{escape(row)}</text>'
        for number, row in enumerate(below)
    ]
    return "".join(parts) + "</svg>\n"


def _bar(one: Bar, top: int, left: int, room: int, longest: float) -> str:
    length, low, high = (room * max(0.0, value / longest) for value in (one.value, one.low, one.high))
    middle, end = top + BAR // 2, left + max(length, high)
    return (
        f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{escape(one.name)}</text>'
        f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{one.colour}"/>'
        f'<line x1="{left + low:.1f}" x2="{left + high:.1f}" y1="{middle}" y2="{middle}" stroke="{_SPREAD}" stroke-width="2"/>'
        f'<text x="{end + 6:.1f}" y="{top + 15}">{escape(one.told)}</text>'
    )


def _scale(series: Sequence[Series]) -> tuple[int, float]:
    """(seconds, highest value)."""
    seconds = max((len(one.values) for one in series), default=1)
    highest = max((max(one.values, default=0.0) for one in series), default=0.0)
    return max(2, seconds), highest or 1.0


def _x(second: float, seconds: int) -> float:
    return LEFT + (WIDTH - LEFT - 8) * min(second, seconds - 1) / (seconds - 1)


def _y(value: float, highest: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / highest


def _points(one: Series, scale: tuple[int, float]) -> str:
    seconds, highest = scale
    return " ".join(f"{_x(at, seconds):.1f},{_y(value, highest):.1f}" for at, value in enumerate(one.values))


def _line(one: Series, scale: tuple[int, float]) -> str:
    return f'<polyline fill="none" stroke="{one.colour}" stroke-width="1.6" points="{_points(one, scale)}"/>'


def _area(one: Series, scale: tuple[int, float]) -> str:
    last = _x(max(0, len(one.values) - 1), scale[0])
    base = HEIGHT - BOTTOM
    return f'<polygon fill="{one.colour}" points="{LEFT},{base} {_points(one, scale)} {last:.1f},{base}"/>'


def _plot(
    series: Sequence[Series], bands: Sequence[Band], unit: str, shapes: Sequence[str], step_s: float = 1.0
) -> str:
    seconds, highest = _scale(series)
    legend, above = _legend(series, unit)
    box = f"0 {-above} {WIDTH} {HEIGHT + above}"
    parts = [f'<svg viewBox="{box}" role="img" aria-label="{escape(unit)} over time">']
    marks: list[str] = []
    for number, band in enumerate(bands):
        left, right = _x(max(0.0, band.began_s), seconds), _x(band.ended_s, seconds)
        width = max(2.0, right - left)
        tone = "band" if number % 2 else "band other"
        parts.append(
            f'<rect class="{tone}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - BOTTOM - TOP}">'
            f"<title>{escape(band.name)}</title></rect>"
        )
        foot = HEIGHT - BOTTOM - 4 - number % 2 * 12
        marks.append(
            f'<text class="mark" x="{left + width / 2:.1f}" y="{foot}" text-anchor="middle">{escape(band.mark)}</text>'
        )
    parts += [*shapes, *marks]
    for share in (0.0, 0.5, 1.0):
        height = _y(highest * share, highest)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{highest * share:,.0f}</text>')
    for second in _ticks(round(seconds * step_s)):
        across = _x(second / step_s, seconds)
        parts.append(f'<text x="{across:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{second:g} s</text>')
    parts += [*legend, f'<text x="{WIDTH - 8}" y="17" text-anchor="end">{escape(unit)}</text></svg>']
    return "".join(parts)


def _legend(series: Sequence[Series], unit: str) -> tuple[list[str], int]:
    """In as many rows as it takes beside the unit; how high it reaches above the plot."""
    rows: list[list[str]] = [[]]
    left_of, end = LEFT, WIDTH - 8 - CHAR * (len(unit) + 2)
    for one in series:
        width = 15 + CHAR * len(one.name)
        if rows[-1] and left_of + width > end:
            rows.append([])
            left_of = LEFT
        top = 8 + ROW * (1 - len(rows))
        rows[-1].append(
            f'<rect x="{left_of}" y="{top}" width="10" height="10" fill="{one.colour}"/>'
            f'<text x="{left_of + 15}" y="{top + 9}">{escape(one.name)}</text>'
        )
        left_of += width + 25
    return list(itertools.chain.from_iterable(rows)), ROW * (len(rows) - 1)


def _ticks(seconds: int) -> list[int]:
    step = next(size for size in (1, 5, 10, 30, 60, 300, 600, 3600, 86_400) if seconds / size <= 12)
    return list(range(0, seconds, step))

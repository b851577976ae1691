"""The page's plots are what was measured: a point for each sample, all of it inside the view, whatever the figures are."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.faults.window import Window
from load_tests.oracle.judge import Judge
from load_tests.oracle.ledger import Answered, SignedUp
from load_tests.report import page
from load_tests.report.plots import BOTTOM, CHAR, HEIGHT, TOP, Band, Bar, Series, bars, lines, stacked

FIGURES = st.floats(min_value=0, max_value=300_000)
"""More than any machine answers in a second, or any answer takes in ms."""
SVG = re.compile(r"<svg .*?</svg>", re.DOTALL)
Point = tuple[float, float]


def points(shape: ElementTree.Element) -> list[Point]:
    pairs = (pair.split(",") for pair in shape.attrib["points"].split())
    return [(float(across), float(down)) for across, down in pairs]


def fits(drawn: str) -> ElementTree.Element:
    """The picture, once everything in it is known to lie inside its view box."""
    root = ElementTree.fromstring(drawn)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    found: list[Point] = []
    for one in root.iter():
        numbers = {
            name: float(one.attrib[name])
            for name in ("x", "y", "x1", "x2", "y1", "y2", "width", "height")
            if name in one.attrib
        }
        if one.tag == "rect":
            found += [(numbers["x"], numbers["y"]), (numbers["x"] + numbers["width"], numbers["y"] + numbers["height"])]
        elif one.tag == "line":
            found += [(numbers["x1"], numbers["y1"]), (numbers["x2"], numbers["y2"])]
        elif one.tag == "text":
            long = CHAR * len(one.text or "") * {"end": -1.0, "middle": 0.0}.get(one.get("text-anchor", ""), 1.0)
            found += [(numbers["x"], numbers["y"]), (numbers["x"] + long, numbers["y"])]
        elif one.tag in ("polyline", "polygon"):
            found += points(one)
    assert found
    for across, down in found:
        assert math.isfinite(across)
        assert math.isfinite(down)
        assert left <= across <= left + width
        assert top <= down <= top + height
    return root


@given(
    st.lists(FIGURES, min_size=1, max_size=200),
    st.floats(min_value=0, max_value=300),
    st.floats(min_value=0, max_value=300),
)
def test_a_line_has_a_point_for_each_sample_as_high_as_its_figure(
    figures: list[float], began: float, held: float
) -> None:
    band = Band("1", "stop cell-eu-de", began, began + held)
    root = fits(lines([Series("p50", "#000", figures), Series("p99", "#111", figures[::-1])], [band], unit="ms"))
    first, second = root.iter("polyline")
    assert len(points(first)) == len(points(second)) == len(figures)
    span, base = HEIGHT - BOTTOM - TOP, HEIGHT - BOTTOM
    drawn = [(base - down) / span * (max(figures) or 1.0) for _, down in points(first)]
    assert drawn == pytest.approx(figures, abs=max(figures) / span or 1e-9)
    across = [at for at, _ in points(first)]
    assert across == sorted(across)


@given(st.lists(st.tuples(FIGURES, FIGURES, FIGURES), min_size=1, max_size=200))
def test_areas_stand_on_top_of_one_another(figures: list[tuple[float, float, float]]) -> None:
    series = [Series(str(number), "#000", [each[number] for each in figures]) for number in range(3)]
    root = fits(stacked(series, [], unit="answers a second"))
    topmost, middle, lowest = [points(one)[1:-1] for one in root.iter("polygon")]
    assert len(topmost) == len(middle) == len(lowest) == len(figures)
    for upper, lower in ((topmost, middle), (middle, lowest)):
        assert all(above[1] <= below[1] for above, below in zip(upper, lower, strict=True))


def fits_alone(drawn: str) -> ElementTree.Element:
    """The same of a picture of its own: there every name is in SVG's namespace."""
    return fits(drawn.replace(' xmlns="http://www.w3.org/2000/svg"', ""))


@given(
    st.lists(
        st.tuples(st.text("abcdefg <&", max_size=60), st.lists(FIGURES, min_size=3, max_size=3)),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.text("word <&", max_size=400), max_size=3),
)
def test_bars_are_as_long_as_their_figures_and_the_spread_lies_across(
    figures: list[tuple[str, list[float]]], notes: list[str]
) -> None:
    found = []
    for name, seen in figures:
        low, value, high = sorted(seen)
        found.append(Bar(name, value, low, high, f"{value:,.0f} µs (1.00)"))
    root = fits_alone(bars("CPU < time & more", found, notes=notes))
    _, *drawn = root.iter("rect")
    across = list(root.iter("line"))
    assert len(drawn) == len(across) == len(figures)
    longest = max(one.high for one in found) or 1.0
    ends = [(float(one.attrib["x1"]), float(one.attrib["x2"])) for one in across]
    left = float(drawn[0].attrib["x"])
    room = max(high for _, high in ends) - left
    for bar, shape, (low, high) in zip(found, drawn, ends, strict=True):
        assert float(shape.attrib["width"]) == pytest.approx(room * bar.value / longest, abs=0.2)
        assert low - left == pytest.approx(room * bar.low / longest, abs=0.2)
        assert high - left == pytest.approx(room * bar.high / longest, abs=0.2)


def test_a_bar_of_less_than_nothing_has_no_length_and_tells_its_figure() -> None:
    root = fits_alone(bars("added", [Bar("p50", -0.2, -0.5, 0.4, "-0.20 ms"), Bar("p99", 1.0, 0.5, 2.0, "1.00 ms")]))
    assert [float(one.attrib["width"]) for one in root.iter("rect")][1] == 0.0
    assert "-0.20 ms" in {one.text for one in root.iter("text")}


def test_names_of_many_series_take_as_many_rows_as_they_need() -> None:
    named = [Series(f"postgres-directory-{number}", "#000", [1.0, 2.0]) for number in range(10)]
    root = fits(lines(named, [], unit="MB", step_s=15.0))
    told = {one.text for one in root.iter("text")}
    assert {one.name for one in named} <= told


def test_the_pages_plots_show_each_second_of_the_run() -> None:
    judge = Judge([Window(kind="stop", target="cell-eu-de", began=102.0)], (), {})
    judge.take(SignedUp(at=100.0, subject="s", cell="eu-de", epoch=7, country="DE", region="eu", jurisdiction="eu"))
    for at in (100.2, 100.7, 103.1, 106.9):  # seconds in which nothing came lie in between
        judge.take(
            Answered(
                at=at, ms=5.0, action="read_orders", country="DE", asked="eu", home="eu", status=200, verdict="serve"
            )
        )
    findings = judge.findings(None)
    findings.began, findings.ended = 100.0, 107.0
    findings.memory, findings.memory_step_s = {"gateway-eu": [60.0, 61.0, 60.5], "valkey-eu": [1.7, 1.7, 1.8]}, 15.0
    throughput, latency, memory = [fits(one) for one in SVG.findall(page.html(findings))]
    assert [len(points(one)) - 2 for one in throughput.iter("polygon")] == [7, 7, 7]
    assert [len(points(one)) for one in latency.iter("polyline")] == [7, 7]
    assert [len(points(one)) for one in memory.iter("polyline")] == [3, 3]
    served = points(list(throughput.iter("polygon"))[-1])[1:-1]
    base = HEIGHT - BOTTOM
    assert [down < base for _, down in served] == [True, False, False, True, False, False, True]
    assert [one.findtext("title") for one in throughput.iter("rect") if "class" in one.attrib] == ["stop cell-eu-de"]

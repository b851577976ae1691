"""What benches make of their rounds, and what they keep of a run."""

import stat
import struct
import zlib
from pathlib import Path

import msgspec
import pytest

from load_tests.bench import _figures, _kept
from load_tests.bench._figures import Figure, percentile, row, rows, table
from load_tests.report import pictures
from load_tests.report.pictures import NotDrawn, draw, size_of

FIGURE = Figure(
    name="cpu",
    title="CPU time a request",
    unit="µs",
    rows=rows({"least": [100.0, 200.0, 120.0], "larger": [110.0, 260.0, 120.0]}, "least"),
    base="least",
    ours=("larger",),
)
MET = _kept.Conditions(
    bench="some",
    began="2026-11-26 22:00 UTC",
    cores=2,
    python="3.11.7",
    load_average=0.1,
    sizes="3 rounds",
    form="interpreted",
    remark="a short run",
)


# --- rounds ------------------------------------------------------------------------------------------------------------------


def test_a_ratio_is_of_turns_and_not_of_medians() -> None:
    larger = FIGURE.rows[1]
    assert (larger.median, larger.low, larger.high) == (120.0, 110.0, 260.0)
    assert larger.ratio == 1.1  # of 1.1, 1.3 and 1.0; the medians' would be 1.0
    assert FIGURE.rows[0].ratio == 1.0


def test_rounds_that_stand_beside_none_are_an_error() -> None:
    with pytest.raises(ValueError):
        row("larger", [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no rounds of larger"):
        row("larger", [])


def test_a_percentile_is_a_value_that_was_seen() -> None:
    seen = [float(one) for one in range(1, 101)]
    assert [percentile(seen, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_the_table_tells_spread_and_ratio() -> None:
    told = table(FIGURE)
    assert "110 to 260" in told
    assert told.splitlines()[-1].endswith("1.10")
    assert table(Figure(name="none", title="of nothing", unit="ms", rows=())).startswith("of nothing\n")


def test_figures_are_told_as_exactly_as_they_are_large() -> None:
    assert [_figures.number(one) for one in (1234.5, 99.44, 5.678, -0.201)] == ["1,234", "99.4", "5.68", "-0.20"]


# --- what is kept --------------------------------------------------------------------------------------------------------------


def browser(folder: Path, *lines: str) -> str:
    """A program that is given a browser's words and does what `lines` say; `$drawn` is where its picture is awaited."""
    program = folder / "browser"
    find = 'for word in "$@"; do case "$word" in --screenshot=*) drawn="${word#--screenshot=}";; esac; done'
    program.write_text("\n".join(["#!/bin/sh", find, *lines, ""]))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def picture(folder: Path, width: int, height: int) -> Path:
    """A PNG, all black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows_of = zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    path = folder / "given.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows_of) + chunk(b"IEND", b""))
    return path


def plot(folder: Path) -> tuple[Path, tuple[int, int]]:
    path = folder / "some-cpu.svg"
    path.write_text(_figures.svg(FIGURE))
    head = path.read_text().split(">")[0]
    width, height = (int(head.split(f' {name}="')[1].split('"')[0]) for name in ("width", "height"))
    return path, (width, height)


def test_a_plot_of_one_figure_is_as_tall_as_a_browser_draws() -> None:
    one = Figure(name="one", title="One", unit="ms", rows=(row("alone", [1.0]),))
    assert 'height="160" font-family' in _figures.svg(one)


def test_a_run_is_kept_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no browser there
    (tmp_path / "some-cpu.png").write_bytes(b"of another run")
    also = Figure(name="speed", title="Throughput", unit="1/s", rows=(row("larger", [1.0]),))
    _kept.keep(tmp_path, MET, [FIGURE], [also])
    kept = msgspec.json.decode((tmp_path / "some.json").read_bytes(), type=_kept.Kept)
    assert kept == _kept.Kept(conditions=MET, figures=(FIGURE, also))
    assert {path.name for path in tmp_path.iterdir()} == {"some.json", "some-cpu.svg"}
    drawn = (tmp_path / "some-cpu.svg").read_text()
    assert "a short run" in drawn
    assert "load average 0.1" in drawn
    assert "Python 3.11.7, interpreted." in drawn
    assert "120 µs (1.10)" in drawn
    assert "no PNG: none of chromium" in capsys.readouterr().out


def test_nothing_is_kept_where_nobody_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _kept.keep(None, MET, [FIGURE])
    assert not list(tmp_path.iterdir())


def test_a_browser_draws_the_plot_in_its_own_size(tmp_path: Path) -> None:
    svg, size = plot(tmp_path)
    given = picture(tmp_path, *size)
    drawn = draw(svg, program=browser(tmp_path, f'cp "{given}" "$drawn"'))
    assert drawn == tmp_path / "some-cpu.png"
    assert drawn.read_bytes() == given.read_bytes()
    assert size_of(drawn.read_bytes()) == size


@pytest.mark.parametrize(
    "does", ["exit 0", "exit 1", 'echo no > "$drawn"', 'cp "GIVEN" "$drawn"; exit 1', 'cp "SMALL" "$drawn"']
)
def test_what_is_no_picture_of_the_plot_is_not_kept(tmp_path: Path, does: str) -> None:
    svg, size = plot(tmp_path)
    small = picture(tmp_path, 10, 10).rename(tmp_path / "small.png")
    given = picture(tmp_path, *size)
    with pytest.raises(NotDrawn, match="browser ended with"):
        draw(svg, program=browser(tmp_path, does.replace("GIVEN", str(given)).replace("SMALL", str(small))))
    assert not svg.with_suffix(".png").exists()


def test_a_browser_that_hangs_or_cannot_start_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    svg, _ = plot(tmp_path)
    monkeypatch.setattr(pictures, "DRAW_S_MAX", 0.2)
    with pytest.raises(NotDrawn, match="TimeoutExpired"):
        draw(svg, program=browser(tmp_path, "exec sleep 30"))
    with pytest.raises(NotDrawn, match="FileNotFoundError"):
        draw(svg, program=str(tmp_path / "nowhere"))


def test_only_a_png_has_a_size() -> None:
    assert size_of(b"") is None
    assert size_of(b"\x89PNG\r\n\x1a\n" + bytes(20)) is None

"""What a bench keeps of a run: its figures as JSON with the conditions that they were taken under, and each as a plot, in SVG and PNG."""

import argparse
import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

from foundation.clock import SystemClock
from foundation.compiled import form
from load_tests.bench import _figures
from load_tests.bench._figures import Figure
from load_tests.report.pictures import NotDrawn, draw


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Under which a run's figures came about. `load_average`: of the minute before it; `form`: of our modules,
    interpreted or compiled; `remark`: what its runner says of it."""

    bench: str
    began: str
    cores: int
    python: str
    load_average: float
    sizes: str
    form: str
    remark: str = ""

    def notes(self) -> list[str]:
        """The same in words, below a plot."""
        told = (
            f"{self.bench}, {self.began}: {self.sizes}; {self.cores} cores, load average {self.load_average:.1f} before it,"
            f" Python {self.python}, {self.form}."
        )
        return [told, self.remark] if self.remark else [told]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of one run."""

    conditions: Conditions
    figures: tuple[Figure, ...]


def keeping(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where a run is kept."""
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="keep the figures there: JSON, SVG and, by a browser, PNG"
    )
    parser.add_argument("--remark", default="", help="what is to be said of the run beside its figures")


def conditions(bench: str, sizes: str, remark: str = "") -> Conditions:
    """As they are now: taken before the first process of the bench starts."""
    now = datetime.datetime.fromtimestamp(SystemClock().unix_s(), datetime.UTC)
    return Conditions(
        bench=bench,
        began=now.strftime("%Y-%m-%d %H:%M UTC"),
        cores=os.cpu_count() or 0,
        python=platform.python_version(),
        load_average=round(os.getloadavg()[0], 2),
        sizes=sizes,
        form=form(),
        remark=remark,
    )


def keep(folder: Path | None, met: Conditions, figures: Sequence[Figure], undrawn: Sequence[Figure] = ()) -> None:
    """Writes `BENCH.json`, and a plot `BENCH-FIGURE` of each of `figures`; what was drawn, and why not, is printed. Without a folder
    nothing is kept."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    kept = Kept(conditions=met, figures=(*figures, *undrawn))
    document = folder / f"{met.bench}.json"
    document.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    missing = None
    for figure in figures:
        drawn = folder / f"{met.bench}-{figure.name}.svg"
        drawn.write_text(_figures.svg(figure, met.notes()), encoding="utf-8")
        try:
            draw(drawn)
        except NotDrawn as exc:
            drawn.with_suffix(".png").unlink(missing_ok=True)  # one of another run would stand beside the wrong figures
            missing = exc
    plots = f" and {len(figures)} plots" if figures else ""
    print(f"kept: {document}{plots}" + (f"; no PNG: {missing}" if missing else ""), flush=True)

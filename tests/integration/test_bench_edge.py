"""The edge's benches on real processes, as small as they get: each keeps figures of what it was asked to measure."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from load_tests.bench._kept import Kept
from tests.stands.compiled import COMPILED, ROOT

BENCHES: dict[str, tuple[tuple[str, ...], dict[str, list[str] | None]]] = {
    "idle": (("--connections", "64", "128", "--proxy", "domicile"), {"connections": ["domicile, 64", "domicile, 128"]}),
    "flat": (
        ("--subjects", "100", "300", "--cells", "3", "--askers", "150", "--rounds", "1", "--requests", "200"),
        {"subjects": ["100 subjects, 3 cells", "300 subjects, 3 cells"]},
    ),
    "latency": (
        ("--rounds", "1", "--seconds", "0.3", "--requests", "200", "--people", "50"),
        dict.fromkeys(("added-p50", "added-p99", "direct-p50", "direct-p99", "through-p50", "through-p99")),
    ),
    "workers": (
        ("--workers", "1", "--rounds", "1", "--requests", "200", "--people", "50"),
        {figure: ["1 worker"] for figure in ("per-s", "cpu-us", "busy")},
    ),
}


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_keeps_figures_of_what_it_measured(name: str, tmp_path: Path) -> None:
    options, awaited = BENCHES[name]
    (tmp_path / "bin").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-m", f"load_tests.bench.{name}", *options, "--out", str(tmp_path / "kept")],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": str(tmp_path / "bin")},  # where no browser draws
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = msgspec.json.decode((tmp_path / "kept" / f"{name}.json").read_bytes(), type=Kept)
    assert kept.conditions.bench == name
    assert kept.conditions.form == (f"{len(COMPILED)} modules compiled" if COMPILED else "interpreted")
    found = {figure.name: [row.name for row in figure.rows] for figure in kept.figures}
    assert list(found) == list(awaited)
    assert all(rows is None or found[figure] == rows for figure, rows in awaited.items())
    assert {path.stem for path in (tmp_path / "kept").glob("*.svg")} <= {f"{name}-{figure}" for figure in found}
    assert "no PNG" in done.stdout

"""The harness itself: a stack that keeps its promises passes, and each planted mistake fails the run by its name."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import control
from tests.plants.entry import PLANTS
from tests.stands.stack import Run

FOLDER = Path(__file__).parent.parent / "plants"
PLACES = {
    "ignores_the_epoch": ("cell-eu-de", "orders-eu-de"),
    "falls_back_to_a_default_cell": ("directory", "gateway-*"),
    "drops_an_acknowledged_write": ("orders-*",),
    "forwards_a_body_before_deciding": ("gateway-*",),
}
"""The processes that each mistake sits in."""
FOUND = {
    "ignores_the_epoch": "late_write",
    "falls_back_to_a_default_cell": "placed_without_ground",
    "drops_an_acknowledged_write": "lost_write",
    "forwards_a_body_before_deciding": "body_before_verdict",
}
"""The promise whose breaking must be named."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Run(tmp_path_factory.mktemp("load") / "st") as run:
        run.command[1:4] = ["-P", str(FOLDER / "up.py")]
        yield run.start().ready()


def load(run: Run, out: Path) -> tuple[int, dict[str, Any]]:
    """Exit status and findings of one run."""
    words = ["--scenario", str(FOLDER / "planted.toml"), "--stack", str(run.paths.stack), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "load_tests", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert (out / "load.html").exists(), done.stderr.decode()
    return done.returncode, json.loads((out / "load.json").read_text())


def kinds(findings: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in findings["violations"]}


@pytest.mark.timeout(200)
def test_a_stack_that_keeps_its_promises_passes(running: Run, tmp_path: Path) -> None:
    status, findings = load(running, tmp_path)
    assert (status, findings["violations"]) == (0, [])
    assert findings["swept"]
    assert findings["cuts"] > 0
    assert findings["writes"]["acknowledged"] > 0
    assert findings["crossings_seen"] > 0


@pytest.mark.timeout(200)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_mistake_fails_the_run_by_its_name(running: Run, tmp_path: Path, plant: str) -> None:
    mark = running.paths.state / "plant"
    mark.write_text(plant, encoding="ascii")
    try:
        restarted(running, plant)
        status, findings = load(running, tmp_path)
    finally:
        mark.unlink()
        restarted(running, plant)
    assert status == 1
    assert FOUND[plant] in kinds(findings)


def restarted(run: Run, plant: str) -> None:
    for pattern in PLACES[plant]:
        control.ask(run.paths, "stop", pattern)
        control.ask(run.paths, "start", pattern)

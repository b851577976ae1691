"""The harness itself: a stack that keeps its promises passes, and each planted mistake fails the run by its name."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deploy.local import control
from deploy.local.layout import matching
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
    planted(running, plant)
    status, findings = load(running, tmp_path)
    assert status == 1
    assert FOUND[plant] in kinds(findings)


def planted(run: Run, plant: str) -> None:
    """Restarts the processes that the mistake sits in, and those of the one before it, which are right again."""
    mark = run.paths.state / "plant"
    before = PLACES[mark.read_text(encoding="ascii")] if mark.exists() else ()
    mark.write_text(plant, encoding="ascii")
    names = sorted({name for pattern in (*before, *PLACES[plant]) for name in matching(pattern)})
    with ThreadPoolExecutor(len(names)) as together:
        for op in ("stop", "start"):
            list(together.map(lambda name, op=op: control.ask(run.paths, op, name), names))  # type: ignore[misc]

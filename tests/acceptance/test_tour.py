"""The tour on a stack of its own: the installed commands, free ports, nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.stands.waiting import wait_for


def domicile(*words: str, state: Path, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli.main", *words, "--state", str(state)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.mark.timeout(400)
def test_the_tour_keeps_every_promise_and_leaves_no_process(tmp_path: Path) -> None:
    state = tmp_path / "a state with spaces"
    up = domicile("up", "--detach", "--port-base", "0", state=state)
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        processes = json.loads((state / "stack.json").read_text())["processes"]
        pids = [process["pid"] for process in processes.values() if process.get("pid")]
        tour = domicile("tour", "--json", state=state)
        findings = json.loads(tour.stdout)
        broken = [check for check in findings["checks"] if not check["kept"]]
        assert (tour.returncode, broken) == (0, [])
        assert len(findings["checks"]) >= 20
    finally:
        down = domicile("down", state=state)
        reset = domicile("reset", "--yes", state=state)
    assert down.returncode == 0, down.stdout + down.stderr
    assert reset.returncode == 0, reset.stdout + reset.stderr
    assert pids
    wait_for(lambda: not any(_is_ours(pid, state) for pid in pids))


def _is_ours(pid: int, state: Path) -> bool:
    """Whether the process still lives and its command line speaks of this state folder (pids are used again)."""
    try:
        return any(str(state) in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False


def test_the_tour_says_what_to_do_where_no_stack_runs(tmp_path: Path) -> None:
    tour = domicile("tour", state=tmp_path)
    assert tour.returncode == 1
    assert "domicile up" in tour.stderr

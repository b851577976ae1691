"""`domicile load` as it is called: what it cannot run ends with status 2 and a line that says why."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from load_tests.conductor import swarm
from load_tests.conductor.command import run
from load_tests.scenarios import shape


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--scenario", "stady"], "did you mean steady"),
        (["--stack", "/nowhere/stack.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_run_ends_with_two_and_says_why(tmp_path: Path, words: list[str], why: str) -> None:
    done = CliRunner().invoke(run, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert why in done.output


def test_every_scenario_is_listed_with_what_it_is_about() -> None:
    done = CliRunner().invoke(run, ["--list"])
    assert [line.split()[0] for line in done.output.splitlines()] == shape.known()


def test_an_earlier_runs_lines_are_not_judged_again(tmp_path: Path) -> None:
    (tmp_path / "answers-1.ndjson").write_text("{}\n")
    (tmp_path / "mine.txt").write_text("kept")
    CliRunner().invoke(run, ["--stack", str(tmp_path / "none.json"), "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_locust_shows_its_pages_only_where_somebody_asked_for_them() -> None:
    assert "--headless" in swarm.command(workers=1, web_port=None)
    shown = swarm.command(workers=3, web_port=8089)
    assert "--headless" not in shown
    assert shown[shown.index("--web-host") + 1] == "127.0.0.1"
    assert shown[shown.index("--processes") + 1] == "3"

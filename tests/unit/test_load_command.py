"""`domicile load` as it is called: what it cannot run ends with status 2 and a line that says why."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from foundation.settings import SettingsError
from load_tests import plan
from load_tests.conductor import conducted, swarm
from load_tests.conductor.command import run
from load_tests.conductor.conducted import Conducted
from load_tests.conductor.ending import told
from load_tests.conductor.stated import Stated
from load_tests.faults.window import Cut
from load_tests.oracle.ledger import Answered, Line, SignedUp, Writer
from load_tests.scenarios import shape
from load_tests.scenarios.actions import ACTIONS
from load_tests.target import Target


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--scenario", "stady"], "did you mean steady"),
        (["--stack", "/nowhere/stack.json"], "cannot be read"),
        (["--listen", "everywhere"], "no HOST:PORT"),
        (["--scenario", "steady", "--rate", "5", "--workers", "2"], "leave out --workers"),
        (["--scenario", "steady", "--rate", "5", "--listen", "127.0.0.1:5557"], "leave out --listen"),
        (["--scenario", "steady", "--rate", "5", "--web", "8089"], "leave out --web"),
        (["--scenario", "burst", "--rate", "5"], "scenario burst has a shape"),
        (["work", "--master", "10.0.0.1", "--plan", "plan.json"], "no HOST:PORT"),
        (["work", "--master", "10.0.0.1:5557", "--plan", "/nowhere/plan.json"], "no plan of a load"),
        (["judge", "."], "none of them"),
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


def test_workers_of_other_machines_join_where_the_run_listens() -> None:
    words = swarm.command(workers=1, web_port=None, listen=("0.0.0.0", 5557))
    assert words[words.index("--master-bind-host") + 1] == "0.0.0.0"
    assert words[words.index("--master-host") + 1] == "127.0.0.1"
    joined = swarm.joining("10.0.0.1", 5557, workers=2)
    assert joined[joined.index("--master-host") + 1] == "10.0.0.1"
    assert "--worker" in joined


def test_a_plan_of_another_machine_is_read_with_its_lines_kept_here(tmp_path: Path) -> None:
    stack = Target(directory={"url": "http://d.test"}, regions={}, cells={}, state="/nowhere/at/all")
    scenario = shape.read("steady", frozenset(ACTIONS))
    plan.write(plan.Plan(scenario=scenario, target=stack, out="/elsewhere"), tmp_path / "plan.json")
    own = plan.here(plan.read(tmp_path / "plan.json"), tmp_path)
    assert (own.out, own.target.state, own.scenario) == (str(tmp_path), None, scenario)


HOME = SignedUp(at=1.0, subject="s", cell="eu-de", epoch=7, country="DE", region="eu", jurisdiction="eu")
WROTE = Answered(
    at=100.0, ms=5.0, action="write_order", country="DE", asked="eu", home="eu", status=201, subject="s", cell="eu-de",
    epoch=7, verdict="serve", write="w", outcome="acknowledged", fenced=True,
)  # fmt: skip


READ = msgspec.structs.replace(WROTE, action="read_orders", status=200, write=None, outcome=None)


def machines(tmp_path: Path, *cuts: Cut, lines: Sequence[Line] = (HOME, WROTE), **more: Any) -> list[str]:
    """The folders of a run and of a worker elsewhere."""
    known = Conducted(
        scenario="s", about="a", began=99.0, ended=101.0, rate=0.0, stated=Stated(), windows=(), cuts=cuts, **more,
    )  # fmt: skip
    for name, wrote in (("here", lines[:1]), ("there", lines[1:])):
        (tmp_path / name).mkdir()
        for line in wrote:
            Writer(tmp_path / name).write(line)
    conducted.write(known, tmp_path / "here")
    return [str(tmp_path / "here"), str(tmp_path / "there")]


@pytest.mark.parametrize(
    ("cuts", "status", "kinds"),
    [
        ((), 0, set()),
        ((Cut(subject="s", epoch=8, at=101.0),), 1, {"late_write"}),
    ],
)
def test_lines_of_several_machines_are_judged_together(
    tmp_path: Path, cuts: tuple[Cut, ...], status: int, kinds: set[str]
) -> None:
    done = CliRunner().invoke(run, ["judge", *machines(tmp_path, *cuts), "--out", str(tmp_path / "judged")])
    assert done.exit_code == status, done.output
    findings = json.loads((tmp_path / "judged" / "load.json").read_text())
    assert {one["kind"] for one in findings["violations"]} == kinds
    assert findings["people"] == {"DE eu-de": 1}
    assert not findings["swept"]


def failed(line: Answered, **changes: Any) -> Answered:
    return msgspec.structs.replace(
        line, status=500, code="internal", outcome="maybe" if line.write else None, **changes
    )


BOTH = frozenset({"read_orders", "write_order"})
US = SignedUp(at=1.0, subject="u", cell="us-va", epoch=7, country="US", region="us", jurisdiction="us")
CAME = msgspec.structs.replace(READ, action="preview", country="FR", subject=None)


@pytest.mark.parametrize(
    ("mix", "lines", "said"),
    [
        (BOTH, (HOME, READ, WROTE), None),
        (BOTH, (HOME, READ, failed(WROTE)), "nothing was proven of eu: not one write was acknowledged"),
        (BOTH, (HOME, failed(READ), WROTE), "nothing was proven of eu: not one read was served"),
        (BOTH, (HOME, READ, WROTE, US), "nothing was proven of us: not one read was served"),
        ({"write_order"}, (HOME, WROTE), None),
        ({"read_orders"}, (HOME, READ), None),
        ({"stranger"}, (HOME, READ), None),
        (BOTH, (READ, WROTE), "nothing was proven of anybody: nobody got a home"),
        (BOTH, (HOME, READ, WROTE, CAME), "nothing was proven of people of FR: nobody of them got a home"),
        (BOTH, (HOME, WROTE, *[READ] * 18, failed(READ)), None),
        (BOTH, (HOME, WROTE, *[READ] * 17, failed(READ)), "1 of 19 answers are errors that no fault explains, more than 5.0%"),
    ],
)  # fmt: skip
def test_a_run_that_proved_nothing_is_not_green_and_says_of_whom(
    tmp_path: Path, mix: frozenset[str], lines: Sequence[Line], said: str | None
) -> None:
    folders = machines(tmp_path, lines=lines, mix=frozenset(mix))
    done = CliRunner().invoke(run, ["judge", *folders, "--out", str(tmp_path / "judged")])
    assert done.exit_code == (0 if said is None else 2), done.output
    page = (tmp_path / "judged" / "load.html").read_text()
    if said is None:
        assert json.loads((tmp_path / "judged" / "load.json").read_text())["unproven"] == []
        assert "verdict bad" not in page
    else:
        assert said in done.output
        assert said in page


def test_a_broken_promise_is_told_by_its_status_also_where_little_was_proven(tmp_path: Path) -> None:
    cut = Cut(subject="s", epoch=8, at=101.0)
    done = CliRunner().invoke(run, ["judge", *machines(tmp_path, cut, mix=BOTH), "--out", str(tmp_path / "judged")])
    assert done.exit_code == 1
    assert "not one read was served" in done.output


def test_a_scenario_may_state_another_bound_of_errors(tmp_path: Path) -> None:
    folders = machines(tmp_path, lines=(HOME, READ, WROTE, failed(READ)), mix=BOTH, unexplained_max=0.5)
    assert CliRunner().invoke(run, ["judge", *folders, "--out", str(tmp_path / "judged")]).exit_code == 0


def test_folders_of_two_runs_or_of_none_are_not_judged_together(tmp_path: Path) -> None:
    here, there = machines(tmp_path)
    alone = CliRunner().invoke(run, ["judge", there, "--out", str(tmp_path / "judged")])
    assert (alone.exit_code, "none of them" in alone.output) == (2, True)
    conducted.write(conducted.read([Path(here)]), Path(there))
    both = CliRunner().invoke(run, ["judge", here, there, "--out", str(tmp_path / "judged")])
    assert both.exit_code == 2
    (tmp_path / "empty").mkdir()
    empty = CliRunner().invoke(run, ["judge", here, str(tmp_path / "empty"), "--out", str(tmp_path / "judged")])
    assert (empty.exit_code, "no worker wrote anything" in empty.output) == (2, True)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (SettingsError("no such stack"), "domicile load: no such stack"),
        (ExceptionGroup("tasks", [SettingsError("locust ended"), SettingsError("later")]), "locust ended"),
        (ExceptionGroup("tasks", [SettingsError("locust ended"), KeyError("a mistake")]), "KeyError: 'a mistake'"),
        (RuntimeError("a mistake of the harness"), "Traceback"),
    ],
)
def test_what_goes_wrong_in_the_harness_is_no_broken_promise(
    fault: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, told():
        raise fault
    assert ended.value.code == 2
    assert said in capsys.readouterr().err

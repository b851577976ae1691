"""Scenarios are read strictly; shapes, faults and mixes are what the file says."""

from pathlib import Path

import pytest

from foundation.settings import SettingsError
from load_tests.scenarios import shape
from load_tests.scenarios.actions import ACTIONS
from load_tests.scenarios.shape import Burst, Constant, Crowd, Ramp, Scenario

KNOWN = frozenset(ACTIONS)
PLAIN = 'about = "x"\nseconds = 60\nusers = 10\n[people]\nDE = 1\n[mix]\nread_orders = 1\n'


def read(tmp_path: Path, text: str) -> Scenario:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return shape.read(str(file), KNOWN)


@pytest.mark.parametrize("name", shape.known())
def test_every_scenario_that_is_shipped_can_be_read(name: str) -> None:
    assert shape.read(name, KNOWN).name == name


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("users", "userz", "did you mean users"),
        ("read_orders", "read_order", "did you mean read_orders"),
        ("DE = 1", "Germany = 1", "no country"),
        ("DE = 1", "DE = 0", "one weight above 0"),
        ("seconds = 60", "seconds = 1", ">= 5"),
        ("[people]", 'pause_ms = [9, 3]\n[people]', "least, most"),
        ("[people]", '[[faults]]\nkind = "stop"\nat_s = 1\n[people]', "needs a target"),
        ("[people]", '[[faults]]\nkind = "slow"\nat_s = 1\n[people]', "needs a target"),
        ("[people]", '[[faults]]\nkind = "slow"\nat_s = 1\ntarget = "x"\nshare = 1.0\n[people]', "<= 0.95"),
        ("[people]", '[[faults]]\nkind = "slow"\nat_s = 1\ntarget = "x"\nperiod_s = 3\n[people]', "<= 2"),
        ("[people]", '[[faults]]\nkind = "epochs"\nat_s = 50\nfor_s = 20\n[people]', "after the scenario"),
        ("[people]", '[[faults]]\nkind = "stop"\nat_s = 1\ntargt = "x"\n[people]', "did you mean target"),
        ("[people]", '[shape]\ntype = "rampp"\n[people]', "rampp"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_was_meant(tmp_path: Path, before: str, after: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, PLAIN.replace(before, after, 1))
    assert words in str(refused.value)


def test_a_name_that_no_scenario_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean steady"):
        shape.read("stedy", KNOWN)


def test_shapes_say_how_many_users_there_are_at_any_time(tmp_path: Path) -> None:
    plain = read(tmp_path, PLAIN)
    constant, ramp, burst, crowd = (
        shape.resized(plain, shape=one) for one in (Constant(), Ramp(0.1, 0.5), Burst(0.3, 20.0, 5.0), Crowd(0.2, 15.0))
    )
    assert [constant.users_at(second) for second in (0, 59, 60)] == [10, 10, None]
    assert [ramp.users_at(second) for second in (0, 15, 30, 59)] == [1, 6, 10, 10]
    assert [burst.users_at(second) for second in (0, 14, 16, 21)] == [3, 3, 10, 3]
    assert [crowd.users_at(second) for second in (0, 14, 15, 59, 60)] == [10, 10, 2, 2, None]


def test_a_shorter_run_leaves_out_faults_that_would_end_after_it() -> None:
    short = shape.resized(shape.read("short", KNOWN), seconds=30, users=None)
    assert [fault.kind for fault in short.faults] == ["epochs", "stop", "late"]
    assert all(fault.at_s + fault.for_s <= 30 for fault in short.faults)

"""How far something long has come is told on a terminal at once, and elsewhere every so often."""

import pytest

from foundation.clock import ManualClock
from gateway.cli.directory.ticker import EVERY_S, Ticker


def told(*, terminal: bool, seconds: float, every: float) -> list[str]:
    said: list[str] = []
    clock = ManualClock()
    with Ticker(clock, terminal=terminal, say=said.append) as ticker:
        for number in range(int(seconds / every)):
            ticker.tell(f"{number} rows")
            clock.advance(every)
    return said


def test_off_a_terminal_a_line_is_told_every_so_often() -> None:
    assert told(terminal=False, seconds=EVERY_S - 1, every=0.5) == []
    lines = told(terminal=False, seconds=3.5 * EVERY_S, every=0.5)
    assert lines == ["20 rows\n", "40 rows\n", "60 rows\n"]


def test_on_a_terminal_one_line_replaces_itself_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(terminal=True, seconds=2, every=0.5)
    assert [text.strip() for text in said] == ["0 rows", "1 rows", "2 rows", "3 rows", ""]
    assert all(text.startswith("\r") and "\n" not in text for text in said[:-1])
    assert said[-1] == "\n"
    with Ticker(ManualClock(), terminal=True) as ticker:
        ticker.tell("1 row")
    assert capsys.readouterr().out == ""

"""Tables stay readable at any width: nothing is cut off, no word is broken, a narrow terminal gets a line for each value."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from gateway.cli.tables import print_hanging, print_rows

COLUMNS = ("event", "digest", "why")
DIGEST = "sha256:" + "0123456789abcdef" * 4
ROWS = [("@12", DIGEST, "clauses with us ended, and nobody renewed them"), ("@13", DIGEST, None)]


def shown(width: int, *, title: str | None = None) -> str:
    screen = Console(file=io.StringIO(), width=width, highlight=False)
    print_rows(screen, COLUMNS, ROWS, title=title)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160])
def test_no_width_breaks_a_word_or_loses_one(width: int) -> None:
    words = shown(width, title="history").split()
    assert words.count(DIGEST) == 2
    for word in ("@12", "@13", "renewed", "history", *COLUMNS):
        assert word in words
    assert "…" not in " ".join(words)


def test_what_fits_is_a_table_and_what_does_not_a_line_for_each_value() -> None:
    assert "─" in shown(120)
    narrow = shown(80).splitlines()
    assert "event   @12" in narrow
    assert f"digest  {DIGEST}" in narrow
    assert sum(line.startswith("why") for line in narrow) == 1  # what is empty has no line


def test_lines_hang_below_their_own_beginning() -> None:
    screen = Console(file=io.StringIO(), width=30, highlight=False)
    print_hanging(screen, "  1. ", Text("one two three four five six seven"))
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue() == "  1. one two three four five\n     six seven\n"


def test_values_are_no_markup() -> None:
    screen = Console(file=io.StringIO(), width=80, highlight=False)
    print_rows(screen, ("what",), [("[red]x[/red] [link=http://x]",)])
    assert isinstance(screen.file, io.StringIO)
    assert "[red]x[/red] [link=http://x]" in screen.file.getvalue()

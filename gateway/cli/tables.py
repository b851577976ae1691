"""Tables that stay readable: where a terminal is too narrow for the columns, each row becomes lines of `heading value`."""

import textwrap
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_COLUMNS = 160
"""Width of what goes into a pipe or file."""
_SHORT_MAX = 24
"""Columns up to so wide are never wrapped; longer ones get at least so much."""
_GAP = 3
"""Cells between two columns."""
_EDGES = 2
"""Cells before the first column and after the last."""


def console() -> Console:
    """Standard output, plain and wide where that is no terminal."""
    shown = Console(highlight=False)
    return shown if shown.is_terminal else Console(highlight=False, width=PLAIN_COLUMNS)


def print_rows(
    screen: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None
) -> None:
    """Values are text as it stands, never markup: they come from elsewhere. Nothing is cut off, and no word is broken."""
    cells = [
        tuple(one if isinstance(one, Text) else Text("" if one is None else str(one)) for one in row) for row in rows
    ]
    widths = _widths(columns, cells, screen.width)
    if widths is None:
        _print_lines(screen, columns, cells, title)
        return
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in cells:
        table.add_row(*row)
    screen.print(table)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[Text]], space: int) -> list[int] | None:
    """Of each column: short ones as wide as they are, the others share the rest. None where words or columns do not fit."""
    by_column = [[Text(column), *(row[number] for row in rows)] for number, column in enumerate(columns)]
    widest = [max(text.cell_len for text in texts) for texts in by_column]
    widths = [
        wide if wide <= _SHORT_MAX else max(_SHORT_MAX, *map(_longest_word, texts))
        for wide, texts in zip(widest, by_column, strict=True)
    ]
    left = space - _EDGES - _GAP * (len(columns) - 1) - sum(widths)
    if left < 0:
        return None
    wrapped = sorted(
        (wide - width, number) for number, (wide, width) in enumerate(zip(widest, widths, strict=True)) if wide > width
    )
    for place, (lacking, number) in enumerate(wrapped):
        more = min(left // (len(wrapped) - place), lacking)
        widths[number] += more
        left -= more
    return widths


def _longest_word(text: Text) -> int:
    return max((cell_len(word) for word in text.plain.split()), default=0)


def _print_lines(screen: Console, columns: Sequence[str], rows: Sequence[Sequence[Text]], title: str | None) -> None:
    if title:
        screen.print(Text(title, style="italic"), soft_wrap=True)
    indent = max(map(len, columns)) + 2
    for row in rows:
        screen.print()
        for column, cell in zip(columns, row, strict=True):
            if cell.plain:
                print_hanging(screen, f"{column:{indent}}", cell)
    screen.print()


def print_hanging(screen: Console, first: str, text: Text) -> None:
    """`text` after `first`, its further lines below its own beginning; a word that is longer than a line stays whole."""
    width = max(20, screen.width - len(first))
    lines = textwrap.wrap(text.plain, width, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        start = first if number == 0 else " " * len(first)
        screen.print(Text.assemble((start, "dim"), (line, text.style)), soft_wrap=True)

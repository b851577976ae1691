"""Options that several commands share, and how they print: tables for people, JSON for scripts."""

import contextlib
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])


def state_option(command: F) -> F:
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".domicile"),
        show_default=True,
        help="The stack's folder.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """A table on standard output, plain and wide where that is no terminal; `none` where there are no rows."""
    if not rows:
        click.echo(f"{title}: none" if title else "none")
        return
    from gateway.cli.tables import console, print_rows  # rich is slow to import, and not every command shows a table

    print_rows(console(), columns, rows, title=title)


def utc(at: Any) -> str:
    """Unix seconds for people; what is none, and what no calendar has, as it is."""
    if isinstance(at, int | float):
        with contextlib.suppress(ValueError, OverflowError, OSError):
            return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(at)

"""A contract for a live table, in which everything is restricted until somebody classifies it: YAML as docs/contracts.md has it. Pure."""

from collections.abc import Iterator
from typing import Any

import yaml

from cells.records.contracts import IDENTIFIER, RESERVED, TYPES, Contract
from cells.schema.core import Table
from foundation.settings import SettingsError

_OF_POSTGRES = {postgres: stated for stated, postgres in reversed(TYPES.items())}
"""Postgres's name of a type → the contract's; of several the first that is listed."""

HEAD = """\
# What the columns of product.{table} are. Written from the live table: nobody may read or write anything yet.
# Give each column its class (none, pseudonymous, quasi, direct, free_text, special), then say under access who may do what.
table: {table}
{keys}rows: owner
# access:
#   person: {{read: [], write: []}}
#   services: {{}}
columns:
"""
ASK = """\
# Which uuid column holds the subject's id? The primary key must be (that column, id); {why}.
# placed_by:
# owner:
"""


def contract_text(name: str, table: Table) -> str:
    """The contract's YAML. Where the primary key does not tell `placed_by`, comments ask, and a check says what is missing.

    Raises SettingsError where no contract can be made for a table of that name.
    """
    if not IDENTIFIER.match(name):
        raise SettingsError(
            f"product.{name}: a contract's table has lower-case letters, digits and underscores, at most 63"
        )
    placed_by, why = _placed_by(table)
    keys = ASK.format(why=why)
    if placed_by is not None:
        # A tenant's rows have an owner of their own; that is for whoever knows the product to say.
        keys = f"placed_by: {_word(placed_by)}\nowner: {_word(placed_by)}\n"
    return HEAD.format(table=_word(name), keys=keys) + "".join(_lines(table, list(table.columns), placed_by, "  "))


def _placed_by(table: Table) -> tuple[str | None, str]:
    """The column before `id` in a primary key of two uuids; or None and why."""
    primary = next((key.columns for key in table.keys if key.is_primary), None)
    if primary is None:
        return None, "the table has none"
    stated = ", ".join(primary)
    if len(primary) != 2 or primary[1] != "id" or _unusable(primary[0]) is not None:
        return None, f"it is ({stated})"
    if any(table.columns[column].type != "uuid" for column in primary):
        return None, f"in ({stated}) not both are uuid"
    return primary[0], ""


def _lines(table: Table, columns: list[str], placed_by: str | None, indent: str) -> Iterator[str]:
    """A line for each column; what no contract can hold as a comment with the reason."""
    width = max((len(_word(column)) for column in columns), default=0) + 1
    for column in columns:
        found = table.columns[column]
        stated, why = _OF_POSTGRES.get(found.type), _unusable(column)
        if why is not None or stated is None:
            yield f"{indent}# {column}: {why or f'{found.type} is no type of contracts'}\n"
            continue
        # The keys must have a class for the table to be reached at all; it opens nothing.
        klass = (
            ", class: pseudonymous" if column == placed_by else ", class: none" if placed_by and column == "id" else ""
        )
        yield f"{indent}{_word(column) + ':':{width}} {{type: {_type(stated)}{klass}}}\n"


def _unusable(column: str) -> str | None:
    if not IDENTIFIER.match(column):
        return "a contract's column has lower-case letters, digits and underscores, at most 63"
    return "the name is a query parameter of the dialect" if column in RESERVED else None


def _word(name: str) -> str:
    """Quoted where YAML would read something else, such as a truth value."""
    return name if yaml.safe_load(name) == name else f'"{name}"'


def _type(stated: str) -> str:
    return f'"{stated}"' if "[" in stated else stated


def merged_text(text: str, contract: Contract, table: Table) -> tuple[str, tuple[str, ...]]:
    """An existing contract's text with the table's new columns added, unclassified; all else as it stands. And the columns added.

    Raises SettingsError where `columns` is written in one line.
    """
    new = [name for name in table.columns if name not in contract.columns]
    usable = [name for name in new if _unusable(name) is None and table.columns[name].type in _OF_POSTGRES]
    if not usable:
        return text, ()
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    columns = next(value for key, value in root.value if key.value == "columns")
    if columns.flow_style:
        raise SettingsError(
            f"the contract of {contract.table} has its columns in one line; write one a line to merge into it"
        )
    first, last = columns.value[0][0], columns.value[-1][1]
    lines = text.splitlines(keepends=True)
    # A value in block style ends where the next thing begins; one in a line, in it.
    at = last.end_mark.line if last.end_mark.column == 0 else last.end_mark.line + 1
    if lines[at - 1 : at] and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    added = list(_lines(table, usable, None, " " * first.start_mark.column))
    return "".join([*lines[:at], *added, *lines[at:]]), tuple(usable)

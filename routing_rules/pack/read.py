"""The text of a file of the pack -> its rows as structs, or PackError. Strict: what is not in its form is refused, nothing is guessed."""

import csv
import datetime
import enum
import functools
import io
import re
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from foundation.words import SLUG, Country, JurisdictionId
from routing_rules.hints import nearest, shown
from routing_rules.pack.rows import Deny, Edge, Fact, Gateway, Jurisdiction, Unresolved

R = TypeVar("R", bound=Fact | Unresolved)
Cell = Callable[[str], Any]
"""Turns a cell into its value. Raises ValueError with what would be right, as the rest of a sentence (`must be …`)."""

FILE_CHARS_MAX = 4 << 20
ROWS_MAX = 20_000
_DIGITS_MAX = 9

_COLUMNS: dict[tuple[type, str], str] = {
    (Jurisdiction, "label"): "name",
    (Jurisdiction, "breach_notice"): "breach_notice_hours",
    (Edge, "origin"): "from",
    (Gateway, "origin"): "from",
    (Gateway, "threshold_ids"): "threshold_id",
    (Deny, "origin"): "from",
}
"""Where a field is not named like its column: `from` is a word of Python, `name` is what every row answers to."""

_FREE_TEXT = frozenset({"label", "law", "fideslang", "source", "note", "text", "why"})
_MAY_BE_BLANK = frozenset({"law", "fideslang", "note"})
_LISTS_NEEDED = frozenset({"fact_ref", "region", "verbs"})
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])\Z")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)\Z")
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_PART = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}\Z")


class PackError(Exception):
    """The facts contradict themselves or are not in their form; the message names the row. A fault of the release, not of a policy."""


def table(kind: type[R], text: str) -> tuple[R, ...]:
    """The rows of one file in its order. Raises PackError that names file, line and column, and says what would be right."""
    file = f"{kind.file}.csv"
    known = _cells(kind)
    lines = records(file, text, tuple(known))
    header = next(lines)[1]
    columns = [(column, *known[column]) for column in header]
    return tuple(_row(kind, file, line, cells, columns) for line, cells in lines)


def records(file: str, text: str, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each record, the header first; the header holds just `columns`, in any order. Raises PackError."""
    if len(text) > FILE_CHARS_MAX:
        raise PackError(f"{file}: is longer than {FILE_CHARS_MAX} characters")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, header = 1, None
    try:
        for count, cells in enumerate(reader):
            if header is None:
                _check_header(file, cells, columns)
                header = cells
            elif len(cells) != len(header):
                raise PackError(
                    f"{file}: line {line}: has {len(cells)} cells, but the header names {len(header)} columns"
                )
            elif count > ROWS_MAX:
                raise PackError(f"{file}: line {line}: a file holds at most {ROWS_MAX} rows")
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as exc:
        raise PackError(f"{file}: line {line}: is not CSV: {exc}") from exc
    if header is None:
        raise PackError(f"{file}: is empty; its first line must name the columns {', '.join(columns)}")


def _check_header(file: str, header: list[str], columns: Sequence[str]) -> None:
    for column in header:
        if column not in columns:
            raise PackError(f"{file}: line 1: unknown column {shown(column)}{nearest(column, columns)}")
        if header.count(column) > 1:
            raise PackError(f"{file}: line 1: column {column} stands there twice")
    missing = [column for column in columns if column not in header]
    if missing:
        raise PackError(f"{file}: line 1: column {missing[0]} is missing")


def _row(kind: type[R], file: str, line: int, cells: list[str], columns: list[tuple[str, str, Cell]]) -> R:
    values: dict[str, Any] = {"line": line}
    for (column, field, value_of), cell in zip(columns, cells, strict=True):
        try:
            values[field] = value_of(cell)
        except ValueError as exc:
            raise PackError(f"{file}: line {line}: column {column}: {shown(cell)} {exc}") from None
    return kind(**values)


def _cells(kind: type[msgspec.Struct]) -> dict[str, tuple[str, Cell]]:
    """Column -> field and how its cell is read."""
    fields = [field for field in msgspec.structs.fields(kind) if field.name != "line"]
    return {
        _COLUMNS.get((kind, field.name), field.name): (field.name, _cell(field.name, field.type)) for field in fields
    }


def _cell(field: str, hint: Any) -> Cell:
    if get_origin(hint) in (Union, types.UnionType):
        return _optional(_single(field, get_args(hint)[0]))
    if get_origin(hint) is tuple:
        return _several(_single(field, get_args(hint)[0]), needed=field in _LISTS_NEEDED)
    return _single(field, hint)


def _single(field: str, hint: Any) -> Cell:
    """How one value of that type is read; a type that the rows do not use yet is a fault of this module."""
    if get_origin(hint) is Literal:
        return _one_of({word: word for word in get_args(hint)})
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _one_of({member.value: member for member in hint})
    if hint is str:
        return _text_of(field)
    of_type: dict[Any, Cell] = {
        bool: _one_of({"true": True, "false": False}),
        int: _number,
        datetime.date: _date,
        Country: _shaped(_COUNTRY, "a country, ISO 3166-1 alpha-2 like DE"),
        JurisdictionId: _shaped(SLUG, "a jurisdiction's id like us-ca"),
    }
    return of_type[hint]


def _text_of(field: str) -> Cell:
    if field in _MAY_BE_BLANK:
        return str
    if field in _FREE_TEXT:
        return _written
    if field == "as_of":
        return _shaped(_MONTH, "a month like 2026-02")
    if field == "subdivisions":
        return _shaped(_PART, "a part of a country, ISO 3166-2 like US-TX")
    return _word


def _optional(value_of: Cell) -> Cell:
    return lambda cell: value_of(cell) if cell else None


def _several(value_of: Cell, *, needed: bool) -> Cell:
    def read(cell: str) -> tuple[Any, ...]:
        if not cell:
            if needed:
                raise ValueError("must not be blank")
            return ()
        words = cell.split(";")
        if len(set(words)) != len(words):
            raise ValueError("must not name anything twice")
        return tuple(value_of(word) for word in words)

    return read


def _one_of(values: dict[str, Any]) -> Cell:
    def read(cell: str) -> Any:
        try:
            return values[cell]
        except KeyError:
            raise ValueError(f"must be one of {', '.join(values)}") from None

    return read


def _shaped(pattern: re.Pattern[str], what: str) -> Cell:
    def read(cell: str) -> str:
        if pattern.match(cell) is None:
            raise ValueError(f"must be {what}")
        return cell

    return read


def _word(cell: str) -> str:
    if not cell or cell != cell.strip():
        raise ValueError("must be a word without space around it")
    return cell


def _written(cell: str) -> str:
    if not cell.strip():
        raise ValueError("must not be blank")
    return cell


def _number(cell: str) -> int:
    if len(cell) > _DIGITS_MAX or _NUMBER.match(cell) is None:
        raise ValueError(f"must be a whole number of at most {_DIGITS_MAX} digits")
    return int(cell)


@functools.lru_cache(maxsize=1024)
def _date(cell: str) -> datetime.date:
    if _DATE.match(cell) is None:
        raise ValueError("must be a date, YYYY-MM-DD")
    try:
        return datetime.date.fromisoformat(cell)
    except ValueError:
        raise ValueError("must be a day that the calendar has, YYYY-MM-DD") from None

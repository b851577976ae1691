"""What Postgres itself says was run: its log in CSV (`log_destination = csvlog`, `log_statement = all`), as statements.

Fields are those of PostgreSQL 14 and later, by their places: https://www.postgresql.org/docs/current/runtime-config-logging.html
"""

import csv
import enum
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

FIELDS_MIN = 26
FIELD_CHARS_MAX = 1 << 28
"""Of one statement's text, say."""
_TIME, _USER, _BACKEND, _NUMBER, _SEVERITY, _STATE, _MESSAGE = 0, 1, 5, 6, 11, 12, 13
_SIMPLE, _EXTENDED, _CALL = "statement: ", "execute ", "fastpath function call: "
_BEGINS = ": "
"""What the text follows. Names of statements and portals stand before it, and the door takes none in which that stands."""


class MalformedCsvlog(Exception):
    """A file is no log of Postgres in CSV; the message says which and where."""


class Way(enum.StrEnum):
    """How a statement came. CALL: a function by message, which the door refuses, so that no statement of the ledger is one."""

    SIMPLE = "simple"
    EXTENDED = "extended"
    CALL = "call"


_WAYS = {_SIMPLE: Way.SIMPLE, _EXTENDED: Way.EXTENDED, _CALL: Way.CALL}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that Postgres has begun to run. `backend`: the session (`%c`); `number`: of the line in it. `message`: as the log has it:
    of an extended one the names of statement and portal come first."""

    backend: str
    number: int
    at_us: int
    user: str
    way: Way
    message: str

    def is_of(self, text: str) -> bool:
        """Whether this is what is logged of a statement of this text."""
        return self.message.partition(_BEGINS)[2] == text


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """Statements in files, and the time that their lines of any kind span. `lines`: how many there were of all."""

    statements: tuple[Line, ...]
    lines: int
    from_us: int
    until_us: int


def files_in(places: Iterable[Path]) -> list[Path]:
    """Each file, and of each folder its `*.csv`, in the order of their names. Raises MalformedCsvlog where there is none, OSError."""
    found = [path for place in places for path in (sorted(place.glob("*.csv")) if place.is_dir() else [place])]
    if not found:
        raise MalformedCsvlog(
            "there is no *.csv in the folder: is logging_collector on, and csvlog in log_destination?"
        )
    return found


def read(paths: Sequence[Path]) -> Logged:
    """Raises MalformedCsvlog, OSError. The last line of the last file may be one that is being written: then it does not count."""
    statements, lines, from_us, until_us = list[Line](), 0, 0, 0
    for path in paths:
        for row, where in _rows(path, last=path == paths[-1]):
            at_us = _at_us(row[_TIME], where)
            from_us, until_us = from_us or at_us, max(until_us, at_us)
            lines += 1
            line = _statement(row, at_us, where)
            if line is not None:
                statements.append(line)
    return Logged(statements=tuple(statements), lines=lines, from_us=from_us, until_us=until_us)


def _rows(path: Path, *, last: bool) -> Iterator[tuple[list[str], str]]:
    """Each whole row, and where it stands. Raises MalformedCsvlog, OSError."""
    csv.field_size_limit(FIELD_CHARS_MAX)
    with path.open(encoding="utf-8", newline="") as opened:
        reading = csv.reader(opened, strict=True)
        held: tuple[list[str], str] | None = None
        try:
            for row in reading:
                if held is not None:
                    yield _whole(*held)
                held = row, f"{path}, line {reading.line_num}"
        except (csv.Error, UnicodeDecodeError) as exc:
            if not (last and isinstance(exc, csv.Error) and "unexpected end of data" in str(exc)):
                raise MalformedCsvlog(f"{path}, line {reading.line_num}: no CSV in UTF-8 ({exc})") from exc
        if held is not None and not (last and len(held[0]) < FIELDS_MIN):
            yield _whole(*held)


def _whole(row: list[str], where: str) -> tuple[list[str], str]:
    if len(row) < FIELDS_MIN:
        raise MalformedCsvlog(f"{where}: {len(row)} fields, and a line of PostgreSQL 14 or later has {FIELDS_MIN}")
    return row, where


def _statement(row: list[str], at_us: int, where: str) -> Line | None:
    message = row[_MESSAGE]
    way = next((way for start, way in _WAYS.items() if message.startswith(start)), None)
    if row[_SEVERITY] != "LOG" or way is None:
        return None
    if not row[_BACKEND] or not row[_NUMBER].isdigit():
        raise MalformedCsvlog(f"{where}: a statement without a session")
    return Line(
        backend=row[_BACKEND],
        number=int(row[_NUMBER]),
        at_us=at_us,
        user=row[_USER],
        way=way,
        message=message,
    )


def _at_us(text: str, where: str) -> int:
    """`2026-11-27 10:00:00.123 UTC`. Raises MalformedCsvlog."""
    stamp, _, zone = text.rpartition(" ")
    if zone not in ("UTC", "GMT"):
        raise MalformedCsvlog(f"{where}: the time {text[:40]!r} is not in UTC; set log_timezone = 'UTC'")
    try:
        at = datetime.fromisoformat(stamp).replace(tzinfo=UTC)
    except ValueError as exc:
        raise MalformedCsvlog(f"{where}: no time: {text[:40]!r}") from exc
    return round(at.timestamp() * 1_000_000)

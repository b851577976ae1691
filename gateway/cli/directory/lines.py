"""The rows of a file of users as they stand, CSV or NDJSON, streamed; and a digest of what was read, by which they are known again."""

import csv
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import msgspec

from foundation.settings import SettingsError

LINE_CHARS_MAX = 65_536
DIGEST_BYTES = 32

Record: TypeAlias = dict[str, Any] | str
"""By column; or why it is no row, in words that hold nothing of it."""


class Columns(msgspec.Struct, frozen=True):
    """Rows of CSV that hold a value for each column of the header, by column; at least one row."""

    header: list[str]
    values: list[Sequence[str]]

    def __len__(self) -> int:
        return len(self.values[0])

    def named(self, column: str) -> Sequence[str] | None:
        """None where the header has no such column. Of two of one name the last counts, as in a row of its own."""
        places = {name: place for place, name in enumerate(self.header)}
        return self.values[places[column]] if column in places else None

    def record(self, place: int) -> "Record":
        """The row that stands there."""
        return dict(zip(self.header, [column[place] for column in self.values], strict=True))

    def records(self) -> "list[Record]":
        return [dict(zip(self.header, row, strict=True)) for row in zip(*self.values, strict=True)]


class LongLine(Exception):
    """A line of more than LINE_CHARS_MAX characters; what follows it can be read."""


class Lines:
    """The lines of an open file, bounded in length, and what was met since a row began. Raises LongLine."""

    def __init__(self, opened: TextIO) -> None:
        self._opened = opened
        self._ahead: deque[str] = deque()
        self.header: list[str] = []
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._number = 0
        self.begin()

    def begin(self) -> None:
        """A row begins with the next line."""
        self.first = self._number + 1
        self.quotes = 0
        self.utf8 = True
        self._before = self._digest.copy()

    def give_back(self) -> None:
        """What was read since is no row of the file."""
        self._digest = self._before

    @property
    def digest(self) -> str:
        """Of the lines so far."""
        return self._digest.hexdigest()

    @property
    def named(self) -> str:
        """The row's lines, for people."""
        return f"line {self.first}" if self._number <= self.first else f"lines {self.first} to {self._number}"

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._readline()
        if not line:
            raise StopIteration
        self._number += 1
        long, piece = len(line) > LINE_CHARS_MAX, line
        while not piece.endswith(("\n", "\r")) and piece:
            self._see(piece)
            piece = self._readline() if long else ""
        self._see(piece.rstrip("\r\n"))
        # Whether a last line had its end yet makes no difference: rows may have been appended since.
        self._digest.update(b"\n")
        if long:
            raise LongLine
        return line

    def block(self, count: int, *, quoted: bool) -> list[str]:
        """The next lines, at most `count`, where nothing about them needs a look: each is UTF-8, not too long and ends as lines do, and
        unless `quoted` none holds a quote. None of them where that is not so."""
        if self._ahead or self._opened.closed:
            return []
        lines = list(islice(iter(partial(self._opened.readline, LINE_CHARS_MAX + 1), ""), count))
        raw = _plain(lines, quoted=quoted)
        if raw is None:
            self._ahead.extend(lines)
            return []
        self.first = self._number + 1
        self._number += len(lines)
        self._digest.update(raw)
        return lines

    def _readline(self) -> str:
        return self._ahead.popleft() if self._ahead else self._opened.readline(LINE_CHARS_MAX + 1)

    def _see(self, piece: str) -> None:
        self.quotes += piece.count('"')
        try:
            raw = piece.encode()
        except UnicodeEncodeError:
            self.utf8 = False
            raw = piece.encode(errors="surrogateescape")
        self._digest.update(raw)


def _plain(lines: list[str], *, quoted: bool) -> bytes | None:
    """What `Lines` would take up of them one by one, or None where it may be something else."""
    text = "".join(lines)
    if not text or (not quoted and '"' in text) or max(map(len, lines)) > LINE_CHARS_MAX:
        return None
    if "\r" in text:
        if text.count("\r") != text.count("\r\n"):
            return None
        text = text.replace("\r\n", "\n")
    try:
        return (text if text.endswith("\n") else f"{text}\n").encode()
    except UnicodeEncodeError:
        return None


class Records:
    """Each row of a file as it stands, once. Raises SettingsError for a file that is not what its suffix says."""

    def __init__(self, file: Path) -> None:
        """Raises SettingsError for a file of neither form."""
        self._file = file
        self._lines: Lines | None = None
        self._in_columns = file.suffix.lower() == ".csv"
        self._rows = self._opened(_form(file))

    @property
    def digest(self) -> str:
        """Of the rows so far, and of a header."""
        return "" if self._lines is None else self._lines.digest

    def __iter__(self) -> Iterator[Record]:
        self._begun()
        return self._rows

    def block(self, count: int) -> Columns | Sequence[Record]:
        """The next rows, at most `count`, where they are read at once. Nothing where they have to be read one by one, or none is left."""
        lines = self._begun()
        if not self._in_columns:
            return [_object(line) for line in lines.block(count, quoted=True)]
        found = lines.block(count, quoted=False)
        if not found:
            return []
        values = _between_commas(found, len(lines.header))
        return Columns(lines.header, values) if values else _columns(lines, list(csv.reader(found, strict=True)))

    def _begun(self) -> Lines:
        """The file opened, and its header read. Raises SettingsError."""
        if self._lines is None:
            next(self._rows, None)
        if self._lines is None:
            raise RuntimeError("a file that is open has lines")
        return self._lines

    def _opened(self, form: Callable[[Lines], Iterator[Record]]) -> Iterator[Record]:
        """What is yielded first, when the header is read, is no row."""
        try:
            with self._file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
                self._lines = Lines(opened)
                yield from form(self._lines)
        except OSError as exc:
            raise SettingsError(f"{self._file} cannot be read ({exc.strerror})") from exc


def _form(file: Path) -> Callable[[Lines], Iterator[Record]]:
    readers = {".csv": _csv, ".ndjson": _ndjson, ".jsonl": _ndjson}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise SettingsError(f"{file} is neither .csv nor .ndjson")
    return reader


def _csv(lines: Lines) -> Iterator[Record]:
    """A row that is no CSV is passed over where its lines hold an even number of quotes, as every row's do: then the next line begins
    another one, whatever was meant. Else nobody knows where one begins."""
    rows = csv.reader(lines, strict=True)
    header = lines.header = _header(rows, lines)
    yield ""
    while True:
        lines.begin()
        try:
            row = next(rows, None)
        except (csv.Error, LongLine) as exc:
            if lines.quotes % 2:
                lines.give_back()
                raise SettingsError(
                    f"line {lines.first} holds a quote that nothing closes, so nobody knows where the next row begins; "
                    "mend it and run the same command again"
                ) from exc
            yield _why(lines, exc)
            continue
        if row is None:
            return
        if not lines.utf8:
            yield f"{lines.named} is not UTF-8"
        elif len(row) != len(header):
            yield f"{lines.named} has not as many columns as the header"
        else:
            yield dict(zip(header, row, strict=True))


def _header(rows: "Iterator[list[str]]", lines: Lines) -> list[str]:
    try:
        header = next(rows, None)
    except (csv.Error, LongLine) as exc:
        raise SettingsError(f"the file has no header line: {_why(lines, exc)}") from exc
    if not header or not lines.utf8:
        raise SettingsError("the file has no header line in UTF-8")
    return header


def _between_commas(lines: list[str], width: int) -> list[Sequence[str]]:
    """The values of rows without quotes by column, as `csv` reads them, where each row has so many; else none."""
    if width < 2 or set(map(str.count, lines, repeat(","))) != {width - 1}:
        return []  # an empty line is one value here, and no row of it there
    values = "".join(lines).replace("\r\n", "\n").removesuffix("\n").replace("\n", ",").split(",")
    return [values[nth::width] for nth in range(width)]


def _columns(lines: Lines, rows: list[list[str]]) -> Columns | Sequence[Record]:
    """Rows of which each stands on a line of its own."""
    header = lines.header
    if set(map(len, rows)) == {len(header)}:
        return Columns(header, list(zip(*rows, strict=True)))
    return [
        dict(zip(header, row, strict=True))
        if len(row) == len(header)
        else f"line {number} has not as many columns as the header"
        for number, row in enumerate(rows, lines.first)
    ]


def _ndjson(lines: Lines) -> Iterator[Record]:
    yield ""
    while True:
        lines.begin()
        try:
            line = next(lines, None)
        except LongLine as exc:
            yield _why(lines, exc)
            continue
        if line is None:
            return
        yield _object(line) if lines.utf8 else f"{lines.named} is not UTF-8"


def _object(line: str) -> Record:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else "the line is no JSON object"


def _why(lines: Lines, exc: Exception) -> str:
    if isinstance(exc, LongLine):
        return f"{lines.named} is longer than {LINE_CHARS_MAX} characters"
    return f"{lines.named} is no CSV: {exc}"

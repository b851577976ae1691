"""The rows of a file of users as they stand, CSV or NDJSON, streamed; and a digest of what was read, by which they are known again."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from foundation.settings import SettingsError

LINE_CHARS_MAX = 65_536
DIGEST_BYTES = 32

Record: TypeAlias = dict[str, Any] | str
"""By column; or why it is no row, in words that hold nothing of it."""


class LongLine(Exception):
    """A line of more than LINE_CHARS_MAX characters; what follows it can be read."""


class Lines:
    """The lines of an open file, bounded in length, and what was met since a row began. Raises LongLine."""

    def __init__(self, opened: TextIO) -> None:
        self._opened = opened
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
        line = self._opened.readline(LINE_CHARS_MAX + 1)
        if not line:
            raise StopIteration
        self._number += 1
        long, piece = len(line) > LINE_CHARS_MAX, line
        while not piece.endswith(("\n", "\r")) and piece:
            self._see(piece)
            piece = self._opened.readline(LINE_CHARS_MAX + 1) if long else ""
        self._see(piece.rstrip("\r\n"))
        # Whether a last line had its end yet makes no difference: rows may have been appended since.
        self._digest.update(b"\n")
        if long:
            raise LongLine
        return line

    def _see(self, piece: str) -> None:
        self.quotes += piece.count('"')
        try:
            raw = piece.encode()
        except UnicodeEncodeError:
            self.utf8 = False
            raw = piece.encode(errors="surrogateescape")
        self._digest.update(raw)


class Records:
    """Each row of a file as it stands, once. Raises SettingsError for a file that is not what its suffix says."""

    def __init__(self, file: Path) -> None:
        """Raises SettingsError for a file of neither form."""
        self._file = file
        self._lines: Lines | None = None
        self._rows = self._opened(_form(file))

    @property
    def digest(self) -> str:
        """Of the rows so far, and of a header."""
        return "" if self._lines is None else self._lines.digest

    def __iter__(self) -> Iterator[Record]:
        return self._rows

    def _opened(self, form: Callable[[Lines], Iterator[Record]]) -> Iterator[Record]:
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
    header = _header(rows, lines)
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


def _ndjson(lines: Lines) -> Iterator[Record]:
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

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

Record: TypeAlias = dict[str, Any] | None
"""By column; None for one that is no row."""


class Lines:
    """The lines of an open file, each bounded in length. Raises SettingsError for one that is longer."""

    def __init__(self, opened: TextIO) -> None:
        self._opened = opened
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._opened.readline(LINE_CHARS_MAX + 1)
        if not line:
            raise StopIteration
        if len(line) > LINE_CHARS_MAX:
            raise SettingsError(f"a line is longer than {LINE_CHARS_MAX} characters")
        # Whether a last line had its end yet makes no difference: rows may have been appended since.
        self._digest.update(line.rstrip("\r\n").encode() + b"\n")
        return line

    @property
    def digest(self) -> str:
        """Of the lines so far."""
        return self._digest.hexdigest()


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
            with self._file.open(encoding="utf-8-sig", newline="") as opened:
                self._lines = Lines(opened)
                yield from form(self._lines)
        except UnicodeDecodeError as exc:
            raise SettingsError(f"{self._file} is not UTF-8 (byte {exc.start})") from exc
        except OSError as exc:
            raise SettingsError(f"{self._file} cannot be read ({exc.strerror})") from exc


def _form(file: Path) -> Callable[[Lines], Iterator[Record]]:
    readers = {".csv": _csv, ".ndjson": _ndjson, ".jsonl": _ndjson}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise SettingsError(f"{file} is neither .csv nor .ndjson")
    return reader


def _csv(lines: Lines) -> Iterator[Record]:
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, None)
        if not header:
            raise SettingsError("the file has no header line")
        for row in rows:
            yield dict(zip(header, row, strict=True)) if len(row) == len(header) else None
    except csv.Error as exc:
        raise SettingsError(f"line {rows.line_num} is no CSV: {exc}") from exc


def _ndjson(lines: Lines) -> Iterator[Record]:
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        yield found if isinstance(found, dict) else None

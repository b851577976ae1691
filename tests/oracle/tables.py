"""The CSV files as rows of strings, and which of them count on a day. Nothing here knows the engine or its reader."""

import csv
import datetime
import functools
import io
from collections.abc import Mapping
from pathlib import Path

Row = dict[str, str]

FILES = (
    "jurisdictions",
    "groups",
    "tags",
    "special_categories",
    "edges",
    "gateways",
    "denies",
    "storage",
    "thresholds",
    "obligations",
)
PERMISSIONS = ("edges", "gateways", "groups", "jurisdictions")
"""A disputed row of these never counts; one of the others does."""


class Tables:
    """Rows of every file by its name without `.csv`. Rows are never changed; a changed set of rows is a new `Tables`."""

    def __init__(self, rows: Mapping[str, list[Row]]) -> None:
        self.rows = rows
        self._of: dict[tuple[str, str, str], list[Row]] = {}
        self.tag_of = {word: row["tag"] for row in rows["tags"] for word in (*words(row["aliases"]), row["tag"])}
        """Which tag a word names."""

    def of(self, file: str, column: str, value: str) -> list[Row]:
        """The rows of a file whose column holds this value: a plain scan, remembered."""
        key = (file, column, value)
        if key not in self._of:
            self._of[key] = [row for row in self.rows[file] if row[column] == value]
        return self._of[key]

    def with_rows(self, file: str, rows: list[Row]) -> "Tables":
        """The same tables but for one file; what was remembered of the others stays."""
        changed = Tables({**self.rows, file: rows})
        changed._of = {key: found for key, found in self._of.items() if key[0] != file}
        return changed

    def text(self, file: str) -> str:
        """The file as CSV again."""
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(self.rows[file][0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[file])
        return out.getvalue()


def read(folder: Path) -> Tables:
    """Every file of the folder, as `csv` reads it."""
    return Tables({file: _rows(folder / f"{file}.csv") for file in FILES})


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@functools.cache
def words(cell: str) -> tuple[str, ...]:
    """The entries of a cell with `;` between them."""
    return tuple(word for word in cell.split(";") if word)


def counts(file: str, row: Row, profile: str, at: datetime.date) -> bool:
    """Section 1. Dates compare as text: they are whole ISO dates."""
    if row["profile"] not in ("both", profile):
        return False
    day = at.isoformat()
    if not row["since"] or day < row["since"] or (row["until"] and day > row["until"]):
        return False
    if row["status"] == "disputed":
        return file not in PERMISSIONS
    return row["status"] in ("in_force", "repealed", "enacted")

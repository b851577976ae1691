"""What came out, read as somebody reads it who has the files alone, and held against what was planted."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from cells.egress.formats import Format
from cells.egress.scan import Scan
from tests.leaktest.planting import Planted, core
from tests.leaktest.rows import Rows

CORE_MIN = 8
"""Fewer letters and digits in a row come out by chance, or by a treatment that shows a part."""
SHOWN_MAX = 10
OPAQUE = "opaque"


class Escaped(msgspec.Struct, frozen=True):
    """A planted value that came out; of the text that holds it only its beginning is kept."""

    mark: int
    field: str
    kind: str
    encoding: str
    text: str


class Looked(msgspec.Struct):
    """Rows that came out, and what escaped with them."""

    rows: int = 0
    strings: int = 0
    escaped: int = 0
    shown: list[Escaped] = []

    def add(self, other: Escaped) -> None:
        self.escaped += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(other)


def tells(text: str, one: Planted) -> bool:
    """Whether the value is there: itself, without its separators, or as it was encoded."""
    if one.value in text or one.encoded in text:
        return True
    return len(text) >= len(one.core) >= CORE_MIN and one.core in core(text)


def look(read: Iterable[dict[str, Any]], rows: Rows, scan: Scan, into: Looked) -> None:
    """Every string of every row; what was redacted is scanned once more."""
    redacted: list[tuple[int, str]] = []
    for row in read:
        mark = int(row["mark"])
        one = rows.planted(mark)
        into.rows += 1
        for field, text in _strings(row):
            into.strings += 1
            if tells(text, one):
                into.add(Escaped(mark, field, one.kind, one.encoding, text[:60]))
            elif field == "note":
                redacted.append((mark, text))
    for (mark, text), found in zip(redacted, scan([text for _, text in redacted], "note"), strict=True):
        # What a cut has broken is opaque, and no value.
        if any(str(each.kind) != OPAQUE for each in found):
            one = rows.planted(mark)
            into.add(Escaped(mark, "note", one.kind, one.encoding, text[:60]))


def _strings(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Every string within, names of members too, with the column that it is in."""
    match value:
        case str():
            yield field, value
        case dict():
            for name, inner in value.items():
                yield field or name, name
                yield from _strings(inner, field or name)
        case list():
            for inner in value:
                yield from _strings(inner, field)
        case _:
            return


def rows_of(path: Path, format_: Format) -> Iterator[dict[str, Any]]:
    """A part's rows, a few at a time."""
    match format_:
        case Format.NDJSON:
            with path.open("rb") as lines:
                yield from map(json.loads, lines)
        case Format.CSV:
            with path.open(encoding="utf-8", newline="") as text:
                yield from csv.DictReader(text)
        case Format.ARROW:
            import pyarrow as pa

            with pa.memory_map(str(path)) as held, pa.ipc.open_file(held) as file:
                for number in range(file.num_record_batches):
                    yield from file.get_batch(number).to_pylist()
        case Format.PARQUET:
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=2_000):
                    yield from batch.to_pylist()

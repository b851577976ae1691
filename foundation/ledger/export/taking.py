"""What comes next of a log, in batches: read from its folder, as far as it has signed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from foundation.ledger import payloads
from foundation.ledger.export.forms import Form, lines_of
from foundation.ledger.reading import LogReader
from foundation.ledger.tiles import WIDTH

BATCH_BYTES_MAX = 1 << 20
"""Of lines, beyond the first. A batch has no more entries than a bundle: 256."""

Openings = Callable[[int, int], list[bytes | None]]
"""The openings of a bundle's first entries, by its number and how many."""


class Batch(NamedTuple):
    """Lines of entries that follow one another, a sheaf's with those of its records; `following`: the index of the entry after them."""

    first: int
    lines: list[bytes]
    following: int


def openings_in(folder: Path | None) -> Openings:
    """None where payloads are not to be had."""
    if folder is None:
        return lambda _, width: [None] * width
    held = folder
    return lambda number, width: list(payloads.in_bundle(held, number, width))


def batches(reader: LogReader, form: Form, openings: Openings, since: int) -> Iterator[Batch]:
    """From the entry `since` on. Raises what reading a log raises."""
    at = since
    while at < reader.checkpoint.size:
        batch = _batch(reader, form, openings, at)
        yield batch
        at = batch.following


def _batch(reader: LogReader, form: Form, openings: Openings, since: int) -> Batch:
    number = since // WIDTH
    bundle = reader.bundle(number)
    held = openings(number, len(bundle)) if form.payloads else [None] * len(bundle)
    lines, size = list[bytes](), 0
    for found, opening in zip(bundle, held, strict=True):
        if found.index < since:
            continue
        told = lines_of(form, found, opening)
        size += len(told)
        if lines and size > BATCH_BYTES_MAX:
            break
        lines.append(told)
    return Batch(since, lines, since + len(lines))

"""What comes next of a log, in batches: read from its folder, as far as it has signed."""

from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from foundation.ledger import payloads
from foundation.ledger.export.forms import Form, lines_of
from foundation.ledger.reading import LogReader
from foundation.ledger.tiles import WIDTH

BATCH_BYTES_MAX = 1 << 20
"""Of lines, beyond the first. A batch has no more entries than a bundle: 256."""

Openings = Callable[[int, int, int], Iterator[bytes | None]]
"""The openings of a bundle, by its number: from that of one of its entries on, to before another, each when it is asked for."""


class Batch(NamedTuple):
    """Lines of entries that follow one another, a sheaf's with those of its records; `following`: the index of the entry after them."""

    first: int
    lines: list[bytes]
    following: int


def openings_in(folder: Path | None) -> Openings:
    """None where payloads are not to be had."""
    if folder is None:
        return lambda _, first, width: repeat(None, width - first)
    held = folder
    return lambda number, first, width: payloads.in_bundle(held, number, width, first=first)


def batches(reader: LogReader, form: Form, openings: Openings, since: int) -> Iterator[Batch]:
    """From the entry `since` on. Raises what reading a log raises."""
    at = since
    while at < reader.checkpoint.size:
        batch = _batch(reader, form, openings, at)
        yield batch
        at = batch.following


def _batch(reader: LogReader, form: Form, openings: Openings, since: int) -> Batch:
    number, first = divmod(since, WIDTH)
    bundle = reader.bundle(number)
    held = openings(number, first, len(bundle)) if form.payloads else repeat(None)
    lines, size = list[bytes](), 0
    for found, opening in zip(bundle[first:], held, strict=False):
        told = lines_of(form, found, opening)
        size += len(told)
        if lines and size > BATCH_BYTES_MAX:
            break
        lines.append(told)
    return Batch(since, lines, since + len(lines))

"""What comes next of a log, in batches: read from its folder, as far as it has signed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from foundation.ledger import entries, payloads
from foundation.ledger.export.forms import Form, Format, lines_of, notice_line
from foundation.ledger.port import Kind
from foundation.ledger.reading import LogReader
from foundation.ledger.tiles import WIDTH

BATCH_BYTES_MAX = 1 << 20
"""Of lines, beyond the first. A batch has no more entries than a bundle: 256."""
PASSED_MAX = 1 << 14
"""Entries that are no notice and are passed over in one look."""
_NOTICE = frozenset({Kind.NOTICE.value})

Openings = Callable[[int, int], list[bytes | None]]
"""The openings of a bundle's first entries, by its number and how many."""


class Batch(NamedTuple):
    """Lines of entries that follow one another, a sheaf's with those of its records; `following`: the index of the entry after them. A
    notice goes by itself, under a `key` of its own; there is no line where none was among those that were looked at."""

    first: int
    lines: list[bytes]
    following: int
    key: str = ""


def openings_in(folder: Path | None) -> Openings:
    """None where payloads are not to be had."""
    if folder is None:
        return lambda _, width: [None] * width
    held = folder
    return lambda number, width: list(payloads.in_bundle(held, number, width))


def batches(reader: LogReader, form: Form, openings: Openings, since: int) -> Iterator[Batch]:
    """From the entry `since` on. Raises what reading a log raises."""
    take, at = _notice if form.format is Format.NOTICES else _batch, since
    while at < reader.checkpoint.size:
        batch = take(reader, form, openings, at)
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


def _notice(reader: LogReader, form: Form, openings: Openings, since: int) -> Batch:
    """The next that the form asks for. Of one whose payload was erased nothing is left to be told."""
    until = min(reader.checkpoint.size, since + PASSED_MAX)
    for found in reader.of_kinds(_NOTICE, since, until):
        opening = openings(found.index // WIDTH, found.index % WIDTH + 1)[-1]
        payload = None if opening is None else entries.opened(found.entry, opening)
        if opening is None or payload is None or (form.subjects and payload.subject_id not in form.subjects):
            continue
        line = notice_line(form.origin, payload, opening, reader.proved(found))
        return Batch(found.index, [line], found.index + 1, payload.id)
    return Batch(since, [], until)

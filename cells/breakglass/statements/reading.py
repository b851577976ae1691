"""The door's entries out of a log in its folder, each held against what was signed."""

from collections.abc import Iterator
from pathlib import Path

from cells.breakglass.statements import entries
from cells.breakglass.statements.entries import KINDS
from cells.breakglass.statements.history import Kept
from foundation.ledger.reading import LogReader, payload

_KINDS = frozenset(kind.value for kind in KINDS)


def kept(reader: LogReader, folder: Path, size: int | None = None) -> Iterator[Kept]:
    """In the log's order, among the first `size` entries of those that the reader has. Raises what a reader raises, MalformedSaid."""
    for found in reader.of_kinds(_KINDS):
        if size is not None and found.index >= size:
            return
        held = payload(folder, found)
        said = None if held is None else entries.read(bytes(held.details))
        yield Kept(found.index, found.entry.at_us, "" if held is None else held.actor, said)

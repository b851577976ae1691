"""Steps of break-glass out of a log in its folder, each held against what was signed."""

from collections.abc import Iterator
from pathlib import Path

from cells.breakglass.replay import Unfit
from cells.breakglass.steps import KINDS, MalformedStep, Taken, read
from foundation.ledger.beside import with_payloads
from foundation.ledger.reading import LogReader

_KINDS = frozenset(kind.value for kind in KINDS)


def steps(reader: LogReader, folder: Path) -> Iterator[Taken]:
    """Oldest first. Raises Unfit where one cannot be read, and what a reader raises."""
    for found, held in with_payloads(folder, reader.of_kinds(_KINDS)):
        if held is None:
            raise Unfit(f"the payload of entry {found.index} is not here: it was erased, or lies elsewhere")
        try:
            yield read(found.entry.at_us, held.actor, bytes(held.details))
        except MalformedStep as exc:
            raise Unfit(f"entry {found.index}: {exc}") from exc

"""Payloads beside a log, read with the entries that commit to them, in the log's own folder.

Another process may write the log and erase payloads meanwhile. So nothing is read beyond what is signed for, which may still be on its way
to the file, and what does not fit its entry is read again: it may just have been overwritten.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from foundation.ledger import entries, payloads, sheaves
from foundation.ledger.entries import Payload
from foundation.ledger.reading import Found, LogReader
from foundation.ledger.tiles import WIDTH


def speaking_of(reader: LogReader, folder: Path, text: str) -> Iterator[Found]:
    """Entries in whose payload a text stands, such as a subject's id, the newest first. Raises what a reader raises."""
    needle = text.encode()
    for index in reversed(range(reader.bundles)):
        openings = payloads.in_bundle(folder, index, reader.width(index))
        speaking = [at for at, opening in enumerate(openings) if opening is not None and needle in opening]
        if speaking:
            bundle = reader.bundle(index)
            yield from (bundle[at] for at in reversed(speaking))


def payload(folder: Path, found: Found) -> Payload | None:
    """What the entry commits to, None where it was erased or lies elsewhere. Raises LogDamaged, MalformedEntry, OSError."""
    return _opened(folder, found, payloads.read(folder, found.index))


def with_payloads(folder: Path, those: Iterable[Found]) -> Iterator[tuple[Found, Payload | None]]:
    """Each with what it commits to, as `payload` has it; of entries in their order each bundle's file is read once. Raises what `payload`
    and `those` raise."""
    last = -1
    openings: Iterator[bytes | None] = iter(())
    for found in those:
        between = found.index - last - 1
        if between < 0 or found.index // WIDTH != last // WIDTH:
            number, slot = divmod(found.index, WIDTH)
            openings, between = payloads.in_bundle(folder, number, WIDTH, first=slot), 0
        opening = next(islice(openings, between, None))
        last = found.index
        yield found, _opened(folder, found, opening)


def fitting(folder: Path, found: Found) -> bytes | None:
    """The opening of an entry, with all that stands under it, as the entry commits to it; None as of `payload`, and raises the same."""

    def checked(opening: bytes) -> bytes:
        sheaves.fits(found.entry, opening)
        return opening

    return payloads.read_as(checked, folder, found.index, payloads.read(folder, found.index))


def _opened(folder: Path, found: Found, opening: bytes | None) -> Payload | None:
    return payloads.read_as(lambda held: entries.opened(found.entry, held), folder, found.index, opening)

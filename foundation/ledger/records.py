"""Records that stand under others' entries, found and proved in the log's own folder: elsewhere there are no records."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from foundation.ledger import entries, sheaves
from foundation.ledger.beside import fitting, speaking_of
from foundation.ledger.entries import MalformedEntry, Single
from foundation.ledger.proofs import Proof, RecordProof
from foundation.ledger.reading import Found, LogReader


class FoundRecord(msgspec.Struct, frozen=True):
    """A record under an entry, at its number there; `under`: everything that lies there."""

    found: Found
    number: int
    single: Single
    under: tuple[sheaves.Held, ...]

    def prove(self, proof: Proof) -> RecordProof:
        """`proof`: the entry's. Raises MalformedEntry where the record was erased."""
        opening = self.under[self.number].opening
        if opening is None:
            raise MalformedEntry("the record was erased")
        return RecordProof(opening, self.number, tuple(sheaves.path_of(self.under, self.number)), proof)


def records_of(folder: Path, found: Found) -> Iterator[FoundRecord]:
    """Those under an entry that are not erased, none where it is no sheaf or its payload is not here. Raises what `payload` raises."""
    opening = fitting(folder, found) if entries.is_sheaf(found.entry) else None
    if opening is None:
        return
    under = tuple(sheaves.records_in(opening))
    for number, held in enumerate(under):
        if held.opening is not None:
            yield FoundRecord(found, number, sheaves.read(held.opening), under)


def record_of(reader: LogReader, folder: Path, event_id: str) -> FoundRecord | None:
    """The newest record of an event among those that stand under others' entries. Raises what a reader and `payload` raise."""
    for found in speaking_of(reader, folder, event_id):
        for record in records_of(folder, found):
            if record.single.id == event_id:
                return record
    return None

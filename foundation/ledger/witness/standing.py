"""How a log stands with its witnesses, for whoever reads what it gives out. Believes given keys, and nothing else."""

from collections.abc import Mapping, Sequence

import msgspec

from foundation.ledger import checkpoints
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.notes import Verifier
from foundation.ledger.reading import Absent, Fetch, LogReader
from foundation.ledger.tiles import WIDTH
from foundation.ledger.witness.cosignatures import Cosignature, WitnessKey, verified
from foundation.ledger.witness.quorum import Reach


class Standing(msgspec.Struct, frozen=True):
    """What lies in the place of a quorum: the note's size, which of the given witnesses say what in it, and how old the oldest entry is
    that is not under it (by the entry's own time; None where all are)."""

    size: int
    by: Mapping[str, Cosignature]
    beyond_s: float | None


def cosigned(
    notes: Sequence[bytes], log: Verifier, keys: Sequence[WitnessKey], needed: int
) -> tuple[Checkpoint, Mapping[str, Cosignature]] | None:
    """The largest checkpoint among notes that at least `needed` of the witnesses have cosigned, and who. Raises NoteRefused."""
    found: tuple[Checkpoint, Mapping[str, Cosignature]] | None = None
    for note in notes:
        checkpoint, by = checkpoints.opened(note, log), verified(note, keys)
        if len(by) >= needed and (found is None or (checkpoint.size, len(by)) > (found[0].size, len(found[1]))):
            found = checkpoint, by
    return found


def standing(
    reach: Reach, fetch: Fetch, reader: LogReader, log: Verifier, keys: Sequence[WitnessKey], now_s: float
) -> Standing:
    """Size 0, by nobody, where there is no such note. Raises what reading a log raises, NoteRefused."""
    try:
        note = fetch(reach.file)
    except Absent:
        return Standing(0, {}, age_s(reader, 0, now_s))
    size = checkpoints.opened(note, log).size
    return Standing(size, verified(note, keys), age_s(reader, size, now_s))


def age_s(reader: LogReader, size: int, now_s: float) -> float | None:
    """How old the oldest entry beyond `size` is by its own time, None where there is none. Raises what reading a log raises."""
    if size >= reader.checkpoint.size:
        return None
    found = reader.bundle(size // WIDTH)[size % WIDTH]
    return max(0.0, now_s - found.entry.at_us / 1e6)

"""What stands in a log's folder when it is opened: tiles up to where a write-ahead file begins, then what that file holds, held against all
that the log has signed before."""

from pathlib import Path
from typing import NamedTuple

from foundation.ledger import checkpoints, segments
from foundation.ledger.checkpoints import CHECKPOINT, Checkpoint
from foundation.ledger.files import Files, LogDamaged
from foundation.ledger.growing import Growing, write
from foundation.ledger.merkle import EMPTY_ROOT, root_of
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.segments import Header, Seen, Segment
from foundation.ledger.tiles import MalformedTile


class Stood(NamedTuple):
    """`generation`: one that no write-ahead file has, beyond the newest that is there; 0 where there is none. So the next one stands alone:
    nothing before it counts, whatever a failed sync has left of it. `signed`: by the checkpoint that lies there."""

    growing: Growing
    seen: dict[str, Seen]
    generation: int
    signed: Checkpoint | None


def stood(folder: Path, files: Files, verifier: Verifier, known: Checkpoint | None) -> Stood:
    """Writes tiles and payloads of what write-ahead files hold anew: a killed process may have left them in memory alone. `known`: what was
    signed before, as far as somebody remembers. Raises LogDamaged before anything that is there was changed, OSError."""
    found = segments.standing(folder)
    base = found[0].header if found else Header(0, EMPTY_ROOT, 0, {})
    growing, seen = Growing(folder, files, base.first, base.payload_bytes), dict[str, Seen]()
    for segment in found:
        seen = _followed(growing, segment)
    write(growing.writes())
    signed = _kept(folder / CHECKPOINT, verifier)
    for one in (signed, known):
        if one is not None:
            _check_goes_on(growing, one)
    growing.cut()
    return Stood(growing, seen, segments.vacant(folder), signed)


def _followed(growing: Growing, segment: Segment) -> dict[str, Seen]:
    """Takes in what a write-ahead file holds; how far its sources are taken in then. Raises LogDamaged unless it goes on from what is
    here."""
    header = segment.header
    if (header.first, header.root) != (growing.size, growing.root()):
        raise LogDamaged(f"the first {header.first} entries are not those that were written")
    seen = dict(header.sources)
    for batch in segment.batches:
        if batch.first != growing.size or len(batch.entries) != len(batch.openings):
            raise LogDamaged(f"the write-ahead file goes on at {batch.first}, the log ends at {growing.size}")
        growing.take(batch.entries, batch.openings)
        seen |= batch.sources
    return seen


def _kept(path: Path, verifier: Verifier) -> Checkpoint | None:
    """What was signed last, None where nothing was. Raises LogDamaged, OSError."""
    try:
        return checkpoints.opened(path.read_bytes(), verifier)
    except FileNotFoundError:
        return None
    except NoteRefused as exc:
        raise LogDamaged(f"checkpoint: {exc}") from exc


def _check_goes_on(growing: Growing, signed: Checkpoint) -> None:
    """Raises LogDamaged unless the tree that was signed is the beginning of this one, as its tiles have it; OSError."""
    if signed.size > growing.size:
        raise LogDamaged(f"{signed.size} entries were signed for, and {growing.size} are here")
    try:
        if root_of(signed.size, growing.hashes()) != signed.root:
            raise LogDamaged(f"the first {signed.size} entries are not those that were signed for")
    except FileNotFoundError as exc:
        raise LogDamaged(f"{exc.filename} is missing") from exc
    except MalformedTile as exc:
        raise LogDamaged(str(exc)) from exc

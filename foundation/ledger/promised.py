"""What a log has signed before, held against what is in its folder now."""

from pathlib import Path

from foundation.ledger import checkpoints
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.files import LogDamaged
from foundation.ledger.growing import Growing
from foundation.ledger.merkle import root_of
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.tiles import MalformedTile


def kept_checkpoint(path: Path, verifier: Verifier) -> Checkpoint | None:
    """What was signed last, None where nothing was. Raises LogDamaged, OSError."""
    try:
        return checkpoints.opened(path.read_bytes(), verifier)
    except FileNotFoundError:
        return None
    except NoteRefused as exc:
        raise LogDamaged(f"checkpoint: {exc}") from exc


def check_goes_on(growing: Growing, signed: Checkpoint) -> None:
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

"""Both verifications of a log, as whoever holds its key and an earlier checkpoint asks for them: 0 where everything holds, else 1."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from deploy.verify import verify
from foundation.ledger import checkpoints
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.files import LogDamaged
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.reading import Absent, LogReader, of_folder
from foundation.ledger.tiles import MalformedTile

Judge: TypeAlias = Callable[[Path, Path, Path | None], int]
"""(folder, file of the key, file of the earlier checkpoint) → 0 or 1."""


def alone(folder: Path, key: Path, since: Path | None) -> int:
    """The stand-alone verifier."""
    return verify.main(["log", str(folder), "--key", str(key), *(("--since", str(since)) if since else ())])


def product(folder: Path, key: Path, since: Path | None) -> int:
    try:
        verifier = Verifier.parse(key.read_text())
        earlier = None if since is None else checkpoints.opened(since.read_bytes(), verifier)
        LogReader(of_folder(folder), verifier).verify(earlier, folder)
    except (NoteRefused, ProofRefused, LogDamaged, MalformedTile, MalformedEntry, Absent):
        return 1
    return 0

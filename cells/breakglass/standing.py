"""Does an entry stand in a checkpoint that was signed? Without a proof no certificate is signed.

`Ledger` is the port: whoever implements it says which signatures a checkpoint takes. `FolderLedger` takes the log's own, which is what
there is so far; a quorum of witnesses is another implementation.
"""

import asyncio
from pathlib import Path
from typing import Protocol

from foundation.ledger import entries
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.files import LogDamaged
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.proofs import Proof
from foundation.ledger.reading import Absent, LogReader, of_folder
from foundation.ledger.tiles import WIDTH, MalformedTile

_DAMAGED = (Absent, LogDamaged, MalformedEntry, MalformedTile, NoteRefused, OSError, ProofRefused)


class NotStanding(Exception):
    """There is no proof: the entry is not in a checkpoint that counts, or the log cannot be read."""


class Ledger(Protocol):
    async def index_of(self, event_id: str) -> int:
        """Where the newest entry of an event stands. Raises NotStanding."""
        ...

    async def standing(self, index: int) -> Proof:
        """That entry's place in a checkpoint that counts, verified. Raises NotStanding."""
        ...


class FolderLedger:
    """The cell's own log, under its own signature."""

    def __init__(self, folder: Path, verifier: Verifier) -> None:
        self._folder = folder
        self._verifier = verifier

    async def index_of(self, event_id: str) -> int:
        return await asyncio.to_thread(self._index_of, event_id)

    async def standing(self, index: int) -> Proof:
        return await asyncio.to_thread(self._standing, index)

    def _index_of(self, event_id: str) -> int:
        try:
            found = self._reader().find(event_id)
        except _DAMAGED as exc:
            raise NotStanding(f"the log cannot be read: {type(exc).__name__}") from exc
        if found is None:
            raise NotStanding("no entry of this event stands in what was signed")
        return found.index

    def _standing(self, index: int) -> Proof:
        try:
            reader = self._reader()
            if not 0 <= index < reader.checkpoint.size:
                raise NotStanding("the entry is not in what was signed last")
            found = reader.bundle(index // WIDTH)[index % WIDTH]
            proof = reader.prove(found)
            proof.verify(self._verifier)
        except _DAMAGED as exc:
            raise NotStanding(f"the log cannot be read: {type(exc).__name__}") from exc
        return proof

    def _reader(self) -> LogReader:
        return LogReader(of_folder(self._folder), self._verifier)


async def proved(ledger: Ledger, event_id: str, verifier: Verifier) -> tuple[int, int, str]:
    """Index, size and root of an event's entry, from a proof that was verified here once more. Raises NotStanding."""
    proof = await ledger.standing(await ledger.index_of(event_id))
    try:
        checkpoint = proof.verify(verifier)
        entry = entries.parse(proof.entry)
    except (MalformedEntry, NoteRefused, ProofRefused) as exc:
        raise NotStanding(f"the proof does not hold: {exc}") from exc
    if entry.event != entries.event_digest(event_id):
        raise NotStanding("the proof is of another event's entry")
    return proof.index, checkpoint.size, checkpoint.root.hex()

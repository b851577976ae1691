"""Does an entry stand in a checkpoint that was signed? Without a proof no certificate is signed.

`Ledger` is the port: whoever implements it says which signatures a checkpoint takes. `FolderLedger` takes the log's own and, where the
log's settings state a near quorum of witnesses, that quorum's cosignatures.
"""

import asyncio
from itertools import takewhile
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
from foundation.ledger.witness.gathering import Gathering
from foundation.ledger.witness.quorum import Reach

_DAMAGED = (Absent, LogDamaged, MalformedEntry, MalformedTile, NoteRefused, OSError, ProofRefused)


class NotStanding(Exception):
    """There is no proof: the entry is not in a checkpoint that counts, or the log cannot be read."""


class Ledger(Protocol):
    async def size(self) -> int:
        """Entries that stand in a checkpoint that counts. Raises NotStanding."""
        ...

    async def index_of(self, event_id: str, after: int) -> int:
        """Where the newest entry of an event stands, among those from the index `after` on. Raises NotStanding."""
        ...

    async def standing(self, index: int) -> Proof:
        """That entry's place in a checkpoint that counts, verified. Raises NotStanding."""
        ...


class FolderLedger:
    """The cell's own log, under its own signature. `cosignatures`: who gathers them; where a near quorum is stated, a checkpoint without it
    counts for nothing."""

    def __init__(self, folder: Path, verifier: Verifier, cosignatures: Gathering | None = None) -> None:
        self._folder = folder
        self._verifier = verifier
        self._near = cosignatures if cosignatures is not None and cosignatures.states(Reach.NEAR) else None

    async def size(self) -> int:
        return await asyncio.to_thread(self._size)

    async def index_of(self, event_id: str, after: int) -> int:
        return await asyncio.to_thread(self._index_of, event_id, after)

    async def standing(self, index: int) -> Proof:
        return await asyncio.to_thread(self._standing, index)

    def _size(self) -> int:
        try:
            return self._reader().checkpoint.size
        except _DAMAGED as exc:
            raise NotStanding(f"the log cannot be read: {type(exc).__name__}") from exc

    def _index_of(self, event_id: str, after: int) -> int:
        digest = entries.event_digest(event_id)
        try:
            for found in takewhile(lambda one: one.index >= after, self._reader().newest()):
                if found.entry.event == digest:
                    return found.index
        except _DAMAGED as exc:
            raise NotStanding(f"the log cannot be read: {type(exc).__name__}") from exc
        raise NotStanding("no entry of this event stands in the checkpoint that counts")

    def _standing(self, index: int) -> Proof:
        try:
            reader = self._reader()
            if not 0 <= index < reader.checkpoint.size:
                raise NotStanding("the entry is not in the checkpoint that counts")
            found = reader.bundle(index // WIDTH)[index % WIDTH]
            proof = reader.prove(found)
            proof.verify(self._verifier)
        except _DAMAGED as exc:
            raise NotStanding(f"the log cannot be read: {type(exc).__name__}") from exc
        return proof

    def _reader(self) -> LogReader:
        """As of the newest checkpoint that counts. Raises NotStanding, what `_DAMAGED` lists."""
        return LogReader(of_folder(self._folder), self._verifier, None if self._near is None else _note(self._near))


def _note(near: Gathering) -> bytes:
    found = near.cosigned(Reach.NEAR)
    if found is None:
        raise NotStanding("the near witnesses have cosigned nothing that is known of")
    return found.note


async def proved(ledger: Ledger, event_id: str, verifier: Verifier, *, after: int = 0) -> tuple[int, int, str]:
    """Index, size and root of an event's entry, from a proof that was verified here once more. Raises NotStanding."""
    proof = await ledger.standing(await ledger.index_of(event_id, after))
    try:
        checkpoint = proof.verify(verifier)
        entry = entries.parse(proof.entry)
    except (MalformedEntry, NoteRefused, ProofRefused) as exc:
        raise NotStanding(f"the proof does not hold: {exc}") from exc
    if entry.event != entries.event_digest(event_id):
        raise NotStanding("the proof is of another event's entry")
    return proof.index, checkpoint.size, checkpoint.root.hex()

"""What a witness has cosigned last, on its disk: one file a log, the checkpoint with the log's signature and the witness's own."""

import hashlib
from pathlib import Path

import msgspec

from foundation.ledger import checkpoints
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.files import Files, FolderLock, sync_path
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.witness import cosignatures
from foundation.ledger.witness.cosignatures import WitnessKey

OWNER = "witness"
"""The file that says whose folder it is."""


class HeldDamaged(Exception):
    """A file does not say what was cosigned last; the message names it."""


class Last(msgspec.Struct, frozen=True):
    """`at_s`: the time that the cosignature states."""

    checkpoint: Checkpoint
    at_s: int


class Held:
    """One folder, of one process, from its making to `close`.

    Nothing is kept in memory: what a witness may sign is what the disk says at that moment, also after a write that failed.
    """

    def __init__(self, folder: Path, key: WitnessKey) -> None:
        """Raises LogBusy where another process has the folder, HeldDamaged where it is another witness's, OSError."""
        self._folder = folder
        self._key = key
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_path(folder.parent)
        self._lock = FolderLock(folder)
        try:
            self._files = Files(folder)
            self._claim()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        self._lock.release()

    def last(self, log: Verifier) -> Last | None:
        """None where nothing of the log was cosigned yet. Raises HeldDamaged, OSError."""
        return last_in(self._folder, self._key, log)

    def keep(self, log: Verifier, note: bytes) -> None:
        """Durable once it returns, over a power cut too. Raises OSError."""
        self._files.write_durably(file_of(log.name), note)
        sync_path(self._folder)

    def keep_fork(self, log: Verifier, note: bytes) -> bool:
        """Keeps a note by which a log has contradicted what is held: the two are the proof. False for a second one. Raises OSError."""
        if fork_in(self._folder, log):
            return False
        self._files.write_durably(_fork_of(log), note)
        sync_path(self._folder)
        return True

    def _claim(self) -> None:
        owner = self._folder / OWNER
        if not owner.exists():
            self._files.write_durably(OWNER, f"{self._key.text}\n".encode())
            sync_path(self._folder)
        elif owner.read_bytes().strip() != self._key.text.encode():
            raise HeldDamaged(f"{self._folder} is the folder of another witness, or of another key: {owner} says whose")


def last_in(folder: Path, key: WitnessKey, log: Verifier) -> Last | None:
    """What the witness of a folder has cosigned last of a log, also for whoever only looks. Raises HeldDamaged, OSError."""
    path = folder / file_of(log.name)
    try:
        note = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        checkpoint = checkpoints.opened(note, log)
        own = cosignatures.verified(note, [key]).get(key.name)
    except NoteRefused as exc:
        raise HeldDamaged(f"{path}: {exc}") from exc
    if own is None:
        raise HeldDamaged(f"{path} bears no cosignature of {key.name}")
    return Last(checkpoint, own.at_s)


def fork_in(folder: Path, log: Verifier) -> bool:
    """Whether the log has contradicted what is held."""
    return (folder / _fork_of(log)).exists()


def _fork_of(log: Verifier) -> str:
    return f"fork-{file_of(log.name)}"


def file_of(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()

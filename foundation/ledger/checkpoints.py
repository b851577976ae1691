"""C2SP checkpoints (https://c2sp.org/tlog-checkpoint): what a log has signed about its tree. Pure."""

import msgspec

from foundation.ledger import encoding, notes
from foundation.ledger.merkle import HASH_BYTES
from foundation.ledger.notes import NoteRefused, Signer, Verifier

CHECKPOINT = "checkpoint"
"""The file in a log's folder that has what was signed last."""


class Checkpoint(msgspec.Struct, frozen=True):
    """`root` is the tree hash over the first `size` entries of the log `origin`."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{encoding.text_of(self.root)}\n"


def signed(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """The note. Raises ValueError where the origin is not the key's name."""
    if checkpoint.origin != signer.verifier.name:
        raise ValueError("a log signs under its own name")
    return signer.sign(checkpoint.text).encode()


def opened(note: bytes, verifier: Verifier) -> Checkpoint:
    """What the log named by the key has signed. Raises NoteRefused."""
    checkpoint = parse(notes.opened(note, verifier))
    if checkpoint.origin != verifier.name:
        raise NoteRefused(f"the checkpoint is of {checkpoint.origin}, the key of {verifier.name}")
    return checkpoint


def parse(text: str) -> Checkpoint:
    """Of a note's text. Lines after the third are extensions and say nothing here. Raises NoteRefused."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise NoteRefused("a checkpoint has an origin, a size and a root, and no empty line")
    try:
        size, root = encoding.number_of(lines[1]), encoding.bytes_of(lines[2])
    except ValueError as exc:
        raise NoteRefused(f"the checkpoint's size or root: {exc}") from exc
    if len(root) != HASH_BYTES:
        raise NoteRefused(f"a root has {HASH_BYTES} bytes")
    return Checkpoint(lines[0], size, root)

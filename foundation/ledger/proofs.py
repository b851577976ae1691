"""C2SP tlog-proof files (https://c2sp.org/tlog-proof): an entry's place in a log, to be checked by whoever knows the log's key. Pure."""

import msgspec

from foundation.ledger import checkpoints, encoding
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.merkle import HASH_BYTES, ProofRefused, leaf_hash, verify_inclusion
from foundation.ledger.notes import Verifier

HEADER = "c2sp.org/tlog-proof@v1"
PROOF_BYTES_MAX = 1 << 18
_PATH_MAX = 63


class Proof(msgspec.Struct, frozen=True):
    """`checkpoint` is the signed note as the log gave it. `entry` lies in the file's `extra` line: what it says counts once `verify`
    has returned, since it is hashed into the tree."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    entry: bytes

    def render(self) -> bytes:
        lines = [HEADER, f"extra {encoding.text_of(self.entry)}", f"index {self.index}"]
        lines += [encoding.text_of(one) for one in self.path]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

    def verify(self, verifier: Verifier) -> Checkpoint:
        """The checkpoint that has the entry. Raises ProofRefused, NoteRefused."""
        checkpoint = checkpoints.opened(self.checkpoint, verifier)
        verify_inclusion(
            leaf=leaf_hash(self.entry), index=self.index, size=checkpoint.size, path=self.path, root=checkpoint.root
        )
        return checkpoint


def parse(raw: bytes) -> Proof:
    """Raises ProofRefused: also for a file without the `extra` line, which the format allows and this log always writes."""
    head, blank, checkpoint = raw.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as exc:
        raise ProofRefused("no tlog-proof") from exc
    if len(raw) > PROOF_BYTES_MAX or not blank or len(lines) < 3 or lines[0] != HEADER:
        raise ProofRefused(f"the file does not begin with {HEADER}, extra and index, or is too long")
    extra, index, path = lines[1], lines[2], lines[3:]
    if not extra.startswith("extra ") or not index.startswith("index ") or len(path) > _PATH_MAX:
        raise ProofRefused("the proof has no entry, no index, or too many hashes")
    try:
        hashes = tuple(encoding.bytes_of(line) for line in path)
        proof = Proof(
            index=encoding.number_of(index.removeprefix("index ")),
            path=hashes,
            checkpoint=checkpoint,
            entry=encoding.bytes_of(extra.removeprefix("extra ")),
        )
    except ValueError as exc:
        raise ProofRefused(f"the proof: {exc}") from exc
    if any(len(one) != HASH_BYTES for one in hashes):
        raise ProofRefused(f"a hash has {HASH_BYTES} bytes")
    return proof

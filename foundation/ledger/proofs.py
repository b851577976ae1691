"""C2SP tlog-proof files (https://c2sp.org/tlog-proof): an entry's place in a log, to be checked by whoever knows the log's key.
For a record that stands under an entry with others: its place there, too. Pure."""

import msgspec

from foundation.ledger import checkpoints, encoding, entries
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.merkle import HASH_BYTES, ProofRefused, leaf_hash, verify_inclusion
from foundation.ledger.notes import Verifier

HEADER = "c2sp.org/tlog-proof@v1"
RECORD_HEADER = "domicile/record-proof@v1"
"""Of a record under an entry: the same lines, of the sheaf's tree, and then the tlog-proof of the entry."""
PROOF_BYTES_MAX = 1 << 18
RECORD_PROOF_BYTES_MAX = 1 << 19
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


class RecordProof(msgspec.Struct, frozen=True):
    """A record's place in a sheaf, and the sheaf's in a log. `record` is its salt and JSON, as its leaf hash is over them."""

    record: bytes
    index: int
    path: tuple[bytes, ...]
    proof: Proof

    def render(self) -> bytes:
        lines = [RECORD_HEADER, f"extra {encoding.text_of(self.record)}", f"index {self.index}"]
        lines += [encoding.text_of(one) for one in self.path]
        return "\n".join([*lines, "", ""]).encode() + self.proof.render()

    def verify(self, verifier: Verifier) -> Checkpoint:
        """The checkpoint that has the entry under which the record stands. Raises ProofRefused, NoteRefused, MalformedEntry."""
        checkpoint = self.proof.verify(verifier)
        entry = entries.parse(self.proof.entry)
        if entry.count is msgspec.UNSET or entry.root is msgspec.UNSET:
            raise ProofRefused("no records stand under this entry")
        root = bytes.fromhex(entry.root)
        verify_inclusion(leaf=leaf_hash(self.record), index=self.index, size=entry.count, path=self.path, root=root)
        return checkpoint


def parse(raw: bytes) -> Proof:
    """Raises ProofRefused: also for a file without the `extra` line, which the format allows and this log always writes."""
    entry, index, path, checkpoint = _parts(raw, HEADER, PROOF_BYTES_MAX)
    return Proof(index=index, path=path, checkpoint=checkpoint, entry=entry)


def parse_any(raw: bytes) -> Proof | RecordProof:
    """Of an entry, or of a record under one. Raises ProofRefused."""
    if not raw.startswith(f"{RECORD_HEADER}\n".encode()):
        return parse(raw)
    record, index, path, proof = _parts(raw, RECORD_HEADER, RECORD_PROOF_BYTES_MAX)
    return RecordProof(record=record, index=index, path=path, proof=parse(proof))


def _parts(raw: bytes, header: str, bytes_max: int) -> tuple[bytes, int, tuple[bytes, ...], bytes]:
    """What the `extra` line holds, the index, the hashes, and what comes after the blank line. Raises ProofRefused."""
    head, blank, rest = raw.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as exc:
        raise ProofRefused("no tlog-proof") from exc
    if len(raw) > bytes_max or not blank or len(lines) < 3 or lines[0] != header:
        raise ProofRefused(f"the file does not begin with {header}, extra and index, or is too long")
    extra, index, path = lines[1], lines[2], lines[3:]
    if not extra.startswith("extra ") or not index.startswith("index ") or len(path) > _PATH_MAX:
        raise ProofRefused("the proof has no entry, no index, or too many hashes")
    try:
        hashes = tuple(encoding.bytes_of(line) for line in path)
        number = encoding.number_of(index.removeprefix("index "))
        shown = encoding.bytes_of(extra.removeprefix("extra "))
    except ValueError as exc:
        raise ProofRefused(f"the proof: {exc}") from exc
    if any(len(one) != HASH_BYTES for one in hashes):
        raise ProofRefused(f"a hash has {HASH_BYTES} bytes")
    return shown, number, hashes, rest

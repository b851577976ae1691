"""C2SP tlog-witness (https://c2sp.org/tlog-witness): what is sent to `add-checkpoint`, and a conflict's answer. Pure."""

import msgspec

from foundation.ledger import encoding
from foundation.ledger.merkle import HASH_BYTES
from foundation.ledger.notes import NOTE_BYTES_MAX

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
HASHES_MAX = 63
BODY_BYTES_MAX = NOTE_BYTES_MAX + 64 * HASHES_MAX
_OLD = "old "


class MalformedRequest(Exception):
    """A body is no request of the protocol, or an answer none of a witness."""


class Submission(msgspec.Struct, frozen=True):
    """A signed checkpoint, and the proof that it goes on from the tree of `old` leaves, which the witness is thought to have cosigned."""

    old: int
    path: tuple[bytes, ...]
    note: bytes

    def render(self) -> bytes:
        lines = [f"{_OLD}{self.old}", *map(encoding.text_of, self.path), "", ""]
        return "\n".join(lines).encode() + self.note


def parse(body: bytes) -> Submission:
    """Raises MalformedRequest. What the note says is not looked at."""
    head, blank, note = body.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
        path = tuple(map(encoding.bytes_of, hashes))
        old = encoding.number_of(first.removeprefix(_OLD))
    except ValueError as exc:
        raise MalformedRequest(f"the old size or the proof: {exc}") from exc
    if not blank or not first.startswith(_OLD) or len(path) > HASHES_MAX:
        raise MalformedRequest(f"a request is old <size>, at most {HASHES_MAX} hashes, an empty line and a checkpoint")
    if any(len(one) != HASH_BYTES for one in path):
        raise MalformedRequest(f"a hash has {HASH_BYTES} bytes")
    return Submission(old, path, note)


def size_body(size: int) -> bytes:
    return f"{size}\n".encode()


def size_in(body: bytes) -> int:
    """Of a conflict's answer. Raises MalformedRequest."""
    try:
        text = body.decode("ascii")
        if not text.endswith("\n"):
            raise ValueError("no newline ends it")
        return encoding.number_of(text.removesuffix("\n"))
    except ValueError as exc:
        raise MalformedRequest(f"the size that is held: {exc}") from exc

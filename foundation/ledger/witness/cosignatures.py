"""C2SP tlog-cosignature (https://c2sp.org/tlog-cosignature), type Ed25519: what a witness says about a checkpoint. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from foundation.ledger import notes
from foundation.ledger.notes import Line, NoteRefused, PrivateKey, PublicKey

TIME_BYTES = 8
TIME_MAX = (1 << 63) - 1


class Cosignature(msgspec.Struct, frozen=True):
    """`witness` says: at `at_s` (seconds since 1970) this was the largest tree of the log that it had seen, and the log went on to it."""

    witness: str
    at_s: int


class WitnessKey(PublicKey):
    """A witness's public key."""

    TYPE = b"\x04"

    def cosignature(self, text: str, line: Line) -> Cosignature | None:
        """What a line of this key says about a checkpoint's text, None where it says nothing true."""
        signed = line.raw[4:]
        at_s = int.from_bytes(signed[:TIME_BYTES], "big")
        if at_s > TIME_MAX or not self.made(line) or not self.checks(message(text, at_s), signed[TIME_BYTES:]):
            return None
        return Cosignature(self.name, at_s)


class Cosigner(PrivateKey[WitnessKey]):
    """A witness's private key."""

    PUBLIC = WitnessKey

    def cosign(self, text: str, at_s: int) -> str:
        """The line for a checkpoint's text. Raises ValueError for a time that can be none."""
        if not 0 <= at_s <= TIME_MAX:
            raise ValueError("a time is at least 0 and below 2^63")
        return self.line(at_s.to_bytes(TIME_BYTES, "big") + self._key.sign(message(text, at_s)))


def message(text: str, at_s: int) -> bytes:
    """What is signed."""
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def verified(note: bytes, keys: Iterable[WitnessKey]) -> Mapping[str, Cosignature]:
    """What witnesses of these keys say in a note, by their names; lines of others say nothing. Raises NoteRefused for a line of such a key
    that is not one over this text."""
    text, lines = notes.taken_apart(note)
    found: dict[str, Cosignature] = {}
    for key in keys:
        for line in filter(key.made, lines):
            said = key.cosignature(text, line)
            if said is None:
                raise NoteRefused(f"the cosignature of {key.name} is not one over this text")
            if key.name not in found or said.at_s > found[key.name].at_s:
                found[key.name] = said
    return found


def lines_of(note: bytes, keys: Iterable[WitnessKey]) -> dict[str, Line]:
    """Those lines of a note that say something true, by the names of their witnesses. Raises NoteRefused for what is no note."""
    text, lines = notes.taken_apart(note)
    return {key.name: line for key in keys for line in lines if key.cosignature(text, line) is not None}


def with_lines(note: bytes, lines: Iterable[Line]) -> bytes:
    """The note with lines that it does not have yet. Raises NoteRefused."""
    _, there = notes.taken_apart(note)
    return note + "".join(line.text for line in lines if line not in there).encode()

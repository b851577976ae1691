"""Second-level entries as bytes: a form that says its own age and that only this region's gateways can make. Pure.

`D1:<as_of, 20 digits>:<kid>:<mac, 32 hex>:<body>`; the MAC is keyed BLAKE2b-128 (RFC 7693) over the entry's own name, length-prefixed,
then as_of, kid and body: an entry copied to another name, or made older or newer, does not hold. The fixed place and width of
as_of let a Lua script compare ages as text without knowing the key.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

import msgspec

from directory.placement.core import Placement
from foundation.mute import Secret
from foundation.words import FeedSeq, SubjectId

VERSION = b"D1:"
LEASE = b"L1:"
AS_OF_DIGITS = 20
_KID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class Entry(msgspec.Struct, frozen=True):
    """An opened entry: its number and its body."""

    as_of: FeedSeq
    body: bytes


class Seal:
    """Seals under the first key of the keyring, opens under any."""

    def __init__(self, keyring: Sequence[tuple[str, Secret[bytes]]]) -> None:
        """`keyring`: (kid, key of 16 to 64 bytes) pairs, the current one first (`foundation.settings.read_keyring`)."""
        if not keyring or any(not _KID.match(kid) or not 16 <= len(key.reveal()) <= 64 for kid, key in keyring):
            raise ValueError("a cache keyring has at least one key of 16 to 64 bytes under a plain kid")
        self._keys = {kid.encode(): key.reveal() for kid, key in keyring}
        self._current = keyring[0][0].encode()

    def seal(self, name: str, as_of: FeedSeq, body: bytes) -> bytes:
        stamp = as_of_text(as_of)
        mac = _mac(self._keys[self._current], name, stamp, self._current, body)
        return VERSION + b":".join((stamp, self._current, mac, body))

    def open(self, name: str, value: bytes) -> Entry | None:
        """None for anything that was not sealed under this name with a key of ours: foreign, damaged, of another version."""
        if not value.startswith(VERSION):
            return None
        parts = value[len(VERSION) :].split(b":", 3)
        if len(parts) != 4 or len(parts[0]) != AS_OF_DIGITS or not parts[0].isdigit():
            return None
        stamp, kid, mac, body = parts
        key = self._keys.get(kid)
        if key is None or not hmac.compare_digest(_mac(key, name, stamp, kid, body), mac):
            return None
        return Entry(FeedSeq(int(stamp)), body)


def as_of_text(as_of: FeedSeq) -> bytes:
    return b"%020d" % as_of


def _mac(key: bytes, name: str, stamp: bytes, kid: bytes, body: bytes) -> bytes:
    encoded = name.encode()
    message = b"%d:%b:%b:%d:%b:%b" % (len(encoded), encoded, stamp, len(kid), kid, body)
    return hashlib.blake2b(message, key=key, digest_size=16, person=b"domicile-cache").hexdigest().encode()


# --- bodies ------------------------------------------------------------------------------------------------------------------


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far the feed has been carried into the second level, and which generation of names holds now.

    Every entry of this generation is at least as new as `applied`; events up to `applying` may already have been carried over. All of
    it is of `history`; `mark` is that of event `applying` ("" where none was told).
    """

    generation: str
    applied: FeedSeq
    applying: FeedSeq
    history: str = ""
    mark: str = ""


_position_decoder = msgspec.json.Decoder(Position)
_placement_decoder = msgspec.json.Decoder(Placement | None)
_subject_decoder = msgspec.json.Decoder(str | None)


UNSAID = SubjectId("")
"""What a key leads to whose answer the directory alone gives: a subject that nobody is."""


def encode_body(value: Position | Placement | SubjectId | None) -> bytes:
    return msgspec.json.encode(value)


def decode_position(body: bytes) -> Position | None:
    try:
        return _position_decoder.decode(body)
    except msgspec.MsgspecError:
        return None


class Undecodable(Exception):
    """A sealed body of another shape: written by another version."""


def decode_subject(body: bytes) -> SubjectId | None:
    """The subject a key leads to; None = absent. Raises Undecodable."""
    try:
        text = _subject_decoder.decode(body)
    except msgspec.MsgspecError as exc:
        raise Undecodable from exc
    return None if text is None else SubjectId(text)


def decode_placement(body: bytes) -> Placement | None:
    """A subject's placement; None = absent. Raises Undecodable."""
    try:
        placement: Placement | None = _placement_decoder.decode(body)
        return placement
    except msgspec.MsgspecError as exc:
        raise Undecodable from exc

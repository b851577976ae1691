"""Marks: which history of the feed a position belongs to. Pure; time and chance stay outside.

A directory that is restored from an older backup has lost its last events, and then gives their numbers to others. So a number alone does
not say what its holder has seen. Each event has a nonce, and its mark is the nonce and a MAC over number and nonce, under a key that
only the directory's database holds. Histories part only where one was cut off, so two that share an event share all before it: whoever
shows the mark of its last event shows the whole history it has taken in. And a mark that is genuine, of an event that the directory
does not have, proves a loss: nobody can invent one.
"""

import base64
import binascii
import enum
import hashlib
import hmac

import msgspec

from foundation.words import FeedSeq

MARK_CHARS = 32
_NONCE_BYTES = 16
_MAC_BYTES = 8

NUMBERS_GAP = 1 << 20
"""How far a new history's numbers and epochs begin above everything that is known to have been given out."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the feed stands: events in (floor, head] can be had. `history` names what has not been interrupted by a loss."""

    history: str
    head: FeedSeq
    floor: FeedSeq
    key: bytes


class Claim(enum.Enum):
    """What a position and its mark come to."""

    FOLLOWS = "follows"
    """The events after it can be had."""
    RELOAD = "reload"
    """They cannot (pruned, or of a history that ended, or the mark is nobody's): begin anew at the head."""
    LOST = "lost"
    """The directory said this once and does not know it any more: its database is an older one, and a new history has to begin."""


def mark(key: bytes, seq: FeedSeq, nonce: bytes) -> str:
    """The mark of the event `seq` with this nonce of 16 bytes."""
    return base64.urlsafe_b64encode(nonce + _mac(key, seq, nonce)).decode()


def nonce_of(key: bytes, seq: FeedSeq, shown: str) -> bytes | None:
    """The nonce in a mark; None when this directory never made it for this number."""
    try:
        raw = base64.b64decode(shown.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    nonce, mac = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
    return nonce if hmac.compare_digest(mac, _mac(key, seq, nonce)) else None


def judge(standing: Standing, after: FeedSeq, shown: str, held: bytes | None) -> Claim:
    """What follows for somebody who stands at `after` and shows a mark, or "" where it has none.

    `held`: the nonce that stands at `after` now, None when nothing does. Total.
    """
    if not shown:
        return Claim.RELOAD if after < standing.floor else Claim.FOLLOWS
    nonce = nonce_of(standing.key, after, shown)
    if nonce is None or after < standing.floor:
        return Claim.RELOAD
    if after > standing.head or held is None or not hmac.compare_digest(nonce, held):
        return Claim.LOST
    return Claim.FOLLOWS


def begin_at(standing: Standing, claimed: FeedSeq) -> FeedSeq:
    """Where a new history begins: above everything that this directory, or somebody who took in `claimed`, has seen."""
    return FeedSeq(max(standing.head, claimed) + NUMBERS_GAP)


def _mac(key: bytes, seq: FeedSeq, nonce: bytes) -> bytes:
    message = seq.to_bytes(8, "big") + nonce
    return hashlib.blake2b(message, key=key, digest_size=_MAC_BYTES, person=b"domicile-feed").digest()

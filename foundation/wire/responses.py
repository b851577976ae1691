"""Answers on one connection to a service, each to a request that was sent: bytes in, events out, as strict as for requests.

Interim answers are passed over (RFC 9110 section 15.2), a bounded number of them; an upgrade that nobody asked for is malformed. One
that was asked for ends HTTP on the connection: `rest` is what stands behind its head.
"""

from typing import Final

from foundation.wire.chunks import Chunks
from foundation.wire.head import HEAD_BYTES_MAX, Fields, Malformed, StatusHead, bare, status_head
from foundation.wire.messages import CHUNKS, CLOSE, HEAD, LENGTH, MORE, OVER, MessageReader, Told

INTERIM_MAX = 16
LENGTH_DIGITS_MAX = 15
_TOO_LARGE: Final = Malformed("the head is too large")
_BARE: Final = Malformed("a bare CR or LF in the head")
_INTERIM: Final = Malformed("too many interim answers, or an upgrade nobody asked for")
_FRAMING: Final = Malformed("the answer's framing is ambiguous")

Event = StatusHead | bytes | Told | Malformed


class ResponseReader(MessageReader):
    """`begin` an answer, `feed` what arrives, ask for the `event`s until it tells MORE; `close` once nothing more can come."""

    __slots__ = ("_head_only", "_interims", "_upgrade", "keep")

    def __init__(self) -> None:
        super().__init__()
        self.begin(head_only=False)

    def begin(self, *, head_only: bool, upgrade: bool = False) -> None:
        """An answer is awaited; to HEAD if `head_only`, to a request for another protocol if `upgrade`."""
        self._at = HEAD
        self._head_only = head_only
        self._upgrade = upgrade
        self._looked = self._left = self._interims = 0
        self.keep = False
        """Once the answer is over: whether the service lets another request follow on this connection."""

    def event(self) -> Event:
        """The next one. Of the head only once it is final."""
        at = self._at
        if at is HEAD:
            return self._head()
        if at is LENGTH:
            return self._piece()
        if at is CHUNKS:
            return self._pieces()
        if at is CLOSE:
            piece, self._held = self._held, b""
            return piece or MORE
        return MORE

    def whole(self) -> bytes | None:
        """The body behind the head that was just given, if it has a length and all of it has arrived: then the answer is over, and no END
        is told."""
        length, held = self._left, self._held
        if self._at is not LENGTH or len(held) < length:
            return None
        self._at = OVER
        if len(held) == length:
            self._held = b""
            return held
        self._held = held[length:]
        return held[:length]

    @property
    def owed(self) -> int:
        """How much of a body of a stated length has not been fed yet, where all that was has been told; else 0."""
        return self._left if self._at is LENGTH and not self._held else 0

    def poured(self) -> None:
        """All of that was read by somebody else: the answer is over, and no END is told."""
        self._left, self._at = 0, OVER

    def rest(self) -> bytes:
        """What stands behind a 101."""
        held, self._held = self._held, b""
        return held

    def close(self) -> bool:
        """The connection has ended in good order: whether that ends an answer that was framed by it."""
        if self._at is not CLOSE:
            return False
        self._at = OVER
        return True

    def _head(self) -> Event:
        held = self._held
        end = held.find(b"\r\n\r\n", max(0, self._looked - 3)) + 4
        if end < 4 or end > HEAD_BYTES_MAX:
            if len(held) > HEAD_BYTES_MAX:
                return self._broken(_TOO_LARGE)
            if bare(held, max(0, self._looked - 1)):
                return self._broken(_BARE)
            self._looked = len(held)
            return MORE
        head = status_head(held[:end])
        if isinstance(head, Malformed):
            return self._broken(head)
        self._held = held[end:]
        if head.status == 101 and self._upgrade:
            self._at = OVER
            return head
        if head.status < 200:
            self._interims += 1
            self._looked = 0
            return self._broken(_INTERIM) if head.status == 101 or self._interims > INTERIM_MAX else self._head()
        return self._framed(head)

    def _framed(self, head: StatusHead) -> Event:
        """RFC 9112 section 6.3, but what it lets a recipient repair is refused."""
        framing = framing_of(head.fields, head.minor)
        if isinstance(framing, Malformed):
            return self._broken(framing)
        length, chunked, self.keep = framing
        if self._head_only or head.status in (204, 304):
            self._left, self._at = 0, LENGTH
        elif chunked:
            self._chunks, self._at = Chunks(), CHUNKS
        elif length is not None:
            self._left, self._at = length, LENGTH
        else:
            self._at, self.keep = CLOSE, False
        return head

    def _broken(self, why: Malformed) -> Malformed:
        self.keep = False
        return super()._broken(why)


def framing_of(fields: Fields, minor: int) -> tuple[int | None, bool, bool] | Malformed:
    """Length, whether in chunks, and whether the connection may be kept; of an answer of HTTP/1.`minor`."""
    length: int | None = None
    chunked = False
    keep = bool(minor)
    for name, value in fields:
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > LENGTH_DIGITS_MAX:
                return _FRAMING
            length = int(value)
        elif name == b"transfer-encoding":
            if chunked or not minor or value.lower() != b"chunked":
                return _FRAMING
            chunked = True
        elif name == b"connection" and b"close" in value.lower():
            keep = False
    return _FRAMING if chunked and length is not None else (length, chunked, keep)

"""Answers on one connection to a service, each to a request that was sent: bytes in, events out, as strict as for requests.

Interim answers are passed over (RFC 9110 section 15.2), a bounded number of them; an upgrade that nobody asked for is malformed.
"""

import enum

from foundation.wire.chunks import Chunks
from foundation.wire.head import HEAD_BYTES_MAX, Fields, Malformed, StatusHead, bare, status_head
from foundation.wire.requests import Told

INTERIM_MAX = 16
LENGTH_DIGITS_MAX = 15
_TOO_LARGE = Malformed("the head is too large")
_BARE = Malformed("a bare CR or LF in the head")
_INTERIM = Malformed("too many interim answers, or an upgrade nobody asked for")
_FRAMING = Malformed("the answer's framing is ambiguous")

Event = StatusHead | bytes | Told | Malformed


class _At(enum.Enum):
    HEAD = "head"
    LENGTH = "length"
    CHUNKS = "chunks"
    CLOSE = "close"
    OVER = "over"
    BROKEN = "broken"


class ResponseReader:
    """`begin` an answer, `feed` what arrives, ask for the `event`s until it tells MORE; `close` once nothing more can come."""

    __slots__ = ("_at", "_chunks", "_head_only", "_held", "_interims", "_left", "_looked", "keep")

    def __init__(self) -> None:
        self._held = b""
        self._chunks = Chunks()
        self.begin(head_only=False)

    def begin(self, *, head_only: bool) -> None:
        """An answer is awaited; to HEAD if `head_only`."""
        self._at = _At.HEAD
        self._head_only = head_only
        self._looked = self._left = self._interims = 0
        self.keep = False
        """Once the answer is over: whether the service lets another request follow on this connection."""

    @property
    def ahead(self) -> bool:
        """Whether bytes stand behind the answer, which nobody asked for."""
        return self._at is _At.OVER and bool(self._held)

    def feed(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data

    def event(self) -> Event:
        """The next one. Of the head only once it is final."""
        match self._at:
            case _At.HEAD:
                return self._head()
            case _At.LENGTH:
                return self._piece()
            case _At.CHUNKS:
                return self._pieces()
            case _At.CLOSE:
                piece, self._held = self._held, b""
                return piece or Told.MORE
            case _:
                return Told.MORE

    def close(self) -> bool:
        """The connection has ended in good order: whether that ends an answer that was framed by it."""
        if self._at is not _At.CLOSE:
            return False
        self._at = _At.OVER
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
            return Told.MORE
        head = status_head(held[:end])
        if isinstance(head, Malformed):
            return self._broken(head)
        self._held = held[end:]
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
            self._left, self._at = 0, _At.LENGTH
        elif chunked:
            self._chunks, self._at = Chunks(), _At.CHUNKS
        elif length is not None:
            self._left, self._at = length, _At.LENGTH
        else:
            self._at, self.keep = _At.CLOSE, False
        return head

    def _piece(self) -> Event:
        if not self._left:
            self._at = _At.OVER
            return Told.END
        held = self._held
        if not held:
            return Told.MORE
        if len(held) <= self._left:
            self._held = b""
            self._left -= len(held)
            return held
        piece, self._held = held[: self._left], held[self._left :]
        self._left = 0
        return piece

    def _pieces(self) -> Event:
        chunks = self._chunks
        if self._held and not chunks.over:
            pieces = chunks.take(self._held)
            self._held = b""
            if isinstance(pieces, Malformed):
                return self._broken(pieces)
            if pieces:
                return b"".join(pieces)
        if not chunks.over:
            return Told.MORE
        self._held, self._at = chunks.rest, _At.OVER
        return Told.END

    def _broken(self, why: Malformed) -> Malformed:
        self._held, self._at, self.keep = b"", _At.BROKEN, False
        return why


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

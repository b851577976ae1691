"""Requests of one connection, one after the other: bytes in, events out.

The reader stops where a request ends until `another` is called, so what a client sends ahead (pipelining) waits, and is answered in
order. Framing is stated by whoever reads the fields: `body`.
"""

import enum

from foundation.wire.chunks import Chunks
from foundation.wire.head import (
    BARE,
    HEAD_BYTES_MAX,
    LINE_BYTES_MAX,
    Malformed,
    RequestHead,
    bare,
    request_head,
    why_no_request,
)


class Told(enum.Enum):
    """What is no part of a message."""

    MORE = "more"
    """Nothing more can be said until more bytes come."""
    END = "end"
    """The request is whole."""


class _At(enum.Enum):
    HEAD = "head"
    FRAMING = "framing"
    LENGTH = "length"
    CHUNKS = "chunks"
    OVER = "over"
    BROKEN = "broken"


Event = RequestHead | bytes | Told | Malformed
"""A head, a piece of its body, `Told`, or Malformed: then nothing more is read from this connection."""


class RequestReader:
    """`feed` what arrived, then ask for the `event`s until it tells MORE."""

    __slots__ = ("_at", "_blank", "_chunks", "_held", "_left", "_looked")

    def __init__(self) -> None:
        self._held = b""
        self._chunks = Chunks()
        self.another()

    def another(self) -> None:
        """The request has been answered: the next one may be read."""
        self._at = _At.HEAD
        self._looked = 0  # how much of `_held` was looked at and holds no end of a head
        self._blank = True  # whether an empty line may still be passed over
        self._left = 0

    @property
    def in_head(self) -> bool:
        """Whether a request has begun, and its head is not whole."""
        return self._at is _At.HEAD and bool(self._held)

    @property
    def waiting(self) -> bool:
        """Whether anything has arrived that no event has told yet."""
        return bool(self._held)

    @property
    def ahead(self) -> bool:
        """Whether bytes wait that belong to a request after this one."""
        return self._at is _At.OVER and bool(self._held)

    def feed(self, data: bytes) -> None:
        if self._at is not _At.BROKEN:
            self._held = self._held + data if self._held else data

    def body(self, *, length: int | None, chunked: bool) -> bool:
        """How the body of the head that was just given is framed. False: there is none, so the request is whole, and no END is told."""
        if chunked:
            self._chunks = Chunks()
            self._at = _At.CHUNKS
        elif length:
            self._left = length
            self._at = _At.LENGTH
        else:
            self._at = _At.OVER
            return False
        return True

    def event(self) -> Event:
        """The next one."""
        at = self._at
        if at is _At.HEAD:
            return self._head()
        if at is _At.LENGTH:
            return self._piece()
        return self._pieces() if at is _At.CHUNKS else Told.MORE

    def _head(self) -> Event:
        held = self._held
        if self._blank and held[:2] == b"\r\n":
            held = self._held = held[2:]  # one empty line before a request line is passed over (RFC 9112 section 2.2)
            self._blank, self._looked = False, 0
        if not held:
            return Told.MORE
        end = held.find(b"\r\n\r\n", max(0, self._looked - 3)) + 4
        if end < 4:
            return self._unfinished(held)
        head = request_head(held[:end]) if end <= HEAD_BYTES_MAX else why_no_request(held[:end])
        if isinstance(head, Malformed):
            return self._broken(head)
        self._held = held[end:]
        self._at = _At.FRAMING
        return head

    def _unfinished(self, held: bytes) -> Event:
        if len(held) > HEAD_BYTES_MAX or held.find(b"\r\n", 0, LINE_BYTES_MAX + 2) < 0 < len(held) - LINE_BYTES_MAX:
            return self._broken(why_no_request(held))
        if bare(held, max(0, self._looked - 1)):
            return self._broken(BARE)
        self._looked = len(held)
        return Told.MORE

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
        self._held, self._at = b"", _At.BROKEN
        return why

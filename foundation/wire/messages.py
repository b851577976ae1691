"""What reading requests and reading answers have in common: where a message stands, and how its body is framed. Bytes in, pieces out."""

import enum
from typing import Final

from foundation.wire.chunks import Chunks
from foundation.wire.head import Malformed


class Told(enum.Enum):
    """What is no part of a message."""

    MORE = "more"
    """Nothing more can be said until more bytes come."""
    END = "end"
    """The message is whole."""


class At(enum.Enum):
    """Where a reader stands. FRAMING: its head was given, and nobody has said yet how its body is framed."""

    HEAD = "head"
    FRAMING = "framing"
    LENGTH = "length"
    CHUNKS = "chunks"
    CLOSE = "close"
    OVER = "over"
    BROKEN = "broken"


# A member of an enum is looked up anew each time that it is named.
MORE: Final = Told.MORE
END: Final = Told.END
HEAD: Final = At.HEAD
FRAMING: Final = At.FRAMING
LENGTH: Final = At.LENGTH
CHUNKS: Final = At.CHUNKS
CLOSE: Final = At.CLOSE
OVER: Final = At.OVER
BROKEN: Final = At.BROKEN


class MessageReader:
    """One connection's messages of one direction. `_held`: what arrived and was not told; `_looked`: how much of it ends no head."""

    __slots__ = ("_at", "_chunks", "_held", "_left", "_looked")

    def __init__(self) -> None:
        self._at = HEAD
        self._held = b""
        self._looked = 0
        self._left = 0
        self._chunks = Chunks()

    @property
    def ahead(self) -> bool:
        """Whether bytes wait behind a message that is over."""
        return self._at is OVER and bool(self._held)

    def feed(self, data: bytes) -> None:
        if self._at is not BROKEN:
            self._held = self._held + data if self._held else data

    def _piece(self) -> bytes | Told:
        """Of a body of known length."""
        if not self._left:
            self._at = OVER
            return END
        held = self._held
        if not held:
            return MORE
        if len(held) <= self._left:
            self._held = b""
            self._left -= len(held)
            return held
        piece, self._held = held[: self._left], held[self._left :]
        self._left = 0
        return piece

    def _pieces(self) -> bytes | Told | Malformed:
        """Of a body in chunks."""
        chunks = self._chunks
        if self._held and not chunks.over:
            pieces = chunks.take(self._held)
            self._held = b""
            if isinstance(pieces, Malformed):
                return self._broken(pieces)
            if pieces:
                return b"".join(pieces)
        if not chunks.over:
            return MORE
        self._held, self._at = chunks.rest, OVER
        return END

    def _broken(self, why: Malformed) -> Malformed:
        """Nothing more is read from this connection."""
        self._held, self._at = b"", BROKEN
        return why

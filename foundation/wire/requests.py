"""Requests of one connection, one after the other: bytes in, events out.

The reader stops where a request ends until `another` is called, so what a client sends ahead (pipelining) waits, and is answered in
order. Framing is stated by whoever reads the fields: `body`.
"""

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
from foundation.wire.messages import CHUNKS, FRAMING, HEAD, LENGTH, MORE, OVER, MessageReader, Told

Event = RequestHead | bytes | Told | Malformed
"""A head, a piece of its body, `Told`, or Malformed: then nothing more is read from this connection."""


class RequestReader(MessageReader):
    """`feed` what arrived, then ask for the `event`s until it tells MORE."""

    __slots__ = ("_blank",)

    def __init__(self) -> None:
        super().__init__()
        self.another()

    def another(self) -> None:
        """The request has been answered: the next one may be read."""
        self._at = HEAD
        self._looked = 0
        self._blank = True  # whether an empty line may still be passed over
        self._left = 0

    def another_now(self) -> bool:
        """The same, unless something of the next one has come, which waits."""
        if self._held:
            return False
        self._at, self._looked, self._left = HEAD, 0, 0
        self._blank = True
        return True

    def fresh(self) -> bool:
        """Whether nothing of a request has come."""
        return self._at is HEAD and not self._held

    def read_elsewhere(self) -> None:
        """What comes is held until `another`: a whole request came that was never fed, or the answers before it wait to be taken."""
        self._at = OVER

    @property
    def in_head(self) -> bool:
        """Whether a request has begun, and its head is not whole."""
        return self._at is HEAD and bool(self._held)

    @property
    def waiting(self) -> bool:
        """Whether anything has arrived that no event has told yet."""
        return bool(self._held)

    def rest(self) -> bytes:
        """What stands behind a request whose connection goes on under another protocol."""
        held, self._held = self._held, b""
        return held

    def body(self, *, length: int | None, chunked: bool) -> bool:
        """How the body of the head that was just given is framed. False: there is none, so the request is whole, and no END is told."""
        if chunked:
            self._chunks = Chunks()
            self._at = CHUNKS
        elif length:
            self._left = length
            self._at = LENGTH
        else:
            self._at = OVER
            return False
        return True

    def whole(self, bytes_max: int) -> bytes | None:
        """The body of a stated length up to `bytes_max`, if all of it has arrived: then the request is whole, and no END is told."""
        length = self._left
        if self._at is not LENGTH or length > bytes_max or len(self._held) < length:
            return None
        body, self._held = self._held[:length], self._held[length:]
        self._left, self._at = 0, OVER
        return body

    def event(self) -> Event:
        """The next one."""
        at = self._at
        if at is HEAD:
            return self._head()
        if at is LENGTH:
            return self._piece()
        return self._pieces() if at is CHUNKS else MORE

    def _head(self) -> Event:
        held = self._held
        if self._blank and held[:2] == b"\r\n":
            held = self._held = held[2:]  # one empty line before a request line is passed over (RFC 9112 section 2.2)
            self._blank, self._looked = False, 0
        if not held:
            return MORE
        end = held.find(b"\r\n\r\n", max(0, self._looked - 3)) + 4
        if end < 4:
            return self._unfinished(held)
        head = request_head(held[:end]) if end <= HEAD_BYTES_MAX else why_no_request(held[:end])
        if isinstance(head, Malformed):
            return self._broken(head)
        self._held = held[end:]
        self._at = FRAMING
        return head

    def _unfinished(self, held: bytes) -> Event:
        if len(held) > HEAD_BYTES_MAX or held.find(b"\r\n", 0, LINE_BYTES_MAX + 2) < 0 < len(held) - LINE_BYTES_MAX:
            return self._broken(why_no_request(held))
        if bare(held, max(0, self._looked - 1)):
            return self._broken(BARE)
        self._looked = len(held)
        return MORE

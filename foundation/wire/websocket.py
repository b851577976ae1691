"""Websockets on the wire (RFC 6455): the handshake's answer, where frames end, and a Close frame. Pure; what frames carry is nobody's
business here."""

import base64
import hashlib
import re

VERSION = b"13"
MASK_BYTES = 4
REASON_BYTES_MAX = 123
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_HEAD_BYTES_MAX = 14
_CLOSE = 0x8
_FINAL = 0x80
_MASKED = 0x80


def is_key(value: bytes) -> bool:
    """Whether a value of Sec-WebSocket-Key is 16 bytes in base64 (section 4.1)."""
    return _KEY.fullmatch(value) is not None


def accept_of(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a key (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def close_frame(code: int, reason: bytes, *, mask: bytes = b"") -> bytes:
    """A Close frame (section 5.5.1); from a client it has a `mask` of four bytes that nobody could foresee (section 5.3).

    Raises ValueError for a reason beyond REASON_BYTES_MAX.
    """
    payload = code.to_bytes(2, "big") + reason
    if len(reason) > REASON_BYTES_MAX or len(mask) not in (0, MASK_BYTES):
        raise ValueError("a control frame carries 125 bytes at most, and a mask has four")
    head = bytes((_FINAL | _CLOSE, (_MASKED if mask else 0) | len(payload)))
    if mask:
        payload = bytes(byte ^ mask[at % MASK_BYTES] for at, byte in enumerate(payload))
    return head + mask + payload


class Frames:
    """The frames of one direction as they go by: where each ends (section 5.2). Nothing of them is kept but part of a head."""

    __slots__ = ("_head", "_left", "_opcode", "closed")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._opcode = 0
        self.closed = False
        """A Close frame went by: nothing may follow it (section 5.5.1)."""

    @property
    def between(self) -> bool:
        """Whether what went by so far ends where a frame does."""
        return not (self._left or self._head)

    def take(self, data: bytes) -> None:
        """All of `data` goes by."""
        here = 0
        while here < len(data):
            here = self.step(data, here)

    def step(self, data: bytes, here: int) -> int:
        """What stands from `here` on goes by, up to the end of the frame under way (then `between` holds) or of `data`."""
        if not self._left:
            head = self._head + data[here : here + _HEAD_BYTES_MAX - len(self._head)]
            size = _head_bytes(head)
            if len(head) < size:
                self._head = head
                return len(data)
            here += size - len(self._head)
            self._head, self._opcode, self._left = b"", head[0] & 0x0F, _payload_bytes(head)
        end = min(here + self._left, len(data))
        self._left -= end - here
        self.closed = self.closed or (self._opcode == _CLOSE and not self._left)
        return end


def _head_bytes(head: bytes) -> int:
    """How long a head is, of which at least this much is needed to know."""
    if len(head) < 2:
        return 2
    short = head[1] & 0x7F
    return 2 + (2 if short == 126 else 8 if short == 127 else 0) + (MASK_BYTES if head[1] & _MASKED else 0)


def _payload_bytes(head: bytes) -> int:
    short = head[1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(head[2:4] if short == 126 else head[2:10], "big")

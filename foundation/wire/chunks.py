"""Bodies in chunks (RFC 9112 section 7.1), read strictly: plain hexadecimal sizes, bounded extensions, CRLF where it belongs."""

import enum
import re

from foundation.wire.head import Malformed, bare, trailers_end

SIZE_DIGITS_MAX = 15
LINE_BYTES_MAX = 512
EXTENSIONS_BYTES_MAX = 16 * 1024
"""Of one body: extensions say nothing to anybody here, and are dropped."""
TRAILERS_BYTES_MAX = 16 * 1024
_EXTENSION = rb"[ \t]*+;[\t\x20-\x7e\x80-\xff]*+"
_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d})((?:%b)?)\r\n" % (SIZE_DIGITS_MAX, _EXTENSION))
_BEGINNING = re.compile(rb"(?:[0-9A-Fa-f]{1,%d}(?:[ \t]*+|(?:%b)?\r?))?" % (SIZE_DIGITS_MAX, _EXTENSION))
_SIZE = Malformed("a chunk begins with its size in hexadecimal digits")
_EXTENSIONS = Malformed("too many chunk extensions")
_END = Malformed("a chunk ends with CRLF")
_TRAILERS = Malformed("the trailer section is too large, or malformed")


class _At(enum.Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data_end"
    TRAILERS = "trailers"
    OVER = "over"


class Chunks:
    """One body. `take` is given what arrived and gives what of it is body; trailers are read and dropped (RFC 9110 section 6.5.1)."""

    __slots__ = ("_at", "_extensions", "_left", "rest")

    def __init__(self) -> None:
        self._at = _At.SIZE
        self._left = 0
        self._extensions = 0
        self.rest = b""
        """What was not taken yet; once the body is over, what stands behind it."""

    @property
    def over(self) -> bool:
        return self._at is _At.OVER

    def take(self, data: bytes) -> list[bytes] | Malformed:
        """Pieces of the body, none of them empty. After a Malformed nothing may follow."""
        data = self.rest + data if self.rest else data
        pieces: list[bytes] = []
        here: int | Malformed | None = 0
        read_to = 0
        while isinstance(here, int):
            read_to = here
            here = self._step(data, here, pieces)
        if here is not None:
            return here
        self.rest = data[read_to:] if self._at is not _At.DATA else b""
        return pieces

    def _step(self, data: bytes, here: int, pieces: list[bytes]) -> int | Malformed | None:
        """Where to go on; None where nothing more can be read, and what stands from `here` on is kept."""
        match self._at:
            case _At.SIZE:
                return self._size(data, here)
            case _At.DATA:
                piece = data[here : here + self._left]
                if piece:
                    pieces.append(piece)
                self._left -= len(piece)
                if self._left:
                    return None
                self._at = _At.DATA_END
                return here + len(piece)
            case _At.DATA_END:
                end = data[here : here + 2]
                if end != b"\r\n"[: len(end)]:
                    return _END
                if len(end) < 2:
                    return None
                self._at = _At.SIZE
                return here + 2
            case _At.TRAILERS:
                return self._trailers(data, here)
            case _At.OVER:
                return None

    def _size(self, data: bytes, here: int) -> int | Malformed | None:
        found = _LINE.match(data, here)
        if found is None:
            line = data[here : here + LINE_BYTES_MAX + 1]
            if len(line) > LINE_BYTES_MAX:
                return _EXTENSIONS
            return None if _BEGINNING.fullmatch(line) else _SIZE
        self._extensions += len(found[2])
        if self._extensions > EXTENSIONS_BYTES_MAX or found.end() - here > LINE_BYTES_MAX:
            return _EXTENSIONS
        self._left = int(found[1], 16)
        self._at = _At.DATA if self._left else _At.TRAILERS
        return found.end()

    def _trailers(self, data: bytes, here: int) -> int | Malformed | None:
        if data.startswith(b"\r\n", here):
            end = here + 2
        elif (last := data.find(b"\r\n\r\n", here)) >= 0:
            end = last + 4
        else:
            section = data[here:]
            return _TRAILERS if len(section) > TRAILERS_BYTES_MAX or bare(section) else None
        if end - here > TRAILERS_BYTES_MAX or not trailers_end(data[here:end]):
            return _TRAILERS
        self._at = _At.OVER
        return end

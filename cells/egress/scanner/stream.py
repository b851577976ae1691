"""A text of any length, in pieces cut anywhere: windows lie at fixed offsets of the whole, so what is found depends on no cut. Pure."""

from collections.abc import Iterator

from cells.egress.scanner.core import scan_window
from cells.egress.scanner.findings import Finding, Kind, settled

STEP_BYTES = 248 << 10
"""A window reports what begins within its own step."""
AHEAD_BYTES = 8 << 10
"""What it sees beyond: the longest value that is found whole, and gzip that is opened."""
BEHIND_BYTES = 512
"""What it sees before: words that announce a value."""
HELD_BYTES_MAX = BEHIND_BYTES + STEP_BYTES + AHEAD_BYTES


class Stream:
    """`feed` pieces, then `finish`; each gives the findings that were settled by it, in order. Holds HELD_BYTES_MAX and the piece at
    most."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._origin = 0
        self._settled = 0

    @property
    def settled(self) -> int:
        """Whatever begins before this offset has been reported, also where it ends behind it."""
        return self._settled

    def feed(self, piece: bytes) -> list[Finding]:
        self._held += piece
        found: list[Finding] = []
        while self._origin + len(self._held) >= self._settled + STEP_BYTES + AHEAD_BYTES:
            found += self._step()
        return found

    def finish(self) -> list[Finding]:
        """What is left. Nothing may be fed afterwards."""
        found: list[Finding] = []
        while self._settled < self._origin + len(self._held):
            found += self._step()
        return found

    def _step(self) -> list[Finding]:
        begin = self._settled - self._origin
        window = bytes(self._held[: begin + STEP_BYTES + AHEAD_BYTES])
        found = [_moved(one, self._origin) for one in window_findings(window, begin, begin + STEP_BYTES)]
        self._settled = min(self._settled + STEP_BYTES, self._origin + len(self._held))
        drop = max(0, self._settled - BEHIND_BYTES - self._origin)
        del self._held[:drop]
        self._origin += drop
        return found


def window_findings(window: bytes, begin: int, end: int) -> list[Finding]:
    """What begins from `begin` to before `end`."""
    found = [*scan_window(window), *_not_utf8(window, begin, end)]
    return [one for one in settled(_clipped(one, begin) for one in found) if begin <= one.start < end]


def _clipped(one: Finding, begin: int) -> Finding:
    """What nobody could look into is told by every step that it reaches into. So is what was found in an encoding that is told whole, and
    that the step before did not see whole."""
    if one.start < begin < one.end and (one.kind is Kind.OPAQUE or one.end > begin + AHEAD_BYTES):
        return Finding(begin, one.end, one.kind, one.path, one.scheme)
    return one


def _not_utf8(window: bytes, begin: int, end: int) -> Iterator[Finding]:
    """The first byte of a step that is no UTF-8: patterns cannot speak about such text. A character cut by an edge belongs to the step
    before."""
    if window.isascii():
        return
    begin, end = _character_from(window, begin), _character_from(window, min(end, len(window)))
    try:
        str(memoryview(window)[begin:end], "utf-8")
    except UnicodeDecodeError as wrong:
        yield Finding(begin + wrong.start, begin + wrong.end, Kind.OPAQUE, (), "utf-8")


def _character_from(window: bytes, at: int) -> int:
    low = at
    while 0 < at < len(window) and at - low < 3 and window[at] & 0xC0 == 0x80:
        at += 1
    return at


def _moved(one: Finding, by: int) -> Finding:
    return Finding(one.start + by, one.end + by, one.kind, one.path, one.scheme) if by else one


def scan(data: bytes) -> list[Finding]:
    """All findings of a whole text, as a stream of it would give them."""
    stream = Stream()
    return stream.feed(data) + stream.finish()

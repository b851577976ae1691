"""Postgres' side of a session as a stream: rows counted and let through as they come, every other message looked at whole. Pure."""

import struct
from dataclasses import dataclass

from cells.breakglass.door.answering import Answering
from cells.breakglass.door.endings import USED_UP
from cells.breakglass.door.frames import HEADER_BYTES, Error, Malformed
from cells.breakglass.door.state import Lost

MESSAGE_BYTES_MAX = 1_048_576
"""Of a message that is no row."""
LONG_ROW_BYTES = 65_536
"""From here on a row is let through before it is whole."""
_ROW = ord("D")
_WORDS = b"EN"
_LENGTH = struct.Struct("!i")


@dataclass(slots=True)
class Budget:
    """What may still be seen. Several sessions of one grant share it."""

    rows: int
    bytes: int

    def spend(self, rows: int, size: int) -> None:
        """Raises Malformed where that is more than is left; then none of it may be shown."""
        if rows > self.rows:
            raise Malformed(Error(USED_UP, "the rows that this grant may show are used up"))
        if size > self.bytes:
            raise Malformed(Error(USED_UP, "the bytes that this grant may show are used up"))
        self.rows -= rows
        self.bytes -= size


class Answers:
    """One session's."""

    def __init__(self, answering: Answering, budget: Budget) -> None:
        self._answering = answering
        self._budget = budget
        self._kept = b""
        self._rest = 0

    @property
    def between(self) -> bool:
        """Whether what was let through so far ends with a message."""
        return self._rest == 0

    def feed(self, data: bytes, out: list[bytes]) -> None:
        """Appends to `out` what the client gets. Raises Lost, Malformed; what was appended before is still the client's."""
        if self._rest:
            through = data[: self._rest]
            out.append(through)
            self._rest -= len(through)
            data = data[len(through) :]
        if self._kept:
            data, self._kept = self._kept + data, b""
        start = at = 0
        try:
            while len(data) - at >= HEADER_BYTES:
                if data[at] == _ROW:
                    begun, at = at, self._rows(data, at)
                    if at == begun:
                        break
                    continue
                end = at + 1 + self._size(data, at)
                if end > len(data):
                    break
                if data[at] in _WORDS:  # what Postgres says may hold what it would show
                    self._budget.spend(0, end - at)
                    self._answering.said(end - at)
                answer = self._answering.answered(data[at : at + 1], data[at + HEADER_BYTES : end])
                if answer is not None:
                    out += (data[start:at], answer)
                    start = end
                at = end
        finally:
            whole = min(at, len(data))
            out.append(data[start:whole])
        self._rest = at - whole
        self._kept = data[whole:]

    def _rows(self, data: bytes, at: int) -> int:
        """Where the whole rows that begin at `at` end; beyond the data for a long row that is let through as it comes."""
        begun, count, most, length = at, 0, self._budget.rows + 1, _LENGTH.unpack_from
        limit = len(data) - HEADER_BYTES
        while at <= limit and data[at] == _ROW and count < most:
            end = at + 1 + length(data, at + 1)[0]
            if end <= at + 4:
                raise Lost("a row that is shorter than its own length")
            if end > len(data) and end - at < LONG_ROW_BYTES:
                break
            at = end
            count += 1
        if count:
            self._budget.spend(count, at - begun)
            self._answering.rows(count, at - begun)
        return at

    def _size(self, data: bytes, at: int) -> int:
        """Of a message that is no row, its own length included. Raises Lost."""
        size = int(_LENGTH.unpack_from(data, at + 1)[0])
        if not 4 <= size <= MESSAGE_BYTES_MAX:
            raise Lost("an answer of a length that none has")
        return size

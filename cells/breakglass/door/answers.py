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
_WORDS = b"ENS"
"""Errors, notices, and settings as they are told when they change: an engineer may put what was shown into any of them."""
_LENGTH = struct.Struct("!i")
_HEAD = struct.Struct("!Bi")
ALIKE_MIN = 16
"""Fewer rows are looked at one by one."""


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
            if self._rest:
                return  # a long row goes on with what comes next
            data = data[len(through) :]
        if self._kept:
            data, self._kept = self._kept + data, b""
        start, at, held, answered = 0, 0, len(data), self._answering.answered
        try:
            while held - at >= HEADER_BYTES:
                kind, size = _HEAD.unpack_from(data, at)
                if kind == _ROW:
                    begun, at = at, self._rows(data, at, size)
                    if at == begun:
                        break
                    continue
                if not 4 <= size <= MESSAGE_BYTES_MAX:
                    raise Lost("an answer of a length that none has")
                end = at + 1 + size
                if end > held:
                    break
                if kind in _WORDS:
                    self._budget.spend(0, end - at)
                    self._answering.said(end - at)
                answer = answered(data[at : at + 1], data[at + HEADER_BYTES : end])
                if answer is not None:
                    out += (data[start:at], answer)
                    start = end
                at = end
        finally:
            whole = min(at, held)
            out.append(data[start:whole])
        self._rest = at - whole
        self._kept = data[whole:]

    def _rows(self, data: bytes, at: int, length: int) -> int:
        """Where the whole rows that begin at `at` end; beyond the data for a long row that is let through as it comes. `length`: what the
        first of them says of itself. Raises Lost, Malformed."""
        begun, most, count = at, self._budget.rows + 1, 0
        window, found = ALIKE_MIN, ALIKE_MIN if len(data) - at > ALIKE_MIN * length else 0
        while found == window:
            window *= 4
            found, size = _alike(data, at, min(window, most - count))
            at += found * size
            count += found
        found, at = _one_by_one(data, at, most - count)
        count += found
        if count:
            self._budget.spend(count, at - begun)
            self._answering.rows(count, at - begun)
        return at


def _alike(data: bytes, at: int, most: int) -> tuple[int, int]:
    """How many whole rows of one size follow one another from `at` on, at most so many, and that size; 0 where too few are there.
    Each begins where the one before ends, so kind and length have to stand there again."""
    if len(data) - at < HEADER_BYTES:
        return 0, 0
    kind, length = _HEAD.unpack_from(data, at)
    size = 1 + length
    if kind != _ROW or size < HEADER_BYTES or (count := min((len(data) - at) // size, most)) < ALIKE_MIN:
        return 0, 0
    for place in range(at, at + HEADER_BYTES):
        there = data[place : at + count * size : size]
        if there != there[:1] * count:
            count = len(there) - len(there.lstrip(there[:1]))
    return count, size


def _one_by_one(data: bytes, at: int, most: int) -> tuple[int, int]:
    """How many rows, whole or let through before, follow one another from `at` on, at most so many, and where they end. Raises Lost."""
    held, head = len(data), _HEAD.unpack_from
    index, kind, length, end = 0, 0, 0, at
    try:
        for index in range(most):  # noqa: B007 - told when it ends early
            kind, length = head(data, at)
            end = at + 1 + length
            if kind != _ROW or length < _LENGTH.size or end > held:
                break
            at = end
        else:
            return most, at
    except struct.error:  # less than a head is left
        return index, at
    if kind == _ROW and length < _LENGTH.size:
        raise Lost("a row that is shorter than its own length")
    if kind == _ROW and end - at >= LONG_ROW_BYTES:
        return index + 1, end
    return index, at

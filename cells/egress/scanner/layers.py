"""A text that was decoded out of another, and how its offsets lead back. Pure."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

COPIED = (1, 1)
WHOLE = (0, 0)
"""Ratio of a piece whose bytes cannot be told apart in what they came from."""


Piece: TypeAlias = tuple[bytes, tuple[int, int], str, tuple[int, int]]
"""A text, the span that it came from, the decoding's name (none for what was copied), how many of its bytes stand for how many there."""


Source: TypeAlias = tuple[tuple[int, int], str, tuple[int, int]]
"""A piece without its text."""


Pieces: TypeAlias = tuple[Sequence[bytes], Sequence[Source]]
"""Text and source of each of some pieces that have a text or a name each, in order."""


def copied(data: bytes, start: int, end: int) -> Piece:
    return data[start:end], (start, end), "", COPIED


def line_break(at: int) -> Piece:
    """Between pieces that do not belong together."""
    return b"\n", (at, at), "", WHOLE


class Layer:
    """Pieces, each copied or decoded from a span of the text above. `parent` is None where that is the original."""

    def __init__(self, parent: "Layer | None") -> None:
        self._parent = parent
        self.depth: int = 1 if parent is None else parent.depth + 1
        self._texts: list[bytes] = []
        self._starts: list[int] = []
        self._sources: list[Source] = []
        self._later: Callable[[], Pieces] | None = None
        self.size = 0

    def put(self, *pieces: Piece) -> None:
        """Adds pieces, in order."""
        size = self.size
        texts, starts, sources = self._texts.append, self._starts.append, self._sources.append
        for text, span, name, ratio in pieces:
            if text or name:
                texts(text)
                starts(size)
                sources((span, name, ratio))
                size += len(text)
        self.size = size

    def put_later(self, text: bytes, pieces: Callable[[], Pieces]) -> None:
        """What a layer begins with. Its pieces, which together are the text, are asked for when something is found in the layer: mostly
        nothing is."""
        self._texts.append(text)
        self._later = pieces
        self.size = len(text)

    def text(self) -> bytes:
        """All pieces, once: they are forgotten."""
        whole, self._texts = b"".join(self._texts), []
        return whole

    def came_from(self, at: int) -> int:
        """Where an offset of the text above stands in the original."""
        return at if self._parent is None else self._parent.original(at, at + 1)[0]

    def original(self, start: int, end: int) -> tuple[int, int, tuple[str, ...]]:
        """Where a span of this text stands in the original, as narrow as can be told (of several pieces: from the first of them there to
        the last), and the decodings that led here, the outermost first."""
        start, end, names = self._above(start, end)
        path = ("+".join(sorted(names)),) if names else ()
        if self._parent is None:
            return start, end, path
        start, end, outer = self._parent.original(start, end)
        return start, end, outer + path

    def _above(self, start: int, end: int) -> tuple[int, int, set[str]]:
        if self._later is not None:
            self._asked(self._later)
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, max(start, end - 1)) - 1
        touched = range(max(0, first - (start == self._starts[first])), min(len(self._starts), last + 2))
        names = {self._sources[at][1] for at in touched}
        begin, finish = self._begin(first, start), self._finish(last, end)
        if first < last:  # pieces need not stand in the order in which they came
            begin = min(begin, *(came for (came, _), _, _ in self._sources[first + 1 : last + 1]))
            finish = max(finish, *(until for (_, until), _, _ in self._sources[first:last]))
        return begin, finish, names - {""}

    def _asked(self, later: Callable[[], Pieces]) -> None:
        texts, sources = later()
        self._starts[:0] = itertools.islice(itertools.accumulate(map(len, texts), initial=0), len(texts))
        self._sources[:0] = sources
        self._later = None

    def _begin(self, piece: int, at: int) -> int:
        (came, _), _, (out, into) = self._sources[piece]
        return came if out == 0 else came + (at - self._starts[piece]) // out * into

    def _finish(self, piece: int, at: int) -> int:
        (came, until), _, (out, into) = self._sources[piece]
        return until if out == 0 else min(until, came - (self._starts[piece] - at) // out * into)

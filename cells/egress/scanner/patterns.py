"""RE2's patterns and sets over bytes: spans are asked of what the package is built on. Its own `search` takes three times as long for a
short text, most of it to look up its own constants. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import re2

Span: TypeAlias = tuple[int, int]
NOWHERE: Span = (-1, -1)
_UNANCHORED, _AT_START = re2._Anchor.UNANCHORED, re2._Anchor.ANCHOR_START  # noqa: SLF001


def options(memory_bytes: int) -> Any:
    """A bound on the states that are kept."""
    made = re2.Options()
    made.max_mem = memory_bytes
    return made


def of_bytes() -> Any:
    """For a pattern of bytes, not of UTF-8."""
    made = re2.Options()
    made.encoding = re2.Options.Encoding.LATIN1
    return made


class Pattern:
    """One that matches no empty text. What stands around a searched part is seen by its edges (`\\b`, `^`)."""

    def __init__(self, pattern: str | bytes, opts: Any = None) -> None:
        """Raises re2.error where it is none."""
        self._match = re2.compile(pattern, opts)._regexp.Match  # noqa: SLF001

    def first(self, data: bytes, low: int = 0, high: int | None = None) -> Span:
        """The leftmost match between two offsets, NOWHERE without one."""
        end = len(data) if high is None else min(high, len(data))
        span: Span = self._match(_UNANCHORED, data, low, end)[0] if low < end else NOWHERE
        return span

    def all(self, data: bytes, low: int = 0, high: int | None = None) -> Iterator[Span]:
        """One after the other, none of which overlap."""
        end = len(data) if high is None else min(high, len(data))
        while low < end:
            start, low = self._match(_UNANCHORED, data, low, end)[0]
            if start < 0:
                return
            yield start, low

    def end_at(self, data: bytes, start: int, high: int | None = None) -> int:
        """Where the match ends that begins at an offset, -1 without one."""
        end = len(data) if high is None else min(high, len(data))
        stop: int = self._match(_AT_START, data, start, end)[0][1] if start < end else -1
        return stop


def search_set(patterns: Iterable[str], memory_bytes: int) -> Any:
    """Its `Match` says in one pass which of them occur; it knows no positions."""
    made = re2.Set.SearchSet(options(memory_bytes))
    for pattern in patterns:
        made.Add(pattern)
    made.Compile()
    return made

"""Strings instead of bytes: spans count characters; many short ones are scanned in one pass. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from cells.egress.scanner.findings import Finding, Kind
from cells.egress.scanner.stream import scan

BETWEEN = "\n\n"
"""Between two strings of a pass: no pattern and no encoding reaches over an empty line."""
PASS_CHARACTERS_MAX = 48 << 10
"""So that a pass lies in one window, whatever its characters."""
_CONTINUING = bytes(range(0x80, 0xC0))


def scan_text(text: str) -> list[Finding]:
    """All findings in a string; `start` and `end` count its characters. A lone surrogate is no text, and so counts as found."""
    if text.isascii():
        return scan(text.encode("ascii"))
    data = text.encode("utf-8", "surrogatepass")
    return _in_characters(scan(data), data)


def scan_each(texts: Sequence[str], name: str = "") -> list[list[Finding]]:
    """What `scan_text` finds in each, in their order. `name` is that of the column or field they are of: what stands in one called `phone`
    needs no word of its own."""
    before = f"{name}: " if name else ""
    found: list[list[Finding]] = []
    at = 0
    while at < len(texts):
        until, size = at, 0
        while until < len(texts) and (until == at or size + len(texts[until]) <= PASS_CHARACTERS_MAX):
            size += len(before) + len(texts[until]) + len(BETWEEN)
            until += 1
        found += _pass([before + text for text in texts[at:until]])
        at = until
    return [_without(len(before), each) for each in found] if before else found


def _without(size: int, found: list[Finding]) -> list[Finding]:
    """The findings as if what was put in front were not there."""
    return [
        Finding(max(0, one.start - size), one.end - size, one.kind, one.path, one.scheme)
        for one in found
        if one.end > size
    ]


def _pass(texts: Sequence[str]) -> list[list[Finding]]:
    """Each by itself where one of them may be opaque: how far that reaches is known of a whole pass only."""
    together = scan_text(BETWEEN.join(texts))
    if any(one.kind is Kind.OPAQUE for one in together):
        return [scan_text(text) for text in texts]
    return _shared(together, texts)


def _shared(together: Iterable[Finding], texts: Sequence[str]) -> list[list[Finding]]:
    starts, at = [], 0
    for text in texts:
        starts.append(at)
        at += len(text) + len(BETWEEN)
    found: list[list[Finding]] = [[] for _ in texts]
    for one in together:
        whose = bisect_right(starts, one.start) - 1
        begin = starts[whose]
        found[whose].append(Finding(one.start - begin, one.end - begin, one.kind, one.path, one.scheme))
    return found


def _in_characters(found: list[Finding], data: bytes) -> list[Finding]:
    """Offsets of UTF-8 as numbers of characters: of bytes that begin one."""
    at, last = {0: 0}, 0
    for offset in sorted({edge for one in found for edge in (one.start, one.end)}):
        at[offset] = at[last] + len(data[last:offset].translate(None, _CONTINUING))
        last = offset
    return [Finding(at[one.start], at[one.end], one.kind, one.path, one.scheme) for one in found]

"""Small questions about the bytes around a place that the confirming functions share. Pure."""

import re

_BEFORE = re.compile(rb"([0-9A-Za-z]+)[-.]\Z")
_AFTER = re.compile(rb"[-.]([0-9A-Za-z]+)")
_HEX = re.compile(rb"[0-9A-Fa-f]*[0-9][0-9A-Fa-f]*\Z")
_NOT_ALNUM = re.compile(rb"[^0-9A-Za-z]+")
REACH = 40


EDGE = r"(?:^|[^0-9A-Za-z.]|[A-Za-z]\.)"
"""In front of a number: no letter or digit, and a dot only after a letter (`no.4111`): after a digit it begins a fraction. It is part of
the match."""
_DIGIT = re.compile(rb"[0-9]")


def first_digit(data: bytes, start: int, end: int) -> int:
    """Where the number of a match begins, or what follows the words that announce it. There is one."""
    found = _DIGIT.search(data, start, end)
    return end if found is None else found.start()


def bare(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The span without the underscores that a pattern took for its edges."""
    while start < end and data[start] == 0x5F:
        start += 1
    while end > start and data[end - 1] == 0x5F:
        end -= 1
    return start, end


def in_longer_token(data: bytes, start: int, end: int) -> bool:
    """Whether a dash or dot ties the span to more digits or hex: a part of a UUID, a version, a fraction."""
    before = _BEFORE.search(data, max(0, start - REACH), start)
    after = _AFTER.match(data, end, end + REACH)
    return any(tie is not None and _HEX.match(tie.group(1)) is not None for tie in (before, after))


def compact(raw: bytes) -> str:
    """Letters and digits alone, upper case."""
    return _NOT_ALNUM.sub(b"", raw).decode("ascii", "replace").upper()

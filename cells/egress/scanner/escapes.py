"""What one escape stands for: percent, JSON and other backslashes, HTML entities, compatibility and invisible characters. Pure."""

import functools
import html
import itertools
import unicodedata
from binascii import unhexlify
from typing import TypeAlias

from cells.egress.scanner.layers import WHOLE

_DASHES = "\u2010\u2011\u2012\u2013\u2212"
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
_VARIATIONS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_LAST_PLANE_OF_LETTERS = 0x20000
REMEMBERED, REMEMBERED_BYTES = 4096, 24
"""Escapes of which it is remembered what they stand for, and how long these are at most: most texts have few, again and again."""
Undone: TypeAlias = tuple[bytes, str, tuple[int, int]]
"""What an escape stands for, the decoding's name, how many of its bytes stand for how many there."""
_SHORT = {
    ord("n"): b"\n",
    ord("r"): b"\r",
    ord("t"): b"\t",
    ord("b"): b" ",
    ord("f"): b" ",
    ord("v"): b" ",
    ord("0"): b"",
}


@functools.cache
def characters() -> dict[int, str]:
    """Characters that stand for an ASCII one (full-width, mathematical, digits of any script, spaces, dashes) or for nothing to be seen."""
    found: dict[int, str] = {}
    for point in itertools.chain(range(0x80, _LAST_PLANE_OF_LETTERS), range(0xE0000, 0xE0080)):
        sign = chr(point)
        category = unicodedata.category(sign)
        if category == "Cf":
            found[point] = ""
        elif category == "Nd":
            found[point] = str(unicodedata.decimal(sign))
        elif category not in ("Cn", "Cs", "Co"):
            plain = unicodedata.normalize("NFKC", sign)
            if len(plain) == 1 and plain.isascii():
                found[point] = plain
    found |= (
        {ord(sign): "-" for sign in _DASHES} | {ord(sign): "" for sign in _INVISIBLE} | dict.fromkeys(_VARIATIONS, "")
    )
    return found


def of(raw: bytes) -> Undone:
    """One run of an escape, undone."""
    match (raw[:1], raw[1:2]):
        case b"%", _:
            return unhexlify(raw.replace(b"%", b"")), "percent", (1, 3)
        case b"\\", b"u":
            return _utf16(raw), "json", WHOLE
        case b"\\", b"x":
            return unhexlify(raw.replace(b"\\x", b"")), "json", (1, 4)
        case b"\\", b"\\":
            return raw[: len(raw) // 2], "json", WHOLE
        case b"\\", sign:
            return _SHORT.get(sign[0], sign), "json", WHOLE
        case b"&", _:
            return html.unescape(raw.decode("ascii")).encode("utf-8", "replace"), "entity", WHOLE
        case _:
            plain = b"" if raw[0] < 0x80 else raw.decode().translate(characters()).encode()
            return plain, "unicode" if plain else "invisible", WHOLE


def _utf16(raw: bytes) -> bytes:
    """JSON's escapes are UTF-16, so surrogates come in pairs."""
    return unhexlify(raw.replace(b"\\u", b"")).decode("utf-16-be", "replace").encode()


class Escapes(dict[bytes, Undone]):
    """Short escapes are remembered: most texts have few, again and again."""

    def __missing__(self, raw: bytes) -> Undone:
        undone = of(raw)
        if len(raw) <= REMEMBERED_BYTES:
            if len(self) >= REMEMBERED:
                self.clear()
            self[raw] = undone
        return undone


UNDONE = Escapes()

"""Escapes undone where they stand: percent, JSON and other backslashes, HTML entities, compatibility and invisible characters. Pure."""

import functools
import html
import itertools
import re
import unicodedata
from binascii import unhexlify
from collections.abc import Sequence
from html.entities import html5
from typing import Any, TypeAlias

import re2

from cells.egress.scanner.layers import COPIED, WHOLE, Layer

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


def _class(points: list[int]) -> str:
    """The points as ranges of a character class."""
    ranges: list[list[int]] = []
    for point in sorted(points):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in ranges)


def _telling() -> str:
    """Names of entities that stand for one ASCII character or for nothing to be seen, other than the five of XML."""
    names = {
        name.rstrip(";")
        for name, sign in html5.items()
        if len(sign) == 1 and (sign.isascii() or ord(sign) in characters())
    }
    return "|".join(sorted(names - {"amp", "AMP", "lt", "LT", "gt", "GT", "quot", "QUOT", "apos"}))


@functools.cache
def trigger() -> str:
    """What hides a value: an escape of a character that values are made of, or that glues a letter to it. `\\"` and `&quot;` hide nothing;
    they are undone with the others of their line."""
    return (
        r"%[0-9A-Fa-f]{2}|\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrtbfv0][0-9A-Za-z+(]|/)"
        rf"|&(?:#|{_telling()}|amp;(?:amp;)*(?:#|[a-zA-Z]{{2,9}};))|\x1b\[[0-9;]{{0,16}}[A-Za-z]"
        rf"|[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f{_class(list(characters()))}]"
    )


_ESCAPE = (
    r"(?:%[0-9A-Fa-f]{2})+|(?:\\u[0-9A-Fa-f]{4})+|(?:\\x[0-9A-Fa-f]{2})+|(?:\\\\)+|\\[nrtbfv0\"'/]"
    r"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|\x1b\[[0-9;]{0,16}[A-Za-z]"
    r"|[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]+"
)
"""One run of an escape of any form in ASCII."""
_ASCII = re.compile(
    rb"([%\\&\x00-\x08\x0e-\x1f\x7f](?:(?<=%)[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*"
    rb"|(?<=\\)(?:u[0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})*|x[0-9A-Fa-f]{2}(?:\\x[0-9A-Fa-f]{2})*|\\(?:\\\\)*|[nrtbfv0\"'/])"
    rb"|(?<=&)(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|(?<=\x1b)\[[0-9;]{0,16}[A-Za-z]"
    rb"|(?<=[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f])[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]*))"
)
"""`_ESCAPE` for a line in ASCII, written so that what is passed over is passed by one set of bytes."""


@functools.cache
def _finders() -> tuple[Any, Any]:
    """A whole line with a trigger in it, and each run of an escape or of `characters` in such a line."""
    return re2.compile(rf"[^\n]*(?:{trigger()})[^\n]*"), re2.compile(rf"{_ESCAPE}|[{_class(list(characters()))}]+")


def _parts(line: bytes) -> list[bytes]:
    """Text and escapes by turns, text first and last; together they are the line."""
    if line.isascii():
        return _ASCII.split(line)
    parts: list[bytes] = []
    at = 0
    for found in _finders()[1].finditer(line):
        start, end = found.span()
        parts += (line[at:start], line[start:end])
        at = end
    return [*parts, line[at:]]


def unescape(data: bytes, layer: Layer) -> None:
    """Puts every line that an escape changes into the layer, with each undone once. What looks like an entity and is none changes
    nothing."""
    for line in _finders()[0].finditer(data):
        start, end = line.span()
        parts = _parts(data[start:end])
        undone = [_of_few(part) if len(part) <= REMEMBERED_BYTES else _of(part) for part in parts[1::2]]
        if any(name != "entity" or plain != part for (plain, name, _), part in zip(undone, parts[1::2], strict=True)):
            _put(layer, start, parts, undone)


def _put(layer: Layer, start: int, parts: Sequence[bytes], undone: Sequence[Undone]) -> None:
    """The line that begins there: its text as it is, its escapes undone."""
    texts, sources, at = [b"\n"], [((start, start), "", WHOLE)], start
    for number, part in enumerate(parts):
        end = at + len(part)
        if number % 2:
            plain, name, ratio = undone[number // 2]
            texts.append(plain)
            sources.append(((at, end), name, ratio))
        elif part:
            texts.append(part)
            sources.append(((at, end), "", COPIED))
        at = end
    layer.put_all(texts, sources)


def _of(raw: bytes) -> Undone:
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


_of_few = functools.lru_cache(REMEMBERED)(_of)


def _utf16(raw: bytes) -> bytes:
    """JSON's escapes are UTF-16, so surrogates come in pairs."""
    return unhexlify(raw.replace(b"\\u", b"")).decode("utf-16-be", "replace").encode()

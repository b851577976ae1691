"""Escapes undone where they stand: percent, JSON and other backslashes, HTML entities, compatibility and invisible characters. Pure."""

import functools
import html
import itertools
import re
import unicodedata
from binascii import unhexlify
from collections.abc import Iterator, Sequence
from html.entities import html5
from typing import Any, TypeAlias

import re2

from cells.egress.scanner.layers import COPIED, WHOLE, Layer, Pieces, Source

_DASHES = "\u2010\u2011\u2012\u2013\u2212"
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
_VARIATIONS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_LAST_PLANE_OF_LETTERS = 0x20000
REMEMBERED, REMEMBERED_BYTES = 4096, 24
"""Escapes of which it is remembered what they stand for, and how long these are at most: most texts have few, again and again."""
BLOCK_BYTES = 8 << 10
"""Whole lines of so many bytes at least are looked at together."""
_CONTROLS = bytes((*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F))
Line: TypeAlias = tuple[int, int, bytes | None]
"""Where a line begins and ends, and what it becomes; None: that is not made yet."""
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


@functools.cache
def _signs() -> tuple[tuple[bytes, re.Pattern[bytes]], ...]:
    """What `trigger` is in ASCII without control characters, by the sign that it begins with: all else is passed over by that sign alone.
    Entities last: what looks like one may be none."""
    entity = rf"&(?:#|{_telling()}|amp;(?:amp;)*(?:#|[a-zA-Z]{{2,9}};))"
    return (
        (b"%", re.compile(rb"%[0-9A-Fa-f]{2}")),
        (b"\\", re.compile(rb"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrtbfv0][0-9A-Za-z+(]|/)")),
        (b"\x1b", re.compile(rb"\x1b\[[0-9;]{0,16}[A-Za-z]")),
        (b"&", re.compile(entity.encode())),
    )


def _lines(data: bytes) -> Iterator[Line]:
    """Every line that an escape changes and in which one could hide a value; blocks of whole lines, each in the quickest way."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at + BLOCK_BYTES) + 1 or len(data)
        block = data[at:end]
        if block.isascii() and len(block.translate(None, _CONTROLS)) == len(block):
            yield from _by_signs(block, at)
        else:
            for line in _finders()[0].finditer(data, at, end):
                text, changed = _undone(line.group())
                if changed:
                    yield (*line.span(), text)
        at = end


def _by_signs(block: bytes, at: int) -> list[Line]:
    """Those of a block that begins there."""
    found: dict[int, Line] = {}
    for sign, form in _signs():
        low = 0 if sign in block else len(block)
        while (hit := form.search(block, low)) is not None:
            start = block.rfind(b"\n", 0, hit.start()) + 1
            low = block.find(b"\n", hit.end())
            low = len(block) if low < 0 else low
            if sign != b"&" or (start not in found and _undone(block[start:low])[1]):
                found[start] = (at + start, at + low, None)
    return [line for _, line in sorted(found.items())]


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
    lines = list(_lines(data))
    if not lines:
        return
    texts: list[bytes] = []
    for together, run in itertools.groupby(lines, key=lambda line: line[2] is None):
        if together:
            texts.append(_undone(b"\n".join([data[start:end] for start, end, _ in run]))[0])
        else:
            texts += [text for _, _, text in run if text is not None]
    layer.put_later(b"\n" + b"\n".join(texts), lambda: _pieces(data, lines))


def _undone(text: bytes) -> tuple[bytes, bool]:
    """With its escapes undone, and whether any of them stands for anything else."""
    parts = _parts(text)
    escapes = parts[1::2]
    plain = parts[1::2] = list(map(_PLAIN.__getitem__, escapes))
    return b"".join(parts), plain != escapes


def _pieces(data: bytes, lines: Sequence[Line]) -> Pieces:
    """The lines' text as it is, their escapes undone."""
    texts: list[bytes] = []
    sources: list[Source] = []
    for start, until, _ in lines:
        texts.append(b"\n")
        sources.append(((start, start), "", WHOLE))
        at = start
        for number, part in enumerate(_parts(data[start:until])):
            end = at + len(part)
            if number % 2:
                plain, name, ratio = _of(part)
                texts.append(plain)
                sources.append(((at, end), name, ratio))
            elif part:
                texts.append(part)
                sources.append(((at, end), "", COPIED))
            at = end
    return texts, sources


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


def _utf16(raw: bytes) -> bytes:
    """JSON's escapes are UTF-16, so surrogates come in pairs."""
    return unhexlify(raw.replace(b"\\u", b"")).decode("utf-16-be", "replace").encode()


class _Plain(dict[bytes, bytes]):
    """What escapes stand for. Short ones are remembered: most texts have few, again and again."""

    def __missing__(self, raw: bytes) -> bytes:
        plain = _of(raw)[0]
        if len(raw) <= REMEMBERED_BYTES:
            if len(self) >= REMEMBERED:
                self.clear()
            self[raw] = plain
        return plain


_PLAIN = _Plain()

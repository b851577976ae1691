"""Escapes undone where they stand, in the lines in which one could hide a value. Pure."""

import functools
import itertools
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from html.entities import html5
from typing import Any, TypeAlias

import re2

from cells.egress.scanner.escapes import UNDONE, Undone, characters
from cells.egress.scanner.layers import COPIED, WHOLE, Layer, Pieces, Source

BLOCK_BYTES = 8 << 10
"""Whole lines of so many bytes at least are looked at together."""
_CONTROLS = bytes((*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F))
SIGN_BYTES_MIN, ENTITY_BYTES_MIN = 16, 64
"""To so many bytes of a block one sign that begins an escape: where there are more, one expression takes less time than one for each."""
Line: TypeAlias = tuple[int, int, tuple[bytes, list[bytes]] | None]
"""Where a line begins and ends; what it becomes and its parts, None where these are not made yet."""


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
        if _is_plain(block):
            yield from _by_signs(block, at)
        else:
            for line in _finders()[0].finditer(data, at, end):
                text, parts, changed = _undone(line.group())
                if changed:
                    yield (*line.span(), (text, parts))
        at = end


def _is_plain(block: bytes) -> bool:
    """ASCII with few signs and no control characters."""
    if not block.isascii():
        return False
    few = (block.count(b"%") + block.count(b"\\")) * SIGN_BYTES_MIN + block.count(b"&") * ENTITY_BYTES_MIN
    return few <= len(block) == len(block.translate(None, _CONTROLS))


def _by_signs(block: bytes, at: int) -> list[Line]:
    """Those of a block that begins there."""
    found: dict[int, Line] = {}
    for sign, form in _signs():
        low = 0 if sign in block else len(block)
        while (hit := form.search(block, low)) is not None:
            start = block.rfind(b"\n", 0, hit.start()) + 1
            low = block.find(b"\n", hit.end())
            low = len(block) if low < 0 else low
            if sign != b"&" or (start not in found and _undone(block[start:low])[2]):
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
            texts += [made[0] for _, _, made in run if made is not None]
    layer.put_later(b"\n" + b"\n".join(texts), lambda: _pieces(data, lines))


def _undone(text: bytes) -> tuple[bytes, list[bytes], bool]:
    """With its escapes undone; its parts; whether any of them stands for anything else."""
    parts = _parts(text)
    escapes = parts[1::2]
    made = parts.copy()
    plain = made[1::2] = list(map(_PLAIN, map(UNDONE.__getitem__, escapes)))
    return b"".join(made), parts, plain != escapes


def _pieces(data: bytes, lines: Sequence[Line]) -> Pieces:
    """The lines' text as it is, their escapes undone."""
    texts: list[bytes] = []
    sources: list[Source] = []
    for start, until, made in lines:
        texts.append(b"\n")
        sources.append(((start, start), "", WHOLE))
        at = start
        for number, part in enumerate(_parts(data[start:until]) if made is None else made[1]):
            end = at + len(part)
            if number % 2:
                plain, name, ratio = UNDONE[part]
                texts.append(plain)
                sources.append(((at, end), name, ratio))
            elif part:
                texts.append(part)
                sources.append(((at, end), "", COPIED))
            at = end
    return texts, sources


_PLAIN: Callable[[Undone], bytes] = operator.itemgetter(0)

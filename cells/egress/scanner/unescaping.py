"""Escapes undone where they stand, in the lines in which one could hide a value. Pure."""

import functools
import itertools
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from html.entities import html5
from typing import TypeAlias

from cells.egress.scanner.escapes import UNDONE, Undone, characters
from cells.egress.scanner.layers import COPIED, WHOLE, Layer, Pieces, Source
from cells.egress.scanner.patterns import Pattern, options

MEMORY_BYTES = 64 << 20
_ENTITY = ord("&")
Line: TypeAlias = tuple[int, int]
"""Where a line begins and ends."""


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
def _patterns() -> tuple[Pattern, Pattern]:
    """A trigger, and each run of an escape or of `characters` in a line that has one."""
    return Pattern(trigger(), options(MEMORY_BYTES)), Pattern(f"{_ESCAPE}|[{_class(list(characters()))}]+")


def _lines(data: bytes) -> Iterator[Line]:
    """Every line that an escape changes and in which one could hide a value. What looks like an entity may be none."""
    first, at = _patterns()[0].first, 0
    while (hit := first(data, at)[0]) >= 0:
        start = max(at, data.rfind(b"\n", at, hit) + 1)
        end = data.find(b"\n", hit)
        at = len(data) if end < 0 else end
        if data[hit] != _ENTITY or _is_escape(data, hit) or _undone(data[start:at])[2]:
            yield start, at


def _is_escape(data: bytes, at: int) -> bool:
    """Whether what looks like an entity stands for anything else: mostly it does, and the line need not be undone to know."""
    found = _ASCII.match(data, at)
    return found is not None and UNDONE[found.group()][0] != found.group()


def _parts(line: bytes) -> list[bytes]:
    """Text and escapes by turns, text first and last; together they are the line."""
    if line.isascii():
        return _ASCII.split(line)
    parts: list[bytes] = []
    at = 0
    for start, end in _patterns()[1].all(line):
        parts += (line[at:start], line[start:end])
        at = end
    return [*parts, line[at:]]


def unescape(data: bytes, layer: Layer) -> None:
    """Puts every line that an escape changes into the layer, with each undone once. What looks like an entity and is none changes
    nothing."""
    lines = list(_lines(data))
    if not lines:
        return
    texts = [
        _undone(b"\n".join(run))[0]
        for _, run in itertools.groupby((data[start:end] for start, end in lines), key=bytes.isascii)
    ]
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
    for start, until in lines:
        texts.append(b"\n")
        sources.append(((start, start), "", WHOLE))
        at = start
        for number, part in enumerate(_parts(data[start:until])):
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

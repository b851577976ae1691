"""Encodings of a whole value undone: base64 of both alphabets, hex, gzip. Pure."""

import re
import zlib
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterator
from typing import TypeAlias

import msgspec

from cells.egress.scanner.layers import WHOLE, Layer, line_break
from cells.egress.scanner.patterns import Pattern, of_bytes

GZIP_BYTES_MAX = 512 << 10
"""What one member may become. One that would become more, ends too late, or is broken, counts as found."""
GZIP_MEMBERS_MAX = 64
"""Members of one text that are opened; the next counts as found."""

_QUAD = r"[I-Za-f][C-HS-Xi-ny-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589+/_\-][A-Za-z0-9+/_\-]"
BASE64 = rf"(?:{_QUAD}){{3}}|H4sI[A-Za-z0-9+/_\-]{{12}}"
"""Three bytes of printable ASCII in base64, three times in a row, or gzip's first: hashes and identifiers of chance read so once in some
hundreds."""
HEX = r"(?:[2-7][0-9a-fA-F]){10}"
SLICE_BYTES = 8 << 10
BACK_BYTES = 512
"""How far a token is followed back, and forward until text shows in it."""
_MAGIC = b"\x1f\x8b\x08"


def _readable_run(least: int) -> Pattern:
    """So many bytes of ASCII's text, and what stands around them without a control character. In bytes: most of it may be chance."""
    return Pattern(rb"[\t\r\n -\xff]*[ -~\t\r\n]{%d}[\t\r\n -\xff]*" % least, of_bytes())


_LINE_END = re.compile(rb"[\r\n]+")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
LONG_BYTES = 1024
"""From here a run of eight readable bytes comes by chance: it takes twelve to believe in an alignment."""
_READABLE, _LONG_READABLE = _readable_run(8), _readable_run(12)


class Encoding(msgspec.Struct, frozen=True):
    """`text` shows in it; a token is all of its `signs` around. `ratio`: how many bytes stand for how many there."""

    name: str
    text: Pattern
    signs: bytes
    token: re.Pattern[bytes]
    plain: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]
    ratio: tuple[int, int]


_ENCODINGS = (
    Encoding(
        "base64",
        Pattern(BASE64),
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_",
        re.compile(rb"[A-Za-z0-9+/_\-]+(?:\r?\n[A-Za-z0-9+/_\-]{4,})*"),
        lambda token: _LINE_END.sub(b"", token).translate(_TO_STANDARD),
        a2b_base64,
        (3, 4),
    ),
    Encoding("hex", Pattern(HEX), b"0123456789abcdefABCDEF", re.compile(rb"[0-9a-fA-F]+"), bytes, unhexlify, (1, 2)),
)
_SHOWN = Pattern(f"{BASE64}|{HEX}")
"""Where text shows in any of them."""


Seen: TypeAlias = set[tuple[str, int, bytes]]
"""Encodings and tokens that were decoded already, by their place in the original: undoing the escapes of a line copies them."""


def tokens(data: bytes, layer: Layer, seen: Seen) -> None:
    """Decodes the tokens in which text shows, slice by slice."""
    at, ends = 0, [0] * len(_ENCODINGS)
    while (shown := _SHOWN.first(data, at)[0]) >= 0:
        at = (shown // SLICE_BYTES + 1) * SLICE_BYTES
        for number, encoding in enumerate(_ENCODINGS):
            low = max(at - SLICE_BYTES, ends[number])
            ends[number] = _decoded(encoding, data, (low, max(low, shown), at), layer, seen)


def _decoded(encoding: Encoding, data: bytes, slice_: tuple[int, int, int], layer: Layer, seen: Seen) -> int:
    """Decodes the tokens in which text shows that begins in a slice. Where the last of them ends."""
    end = slice_[0]
    for start, end in _tokens(data, slice_, encoding):
        token = data[start:end]
        key = (encoding.name, layer.came_from(start), token)
        if key not in seen:
            seen.add(key)
            signs = encoding.plain(token)
            ratio = encoding.ratio if len(signs) == len(token) else WHOLE
            _put(layer, _shifts(signs, encoding.ratio[1], encoding.decode), (start, end), encoding.name, ratio)
    return end


def _tokens(data: bytes, slice_: tuple[int, int, int], encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Whole tokens, with what of them lies before the slice. Each byte is looked at a bounded number of times. Of the slice: where it
    begins, where first text may show, where it ends."""
    low, at, high = slice_
    back = max(0, low - BACK_BYTES)
    while True:
        shown, end = encoding.text.first(data, at, high + BACK_BYTES)
        if not 0 <= shown < high:
            return
        start = back + len(data[back:shown].rstrip(encoding.signs))
        whole = encoding.token.match(data, start)
        at = back = end if whole is None else max(end, whole.end())
        yield start, at


def _shifts(signs: bytes, group: int, decode: Callable[[bytes], bytes]) -> Iterator[tuple[int, bytes]]:
    """Every alignment: what stands in front of a token may use its alphabet, too."""
    for shift in range(group):
        size = (len(signs) - shift) // group * group
        rest = (len(signs) - shift) % group
        tail = b"" if group == 2 or rest < 2 else signs[shift + size :] + b"=" * (4 - rest)
        yield shift, decode(signs[shift : shift + size] + tail)


def _put(
    layer: Layer, shifts: Iterator[tuple[int, bytes]], span: tuple[int, int], name: str, ratio: tuple[int, int]
) -> None:
    """The parts that read as text, of whatever alignment, or all of what holds gzip."""
    start, end = span
    group, into = ratio if ratio != WHOLE else (1, 0)
    for shift, plain in shifts:
        for first, high in [(0, len(plain))] if _MAGIC in plain else _readable(plain):
            low = first - first % group
            begin = start + (shift if into else 0) + low // group * into
            layer.put(line_break(start), (plain[low:high], (begin, end), name, ratio))


def _readable(plain: bytes) -> Iterator[tuple[int, int]]:
    return (_READABLE if len(plain) < LONG_BYTES else _LONG_READABLE).all(plain)


def gzip_members(data: bytes, layer: Layer) -> Iterator[tuple[int, int]]:
    """Opens what begins like gzip; gives the spans of those that a cap kept shut, in part or altogether."""
    at, view = data.find(_MAGIC), memoryview(data)
    for _ in range(GZIP_MEMBERS_MAX):
        if at < 0:
            return
        member = zlib.decompressobj(31)
        try:
            plain = member.decompress(view[at:], GZIP_BYTES_MAX)
        except zlib.error:
            plain = b""
        end = len(data) - len(member.unused_data) if member.eof else len(data)
        layer.put(line_break(at), (plain, (at, end), "gzip", WHOLE))
        if not member.eof:
            yield at, at + len(_MAGIC)
        at = data.find(_MAGIC, end if member.eof else at + 1)
    if at >= 0:
        yield at, at + len(_MAGIC)

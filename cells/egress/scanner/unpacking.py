"""Encodings of a whole value undone: base64 of both alphabets, hex, gzip. Pure."""

import re
import zlib
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import re2

from cells.egress.scanner.layers import WHOLE, Layer, line_break

GZIP_BYTES_MAX = 512 << 10
"""What one member may become. One that would become more, ends too late, or is broken, counts as found."""
GZIP_MEMBERS_MAX = 64
"""Members of one text that are opened; the next counts as found."""

_QUAD = r"[I-Za-f][C-HS-Xi-ny-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589+/_\-][A-Za-z0-9+/_\-]"
BASE64 = rf"(?:{_QUAD}){{3}}|H4sI[A-Za-z0-9+/_\-]{{12}}"
"""Three bytes of printable ASCII in base64, three times in a row, or gzip's first: hashes and identifiers of chance read so once in some
hundreds."""
HEX = r"(?:[2-7][0-9a-fA-F]){10}"
BACK_BYTES = 512
"""How far a token is followed back, and forward until text shows in it."""
_MAGIC = b"\x1f\x8b\x08"


def _readable_run(least: int) -> Any:
    """So many bytes of ASCII's text, and what stands around them without a control character. In bytes: most of it may be chance."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(rb"[\t\r\n -\xff]*[ -~\t\r\n]{%d}[\t\r\n -\xff]*" % least, options)


_BASE64_SIGNS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_BASE64_TOKEN = re.compile(rb"[A-Za-z0-9+/_\-]+(?:\r?\n[A-Za-z0-9+/_\-]{4,})*")
_HEX_SIGNS = b"0123456789abcdefABCDEF"
_HEX_TOKEN = re.compile(rb"[0-9a-fA-F]+")
_LINE_END = re.compile(rb"[\r\n]+")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
LONG_BYTES = 1024
"""From here a run of eight readable bytes comes by chance: it takes twelve to believe in an alignment."""
_READABLE, _LONG_READABLE = _readable_run(8), _readable_run(12)
_BASE64_TEXT = re2.compile(BASE64)
_HEX_TEXT = re2.compile(HEX)


Seen: TypeAlias = set[tuple[str, int, bytes]]
"""Encodings and tokens that were decoded already, by their place in the original: undoing the escapes of a line copies them."""


def base64_tokens(data: bytes, low: int, high: int, layer: Layer, seen: Seen) -> int:
    """Decodes the tokens in which text shows that begins from `low` to before `high`. Where the last of them ends."""
    end = low
    for start, end in _tokens(data, low, high, _BASE64_TEXT, _BASE64_SIGNS, _BASE64_TOKEN):
        token = data[start:end]
        if not _again("base64", layer, start, token, seen):
            signs = _LINE_END.sub(b"", token).translate(_TO_STANDARD)
            ratio = (3, 4) if len(signs) == len(token) else WHOLE
            _put(layer, _shifts(signs, 4, a2b_base64), (start, end), "base64", ratio)
    return end


def hex_tokens(data: bytes, low: int, high: int, layer: Layer, seen: Seen) -> int:
    """The same of hex."""
    end = low
    for start, end in _tokens(data, low, high, _HEX_TEXT, _HEX_SIGNS, _HEX_TOKEN):
        token = data[start:end]
        if not _again("hex", layer, start, token, seen):
            _put(layer, _shifts(token, 2, unhexlify), (start, end), "hex", (1, 2))
    return end


def _again(name: str, layer: Layer, start: int, token: bytes, seen: Seen) -> bool:
    key = (name, layer.came_from(start), token)
    again = key in seen
    seen.add(key)
    return again


def _tokens(
    data: bytes, low: int, high: int, text: Any, signs: bytes, token: re.Pattern[bytes]
) -> Iterator[tuple[int, int]]:
    """Whole tokens, with what of them lies before `low`. Each byte is looked at a bounded number of times."""
    at, back = low, max(0, low - BACK_BYTES)
    while (found := text.search(data, at, high + BACK_BYTES)) is not None and found.start() < high:
        start = back + len(data[back : found.start()].rstrip(signs))
        whole = token.match(data, start)
        at = back = found.end() if whole is None else max(found.end(), whole.end())
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
    for found in (_READABLE if len(plain) < LONG_BYTES else _LONG_READABLE).finditer(plain):
        yield found.span()


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

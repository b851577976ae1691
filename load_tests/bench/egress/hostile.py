"""Texts that are made to cost a scanner as much as they can, each of a size."""

import base64
import gzip
from collections.abc import Callable


def _nested(size: int) -> bytes:
    text = b"anna@example.org"
    while len(text) < size:
        text = base64.b64encode(text)
    return text[:size]


def _repeated(unit: bytes) -> Callable[[int], bytes]:
    return lambda size: unit * (size // len(unit))


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "digits": _repeated(b"4"),
    "groups of digits": _repeated(b"4111 "),
    "at signs": _repeated(b"a@"),
    "labels": lambda size: b"a@" + b"b." * (size // 2),
    "percent": _repeated(b"%25"),
    "percents within": lambda size: b"%" + b"25" * (size // 2),
    "backslashes": _repeated(b"\\"),
    "entities": _repeated(b"&amp;"),
    "unknown entities": _repeated(b"&amp;zz;"),
    "base64 in base64": _nested,
    "base64 tokens": _repeated(b"YW5uYUBleGFtcGxlLm9y "),
    "hex": _repeated(b"6161"),
    "announced numbers": _repeated(b"ssn 123456780 "),
    "words alone": _repeated(b"phone born card ssn "),
    "phones": _repeated(b"+4930123456 tel 0301 "),
    "colons": _repeated(b"1:"),
    "full-width": _repeated("\uff14\uff11".encode()),
    "invisible": _repeated("4\u200b".encode()),
    "gzip beginnings": _repeated(b"\x1f\x8b\x08"),
    "gzip members": _repeated(gzip.compress(b"a", mtime=0)),
    "addresses": _repeated(b"a@b.de "),
    "empty lines": _repeated(b"\n"),
    "no UTF-8": _repeated(b"\xff\xe2\x82"),
}

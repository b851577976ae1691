"""Heads of messages, read strictly: one expression decides whether a head is well formed, and only one that is not is looked at again
to say why.

Stricter than RFC 9112 where it lets a recipient choose: no obs-fold (section 5.2), no bare CR or LF (2.2), no whitespace before the
colon (5.1), one space between the parts of the first line (3), nothing above ASCII in a target.
"""

import re

import msgspec

Fields = list[tuple[bytes, bytes]]
"""Names in lower case, values without the whitespace around them, in the order of their lines."""

FIELDS_MAX = 128
LINE_BYTES_MAX = 16 * 1024
"""The first line: RFC 9112 section 3 recommends at least 8,000 octets."""
HEAD_BYTES_MAX = 64 * 1024

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_FIELD = _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n"
_REQUEST = re.compile(
    rb"(" + _TOKEN + rb"{1,32}) ([\x21-\x7e]++) HTTP/1\.([01])\r\n((?:" + _FIELD + rb"){0,%d})\r\n" % FIELDS_MAX
)
_STATUS = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n((?:" + _FIELD + rb"){0,%d})\r\n" % FIELDS_MAX
)
_LINE = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
_TRAILERS = re.compile(rb"(?:" + _FIELD + rb"){0,%d}\r\n" % FIELDS_MAX)
_FIRST_LINE = re.compile(rb"" + _TOKEN + rb"{1,32} [\x21-\x7e]++ HTTP/1\.[01]\Z")
_ANY_VERSION = re.compile(rb"" + _TOKEN + rb"{1,32} [\x21-\x7e]++ HTTP/[0-9]\.[0-9]\Z")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")
_OWS = b" \t"


class Malformed(msgspec.Struct, frozen=True):
    """Why bytes are no message that may be acted on. `status`: what a request is answered with before its connection ends."""

    detail: str
    status: int = 400


_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_SPACED = Malformed("no whitespace stands behind Content-Length or Transfer-Encoding")
BARE = Malformed("a line ends with CRLF, and holds no CR, LF or NUL")


class RequestHead(msgspec.Struct, gc=False):
    """A request line and its fields. `target` as it was sent; `minor`: of HTTP/1."""

    method: bytes
    target: bytes
    minor: int
    fields: Fields


class StatusHead(msgspec.Struct, gc=False):
    """A status line, without its words, and its fields."""

    status: int
    minor: int
    fields: Fields


def request_head(head: bytes) -> RequestHead | Malformed:
    """A whole head, with the empty line that ends it."""
    found = _REQUEST.fullmatch(head)
    if found is None or found.end(2) > LINE_BYTES_MAX:
        return why_no_request(head)
    method, target, minor, lines = found.groups()
    fields = _fields(lines)
    return RequestHead(method, target, 1 if minor == b"1" else 0, fields) if fields is not None else _SPACED


def status_head(head: bytes) -> StatusHead | Malformed:
    """The same of an answer."""
    found = _STATUS.fullmatch(head)
    if found is None:
        line, _, rest = head.partition(b"\r\n")
        return _why_no_fields(rest, len(head)) if _STATUS.fullmatch(line + b"\r\n\r\n") else Malformed("no status line")
    minor, status, lines = found.groups()
    fields = _fields(lines)
    return StatusHead(int(status), 1 if minor == b"1" else 0, fields) if fields is not None else _SPACED


def trailers_end(section: bytes) -> bool:
    """Whether a trailer section, with the empty line that ends it, is well formed (RFC 9112 section 7.1.2)."""
    return _TRAILERS.fullmatch(section) is not None


def bare(part: bytes, start: int = 0) -> bool:
    """Whether a part of a head, however much of it is missing, holds a bare CR or LF, or a NUL from `start` on: nothing can mend that."""
    return _BARE.search(part, start) is not None


def _fields(lines: bytes) -> Fields | None:
    """None where whitespace stands behind a value that frames the body: legal, but some readers take another value of it."""
    found = [(name.lower(), value) for name, value in _LINE.findall(lines)]
    if lines.find(b" \r\n") < 0 and lines.find(b"\t\r\n") < 0:  # `in` would raise and catch a TypeError first
        return found
    if any(value[-1:] in _OWS and value and name in _FRAMING for name, value in found):
        return None
    return [(name, value.rstrip(_OWS)) for name, value in found]


def why_no_request(head: bytes) -> Malformed:
    """What is wrong with a head, or with as much of one as was read until it was too large."""
    line, ended, rest = head.partition(b"\r\n")
    if len(line) > LINE_BYTES_MAX:
        return Malformed(f"a request line has {LINE_BYTES_MAX} bytes at most", 414)
    if ended and _FIRST_LINE.match(line) is None:
        if bare(line):
            return BARE
        if _ANY_VERSION.match(line) is not None:
            return Malformed("HTTP/1.1 is spoken here", 505)
        return Malformed("a request line is a method, a target and a version, with one space between them")
    return _why_no_fields(rest, len(head))


def _why_no_fields(lines: bytes, head_bytes: int) -> Malformed:
    if head_bytes > HEAD_BYTES_MAX:
        return Malformed(f"a head has {HEAD_BYTES_MAX} bytes at most", 431)
    if lines.count(b"\r\n") > FIELDS_MAX:
        return Malformed(f"a head has {FIELDS_MAX} fields at most", 431)
    if bare(lines):
        return BARE
    for line in lines.split(b"\r\n"):
        name, colon, _ = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            return Malformed("a field stands on one line")
        if not colon or name != name.rstrip(_OWS):
            return Malformed("a field is a name, a colon without a space before it, and a value")
    return Malformed("names of fields are tokens, and values hold no control characters")

"""Heads of answers as bytes, whoever answers: an application (`foundation.wire.cycle`), or a protocol without one."""

from collections.abc import Iterable
from http import HTTPStatus

Lines = list[tuple[bytes, bytes]]

BODILESS = (204, 304)
"""Statuses whose answers have no body, whatever their fields say (RFC 9110 sections 15.3.5 and 15.4.5)."""
_CR, _LF = 0x0D, 0x0A  # as numbers: for bytes, `in` would raise and catch a TypeError first
CHUNKED = b"transfer-encoding: chunked\r\n"
_line = b"%b: %b\r\n".__mod__
"""A field's line."""
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode("ascii")) for status in HTTPStatus}


class UnfitAnswer(Exception):
    """The application's messages do not make an answer."""


def stated_by(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Lines, int | None, bool]:
    """What an application states of its answer: the fields that go out, the length of its body, and whether the connection ends with it.
    Raises UnfitAnswer for a field that would be more than one."""
    fields: Lines = []
    length, closes = None, False
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"transfer-encoding":
            continue  # framed here
        if lowered == b"connection":
            closes = closes or b"close" in value.lower()
            continue
        if lowered == b"content-length":
            length = int(value)
        fields.append((name, value))
    said = b"".join([part for field in fields for part in field])
    if _CR in said or _LF in said or 0 in said:
        raise UnfitAnswer("a field of the answer holds a line's end")
    return fields, length, closes


def status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def head_of(status: int, fields: Lines, dated: bytes, *, framing: bytes, keep: bool) -> bytes:
    """The head of an answer, with the lines `dated` and `framing` in it. `keep`: another request may follow."""
    close = b"" if keep else b"connection: close\r\n"
    first = _STATUS_LINES.get(status) or status_line(status)
    return b"%b%b%b%b%b\r\n" % (first, dated, b"".join(map(_line, fields)), framing, close)


def whole(status: int, fields: Lines, body: bytes, dated: bytes, *, method: str, keep: bool) -> bytes:
    """An answer all of whose body is here. It states the body's length, unless it does already or has none to state."""
    if method == "HEAD":
        return head_of(status, fields, dated, framing=b"", keep=keep)
    stated = status in BODILESS or status < 200 or b"content-length" in [name.lower() for name, _ in fields]
    framing = b"" if stated else b"content-length: %d\r\n" % len(body)
    return head_of(status, fields, dated, framing=framing, keep=keep) + body

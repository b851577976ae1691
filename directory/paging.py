"""Cursors: the place after the last item of a page, in a form that callers do not take apart. Pure.

A cursor names an item by its own order, never an offset, so a page neither repeats nor skips what was there all along.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import TypeVar

from foundation.problems import Code, refuse
from foundation.words import FeedSeq, MalformedWord, SubjectId, parse_subject_id

CURSOR_CHARS_MAX = 100
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_SEQ = re.compile(r"[0-9]{1,18}\Z")
T = TypeVar("T")


def page_of(
    found: tuple[T, ...], limit: int, kind: str, place: Callable[[T], object]
) -> tuple[tuple[T, ...], str | None]:
    """Of what was found when one item more than a page has was asked for: the page, and the cursor of the next one where there is one."""
    page = found[:limit]
    return page, encode(kind, str(place(page[-1]))) if len(found) > limit else None


def encode(kind: str, value: str) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{value}".encode()).decode("ascii").rstrip("=")


def decode(kind: str, cursor: str | None) -> str | None:
    """What `encode` was given, or None without a cursor. Raises ProblemError for any other text."""
    if cursor is None:
        return None
    try:
        if len(cursor) > CURSOR_CHARS_MAX:
            raise ValueError
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error) as exc:
        raise _malformed() from exc
    found, _, value = text.partition(":")
    if found != kind:
        raise _malformed()
    return value


def decode_subject(cursor: str | None) -> SubjectId | None:
    """Raises ProblemError."""
    value = decode("subject", cursor)
    try:
        return None if value is None else parse_subject_id(value)
    except MalformedWord as exc:
        raise _malformed() from exc


def decode_number(cursor: str | None) -> int:
    """0 without a cursor. Raises ProblemError."""
    value = decode("number", cursor)
    if value is None:
        return 0
    if not _NUMBER.match(value):
        raise _malformed()
    return int(value)


def decode_seq(cursor: str | None) -> FeedSeq | None:
    """Raises ProblemError."""
    value = decode("seq", cursor)
    if value is not None and not _SEQ.match(value):
        raise _malformed()
    return None if value is None else FeedSeq(int(value))


def _malformed() -> Exception:
    return refuse(Code.BAD_REQUEST, "the cursor is not one that this call gave out; begin without one")

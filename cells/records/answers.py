"""Answers of the records API as PostgREST gives them: status, Content-Range, Preference-Applied, one object or an array. Pure."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec
from starlette.types import Receive, Scope, Send

from cells.records import errors, ranges
from cells.records.media import Media
from cells.records.preferences import NONE, Preferences, Returned
from cells.records.ranges import Page
from foundation.problems import Code, ProblemError
from foundation.wire.answer import head_of

KNOWN_MAX = 1_024
"""Fields of answers that are remembered, by page and number of rows."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as JSON text. `total`: of a read, what the filters match, None where it was not counted; of a write, rows written.

    `existed`: of a PUT, whether the row was there.
    """

    rows: Sequence[str]
    total: int | None
    existed: bool = False


def check_single(number: int) -> None:
    """Raises ProblemError (406) unless there is one row."""
    if number != 1:
        message = "Cannot coerce the result to a single JSON object"
        details = f"The result contains {number} rows"
        raise errors.dialect(errors.SINGULAR, message, code=Code.NOT_ACCEPTABLE, details=details)


def check_written(number: int, preferences: Preferences, media: Media) -> ProblemError | None:
    """Why a write of so many rows must not stay, or None."""
    most = preferences.affected_max
    if most is not None and number > most:
        message = "Query result exceeds max-affected preference constraint"
        return errors.dialect(errors.AFFECTED, message, details=f"The query affects {number} rows")
    if not media.single:
        return None
    try:
        check_single(number)
    except ProblemError as exc:
        return exc
    return None


def read_head(
    page: Page, number: int, total: int | None, preferences: Preferences, media: Media
) -> tuple[int, dict[str, str]]:
    """Status and headers of a read of `number` rows. Raises ProblemError."""
    if media.single:
        check_single(number)
    status = 200 if total is None else ranges.status(page, number, total)
    headers = {"cache-control": "no-store", "content-range": ranges.content_range(page, number, total)}
    applied = "" if preferences is NONE else preferences.applied("GET")
    if applied:
        headers["preference-applied"] = applied
    return status, headers


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An answer all of whose body is here, as an ASGI application or as bytes. Its fields state all that is stated of its length."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.fields})
        await send({"type": "http.response.body", "body": self.body})

    def sent(self, dated: bytes, *, keep: bool) -> bytes:
        """What goes out for it, with the lines that every answer has. `keep`: another request may follow."""
        return head_of(self.status, self.fields, dated, framing=b"", keep=keep) + self.body


def _fields(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


@lru_cache(maxsize=16)
def _content_type(media: Media) -> bytes:
    return media.content_type.encode("ascii")


@lru_cache(maxsize=KNOWN_MAX)
def _fields_known(page: Page, number: int, media: Media) -> tuple[tuple[bytes, bytes], ...]:
    """Of a read of `number` rows without preferences."""
    return tuple(_fields(read_head(page, number, None, NONE, media)[1]))


def _document(status: int, headers: Mapping[str, str], found: Found, media: Media) -> Answer:
    document = found.rows[0] if media.single else f"[{','.join(found.rows)}]"
    return _told(status, _fields(headers), document.encode(), media)


def _told(status: int, fields: Sequence[tuple[bytes, bytes]], body: bytes, media: Media) -> Answer:
    more = (b"content-length", b"%d" % len(body)), (b"content-type", _content_type(media))
    return Answer(status, [*fields, *more], body)


def read(page: Page, found: Found, preferences: Preferences, media: Media) -> Answer:
    """Raises ProblemError."""
    if preferences is NONE and not media.single:
        rows = found.rows
        return _told(200, _fields_known(page, len(rows), media), f"[{','.join(rows)}]".encode(), media)
    number = ranges.number(page, found.total or 0) if media.single else len(found.rows)
    total = found.total if preferences.counted else None
    status, headers = read_head(page, number, total, preferences, media)
    return _document(status, headers, found, media)


def head(page: Page, found: Found, preferences: Preferences, media: Media) -> Answer:
    """A read without its body, for which rows were counted only. Raises ProblemError."""
    all_rows = found.total or 0
    number = ranges.number(page, all_rows)
    status, headers = read_head(page, number, all_rows if preferences.counted else None, preferences, media)
    # The length of what GET would answer is not known here (RFC 9110 section 8.6).
    return Answer(status, _fields({**headers, "content-type": media.content_type}))


def written(method: str, table: str, found: Found, preferences: Preferences, media: Media) -> Answer:
    """The answer to POST, PATCH, PUT and DELETE. Raises ProblemError (409) for a PUT that met another's row."""
    if method == "PUT" and not found.total:
        message = f"a row of this key is in {table} already and belongs to another"
        raise errors.dialect(errors.TAKEN, message, code=Code.CONFLICT)
    headers = {"cache-control": "no-store"}
    applied = preferences.applied(method)
    if applied:
        headers["preference-applied"] = applied
    if method != "PUT":
        number = found.total or 0
        rows = f"0-{number - 1}" if method == "PATCH" and number else "*"
        headers["content-range"] = f"{rows}/{number if preferences.counted else '*'}"
    created = method == "POST" or (method == "PUT" and not found.existed)
    match preferences.returned:
        case Returned.REPRESENTATION:
            return _document(201 if created else 200, headers, found, media)
        case Returned.HEADERS_ONLY if method == "POST" and len(found.rows) == 1:
            headers["location"] = f"/records/{table}?id=eq.{msgspec.json.decode(found.rows[0])['id']}"
        case _:
            pass
    if method != "POST":
        return Answer(204, _fields(headers))
    headers["content-length"] = "0"
    return Answer(201, _fields(headers))

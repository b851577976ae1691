"""Pages: `limit` and `offset`, the Range header, Content-Range and the status that goes with it. Pure.

https://docs.postgrest.org/en/v13/references/api/pagination_count.html
"""

import re

import msgspec

from cells.records import errors
from cells.records.dialect import NUMBER_MAX
from cells.records.query import Query
from foundation.problems import Code, ProblemError

_RANGE = re.compile(r"(?:items=)?([0-9]{1,19})-([0-9]{0,19})\Z")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the rows that match are returned."""

    offset: int = 0
    limit: int


def page(query: Query, rows_max: int, *, header: str | None = None, unit: str | None = None) -> Page:
    """What `limit`, `offset` and Range have in common, at most `rows_max` rows. Raises ProblemError (416)."""
    first, last = query.offset, None if query.limit is None else query.offset + query.limit - 1
    ranged = None if header is None else _ranged(header, unit)
    if ranged is not None:
        first = max(first, ranged[0])
        last = ranged[1] if last is None else last if ranged[1] is None else min(last, ranged[1])
        if last is not None and last < first and query.limit != 0:
            raise unsatisfiable("limit and offset have no row in common with the Range header")
    limit = rows_max if last is None else min(rows_max, max(0, last - first + 1))
    return Page(offset=first, limit=limit)


def _ranged(header: str, unit: str | None) -> tuple[int, int | None] | None:
    """First and last row of a Range header; None where it is not for rows (RFC 9110 section 14.2: other units are ignored)."""
    if (unit or "items").strip() != "items":
        return None
    text = header.strip()
    found = _RANGE.match(text)
    if found is None:
        name, equals, _ = text.partition("=")
        if equals and name != "items":
            return None
        raise errors.dialect(errors.QUERY, "Range: first-last or first- is expected, such as 0-9")
    first, last = int(found.group(1)), int(found.group(2)) if found.group(2) else None
    if first > NUMBER_MAX or (last is not None and last < first):
        raise unsatisfiable("The lower boundary must be lower than or equal to the upper boundary in the Range header.")
    return first, last


def unsatisfiable(details: str) -> ProblemError:
    return errors.dialect(
        errors.RANGE, "Requested range not satisfiable", code=Code.RANGE_NOT_SATISFIABLE, details=details
    )


def number(page: Page, total: int) -> int:
    """Rows of a page where so many match."""
    return max(0, min(page.limit, total - page.offset))


def content_range(page: Page, number: int, total: int | None) -> str:
    """`first-last/total`, with * for what is not there or not known."""
    rows = f"{page.offset}-{page.offset + number - 1}" if number else "*"
    return f"{rows}/{'*' if total is None else total}"


def status(page: Page, number: int, total: int | None) -> int:
    """200 for all there is or where that is not known, 206 for a part. Raises ProblemError (416) for a page beyond the end."""
    if total is None:
        return 200
    if page.offset > total:
        raise unsatisfiable(f"An offset of {page.offset} was requested, but there are only {total} rows.")
    return 206 if number < total else 200

"""Calls of the directory that answer page by page: how they are asked."""

from starlette.requests import Request

from directory.operations import Parameter
from directory.placement.answers import PAGE_MAX
from foundation.http import query_int

PAGE_USUAL = 100
PAGED = (
    Parameter(name="cursor", schema={"type": "string"}, description="`next` of the page before"),
    Parameter(name="limit", schema={"type": "integer", "minimum": 1, "maximum": PAGE_MAX}, description="items at most"),
)


def limit_of(request: Request) -> int:
    """How many items a page has at most. Raises ProblemError."""
    return query_int(request, "limit", PAGE_USUAL, low=1, high=PAGE_MAX)

"""A refusal as bytes: the answer that ends a connection, with a problem document (RFC 9457)."""

from collections.abc import Iterable
from http import HTTPStatus

from foundation.metrics import REFUSALS
from foundation.problems import Problem

_WORDS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def rendered(problem: Problem, dated: bytes, more: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """With the lines `dated` and the fields `more` in it; counted."""
    REFUSALS.labels(problem.code.value).inc()
    document = problem.encode()
    stated = {"connection": "close"} | problem.headers()
    fields = [
        *((name.encode("ascii"), value.encode("latin-1")) for name, value in stated.items()),
        *more,
        (b"content-length", b"%d" % len(document)),
    ]
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d %b\r\n%b%b\r\n%b" % (problem.status, _WORDS[problem.status], dated, lines, document)

"""A refusal as bytes: the answer that ends a connection, with a problem document (RFC 9457)."""

from collections.abc import Iterable

from foundation.metrics import REFUSALS
from foundation.problems import Problem
from foundation.wire.answer import status_line


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
    return b"%b%b%b\r\n%b" % (status_line(problem.status), dated, lines, document)

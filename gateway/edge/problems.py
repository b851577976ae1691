"""Refusals of the edge on the wire: problem documents (RFC 9457), and the redirect to a home region."""

import asyncio
from collections.abc import Callable

from starlette.types import Send

from foundation.metrics import REFUSALS
from foundation.problems import Code, Problem
from foundation.wire import refusals
from gateway.edge.observed import VERDICTS

Lines = list[tuple[bytes, bytes]]


def rendered(problem: Problem, dated: bytes) -> bytes:
    """The whole answer that ends a connection, with the lines `dated` in it; counted as a verdict."""
    VERDICTS.labels(problem.code.value).inc()
    return refusals.rendered(problem, dated, [(b"domicile-verdict", _verdict(problem))])


async def send_problem(
    send: Send,
    problem: Problem,
    headers: Lines | None = None,
    *,
    close: bool,
    before_end: Callable[[], object] | None = None,
) -> None:
    """`before_end` is called, and awaited if it can be, between the document and the end of the answer."""
    document = problem.encode()
    lines = _lines(problem, len(document), headers or [])
    if close:
        lines.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": problem.status, "headers": lines})
    if before_end is not None:
        await send({"type": "http.response.body", "body": document, "more_body": True})
        waiting = before_end()
        if asyncio.iscoroutine(waiting):
            await waiting
        document = b""
    await send({"type": "http.response.body", "body": document, "more_body": False})


async def send_home(send: Send, location: bytes) -> None:
    """308 to the home region (RFC 9110 section 15.4.9), for a browser that goes where it is told; homes change, so nobody keeps it."""
    VERDICTS.labels(Code.HOME_ELSEWHERE.value).inc()
    headers = [
        (b"location", location),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
        (b"domicile-verdict", b"redirect"),
    ]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _lines(problem: Problem, length: int, stated: Lines) -> Lines:
    """The fields of the answer, those `stated` instead of the problem's own; counts the verdict."""
    VERDICTS.labels(problem.code.value).inc()
    REFUSALS.labels(problem.code.value).inc()
    instead = dict(stated)
    lines = [
        *((name.encode("ascii"), value.encode("latin-1")) for name, value in problem.headers().items()),
        (b"content-length", str(length).encode("ascii")),
        (b"domicile-verdict", _verdict(problem)),
    ]
    lines = [(name, instead.pop(name, value)) for name, value in lines]
    lines.extend(instead.items())
    return lines


def _verdict(problem: Problem) -> bytes:
    return b"redirect" if problem.code is Code.HOME_ELSEWHERE else b"refuse"

"""A request answered in callbacks, without a task: decided when it came, sent on over a connection that was idle, answered when the whole
answer is there. Whatever is not plain about that answer is handed over, exchange and all, to a task (`gateway.edge.lane`)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from starlette.types import Receive, Send

from foundation.wire import switch
from foundation.wire.cycle import BODILESS, Cycle, Line, status_line
from foundation.wire.head import StatusHead
from gateway.edge.exchange import Answer, Begun
from gateway.edge.upstream.connection import Fault

LANDS_BYTES_MAX = 64 * 1024
"""Longer bodies are sent on while they arrive."""


class Runway(Line, switch.Line, Protocol):
    """The client's connection, which can have a request answered by a task as well."""

    def run(self, cycle: Cycle, answering: Coroutine[Any, Any, None]) -> None: ...


class Flight:
    """One exchange under way. `finish` makes the answer of it, or says that there is more to do; `resume` goes on with it in a task."""

    __slots__ = (
        "_begun",
        "_body",
        "_finish",
        "_keep",
        "_line",
        "_loop",
        "_method",
        "_minor",
        "_resume",
        "done",
        "ended",
        "started",
    )
    buffered = 0
    until_closed = False

    def __init__(
        self,
        line: Runway,
        loop: asyncio.AbstractEventLoop,
        begun: Begun,
        *,
        method: str,
        minor: int,
        body: bytes,
        keep: bool,
        finish: Callable[[Begun, float], Answer | None],
        resume: Callable[[Begun, Receive, Send], Coroutine[Any, Any, None]],
    ) -> None:
        self._line = line
        self._loop = loop
        self._begun = begun
        self._method = method
        self._minor = minor
        self._body = body
        self._keep = keep
        self._finish = finish
        self._resume = resume
        self.started = False
        self.done = False
        self.ended = True
        begun.exchange.connection.listener = self._heard

    # --- from the client's connection ------------------------------------------------------------------------------------------

    def data(self, piece: bytes) -> None:
        """The body came with the head."""

    def end(self) -> None:
        """It has ended."""

    def leave(self) -> None:
        if not self.done:
            self.done = True
            connection = self._begun.exchange.connection
            connection.listener = None
            connection.fail(Fault.CLIENT_GONE)
            self._begun.end()

    def close_after(self) -> None:
        self._keep = False

    # --- from the service's ------------------------------------------------------------------------------------------------------

    def _heard(self) -> None:
        connection = self._begun.exchange.connection
        if connection.complete:
            answer = self._finish(self._begun, self._loop.time())
            if answer is not None:
                self._land(answer)
                return
        elif not connection.failed and (connection.known_head is None or _lands(connection.known_head)):
            return
        connection.listener = None
        cycle = Cycle(self._line, self._loop, method=self._method, minor=self._minor, keep=self._keep, expects=False)
        cycle.begin_with(self._body)
        self._line.run(cycle, self._resume(self._begun, cycle.receive, cycle.send))

    def _land(self, answer: Answer) -> None:
        status, headers, body = answer
        lines = [status_line(status), self._line.dated()]
        framed = status in BODILESS or self._method == "HEAD"
        for name, value in headers:
            framed = framed or name == b"content-length"
            lines.append(b"%b: %b\r\n" % (name, value))
        if not framed:
            lines.append(b"content-length: %d\r\n" % len(body))
        if not self._keep:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", body)
        self.started = self.done = True
        self._line.write(b"".join(lines))
        self._line.answered(keep=self._keep)


def _lands(head: StatusHead) -> bool:
    """Whether the whole body is worth waiting for: it has a length, and a small one. Checked already to be a number."""
    return any(name == b"content-length" and int(value) <= LANDS_BYTES_MAX for name, value in head.fields)

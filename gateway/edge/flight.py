"""A request answered in callbacks, without a task: decided when it came, sent on over a connection that was idle, answered when the whole
answer is there. Whatever is not plain about that answer is handed over, exchange and all, to a task (`gateway.edge.walk`)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec
from starlette.types import Receive, Send

from foundation.wire import switch
from foundation.wire.answer import whole
from foundation.wire.cycle import Cycle
from foundation.wire.head import StatusHead
from foundation.wire.line import Line
from gateway.edge.answers import refusal_of
from gateway.edge.begun import Begun
from gateway.edge.exchanges import Exchanges
from gateway.edge.outcome import Admitted
from gateway.edge.request import Request
from gateway.edge.upstream.fault import Fault

LANDS_BYTES_MAX = 64 * 1024
"""Longer bodies are sent on while they arrive."""


class Runway(Line, switch.Line, Protocol):
    """The client's connection, which can have a request answered by a task as well."""

    def run(self, cycle: Cycle, answering: Coroutine[Any, Any, None]) -> None: ...


class Flight(msgspec.Struct):
    """One exchange under way, whose connection's listener it is. `_resume` goes on with it in a task."""

    buffered = 0
    until_closed = False

    _line: Runway
    _loop: asyncio.AbstractEventLoop
    _exchanges: Exchanges
    _request: Request
    _admitted: Admitted
    _begun: Begun
    _resume: Callable[[Begun, Receive, Send], Coroutine[Any, Any, None]]
    _minor: int
    _body: bytes
    _keep: bool
    started: bool = False
    done: bool = False
    ended: bool = True

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

    def heard(self) -> None:
        connection = self._begun.exchange.connection
        if connection.complete:
            if self._lands():
                return
        elif not connection.failed and (connection.known_head is None or _is_awaited(connection.known_head)):
            return
        connection.listener = None
        cycle = Cycle(
            self._line, self._loop, method=self._request.method, minor=self._minor, keep=self._keep, expects=False
        )
        cycle.begin_with(self._body)
        self._line.run(cycle, self._resume(self._begun, cycle.receive, cycle.send))

    def lands(self, data: bytes) -> bool:
        """Whether that is the whole answer: then it is the client's."""
        line, keep = self._line, self._keep
        answer = self._exchanges.land(self._admitted, self._begun, data, line.dated(), keep=keep, now=self._loop.time())
        if answer is None:
            return False
        self.started = self.done = True
        line.write(answer)
        line.answered(keep=keep)
        return True

    def _lands(self) -> bool:
        """Whether the whole answer is the client's."""
        answer = self._exchanges.finish_now(self._request, self._admitted, self._begun, self._loop.time())
        if answer is None:
            return False
        self.started = self.done = True
        line, keep = self._line, self._keep
        line.write(whole(*answer, line.dated(), method=self._request.method, keep=keep))
        line.answered(keep=keep)
        return True


def _is_awaited(head: StatusHead) -> bool:
    """Whether the whole answer is worth waiting for: its body has a length, and a small one (checked already to be a number), and it is no
    refusal that another try may cure."""
    short = any(name == b"content-length" and int(value) <= LANDS_BYTES_MAX for name, value in head.fields)
    return short and refusal_of(head) is None

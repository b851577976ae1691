"""A request answered in callbacks, without a task: decided when it came, sent on over a connection that was idle, answered when the whole
answer is there. Whatever is not plain about that answer is handed over, exchange and all, to a task (`gateway.edge.walk`)."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from starlette.types import Receive, Send

from directory.placement.core import Placement
from foundation.trace import as_written
from foundation.wire import switch
from foundation.wire.answer import whole
from foundation.wire.cycle import Cycle
from foundation.wire.head import StatusHead
from foundation.wire.line import Line
from gateway.edge.answers import refusal_of, stated_lines
from gateway.edge.begun import Begun
from gateway.edge.bulkhead import Bulkhead
from gateway.edge.exchanges import Exchanges, begun_of
from gateway.edge.familiar import Came, own_fields
from gateway.edge.headers import RequestFields
from gateway.edge.lasting import Entry, Lasting, Why
from gateway.edge.outcome import Admitted
from gateway.edge.request import Request
from gateway.edge.target import Target
from gateway.edge.upstream.connection import Connection
from gateway.edge.upstream.fault import Fault
from gateway.edge.upstream.pool import AddressPool
from gateway.identity.identity import Identity

LANDS_BYTES_MAX: Final = 64 * 1024
"""Longer bodies are sent on while they arrive."""


class Runway(Line, switch.Line, Protocol):
    """The client's connection, which can have a request answered by a task as well."""

    def run(self, cycle: Cycle, answering: Coroutine[Any, Any, None]) -> None: ...

    def land(self, answer: bytes, now: float, *, keep: bool) -> None:
        """`write` and `answered`, for the whole answer."""
        ...


class Tower(Protocol):
    """What all flights of a gateway have in common."""

    exchanges: Exchanges
    lasting: Lasting

    def goes_on(self, flight: "Flight", receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """In a task."""
        ...


class Flight:
    """One exchange under way since `at`, whose connection's listener it is. `fields` are the request's own, or what it has in common with
    others (`gateway.edge.familiar`); `traced`: its trace, as the service was told."""

    __slots__ = ("_bulkhead", "_entry", "_keep", "_line", "_loop", "_made", "_minor", "_pool", "_ticket", "_tower", "admitted",
                 "at", "buffered", "connection", "done", "ended", "fields", "home", "one", "peer", "scheme", "started", "target",
                 "traced", "until_closed", "who")  # fmt: skip

    def __init__(  # noqa: PLR0917 - one for each request: by place costs least
        self,
        tower: Tower,
        line: Runway,
        loop: asyncio.AbstractEventLoop,
        one: Came,
        fields: RequestFields,
        target: Target,
        traced: bytes,
        peer: str,
        scheme: str,
        who: Identity,
        home: Placement,
        admitted: Admitted,
        pool: AddressPool,
        ticket: int,
        connection: Connection,
        bulkhead: Bulkhead,
        at: float,
        minor: int,
        keep: bool,
    ) -> None:
        self._tower = tower
        self._line = line
        self._loop = loop
        self.one = one
        self.fields = fields
        self.target = target
        self.traced = traced
        self.peer = peer
        self.scheme = scheme
        self.who = who
        self.home = home
        self.admitted = admitted
        self._pool = pool
        self._ticket = ticket
        self.connection = connection
        self._bulkhead = bulkhead
        self.at = at
        self._minor = minor
        self._keep = keep
        self.buffered = 0
        self.started = self.done = self.until_closed = False
        self.ended = True
        self._entry: Entry | None = None
        self._made: Begun | None = None

    # --- from the client's connection ------------------------------------------------------------------------------------------

    def data(self, piece: bytes) -> None:
        """The body came with the head."""

    def end(self) -> None:
        """It has ended."""

    def leave(self) -> None:
        if not self.done:
            self.done = True
            self._lasts_no_more()
            self.connection.listener = None
            self.connection.fail(Fault.CLIENT_GONE)
            self._begun().end()

    def close_after(self) -> None:
        self._keep = False

    # --- from the service's ------------------------------------------------------------------------------------------------------

    def lands(self, data: bytes) -> bool:
        """Whether that is the whole answer: then it is the client's."""
        admitted, line, now = self.admitted, self._line, self._loop.time()
        told = admitted.told_lines or stated_lines(admitted)
        answer = self._tower.exchanges.landing.answer(data, told, line.dated(), keep=self._keep, now_s=now)
        if answer is None:
            return False
        self.started = self.done = True
        self._bulkhead.landed(now - self.at)
        self._pool.landed(self.connection, now)
        line.land(answer, now, keep=self._keep)
        return True

    def heard(self) -> None:
        connection = self.connection
        if connection.complete:
            if self._lands():
                return
        elif not connection.failed:
            if connection.known_head is None:
                return
            if _is_awaited(connection.known_head):
                self._lasts()
                return
        self._lasts_no_more()
        connection.listener = None
        cycle = Cycle(self._line, self._loop, method=self.one.method, minor=self._minor, keep=self._keep, expects=False)
        cycle.begin_with(self.one.body)
        self._line.run(cycle, self._tower.goes_on(self, cycle.receive, cycle.send))

    def _lands(self) -> bool:
        """Whether the whole answer is the client's."""
        method, now = self.one.method, self._loop.time()
        answer = self._tower.exchanges.finish_now(method, self.admitted, self._begun(), now)
        if answer is None:
            return False
        self._lasts_no_more()
        self.started = self.done = True
        line, keep = self._line, self._keep
        line.land(whole(*answer, line.dated(), method=method, keep=keep), now, keep=keep)
        return True

    # --- while it lasts ----------------------------------------------------------------------------------------------------------

    def _lasts(self) -> None:
        """The answer did not come with its head: from here on it ends when its subject's home changes."""
        subject, epoch = self.admitted.subject, self.admitted.epoch
        if self._entry is None and subject is not None and epoch is not None:
            self._entry = self._tower.lasting.enter(subject, epoch, self._outdated)

    def _outdated(self, _why: Why) -> None:
        """Is heard, and breaks off by a task."""
        self._entry = None
        self.connection.fail(Fault.OUTDATED)

    def _lasts_no_more(self) -> None:
        if self._entry is not None:
            self._tower.lasting.leave(self._entry)
            self._entry = None

    # --- by a task ---------------------------------------------------------------------------------------------------------------

    def handed_over(self) -> tuple[Request, Begun]:
        """The request as a task has it, and its exchange, which the task ends."""
        one, fields = self.one, self.fields
        if fields.written is not None:
            fields = own_fields(one, fields)
        request = Request(
            one.method,
            one.path,
            one.query,
            one.sent,
            fields,
            self.target,
            self.peer,
            self.scheme,
            one.verb,
            as_written(self.traced),
            line=self._line,
        )
        return request, self._begun()

    def _begun(self) -> Begun:
        """The exchange, where it does not land at once."""
        if self._made is None:
            self._made = begun_of((self._pool, self._ticket, self.connection, self._bulkhead), self.at)
        return self._made


def _is_awaited(head: StatusHead) -> bool:
    """Whether the whole answer is worth waiting for: its body has a length, and a small one (checked already to be a number), and it is no
    refusal that another try may cure."""
    short = any(name == b"content-length" and int(value) <= LANDS_BYTES_MAX for name, value in head.fields)
    return short and refusal_of(head) is None

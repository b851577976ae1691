"""Requests answered in callbacks, without a task: understood when they came, sent to Postgres over a connection that lay free, answered
when the rows are there. A request that is not plain is the application's from its beginning; one whose rows are not is handed over as it
stands, to a task of the application's.

What both ways do is the same code (`cells.records.api`), as are the bytes that they leave (docs/decisions/0005-records.md).
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cells.records import errors
from cells.records.api import BEGUN, Begun, Records
from cells.records.familiar import Came, came
from cells.records.running import Rows
from cells.records.sent import Sent, read_again
from foundation import logs, metrics
from foundation.clock import Clock, SystemClock
from foundation.http import BEGAN
from foundation.stepped import Stepped
from foundation.wire import door
from foundation.wire.cycle import Cycle
from foundation.wire.framing import Framed
from foundation.wire.head import RequestHead
from foundation.wire.line import Line
from foundation.wire.targets import Asked as Target

log = logs.get(__name__)

PREFIX = b"/records/"
METHODS = frozenset(errors.METHODS)


class Runway(Line, Protocol):
    """The client's connection, which can have a request answered by a task as well."""

    def run(self, cycle: Cycle, answering: Coroutine[Any, Any, None]) -> None: ...

    def scope(self, head: RequestHead, asked: Target, fields: Framed) -> Scope: ...


class Lane:
    """`app`, with the requests on `table` (the route of `cells.records.api`) answered without a task where they may be."""

    def __init__(self, app: ASGIApp, table: Route, clock: Clock | None = None) -> None:
        if not isinstance(table.app, Records):
            raise TypeError("the route is not that of records")
        self._app = app
        self.records = table.app
        self.clock = clock or SystemClock()
        self._path = table.path
        self._tallies = metrics.Tallies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def depart(
        self,
        line: Runway,
        loop: asyncio.AbstractEventLoop,
        head: RequestHead,
        target: Target,
        fields: Framed,
        body: bytes,
        *,
        keep: bool,
        came: Came | None = None,
    ) -> "Flight | None":
        """For a request that came whole. None, and nothing has happened, unless it has nothing to wait for but Postgres. `came`: the same,
        where its like may `depart_again`."""
        path = target.path
        if target.method not in METHODS or not path.startswith(PREFIX) or b"%" in path:
            return None
        began = self.clock.monotonic_s()
        table = path[len(PREFIX) :].decode("ascii")
        begun = self.records.begin(target.method, table, target.query, head.fields, body, came)
        if begun is None:
            return None
        flight = Flight(self, line, Sent(head, target, fields, body), begun, began, keep=keep)
        flight.step(loop, begun.rows)
        return flight

    def depart_again(self, line: Runway, loop: asyncio.AbstractEventLoop, came: Came, *, keep: bool) -> "Flight | None":
        """The same for a read whose like came before, whose head nobody has read."""
        began = self.clock.monotonic_s()
        begun = self.records.begin_again(came)
        if begun is None:
            return None
        flight = Flight(self, line, came, begun, began, keep=keep)
        flight.step(loop, begun.rows)
        return flight

    def tally(self, method: str, status: int, began: float) -> None:
        self._tallies.answered(self._path, method, status, self.clock.monotonic_s() - began)


class Flight(Stepped[Rows]):
    """One request under way. Implements `foundation.wire.line.Answering`."""

    __slots__ = (
        "_began",
        "_begun",
        "_gone",
        "_keep",
        "_lane",
        "_line",
        "_sent",
        "done",
        "started",
    )

    buffered = 0
    until_closed = False
    ended = True

    def __init__(
        self,
        lane: Lane,
        line: Runway,
        sent: Sent | Came,
        begun: Begun,
        began: float,
        *,
        keep: bool,
    ) -> None:
        self._lane = lane
        self._line = line
        self._sent = sent
        self._begun = begun
        self._began = began
        self._keep = keep
        self._gone = False
        self.started = False
        self.done = False

    # --- from the client's connection ------------------------------------------------------------------------------------------

    def data(self, piece: bytes) -> None:
        """The body came with the head."""

    def end(self) -> None:
        """It has ended."""

    def leave(self) -> None:
        self._gone = True

    def close_after(self) -> None:
        self._keep = False

    # --- from Postgres -----------------------------------------------------------------------------------------------------------

    def came(self, result: Rows) -> None:
        lane, line = self._lane, self._line
        try:
            answer = lane.records.answer_now(self._begun.asked, result)
        except Exception as exc:  # noqa: BLE001 - told by the task, as every fault of a request
            self.goes_on(_raising(exc))
            return
        if answer is None:
            self.goes_on(_already(result))
            return
        self.started = self.done = True
        method, keep = self._begun.asked.method, self._keep
        if not self._gone:  # what is counted can wait, the client cannot
            line.write(answer.sent(line.dated(), keep=keep))
        lane.records.end(self._begun.turn)
        lane.tally(method, answer.status, self._began)
        if not self._gone:
            line.answered(keep=keep)

    def goes_on(self, rest: Coroutine[Any, Any, Rows]) -> None:
        sent = self._sent if isinstance(self._sent, Sent) else read_again(self._sent)
        head, target = sent.head, sent.target
        scope = self._line.scope(head, target, sent.fields)
        scope[BEGAN] = self._began
        scope["extensions"][BEGUN] = Begun(self._begun.asked, rest, self._begun.turn)
        cycle = Cycle(self._line, self._loop, method=target.method, minor=head.minor, keep=self._keep, expects=False)
        cycle.begin_with(sent.body)
        if self._gone:
            cycle.leave()
        self._line.run(cycle, self._lane(scope, cycle.receive, cycle.send))


class Door(door.Door):
    """The cell service's HTTP/1.1 protocol: that of every process, with plain requests on tables answered at once."""

    __slots__ = ("_came",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._came: Came | None = None  # what is being read, where its like may come again

    def data_received(self, data: bytes) -> None:
        app, one = self._app, None
        if self._cycle is None and self._reader.fresh() and not self._parting.begun and isinstance(app, Lane):
            one = came(data)
        if one is None or not self._departs_again(app, one):
            self._came = one
            super().data_received(data)
            self._came = None

    def _departs_again(self, lane: Lane, one: Came) -> bool:
        if self._transport.is_closing():
            return False
        try:
            flight = lane.depart_again(self, self._loop, one, keep=not self._last())
        except Exception as exc:  # noqa: BLE001 - as below
            log.fault("departure_failed", exc)
            return False
        if flight is None:
            return False
        self._read_elsewhere(flight)
        return True

    def answer_now(self, head: RequestHead, asked: Target, fields: Framed, body: bytes, *, keep: bool) -> Flight | None:
        if not isinstance(self._app, Lane):
            return None
        try:
            return self._app.depart(self, self._loop, head, asked, fields, body, keep=keep, came=self._came)
        except Exception as exc:  # noqa: BLE001 - the task that answers instead meets it too, and tells the client
            log.fault("departure_failed", exc)
            return None

    def scope(self, head: RequestHead, asked: Target, fields: Framed) -> Scope:
        return self._scope(head, asked, fields)


async def _already(rows: Rows) -> Rows:
    return rows


async def _raising(exc: Exception) -> Rows:
    raise exc

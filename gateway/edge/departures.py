"""What is plain and known here goes to its service at once, in the callback that read it; and what is not goes by a task
(`gateway.edge.lane`, `gateway.edge.walk`)."""

import asyncio
from functools import partial

from starlette.types import Receive, Send

from directory.placement.core import Placement
from foundation.problems import Problem
from foundation.trace import start
from foundation.wire.head import Fields, RequestHead
from foundation.wire.targets import Asked
from gateway.edge.begun import Begun
from gateway.edge.body import Body
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.exchanges import Exchanges
from gateway.edge.familiar import Came, Familiar
from gateway.edge.flight import Flight, Runway
from gateway.edge.headers import RequestFields
from gateway.edge.limits.gate import Gate
from gateway.edge.outcome import Admitted, Outcome
from gateway.edge.records import Records
from gateway.edge.request import Request, trace_of, verb_of
from gateway.edge.target import ORDINARY, controls, target_of
from gateway.edge.walk import SERVES, Walk
from gateway.identity.tokens import Identity
from routing_rules.policy import Policy


class Departures:
    """One per gateway. None of what it says means that anything has happened, but that limits have counted what their fields say."""

    def __init__(
        self, *, desk: Desk, exchanges: Exchanges, walk: Walk, records: Records, gate: Gate, body_bytes_max: int
    ) -> None:
        self._desk = desk
        self._exchanges = exchanges
        self._walk = walk
        self._records = records
        self._gate = gate
        self._body_bytes_max = body_bytes_max
        self.familiar = Familiar()

    def depart(
        self,
        line: Runway,
        loop: asyncio.AbstractEventLoop,
        head: RequestHead,
        asked: Asked,
        fields: RequestFields,
        body: bytes,
        *,
        peer: str,
        scheme: str,
        keep: bool,
    ) -> Flight | None:
        """For a request that came whole. None unless it is plain, everything is known here, it is admitted at home, and a connection to
        the service is idle."""
        book = self._desk.open_book()
        if (
            isinstance(book, Problem)
            or len(body) > self._body_bytes_max
            or not _is_plain(asked, fields, head.fields, book.policy)
        ):
            return None
        target = target_of(asked.method, asked.path, book.policy.services)
        if isinstance(target, Problem) or target.route is not ORDINARY:
            return None
        verb, trace = verb_of(asked.method, fields), trace_of(fields)
        request = Request(
            asked.method, asked.path, asked.query, asked.sent, fields, target, peer, scheme, verb, trace, line=line
        )
        return self._departed(line, loop, request, book, body, minor=head.minor, keep=keep)

    def depart_again(
        self,
        line: Runway,
        loop: asyncio.AbstractEventLoop,
        came: Came,
        *,
        peer: str,
        scheme: str,
        keep: bool,
    ) -> Flight | None:
        """The same for one whose fields came before. `came` says what limits have counted of it."""
        book = self._desk.open_book()
        if isinstance(book, Problem) or len(came.body) > self._body_bytes_max:
            return None
        fields = self.familiar.fields_of(came, loop.time())
        target = None if fields is None else book.ordinary(came.service, came.path)
        if fields is None or target is None:
            return None
        trace = start() if fields.traceparent is None else trace_of(fields)
        request = Request(
            came.method, came.path, came.query, came.sent, fields, target, peer, scheme, came.verb, trace, line=line
        )
        try:
            return self._departed(line, loop, request, book, came.body, minor=1, keep=keep)
        finally:
            came.counted = fields.counted

    def _departed(
        self,
        line: Runway,
        loop: asyncio.AbstractEventLoop,
        request: Request,
        book: Book,
        body: bytes,
        *,
        minor: int,
        keep: bool,
    ) -> Flight | None:
        person = self._desk.person_now(request.fields.authorization)
        if person is None:
            return None
        who, home = person
        admitted: Outcome | None = book.again(home, request.target.service, request.verb)
        if admitted is None:
            admitted = self._desk.judge(self._desk.person(request, who, home), book)
        if not isinstance(admitted, Admitted) or admitted.crosses is not None:
            return None
        if not self._gate.passes(request.peer, request.fields, home.subject_id):
            return None
        own = self._records.own
        if own and self._records.recorder.problem() is not None:
            return None
        begun = self._exchanges.begin_now(request, admitted, body, book, loop.time())
        if begun is None:
            return None
        if own:  # there is room, and nothing comes between
            try:
                self._records.access(request, admitted)
            except BaseException:
                begun.end()
                raise
        self._desk.person_known()
        SERVES.value += 1
        resume = partial(self._resume, request, who, home, admitted)
        flight = Flight(line, loop, self._exchanges, request, admitted, begun, resume, minor, body, keep)
        connection = begun.exchange.connection
        connection.listener = flight.heard
        if request.method != "HEAD":
            connection.landing = flight.lands
        return flight

    async def _resume(
        self,
        request: Request,
        who: Identity,
        home: Placement,
        admitted: Admitted,
        begun: Begun,
        receive: Receive,
        send: Send,
    ) -> None:
        gathered = self._desk.person(request, who, home)
        await self._walk.answered(
            request, gathered, admitted, Body(receive, request.fields, self._body_bytes_max), send, begun
        )


def _is_plain(asked: Asked, fields: RequestFields, sent: Fields, policy: Policy) -> bool:
    """Whether nothing about a request needs more than the facts of a person's own request at home."""
    if fields.hop is not None or fields.acts_for is not None or fields.chunked or fields.handshake is not None:
        return False
    if policy.product.session_cookie is not None and any(name == b"cookie" for name, _ in sent):
        return False
    return not controls(asked.path)

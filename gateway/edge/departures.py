"""What is plain and known here goes to its service at once, in the callback that read it; and what is not goes by a task
(`gateway.edge.lane`, `gateway.edge.walk`)."""

import asyncio

from starlette.types import Receive, Send

from foundation.problems import Problem
from foundation.trace import as_written, new_header
from foundation.wire.head import Fields, RequestHead
from foundation.wire.targets import Asked
from gateway.edge.body import Body
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.exchanges import Exchanges, begun_of
from gateway.edge.familiar import KEPT_S, Came, Familiar
from gateway.edge.flight import Flight, Runway
from gateway.edge.forwards import METHOD, NAME
from gateway.edge.headers import RequestFields
from gateway.edge.limits.gate import Gate
from gateway.edge.outcome import Admitted, Outcome
from gateway.edge.records import Records
from gateway.edge.request import trace_of, verb_of
from gateway.edge.target import ORDINARY, Target, controls, target_of
from gateway.edge.walk import SERVES, Walk
from routing_rules.policy import Policy


class Departures:
    """One per gateway. None of what it says means that anything has happened, but that limits have counted what their fields say."""

    def __init__(
        self, *, desk: Desk, exchanges: Exchanges, walk: Walk, records: Records, gate: Gate, body_bytes_max: int
    ) -> None:
        self._desk = desk
        self._walk = walk
        self._records = records
        self._gate = gate
        self._body_bytes_max = body_bytes_max
        self.exchanges = exchanges
        self.lasting = desk.lasting
        self.familiar = Familiar()

    def forget(self) -> None:
        """What is kept of heads that came before."""
        self.familiar.forget()
        self.exchanges.landing.forget()

    async def forgetting(self) -> None:
        """Holds the bound on how long it is kept, also while nobody asks; a worker of the process."""
        while True:
            await asyncio.sleep(KEPT_S)
            self.forget()

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
        one = _came(asked, fields, body)
        try:
            return self._departed(line, loop, one, fields, target, book, peer, scheme, head.minor, keep, loop.time())
        finally:
            fields.counted, fields.over_ms = one.counted, one.over_ms

    def depart_again(
        self, line: Runway, loop: asyncio.AbstractEventLoop, one: Came, peer: str, scheme: str, *, keep: bool
    ) -> Flight | None:
        """The same for one whose fields came before. `one` says what limits have counted of it."""
        desk = self._desk
        book, trouble = desk.book, desk.trouble  # a callable that is an attribute is found slowly where it is called
        if book is None or trouble() is not None or len(one.body) > self._body_bytes_max:
            return None
        now = loop.time()
        fields = self.familiar.known(one, now)
        target = None if fields is None else book.ordinary(one.service, one.path)
        if fields is None or target is None:
            return None
        return self._departed(line, loop, one, fields, target, book, peer, scheme, 1, keep, now)

    def _departed(
        self,
        line: Runway,
        loop: asyncio.AbstractEventLoop,
        one: Came,
        fields: RequestFields,
        target: Target,
        book: Book,
        peer: str,
        scheme: str,
        minor: int,
        keep: bool,
        now: float,
    ) -> Flight | None:
        desk, records = self._desk, self._records
        person = desk.person_now(one.authorization)
        if person is None:
            return None
        who, home = person
        admitted = book.again(home, target.service, one.verb)
        if admitted is None:
            admitted = _plainly(desk.judge(desk.person(target, one.verb, who, home), book))
            if admitted is None:
                return None
        if not self._gate.passes(peer, one, home.subject_id):
            return None
        if records.own and records.recorder.problem() is not None:
            return None
        traced = new_header() if one.traceparent is None else _continued(one.traceparent)
        aloft = self.exchanges.begin_now(one, fields, admitted, book, traced, peer, scheme, now)
        if aloft is None:
            return None
        if records.own:  # there is room, and nothing comes between
            try:
                records.own_access(admitted, peer, one.forwarded_for, as_written(traced))
            except BaseException:
                begun_of(aloft, now).end()
                raise
        desk.person_known()
        SERVES.value += 1
        pool, ticket, connection, bulkhead = aloft
        flight = Flight(
            self, line, loop, one, fields, target, traced, peer, scheme, who, home, admitted,
            pool, ticket, connection, bulkhead, now, minor, keep,
        )  # fmt: skip
        connection.listener = flight
        if one.method != "HEAD":
            connection.landing = flight
        return flight

    async def goes_on(self, flight: Flight, receive: Receive, send: Send) -> None:
        """By a task, from where the flight stands."""
        request, begun = flight.handed_over()
        gathered = self._desk.person(request.target, request.verb, flight.who, flight.home)
        body = Body(receive, request.fields, self._body_bytes_max)
        await self._walk.answered(request, gathered, flight.admitted, body, send, begun)


def _came(asked: Asked, fields: RequestFields, body: bytes) -> Came:
    """Of one that was read strictly."""
    return Came(
        asked.method,
        verb_of(asked.method, fields),
        asked.sent,
        asked.path,
        b"",
        asked.query,
        b"",
        fields.authorization,
        fields.content_length,
        fields.traceparent,
        fields.forwarded_for,
        body,
    )


def _plainly(outcome: Outcome) -> Admitted | None:
    """Who is admitted without a crossing to be booked first."""
    return outcome if isinstance(outcome, Admitted) and outcome.crosses is None else None


def _continued(traceparent: bytes) -> bytes:
    return trace_of(traceparent).header().encode("ascii")


def _is_plain(asked: Asked, fields: RequestFields, sent: Fields, policy: Policy) -> bool:
    """Whether nothing about a request needs more than the facts of a person's own request at home."""
    if fields.hop is not None or fields.acts_for is not None or fields.chunked or fields.handshake is not None:
        return False
    if asked.method == METHOD and any(name == NAME for name, _ in sent):
        return False
    if policy.product.session_cookie is not None and any(name == b"cookie" for name, _ in sent):
        return False
    return not controls(asked.path)

"""The proxied path as an ASGI callable behind `gateway.edge.door`: head, verdict, exchange. The rest goes to the control surface."""

import asyncio
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from directory.placement.core import Placement
from foundation import logs
from foundation.hop_header import Hop, HopRefused
from foundation.problems import Code, Problem
from foundation.wire.door import FIELDS
from foundation.wire.head import Fields, RequestHead
from foundation.wire.switch import LINE
from foundation.wire.targets import Asked
from gateway.edge.body import KEPT_BYTES_MAX, Body
from gateway.edge.book import Book
from gateway.edge.core import RETRY_AFTER_S, Admitted, Carried, Gathered, Refused
from gateway.edge.desk import Desk, Request
from gateway.edge.exchange import Answerer, Begun
from gateway.edge.flight import Flight, Runway
from gateway.edge.headers import RequestFields
from gateway.edge.limits.gate import Gate
from gateway.edge.observed import HOPS_REFUSED, VERDICTS
from gateway.edge.problems import send_home, send_problem
from gateway.edge.records import Records
from gateway.edge.relay import ClientLeft, raw_target
from gateway.edge.target import HELD_BACK, METHODS_HELD_BACK, Route, Target, target_of
from gateway.edge.unidentified import challenge
from gateway.identity.tokens import Unidentified
from gateway.travel.assembly import Travel
from gateway.travel.carrier import HOP_REFUSED, Seen
from gateway.travel.session import drop_session, take_session
from routing_rules.verdicts import Hairpin

log = logs.get(__name__)

CONTROL_PATHS = frozenset({b"/healthz", b"/readyz", b"/metrics"})
CONTROL_PREFIX = b"/.well-known/domicile"
_NOT_THESE = [(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"), (b"connection", b"close")]
"""Whoever asked for a tunnel may speak on as if there were one: nothing behind the request is read as another."""
_SERVED = VERDICTS.labels("serve")
_CARRIED = VERDICTS.labels("carried")
_HAIRPIN = VERDICTS.labels("hairpin")
_NO_GATEWAY = Problem(code=Code.FORBIDDEN, detail="Domicile-Hop is for gateways, each hop for one request, once")
_TOO_MANY_HOPS = Problem(code=Code.NOT_READY, detail="too many hops at once", retry_after_s=RETRY_AFTER_S)
_ASKED_ANEW = frozenset({Code.CELL_BEHIND, Code.NO_HOME})
_MOVED_ON = Problem(code=Code.CELL_BEHIND, detail="the home has just moved; try again", retry_after_s=RETRY_AFTER_S)
_NOT_RECORDED = Problem(code=Code.NOT_READY, detail="the access cannot be recorded", retry_after_s=RETRY_AFTER_S)
_NOT_BOOKED = Problem(code=Code.NOT_READY, detail="no crossing can be booked here", retry_after_s=RETRY_AFTER_S)


class Lane:
    """One per gateway; `control` is the Starlette application for the gateway's own paths."""

    def __init__(
        self,
        *,
        desk: Desk,
        answerer: Answerer,
        records: Records,
        travel: Travel,
        gate: Gate,
        control: ASGIApp,
    ) -> None:
        self._desk = desk
        self._answerer = answerer
        self._records = records
        self._travel = travel
        self._gate = gate
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._control(scope, receive, send)
            return
        raw_path: bytes = scope["raw_path"]
        if scope["method"].upper() in METHODS_HELD_BACK:
            await send_problem(send, HELD_BACK, _NOT_THESE, close=False)
            return
        if _controls(raw_path):
            await self._control(scope, receive, send)
            return
        fields: RequestFields = scope["extensions"][FIELDS]
        body = Body(receive, fields)
        book = self._desk.open_book()
        if isinstance(book, Problem):
            await self._refuse(send, book, body, fields)
            return
        target = target_of(scope["method"], raw_path, book.policy.services)
        if isinstance(target, Problem):
            await self._refuse(send, target, body, fields)
            return
        client = scope["client"]
        too_many = self._gate.by_address(client[0] if client else "", fields)
        if too_many is not None:
            await self._refuse(send, too_many, body, fields)
            return
        navigates = False
        session = book.policy.product.session_cookie
        if session is not None and target.route is Route.ANONYMOUS:
            drop_session(fields, scope["headers"], session)
        elif session is not None:
            taken = take_session(fields, scope["headers"], session, scope["method"], book.policy)
            if isinstance(taken, Problem):
                await self._refuse(send, taken, body, fields)
                return
            navigates = taken and fields.handshake is None
        request = _request_of(scope, fields, target, navigates=navigates)
        if fields.hop is not None:
            carried = self._taken(request, fields.hop)
            if isinstance(carried, Problem):
                marked = [(b"domicile-refusal", HOP_REFUSED)] if carried is _NO_GATEWAY else None
                await self._refuse(send, carried, body, fields, marked)
                return
            request = carried
        await self._decided(request, body, book, send)

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
        """The plain case of `__call__`, without a task: a request that came whole, everything known here, admitted at home, a connection
        to the service idle. None, and nothing has happened but counting, where anything else is so."""
        if fields.hop is not None or fields.acts_for is not None or fields.chunked or _controls(asked.path):
            return None
        if fields.handshake is not None:
            return None
        book = self._desk.open_book()
        if isinstance(book, Problem) or (book.policy.product.session_cookie is not None and _has_cookie(head.fields)):
            return None
        target = target_of(asked.method, asked.path, book.policy.services)
        if isinstance(target, Problem) or target.route is not Route.ORDINARY:
            return None
        request = Request(
            method=asked.method,
            raw_path=asked.path,
            query=asked.query,
            fields=fields,
            target=target,
            peer=peer,
            scheme=scheme,
            line=line,
        )
        gathered = self._desk.gather_now(request)
        outcome = None if gathered is None else self._desk.judge(gathered, book)
        if not isinstance(outcome, Admitted) or outcome.actor is not None or outcome.crosses is not None:
            return None
        if gathered is None or not self._gate.passes(peer, fields, gathered):
            return None
        begun = self._answerer.begin_now(request, outcome, body, book, loop.time())
        if begun is None:
            return None
        _SERVED.inc()
        return Flight(
            line,
            loop,
            begun,
            method=asked.method,
            minor=head.minor,
            body=body,
            keep=keep,
            finish=partial(self._answerer.finish_now, request, outcome),
            resume=partial(self._resume, request, gathered, outcome),
        )

    async def _resume(
        self, request: Request, gathered: Gathered, admitted: Admitted, begun: Begun, receive: Receive, send: Send
    ) -> None:
        await self._answered(request, gathered, admitted, Body(receive, request.fields), send, begun)

    def _taken(self, request: Request, header: bytes) -> Request | Problem:
        """A request that another region carried here, as its client sent it there; or why nobody is believed to have."""
        fields = request.fields
        try:
            if fields.acts_for is not None or request.target.route is Route.ANONYMOUS:
                raise HopRefused("other")
            hop = self._travel.hops.take(
                header, method=request.method, target=raw_target(request), authorization=fields.authorization
            )
        except HopRefused as exc:
            HOPS_REFUSED.labels(exc.reason).inc()
            log.warning("hop_refused", reason=exc.reason, trace_id=request.trace.trace_id)
            self._records.hop_refused(request, exc.reason)
            return _TOO_MANY_HOPS if exc.reason == "full" else _NO_GATEWAY
        return _as_sent_there(request, hop)

    async def _decided(self, request: Request, body: Body, book: Book, send: Send) -> None:
        desk = self._desk
        gathered = desk.gather_now(request)
        if gathered is None:
            gathered = await desk.gather(request)
        too_many = self._gate.by_person(request.fields, gathered)
        if too_many is not None:
            await self._refuse(send, too_many, body, request.fields)
            return
        outcome = desk.judge(gathered, book)
        if isinstance(outcome, Refused) and outcome.problem.code in _ASKED_ANEW:
            # Only reserved, or nobody's, when this gateway last heard of it: the directory says what has become of it since.
            renewed = await desk.gather_anew(request, gathered)
            if isinstance(renewed.home, Placement):
                gathered, outcome = renewed, desk.judge(renewed, book)
        if not isinstance(outcome, Admitted):
            if isinstance(outcome, Carried):
                await self._carry(request, outcome, body, send)
            else:
                await self._turn_away(request, gathered, outcome, body, send)
            return
        if outcome.actor is not None or outcome.crosses is not None:
            unready = self._answerer.turned_away(outcome) or await self._remembered(request, outcome, book)
            if unready is not None:
                await self._refuse(send, unready, body, request.fields)
                return
        (_SERVED if outcome.crosses is None else _HAIRPIN).inc()
        await self._answered(request, gathered, outcome, body, send)

    async def _answered(
        self,
        request: Request,
        gathered: Gathered,
        admitted: Admitted,
        body: Body,
        send: Send,
        begun: Begun | None = None,
    ) -> None:
        again = partial(self._anew, request, gathered, admitted)
        try:
            problem = await self._answerer.answer(request, admitted, body, self._desk, again, send, begun)
        except ClientLeft:
            return
        if problem is not None:
            await self._refuse(send, problem, body, request.fields)

    async def _anew(self, request: Request, known: Gathered, before: Admitted) -> Admitted | Problem:
        """The verdict anew, over what the directory says now."""
        newest = self._desk.open_book()
        if isinstance(newest, Problem):
            return newest
        renewed = await self._desk.gather_anew(request, known)
        verdict = self._desk.judge(renewed, newest)
        if isinstance(verdict, Refused):
            return self._refusal(request, renewed, verdict)
        if isinstance(verdict, Carried):
            return _MOVED_ON
        if (verdict.cell, verdict.subject) == (before.cell, before.subject):  # what must be on record is
            return verdict
        return await self._remembered(request, verdict, newest) or verdict

    async def _remembered(self, request: Request, admitted: Admitted, book: Book) -> Problem | None:
        """What must be on record before it happens: a crossing in the home cell, a service's access here. None once it is."""
        if admitted.actor is not None and not self._records.access(request, admitted, admitted.actor):
            return self._records.recorder.problem() or _NOT_RECORDED
        return None if admitted.crosses is None else await self._booked(request, admitted, admitted.crosses, book)

    async def _booked(self, request: Request, admitted: Admitted, crosses: Hairpin, book: Book) -> Problem | None:
        """None once the home cell has the crossing durably."""
        bookings, hop = self._travel.bookings, request.hop
        if bookings is None or hop is None:
            return _NOT_BOOKED
        return await bookings.book(request, hop, admitted, crosses, book.policy)

    async def _carry(self, request: Request, carried: Carried, body: Body, send: Send) -> None:
        """Away from home: the home region's gateways answer."""
        _CARRIED.inc()
        client = self._records.client_of(request)
        host, scheme = self._answerer.asked(request)
        seen = Seen(client=client, country=self._records.country_of(client), scheme=scheme, host=host)
        try:
            problem = await self._travel.carrier.carry(request, carried, seen, body, send)
        except ClientLeft:
            return
        if problem is not None:
            await self._refuse(send, problem, body, request.fields)

    async def _turn_away(self, request: Request, gathered: Gathered, refused: Refused, body: Body, send: Send) -> None:
        problem = self._refusal(request, gathered, refused)
        headers = []
        if problem.code is Code.HOME_ELSEWHERE and request.navigates:
            await send_home(send, f"{problem.extra['home']}".encode("ascii") + raw_target(request))
            return
        if problem.status == 401 and isinstance(gathered.who, Unidentified):
            headers.append((b"www-authenticate", challenge(gathered.who).encode("ascii")))
        await self._refuse(send, problem, body, request.fields, headers)

    def _refusal(self, request: Request, gathered: Gathered, refused: Refused) -> Problem:
        """Records and logs a refusal; the problem to answer with. One that cannot be recorded is answered with 503."""
        problem = refused.problem
        if refused.recorded and not self._records.refusal(request, gathered, refused):
            problem = self._records.recorder.problem() or problem
        log.info(
            "refused",
            code=problem.code.value,
            service=request.target.service,
            verb=request.verb.value,
            subject_id=refused.subject,
            trace_id=request.trace.trace_id,
        )
        return problem

    async def _refuse(
        self,
        send: Send,
        problem: Problem,
        body: Body,
        fields: RequestFields,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Answers with a problem document. A body that was not read, and is not small, ends the connection with it."""
        small = fields.content_length is not None and fields.content_length <= KEPT_BYTES_MAX and not fields.expects
        close = not body.read and not small
        await send_problem(send, problem, headers or [], close=close, before_end=body.linger if close else None)


def _controls(raw_path: bytes) -> bool:
    """Whether it is one of the gateway's own paths."""
    return raw_path in CONTROL_PATHS or raw_path.startswith(CONTROL_PREFIX)


def _has_cookie(fields: Fields) -> bool:
    return any(name == b"cookie" for name, _ in fields)


def _request_of(scope: Scope, fields: RequestFields, target: Target, *, navigates: bool) -> Request:
    client = scope["client"]
    return Request(
        method=scope["method"],
        raw_path=scope["raw_path"],
        query=scope["query_string"],
        fields=fields,
        target=target,
        peer=client[0] if client else "",
        scheme=scope["scheme"],
        navigates=navigates,
        line=scope["extensions"][LINE],
    )


def _as_sent_there(request: Request, hop: Hop) -> Request:
    """The request with the client, host and trace that the other region sealed in the hop; forwarding fields beside it say nothing."""
    fields = request.fields
    fields.forwarded_for = []
    fields.forwarded_host = fields.forwarded_proto = None
    fields.host = hop.host.encode("latin-1")
    fields.traceparent = hop.trace.encode("latin-1")
    return Request(
        method=request.method,
        raw_path=request.raw_path,
        query=request.query,
        fields=fields,
        target=request.target,
        peer=hop.client or "",
        scheme=hop.scheme,
        hop=hop,
        line=request.line,
    )

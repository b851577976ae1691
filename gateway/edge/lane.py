"""The proxied path behind `gateway.edge.door`: where a request's path leads, and which of two ways it goes there.

What is plain and known here goes at once, in the callback that read it (`gateway.edge.departures`). All else goes by a task, as an ASGI
application answers (`Lane.__call__`, `gateway.edge.walk`). The gateway's own paths go to the control surface.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from foundation import logs
from foundation.hop_header import HopRefused
from foundation.http import Ready
from foundation.problems import Code, Problem
from foundation.wire.scope import FIELDS, SENT
from foundation.wire.switch import LINE
from gateway.edge.body import Body
from gateway.edge.departures import Departures
from gateway.edge.desk import Desk
from gateway.edge.forwards import METHOD, passed_on
from gateway.edge.headers import RequestFields
from gateway.edge.limits.gate import Gate
from gateway.edge.observed import HOPS_REFUSED
from gateway.edge.outcome import RETRY_AFTER_S
from gateway.edge.problems import send_problem
from gateway.edge.records import Records
from gateway.edge.refusing import refuse
from gateway.edge.relay import TOO_LARGE
from gateway.edge.request import Request, as_sent_there, trace_of, verb_of
from gateway.edge.target import HELD_BACK, METHODS_HELD_BACK, Route, Target, controls, target_of
from gateway.edge.walk import Walk
from gateway.travel.assembly import Travel
from gateway.travel.carrier import HOP_REFUSED
from gateway.travel.session import drop_session, take_session
from routing_rules.policy import Policy

log = logs.get(__name__)

_ALLOW = (b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
_NOT_THESE = [_ALLOW, (b"connection", b"close")]
"""Whoever asked for a tunnel may speak on as if there were one: nothing behind the request is read as another."""
_NO_GATEWAY = Problem(code=Code.FORBIDDEN, detail="Domicile-Hop is for gateways, each hop for one request, once")
_TOO_MANY_HOPS = Problem(code=Code.NOT_READY, detail="too many hops at once", retry_after_s=RETRY_AFTER_S)


class Lane:
    """One per gateway; `control` is the Starlette application for the gateway's own paths. `ready` takes stock for the metrics as well."""

    def __init__(
        self,
        *,
        departures: Departures,
        desk: Desk,
        walk: Walk,
        records: Records,
        travel: Travel,
        gate: Gate,
        control: ASGIApp,
        ready: Ready,
        body_bytes_max: int,
    ) -> None:
        self.departures = departures
        self._desk = desk
        self._walk = walk
        self._records = records
        self._travel = travel
        self._gate = gate
        self._control = control
        self._body_bytes_max = body_bytes_max
        self.ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._control(scope, receive, send)
        elif scope["method"].upper() in METHODS_HELD_BACK:
            await send_problem(send, HELD_BACK, _NOT_THESE, close=False)
        elif controls(scope["raw_path"]):
            await self._control(scope, receive, send)
        else:
            await self._proxied(scope, receive, send)

    async def _proxied(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields: RequestFields = scope["extensions"][FIELDS]
        body = Body(receive, fields, self._body_bytes_max)
        if body.too_large:
            await refuse(send, TOO_LARGE, body, fields)
            return
        book = self._desk.open_book()
        if isinstance(book, Problem):
            await refuse(send, book, body, fields)
            return
        request = self._request(scope, fields, book.policy)
        if isinstance(request, Problem):
            await refuse(send, request, body, fields)
            return
        if request.method == METHOD and not passed_on(fields):
            await _allowed(send, body)
            return
        if fields.hop is not None:
            carried = self._taken(request, fields.hop)
            if isinstance(carried, Problem):
                marked = [(b"domicile-refusal", HOP_REFUSED)] if carried is _NO_GATEWAY else None
                await refuse(send, carried, body, fields, marked)
                return
            request = carried
        await self._walk.decided(request, body, book, send)

    def _request(self, scope: Scope, fields: RequestFields, policy: Policy) -> Request | Problem:
        """The request with its target, once its address has not asked too often, and with the token of its session, if it has one."""
        target = target_of(scope["method"], scope["raw_path"], policy.services)
        if isinstance(target, Problem):
            return target
        peer = scope["client"][0] if scope["client"] else ""
        too_many = self._gate.by_address(peer, fields)
        if too_many is not None:
            return too_many
        navigates = _navigates(scope, fields, target, policy)
        if isinstance(navigates, Problem):
            return navigates
        return Request(
            method=scope["method"],
            raw_path=scope["raw_path"],
            query=scope["query_string"],
            sent=scope["extensions"][SENT],
            fields=fields,
            target=target,
            peer=peer,
            scheme=scope["scheme"],
            verb=verb_of(scope["method"], fields),
            trace=trace_of(fields.traceparent),
            navigates=navigates,
            line=scope["extensions"][LINE],
        )

    def _taken(self, request: Request, header: bytes) -> Request | Problem:
        """A request that another region carried here, as its client sent it there; or why nobody is believed to have."""
        fields = request.fields
        try:
            if fields.acts_for is not None or request.target.route is Route.ANONYMOUS:
                raise HopRefused("other")
            hop = self._travel.hops.take(
                header, method=request.method, target=request.sent, authorization=fields.authorization
            )
        except HopRefused as exc:
            HOPS_REFUSED.labels(exc.reason).inc()
            log.warning("hop_refused", reason=exc.reason, trace_id=request.trace.trace_id)
            self._records.hop_refused(request, exc.reason)
            return _TOO_MANY_HOPS if exc.reason == "full" else _NO_GATEWAY
        return as_sent_there(request, hop)


async def _allowed(send: Send, body: Body) -> None:
    """What may be asked for here; a body that was not read ends the connection with it."""
    headers = [_ALLOW] if body.read else _NOT_THESE
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _navigates(scope: Scope, fields: RequestFields, target: Target, policy: Policy) -> bool | Problem:
    """Takes the token of a session cookie, where policy names one, as if it had been sent as such; whether it is a browser's navigation."""
    session = policy.product.session_cookie
    if session is None:
        return False
    if target.route is Route.ANONYMOUS:
        drop_session(fields, scope["headers"], session)
        return False
    taken = take_session(fields, scope["headers"], session, scope["method"], policy)
    return taken if isinstance(taken, Problem) else taken and fields.handshake is None

"""The proxied path as an ASGI callable: head, verdict, exchange. Everything that is not a service's path goes to the control surface."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from directory.placement.core import Placement
from foundation import logs
from foundation.clock import Clock
from foundation.decision_header import new_decision_id
from foundation.ledger.port import Event, Kind
from foundation.metrics import REFUSALS
from foundation.problems import Code, Problem
from gateway.edge.body import KEPT_BYTES_MAX, Body
from gateway.edge.book import Book
from gateway.edge.core import Admitted, Gathered, Refused, challenge
from gateway.edge.desk import Desk, Request
from gateway.edge.events import Recorder
from gateway.edge.exchange import Answerer, ClientLeft
from gateway.edge.headers import RequestFields, read_request
from gateway.edge.observed import VERDICTS
from gateway.edge.target import target_of
from gateway.identity.address import Address, Network, client_address
from gateway.identity.country import Countries
from gateway.identity.tokens import Unidentified

log = logs.get(__name__)

CONTROL_PATHS = frozenset({b"/healthz", b"/readyz", b"/metrics"})
CONTROL_PREFIX = b"/.well-known/domicile"
ALLOWED = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_NO_HOST = Problem(code=Code.BAD_REQUEST, detail="send one Host header")
_SERVED = VERDICTS.labels("serve")


class Lane:
    """One per gateway; `control` is the Starlette application for the gateway's own paths."""

    def __init__(
        self,
        *,
        desk: Desk,
        answerer: Answerer,
        recorder: Recorder,
        countries: Countries,
        proxies: tuple[Network, ...],
        clock: Clock,
        control: ASGIApp,
    ) -> None:
        self._desk = desk
        self._answerer = answerer
        self._recorder = recorder
        self._countries = countries
        self._proxies = proxies
        self._clock = clock
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._control(scope, receive, send)
            return
        raw_path: bytes = scope["raw_path"]
        if raw_path in CONTROL_PATHS or raw_path.startswith(CONTROL_PREFIX):
            await self._control(scope, receive, send)
            return
        fields = read_request(scope["headers"])
        if isinstance(fields, Problem):
            await send_problem(send, fields, close=True)
            return
        if fields.host is None and scope["http_version"] == "1.1":  # RFC 9112 section 3.2
            await send_problem(send, _NO_HOST, close=True)
            return
        body = Body(receive, fields)
        book = self._desk.open_book()
        if isinstance(book, Problem):
            await self._refuse(send, book, body, fields)
            return
        target = target_of(scope["method"], raw_path, book.policy.services)
        if isinstance(target, Problem):
            allow = [(b"allow", ALLOWED)] if target.code is Code.METHOD_NOT_ALLOWED else None
            await self._refuse(send, target, body, fields, allow)
            return
        client = scope["client"]
        request = Request(
            method=scope["method"],
            raw_path=raw_path,
            query=scope["query_string"],
            fields=fields,
            target=target,
            peer=client[0] if client else "",
            scheme=scope["scheme"],
        )
        await self._decided(request, body, book, send)

    async def _decided(self, request: Request, body: Body, book: Book, send: Send) -> None:
        desk = self._desk
        gathered = desk.gather_now(request)
        if gathered is None:
            gathered = await desk.gather(request)
        outcome = desk.judge(gathered, book)
        if isinstance(outcome, Refused):
            await self._turn_away(request, gathered, outcome, body, send)
            return
        _SERVED.inc()

        known = gathered

        async def again() -> Admitted | Problem:
            """The verdict anew, over what the directory says now."""
            newest = desk.open_book()
            if isinstance(newest, Problem):
                return newest
            renewed = await desk.gather_anew(request, known)
            verdict = desk.judge(renewed, newest)
            return verdict if isinstance(verdict, Admitted) else self._refusal(request, renewed, verdict)

        try:
            problem = await self._answerer.answer(request, outcome, body, desk, again, send)
        except ClientLeft:
            return
        if problem is not None:
            await self._refuse(send, problem, body, request.fields)

    async def _turn_away(self, request: Request, gathered: Gathered, refused: Refused, body: Body, send: Send) -> None:
        problem = self._refusal(request, gathered, refused)
        headers = []
        if problem.status == 401 and isinstance(gathered.who, Unidentified):
            headers.append((b"www-authenticate", challenge(gathered.who).encode("ascii")))
        await self._refuse(send, problem, body, request.fields, headers)

    def _refusal(self, request: Request, gathered: Gathered, refused: Refused) -> Problem:
        """Records and logs a refusal; the problem to answer with. One that cannot be recorded is answered with 503."""
        problem = refused.problem
        if refused.recorded and not self._record(request, gathered, refused):
            problem = self._recorder.problem() or problem
        log.info(
            "refused",
            code=problem.code.value,
            service=request.target.service,
            verb=request.verb.value,
            subject_id=refused.subject,
            trace_id=request.trace.trace_id,
        )
        return problem

    def _record(self, request: Request, gathered: Gathered, refused: Refused) -> bool:
        address = self.client_of(request)
        country = None if address is None else self._countries.of(address)
        details = {
            "code": refused.problem.code.value,
            "ground": refused.ground,
            "service": request.target.service,
            "verb": request.verb.value,
            "rules": refused.digest,
            "cell": gathered.home.cell if isinstance(gathered.home, Placement) else None,
            "region": self._desk.region,
            "observed_country": country,
            "trace_id": request.trace.trace_id,
        }
        return self._recorder.add(
            Event(
                id=new_decision_id(),
                at=self._clock.unix_s(),
                kind=Kind.REFUSAL,
                actor=refused.subject or f"gateway:{self._desk.region}",
                subject_id=refused.subject,
                details=details,
            )
        )

    def client_of(self, request: Request) -> Address | None:
        return client_address(request.peer, request.fields.forwarded_for, self._proxies)

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


async def send_problem(
    send: Send,
    problem: Problem,
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    close: bool,
    before_end: Callable[[], object] | None = None,
) -> None:
    VERDICTS.labels(problem.code.value).inc()
    REFUSALS.labels(problem.code.value).inc()
    document = problem.encode()
    stated = dict(headers or [])
    lines = [
        *((name.encode("ascii"), value.encode("latin-1")) for name, value in problem.headers().items()),
        (b"content-length", str(len(document)).encode("ascii")),
        (b"domicile-verdict", b"redirect" if problem.code is Code.HOME_ELSEWHERE else b"refuse"),
    ]
    lines = [(name, stated.pop(name, value)) for name, value in lines]
    lines.extend(stated.items())
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

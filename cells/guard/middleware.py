"""`Guard`: ASGI middleware before a product service. Every request needs a decision, except on paths that the service names.

A refusal falls at the head, before any of the body is read: a problem document with `Domicile-Refusal`, and `Domicile-Epoch` where the
decision's epoch is older. The rest of a large body is then read and dropped within bounds and the connection closed (RFC 9112
section 9.6), so that the refusal is not lost to a reset.

A websocket passes under a decision to write, since it may read and write, and is closed once that decision would hold no more.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from functools import partial

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cells.guard.client import EPOCH_HEADER, REFUSAL_HEADER, Decided
from cells.guard.core import Ask, Pass, Refusal, Request, Verdict, verdict
from cells.guard.sockets import held, until_changed
from cells.guard.worker import EpochKeeper
from foundation import logs, metrics
from foundation.clock import Clock
from foundation.decision_header import HEADER, DecisionRefused, ServiceVerifier
from foundation.problems import Code, Problem, refuse
from foundation.words import Verb

log = logs.get(__name__)

LINGER_BYTES_MAX = 1 << 20
LINGER_S_MAX = 2.0
DRAINED_BYTES_MAX = 1 << 16
"""Up to this stated length a refused body is left to the server, which drops it and keeps the connection."""
_SCOPE_KEY = "domicile.decided"
_CLOSE_POLICY_VIOLATION = 1008


class Guard:
    """Passes requests to `app` under `cells.guard.core.verdict`; `decided(request)` gives the application its decision.

    `anonymous` paths pass without one (health), `signup` paths are open to sign-up decisions too. Both are exact paths.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        verifier: ServiceVerifier,
        keeper: EpochKeeper,
        clock: Clock,
        anonymous: Iterable[str] = (),
        signup: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._keeper = keeper
        self._clock = clock
        self._anonymous = frozenset(anonymous)
        self._signup = frozenset(signup)
        if self._anonymous & self._signup:
            raise ValueError("a path is either anonymous or a sign-up route")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await self._app(scope, receive, send)
            case "http":
                await self._http(scope, receive, send)
            case _:
                await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.pop(_SCOPE_KEY, None)
        if scope["path"] in self._anonymous:
            await self._app(scope, receive, send)
            return
        outcome = await self._decide(scope)
        if isinstance(outcome, Refusal):
            log.info("guard_refused", code=outcome.problem.code.value, method=scope["method"], epoch=outcome.epoch)
            await _answer(outcome, scope, receive, send)
            return
        scope[_SCOPE_KEY] = outcome
        await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.pop(_SCOPE_KEY, None)
        if scope["path"] in self._anonymous:
            await self._app(scope, receive, send)
            return
        outcome = await self._decide(scope)
        if isinstance(outcome, Decided):
            subject, epoch = outcome.decision.subject, outcome.decision.epoch
            if outcome.decision.verb is Verb.WRITE and subject is not None and epoch is not None:
                scope[_SCOPE_KEY] = outcome
                ends = partial(until_changed, self._keeper, self._clock, subject, epoch)
                await held(self._app, scope, receive, send, ends)
                return
            outcome = _refused(Code.FORBIDDEN, "a websocket is opened under a decision to write")
        log.info("guard_refused", code=outcome.problem.code.value, method="GET", epoch=outcome.epoch)
        await _answer_socket(outcome, scope, send)

    async def _decide(self, scope: Scope) -> Decided | Refusal:
        """The decision under which the request passes, else why not."""
        headers = [value for name, value in scope["headers"] if name == HEADER.encode()]
        if not headers:
            return _refused(Code.UNAUTHENTICATED, "only requests that a gateway has decided are answered here")
        if len(headers) > 1:
            return _refused(Code.FORBIDDEN, "more than one decision")
        header = headers[0].decode("latin-1")
        request = Request(method=scope.get("method", "GET"), signup_route=scope["path"] in self._signup)
        try:
            decided, outcome = self._judge(header, request, asked=False)
            if isinstance(outcome, Ask):
                await self._keeper.ask(outcome.subject)
                decided, outcome = self._judge(header, request, asked=True)
        except DecisionRefused as exc:
            return _refused(Code.FORBIDDEN, f"the decision does not hold: {exc.reason}")
        match outcome:
            case Pass():
                return decided
            case Refusal():
                return outcome
            case Ask():
                return _refused(Code.CELL_BEHIND, "the cell service does not know this epoch yet")

    def _judge(self, header: str, request: Request, *, asked: bool) -> tuple[Decided, Verdict]:
        """Verifies and judges by the clocks of this moment. Raises DecisionRefused."""
        decision = self._verifier.verify(header, self._clock.unix_s())
        outcome = verdict(
            decision,
            request,
            known=self._keeper.known(decision.subject) if decision.subject is not None else None,
            lease=self._keeper.lease,
            now_s=self._clock.monotonic_s(),
            asked=asked,
        )
        return Decided(decision=decision, header=header), outcome


def decided(request: HTTPConnection) -> Decided:
    """The decision under which this request, or websocket, passed the guard. Raises ProblemError on anonymous paths, which have none."""
    found = request.scope.get(_SCOPE_KEY)
    if not isinstance(found, Decided):
        raise refuse(Code.UNAUTHENTICATED, "this path is open to everybody and speaks of nobody")
    return found


def _refused(code: Code, detail: str) -> Refusal:
    return Refusal(problem=Problem(code=code, detail=detail))


async def _answer(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the refusal; with a body of unknown or large size, closes after reading on for a bounded while."""
    lingers = _large_body(scope)
    body, raw = _rendered(refusal)
    if lingers:
        raw.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.problem.status, "headers": raw})
    shown = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown, "more_body": lingers})
    if lingers:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S_MAX):
                await _read_on(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _answer_socket(refusal: Refusal, scope: Scope, send: Send) -> None:
    """The same in the place of the handshake's answer; a server that can send none there closes (ASGI: 403)."""
    body, raw = _rendered(refusal)
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send({"type": "websocket.http.response.start", "status": refusal.problem.status, "headers": raw})
        await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
    else:
        await send({"type": "websocket.close", "code": _CLOSE_POLICY_VIOLATION})


def _rendered(refusal: Refusal) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Document and fields of a refusal, which is counted."""
    problem = refusal.problem
    metrics.REFUSALS.labels(problem.code.value).inc()
    body = problem.encode()
    headers = problem.headers() | {"content-length": str(len(body)), REFUSAL_HEADER: problem.code.value}
    if refusal.epoch is not None:
        headers[EPOCH_HEADER] = str(refusal.epoch)
    return body, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _large_body(scope: Scope) -> bool:
    """Whether a body comes that is chunked or longer than DRAINED_BYTES_MAX (RFC 9112 section 6.3)."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not value.isdigit() or len(value) > 10 or int(value) > DRAINED_BYTES_MAX
    return False


async def _read_on(receive: Receive) -> None:
    """Reads and drops what still comes, at most LINGER_BYTES_MAX."""
    size = 0
    while size <= LINGER_BYTES_MAX:
        message: Message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        size += len(message.get("body", b""))

"""HTTP shells: an application with health, metrics and problem documents; JSON in and out; service callers; a bounded client."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foundation import logs, metrics, trace
from foundation.clock import Clock, SystemClock
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.straight import Straight
from foundation.tokens import (
    FetchJwks,
    Issuer,
    Jwks,
    JwksUnavailable,
    TokenFile,
    TokenRefused,
    TokenVerifier,
    fetch_jwks_file,
)
from foundation.wire.transport import Transport

log = logs.get(__name__)

S = TypeVar("S")
HttpClient: TypeAlias = httpx.AsyncClient  # noqa: TID251 - the name by which others type what `client` yields
BODY_BYTES_MAX = 1 << 20
BODY_S_MAX = 900.0
"""In which all of a body comes that is read whole, however seldom it is silent."""
BEGAN = "domicile.began"
"""Under which key of the scope stands when a request came (monotonic seconds), where it was under way before an application had it."""
Ready = Callable[[], Problem | None]
"""None when the process would take traffic, else why not."""


# --- serving -----------------------------------------------------------------------------------------------------------------


def application(
    routes: Sequence[BaseRoute],
    *,
    ready: Ready,
    exception_handlers: Mapping[Any, Callable[[Request, Exception], Any]] | None = None,
    straight: Sequence[Route] = (),
) -> ASGIApp:
    """A Starlette application with `/healthz`, `/readyz`, `/metrics`, problem documents, trace context and request metrics.

    `exception_handlers` are the service's own, beside those for problems and faults. `straight`: those of the routes that most
    requests are for (`foundation.straight`).
    """

    async def healthz(request: Request) -> Response:
        return json_response({"status": "alive"})

    async def readyz(request: Request) -> Response:
        problem = ready()
        metrics.READY.set(0 if problem else 1)
        return problem_response(problem) if problem else json_response({"status": "ready"})

    async def exposition(request: Request) -> Response:
        body, content_type = metrics.exposition()
        return Response(body, media_type=content_type)

    app = Starlette(
        # Routes are tried in turn: those of the service's own work come first.
        routes=[*routes, Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition)],
        exception_handlers={**(exception_handlers or {}), **_HANDLERS, Exception: _on_fault},
    )
    return Observed(Straight(straight, app, _answer) if straight else app)


class Observed:
    """ASGI middleware: continues the caller's trace, counts and times requests by route pattern. Under another one it does nothing."""

    def __init__(self, app: ASGIApp, clock: Clock | None = None) -> None:
        self._app = app
        self._clock = clock or SystemClock()
        self._tallies = metrics.Tallies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "trace" in scope:
            await self._app(scope, receive, send)
            return
        started: float = scope.get(BEGAN) or self._clock.monotonic_s()
        incoming = next((v for k, v in scope["headers"] if k == b"traceparent"), b"")
        scope["trace"] = trace.continue_or_start(incoming.decode("latin-1"))
        status = 500

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._tallies.answered(route, scope["method"], status, self._clock.monotonic_s() - started)


def trace_of(request: Request) -> trace.Trace:
    found = request.scope.get("trace")
    return found if isinstance(found, trace.Trace) else trace.start()


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Encodes structs and plain values with msgspec."""
    return Response(msgspec.json.encode(value), status_code=status, headers=headers, media_type="application/json")


def problem_response(problem: Problem) -> Response:
    metrics.REFUSALS.labels(problem.code.value).inc()
    return Response(problem.encode(), status_code=problem.status, headers=problem.headers())


async def _on_problem(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, ProblemError):
        raise exc
    return problem_response(exc.problem)


_HTTP_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 413: Code.TOO_LARGE}


async def _on_http_exception(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    code = _HTTP_CODES.get(exc.status_code, Code.BAD_REQUEST)
    response = problem_response(Problem(code=code, detail=f"{request.method} on this path: {exc.detail}"))
    # Allow of a 405 (RFC 9110 section 15.5.6) comes this way.
    response.headers.update(exc.headers or {})
    return response


async def _on_disconnect(request: Request, exc: Exception) -> Response:
    """The caller left while its body was being read: nobody hears the answer, and nothing broke here."""
    return Response(status_code=400)


async def _on_fault(request: Request, exc: Exception) -> Response:
    log.fault("request_fault", exc, trace_id=trace_of(request).trace_id)
    return problem_response(Problem(code=Code.INTERNAL, detail=f"trace {trace_of(request).trace_id}"))


_HANDLERS = {ProblemError: _on_problem, HTTPException: _on_http_exception, ClientDisconnect: _on_disconnect}


async def _answer(exc: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """What Starlette's layers make of an exception by the handlers above."""
    on: Callable[[Request, Exception], Awaitable[Response]] = _on_fault
    for kind, handler in _HANDLERS.items():
        if isinstance(exc, kind):
            on = handler
            break
    answer = await on(Request(scope, receive), exc)
    await answer(scope, receive, send)


async def body_bytes(request: Request, *, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body, bounded in size and time. Raises ProblemError (TOO_LARGE, REQUEST_TIMEOUT)."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                size += len(chunk)
                if size > bytes_max:
                    raise refuse(Code.TOO_LARGE, f"the body may be {bytes_max} bytes long", bytes_max=bytes_max)
                chunks.append(chunk)
    except TimeoutError as exc:
        raise refuse(Code.REQUEST_TIMEOUT, "the body did not arrive in time") from exc
    return b"".join(chunks)


async def body_json(request: Request, shape: type[S], *, bytes_max: int = BODY_BYTES_MAX) -> S:
    """The body as `shape` (declare structs with forbid_unknown_fields). Raises ProblemError."""
    raw = await body_bytes(request, bytes_max=bytes_max)
    try:
        return msgspec.json.decode(raw, type=shape)
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
    ) as exc:  # the second for bytes that are no UTF-8 where text is expected
        raise refuse(Code.BAD_REQUEST, f"the JSON body is not as expected: {exc}") from exc
    except RecursionError as exc:
        raise refuse(Code.BAD_REQUEST, "the JSON body is nested too deeply") from exc


_DIGITS_MAX = 19
"""Digits of 2^63; longer numbers are refused unread (Python itself raises on thousands of digits)."""


def query_int(request: Request, name: str, default: int, *, low: int, high: int) -> int:
    """A whole number from the query string within bounds. Raises ProblemError."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if len(text) > _DIGITS_MAX or not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise refuse(Code.BAD_REQUEST, f"query parameter {name} is a whole number from {low} to {high}")
    return int(text)


# --- service callers ---------------------------------------------------------------------------------------------------------


class Caller(msgspec.Struct, frozen=True):
    """An authenticated service: its actor id (`gateway:eu`, `service:orders`, `operator:cli`) and roles."""

    actor: str
    roles: frozenset[str]

    def require(self, *roles: str) -> None:
        """Raises ProblemError(FORBIDDEN) unless the caller holds one of `roles`."""
        if not self.roles.intersection(roles):
            raise refuse(Code.FORBIDDEN, f"needs one of the roles: {', '.join(roles)}")


AUTH_CACHE_MAX = 1_024
AUTH_CACHE_S = 30.0


Verified = Callable[[Caller, str, float], Awaitable[None]]
"""Hears of a caller whose token was verified: its SHA-256 and its `exp`. Raises ProblemError for one for whom nothing may be done yet."""


class ServiceAuth:
    """Authenticates service tokens: `Authorization: Bearer` with `sub` (the actor) and `roles` (a list).

    A verified token is known again, by its digest, for AUTH_CACHE_S and never beyond its own `exp`: services show one token many times.
    """

    def __init__(
        self, verifier: TokenVerifier, clock: Clock | None = None, *, verified: Verified | None = None
    ) -> None:
        self._verifier = verifier
        self._clock = clock or SystemClock()
        self._on_verified = verified
        self._known: dict[bytes, tuple[Caller, float]] = {}

    async def caller(self, request: Request) -> Caller:
        """Raises ProblemError (UNAUTHENTICATED, or NOT_READY where the keys cannot be had)."""
        token = bearer(request.headers.get("authorization"))
        if token is None:
            raise refuse(Code.UNAUTHENTICATED, "send Authorization: Bearer with a service token")
        digest, now = _digest(token), self._clock.unix_s()
        known = self._known.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        caller, expires = await self._verified(token)
        if self._on_verified is not None:
            await self._on_verified(caller, digest.hex(), expires)
        while len(self._known) >= AUTH_CACHE_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[digest] = caller, min(expires, now + AUTH_CACHE_S)
        return caller

    def known(self, header: str) -> Caller | None:
        """The caller whose `Authorization` this is, where that is known without a look at the token; None: ask `caller`."""
        token = bearer(header)
        known = None if token is None else self._known.get(_digest(token))
        return known[0] if known is not None and self._clock.unix_s() < known[1] else None

    async def _verified(self, token: str) -> tuple[Caller, float]:
        """The caller and the token's `exp`. Raises ProblemError."""
        try:
            claims = await self._verifier.verify(token)
        except TokenRefused as exc:
            raise refuse(Code.UNAUTHENTICATED, f"the service token is refused: {exc.reason}") from exc
        except JwksUnavailable as exc:
            raise refuse(Code.NOT_READY, "the service issuer's keys cannot be fetched", retry_after_s=1) from exc
        roles = claims.get("roles")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise refuse(Code.FORBIDDEN, "the service token states no roles")
        return Caller(actor=claims["sub"], roles=frozenset(roles)), float(claims["exp"])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def bearer(header: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750 section 2.1), or None."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


# --- calling -----------------------------------------------------------------------------------------------------------------


class _Client(httpx.AsyncClient):  # noqa: TID251 - this is the place
    """httpx's without what control traffic never meets: cookies, redirects, log lines and authentication in several steps, which take
    twice as long as an exchange on loopback (docs/benchmarks/resolve.md). `token` is read for each request. Raises OSError of its file."""

    def __init__(self, wire: Transport, token: TokenFile | None, **settings: Any) -> None:
        super().__init__(transport=wire, trust_env=False, **settings)
        self._wire = wire
        self._token = token

    async def send(self, request: httpx.Request, *, stream: bool = False, **_: Any) -> httpx.Response:
        if self._token is not None:
            request.headers["authorization"] = f"Bearer {self._token.token().reveal()}"
        response = await self._wire.handle_async_request(request)
        response.request = request
        if not stream:
            await response.aread()
        return response


@asynccontextmanager
async def client(
    base_url: str = "",
    *,
    token: TokenFile | None = None,
    total_s: float = 5.0,
    connect_s: float = 1.0,
    connections_max: int = 32,
) -> AsyncIterator[HttpClient]:
    """An httpx client for control traffic: every wait bounded, no proxies from the environment, no redirects, nothing streamed."""
    wire = Transport(connections_max=connections_max, wait_s=total_s)
    async with _Client(wire, token, base_url=base_url, timeout=httpx.Timeout(total_s, connect=connect_s)) as created:
        yield created


JWKS_BYTES_MAX = 1 << 18


def fetch_jwks_url(http: HttpClient, url: str) -> FetchJwks:
    """A key set behind a URL."""

    async def fetch() -> bytes:
        try:
            response = await http.get(url)
        except httpx.HTTPError as exc:
            raise JwksUnavailable(type(exc).__name__) from exc
        if response.status_code != 200 or len(response.content) > JWKS_BYTES_MAX:
            raise JwksUnavailable(f"status {response.status_code}")
        return response.content

    return fetch


def token_verifier(issuers: Sequence[Issuer], http: HttpClient, clock: Clock) -> TokenVerifier:
    """A verifier over configured issuers; `jwks` is a URL or a file path."""
    sources: dict[str, tuple[str, Jwks]] = {}
    for issuer in issuers:
        fetch = fetch_jwks_url(http, issuer.jwks) if "://" in issuer.jwks else fetch_jwks_file(Path(issuer.jwks))
        sources[issuer.issuer] = (issuer.audience, Jwks(fetch, clock))
    return TokenVerifier(sources, clock)

"""Carries an admitted request to its service and the answer back; tries once more where that is safe.

A service's `Domicile-Refusal: stale_epoch` leads to a new look at the directory and one more try, `cell_behind` to growing waits and
further tries within a second, both only while the whole body is still here. A request for a websocket goes the same way until its service
answers 101; any other answer is an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from prometheus_client import Histogram
from starlette.types import Send

from foundation import logs
from foundation.problems import Code, Problem
from foundation.wire.head import StatusHead
from foundation.words import CellId, ServiceId
from gateway.edge.body import Body
from gateway.edge.book import Book
from gateway.edge.core import RETRY_AFTER_S, Admitted
from gateway.edge.desk import Desk, Request
from gateway.edge.handshake import UPGRADE
from gateway.edge.headers import read_response
from gateway.edge.observed import FAULTS, RETRIES, SERVED
from gateway.edge.relay import STALLED, ClientLeft, Helper, Stay, framed, read_small, relay, request_line, via
from gateway.edge.sockets import Sockets
from gateway.edge.tries import Tries
from gateway.edge.upstream.connection import Fault, UpstreamFailed
from gateway.edge.upstream.forwarder import Exchange, Forwarder, may_repeat
from gateway.identity.address import Network, trusted

log = logs.get(__name__)

_REFUSAL = b"domicile-refusal"
_CURABLE = {code.value.encode("ascii"): code for code in (Code.STALE_EPOCH, Code.CELL_BEHIND)}

Again = Callable[[], Awaitable[Admitted | Problem]]


class Begun(NamedTuple):
    """An exchange under way, since `at` on the loop's clock."""

    exchange: Exchange
    at: float


class Answer(NamedTuple):
    """A whole answer, as the client gets it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Answerer:
    """Forwards admitted requests. Holds what is the same for all of them."""

    def __init__(self, forwarder: Forwarder, proxies: tuple[Network, ...], *, stall_s: float, sockets: Sockets) -> None:
        self._forwarder = forwarder
        self._sockets = sockets
        self._proxies = proxies
        self._stall_s = stall_s
        self._trusted: dict[str, bool] = {}
        self._served: dict[tuple[CellId, ServiceId], Histogram] = {}  # labels() costs more than observe()

    async def answer(
        self,
        request: Request,
        admitted: Admitted,
        body: Body,
        desk: Desk,
        again: Again,
        send: Send,
        begun: Begun | None = None,
    ) -> Problem | None:
        """Sends the service's answer, or returns the problem to answer with. `begun`: the first try, under way already.

        Raises ClientLeft, AnswerBroken.
        """
        if request.fields.handshake is None:
            return await self._answer(request, admitted, body, desk, again, send, begun)
        with self._sockets.room() as room:
            return room or await self._answer(request, admitted, body, desk, again, send, begun)

    async def _answer(
        self,
        request: Request,
        admitted: Admitted,
        body: Body,
        desk: Desk,
        again: Again,
        send: Send,
        begun: Begun | None,
    ) -> Problem | None:
        unread = await read_small(body, stall_s=self._stall_s)
        if unread is not None:
            return unread
        tries = Tries()
        while True:
            book = desk.book
            if book is None:
                return Problem(code=Code.NOT_READY, detail="the rules are gone", retry_after_s=RETRY_AFTER_S)
            try:
                first, begun = begun, None
                refusal = await self._try(
                    request, admitted, body, desk, book, send, fresh=tries.after_fault, begun=first
                )
            except UpstreamFailed as exc:
                FAULTS.labels(exc.fault.value).inc()
                if may_repeat(exc, method=request.method, whole=body.whole is not None) and tries.again_after_fault():
                    RETRIES.labels("reset").inc()
                    continue
                return self._problem_of(exc, admitted, request)
            if refusal is None:
                return None
            wait_s = tries.again_after(refusal)
            if wait_s is None or body.whole is None:
                return _behind(refusal)
            RETRIES.labels(refusal.value).inc()
            await asyncio.sleep(wait_s)
            if refusal is Code.STALE_EPOCH or admitted.epoch is None:
                # Without an epoch it is a sign-up, which may have been placed meanwhile.
                renewed = await again()
                if isinstance(renewed, Problem):
                    return renewed
                admitted = renewed

    def begin_now(self, request: Request, admitted: Admitted, body: bytes, book: Book, now: float) -> Begun | None:
        """The exchange of a request that came whole, where a connection is idle; `now` on the loop's clock. Never waits."""
        exchange = self._forwarder.open_now(
            admitted.hosts,
            request_line(request),
            partial(self._rest, request, admitted, framed(request.fields, body), book),
            head_only=request.method == "HEAD",
        )
        return None if exchange is None else Begun(exchange, now)

    def finish_now(self, request: Request, admitted: Admitted, begun: Begun, now: float) -> Answer | None:
        """The answer of an exchange that is complete, which ends here; None where another try may cure it, and it does not end."""
        connection = begun.exchange.connection
        head = connection.known_head
        if head is None or _refusal_of(head) is not None:
            return None
        headers = read_response(head.fields, status=head.status, head_only=request.method == "HEAD")
        headers.extend(_stated(admitted))
        answer = Answer(head.status, headers, connection.take())
        begun.exchange.end()
        self._observe(admitted, now - begun.at)
        return answer

    async def _try(
        self,
        request: Request,
        admitted: Admitted,
        body: Body,
        desk: Desk,
        book: Book,
        send: Send,
        *,
        fresh: bool,
        begun: Begun | None = None,
    ) -> Code | None:
        """One exchange, on a connection just made if `fresh`. None when the answer was sent, else the refusal that another try may cure."""
        loop = asyncio.get_running_loop()
        started = loop.time() if begun is None else begun.at
        exchange = await self._opened(request, admitted, body, book, fresh=fresh) if begun is None else begun.exchange
        stay = _stay(request, admitted, desk)
        helper = Helper(loop, body, exchange, stay)
        try:
            head = await exchange.connection.head()
            refusal = _refusal_of(head)
            if refusal is not None:
                return refusal
            if head.status == 101:
                helper.end()
                await self._sockets.carry(request, admitted, exchange, head, _stated(admitted), stay)
                return None
            place = {"cell": admitted.cell, "service": admitted.service}
            await relay(request, head, _stated(admitted), exchange, body, helper, send, place)
        except UpstreamFailed as exc:
            if exc.fault is Fault.CLIENT_GONE:
                raise ClientLeft from exc
            raise
        finally:
            helper.leave()
            exchange.end()
        self._observe(admitted, loop.time() - started)
        return None

    async def _opened(self, request: Request, admitted: Admitted, body: Body, book: Book, *, fresh: bool) -> Exchange:
        return await self._forwarder.open(
            admitted.hosts,
            request_line(request),
            lambda: self._rest(request, admitted, framed(request.fields, body.whole), book),
            head_only=request.method == "HEAD",
            done=body.whole is not None,
            fresh=fresh,
            upgrade=request.fields.handshake is not None,
        )

    def _rest(self, request: Request, admitted: Admitted, last: bytes, book: Book) -> bytes:
        """The fields that go to the service, and `last` of them those that frame the body, with what follows."""
        fields = request.fields
        parts = list(fields.kept)
        if admitted.digest is not None:
            parts.append(b"domicile-decision: %b\r\n" % book.mint(admitted).encode("ascii"))
        peer = request.peer.encode("ascii")
        host, scheme = fields.host or b"", request.scheme.encode("ascii")
        if self._is_trusted(request.peer):
            if fields.forwarded_for:
                peer = b"%b, %b" % (b", ".join(fields.forwarded_for), peer)
            host = fields.forwarded_host or host
            scheme = fields.forwarded_proto or scheme
        parts.append(
            b"traceparent: %b\r\nx-forwarded-for: %b\r\nx-forwarded-host: %b\r\nx-forwarded-proto: %b\r\nvia: %b\r\n"
            % (request.trace.header().encode("ascii"), peer, host, scheme, via(fields))
        )
        if fields.handshake is not None:
            parts.append(UPGRADE)
        parts.append(last)
        return b"".join(parts)

    def asked(self, request: Request) -> tuple[str, str]:
        """The host and scheme that the client asked for, as this gateway or a proxy that it trusts saw them."""
        fields = request.fields
        host, scheme = fields.host or b"", request.scheme.encode("ascii")
        if self._is_trusted(request.peer):
            host, scheme = fields.forwarded_host or host, fields.forwarded_proto or scheme
        return host.decode("latin-1"), scheme.decode("latin-1")

    def _observe(self, admitted: Admitted, took_s: float) -> None:
        place = (admitted.cell, admitted.service)
        served = self._served.get(place)
        if served is None:
            served = self._served[place] = SERVED.labels(*place)
        served.observe(took_s)

    def _is_trusted(self, peer: str) -> bool:
        known = self._trusted.get(peer)
        if known is None:
            if len(self._trusted) > 4096:
                self._trusted.clear()
            known = self._trusted[peer] = trusted(peer, self._proxies)
        return known

    def _problem_of(self, failed: UpstreamFailed, admitted: Admitted, request: Request) -> Problem:
        log.warning(
            "exchange_failed",
            reason=failed.fault.value,
            cell=admitted.cell,
            service=admitted.service,
            trace_id=request.trace.trace_id,
        )
        match failed.fault:
            case Fault.TIMEOUT:
                return Problem(code=Code.UPSTREAM_TIMEOUT, detail=f"service {admitted.service}")
            case Fault.CLIENT_STALLED:
                return STALLED
            case Fault.CONNECT | Fault.BUSY:
                return Problem(
                    code=Code.CELL_UNREACHABLE, detail=f"service {admitted.service}", retry_after_s=RETRY_AFTER_S
                )
            case Fault.RESET | Fault.PROTOCOL | Fault.CLIENT_GONE | Fault.OUTDATED:
                return Problem(code=Code.UPSTREAM_BROKEN, detail=f"service {admitted.service}")


def _stay(request: Request, admitted: Admitted, desk: Desk) -> Stay | None:
    if admitted.subject is None or admitted.epoch is None:
        return None
    return Stay(desk.lasting, admitted.subject, admitted.epoch, request.line)


def _stated(admitted: Admitted) -> list[tuple[bytes, bytes]]:
    """What the client is told of the verdict."""
    stated = [
        (b"domicile-cell", admitted.cell.encode("ascii")),
        (b"domicile-verdict", b"serve" if admitted.crosses is None else b"hairpin"),
    ]
    if admitted.epoch is not None:
        stated.append((b"domicile-epoch", b"%d" % admitted.epoch))
    return stated


def _refusal_of(head: StatusHead) -> Code | None:
    """The service's refusal that another try may cure, or None. Only refusals carry it: never a success."""
    if head.status < 400:
        return None
    for name, value in head.fields:
        if name == _REFUSAL:
            return _CURABLE.get(value)
    return None


def _behind(refusal: Code) -> Problem:
    detail = f"the cell answered {refusal.value}; try again"
    return Problem(code=Code.CELL_BEHIND, detail=detail, retry_after_s=RETRY_AFTER_S)

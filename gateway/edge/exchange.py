"""Carries an admitted request to its service and the answer back; tries once more where that is safe.

A service's `Domicile-Refusal: stale_epoch` leads to a new look at the directory and one more try, `cell_behind` to growing waits and
further tries within a second, both only while the whole body is still here. What a cell's service has no room or no health for is turned
away at once. A request for a websocket goes the same way until its service answers 101; any other answer is an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from starlette.types import Send

from foundation.counting import Spread
from foundation.problems import Code, Problem
from foundation.words import CellId, ServiceId
from gateway.edge.answers import client_fields, refusal_of, stated, stated_lines
from gateway.edge.begun import Begun
from gateway.edge.body import Body
from gateway.edge.book import Book
from gateway.edge.bulkhead import Bulkheads
from gateway.edge.desk import Desk
from gateway.edge.failures import behind, busy, problem_of, unreachable
from gateway.edge.landing import Landing
from gateway.edge.observed import FAULTS, RETRIES, SERVED
from gateway.edge.outbound import Outbound, request_line
from gateway.edge.outcome import RETRY_AFTER_S, Admitted
from gateway.edge.relay import ClientLeft, Helper, Stay, read_small, relay
from gateway.edge.request import Request
from gateway.edge.sockets import Sockets
from gateway.edge.tries import Tries
from gateway.edge.upstream.connection import Fault, UpstreamFailed
from gateway.edge.upstream.forwarder import Forwarder, Sending, head_of, may_repeat

Again = Callable[[], Awaitable[Admitted | Problem]]


class Answer(NamedTuple):
    """A whole answer, as the client gets it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Answerer:
    """Forwards admitted requests. Holds what is the same for all of them."""

    def __init__(
        self,
        forwarder: Forwarder,
        outbound: Outbound,
        bulkheads: Bulkheads,
        sockets: Sockets,
        *,
        stall_s: float,
    ) -> None:
        self._forwarder = forwarder
        self._bulkheads = bulkheads
        self._sockets = sockets
        self._outbound = outbound
        self._stall_s = stall_s
        self._landing = Landing()
        self._served: dict[tuple[CellId, ServiceId], Spread] = {}  # labels() costs more than observe()

    def turned_away(self, admitted: Admitted) -> Problem | None:
        """Why the cell's service is not to be asked now: it has too much under way, or no address of it is well. Never another's cell."""
        if self._bulkheads.of(admitted.cell, admitted.service).refuses():
            return busy(admitted)
        wait_s = self._forwarder.barred_s(admitted.hosts)
        if wait_s is None:
            return None
        FAULTS.labels(Fault.OPEN.value).inc()
        return unreachable(admitted, wait_s)

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
        """Sends the service's answer, or returns the problem to answer with. `begun`: the first try, under way already; it ends here.

        Raises ClientLeft, AnswerBroken.
        """
        try:
            turned_away = self.turned_away(admitted) if begun is None else None
            if turned_away is not None:
                return turned_away
            if request.fields.handshake is None:
                return await self._answered(request, admitted, body, desk, again, send, begun)
            with self._sockets.room() as full:
                return full or await self._answered(request, admitted, body, desk, again, send, begun)
        finally:
            if begun is not None:
                begun.end()

    async def _answered(
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
                return problem_of(exc, admitted, request)
            if refusal is None or isinstance(refusal, Problem):
                return refusal
            wait_s = tries.again_after(refusal)
            if wait_s is None or body.whole is None:
                return behind(refusal)
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
        bulkhead = self._bulkheads.of(admitted.cell, admitted.service)
        if bulkhead.under_way >= bulkhead.exchanges_max:
            return None
        exchange = self._forwarder.take_now(admitted.hosts)
        if exchange is None:
            return None
        connection = exchange.connection
        try:
            head = head_of(request_line(request), exchange.host, self._outbound.rest(request, admitted, body, book))
            began = connection.begin(head, head_only=request.method == "HEAD", done=True)
        except BaseException:
            exchange.end()
            raise
        if not began:
            exchange.end()
            return None
        bulkhead.enter()
        return Begun(exchange, now, bulkhead)

    def finish_now(self, request: Request, admitted: Admitted, begun: Begun, now: float) -> Answer | None:
        """The answer of an exchange that is complete, which ends here; None where another try may cure it, and it does not end."""
        connection = begun.exchange.connection
        head = connection.known_head
        if head is None or refusal_of(head) is not None:
            return None
        fields = client_fields(head, stated(admitted), method=request.method)
        answer = Answer(head.status, fields, connection.take())
        begun.finish()
        self._served_at(admitted).observe(now - begun.at)
        return answer

    def land(
        self, admitted: Admitted, begun: Begun, data: bytes, dated: bytes, *, keep: bool, now: float
    ) -> bytes | None:
        """The client's answer where `data` is the whole answer of an exchange that `begin_now` began; then that ends here, else None."""
        answer = self._landing.answer(data, stated_lines(admitted), dated, keep=keep, now_s=now)
        if answer is not None:
            begun.landed(now)
            served = self._served.get((admitted.cell, admitted.service))
            if served is None:
                served = self._served_at(admitted)
            served.observe(now - begun.at)
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
    ) -> Code | Problem | None:
        """One exchange, on a connection just made if `fresh`. None when the answer was sent; a code: the service's refusal that another
        try may cure; a problem: there was no place for it."""
        loop = asyncio.get_running_loop()
        if begun is None:
            begun = await self._begun(request, admitted, body, book, fresh=fresh)
        if begun is None:
            return busy(admitted)
        exchange = begun.exchange
        stay = _stay(request, admitted, desk)
        helper = Helper(loop, body, exchange, stay)
        try:
            head = await exchange.head()
            refusal = refusal_of(head)
            if refusal is not None:
                return refusal
            if head.status == 101:
                helper.end()
                begun.leave()
                await self._sockets.carry(request, admitted, exchange, head, stated(admitted), stay)
                return None
            place = {"cell": admitted.cell, "service": admitted.service}
            await relay(request, head, stated(admitted), exchange, body, helper, send, place)
        except UpstreamFailed as exc:
            if exc.fault is Fault.CLIENT_GONE:
                raise ClientLeft from exc
            raise
        finally:
            helper.leave()
            begun.end()
        self._served_at(admitted).observe(loop.time() - begun.at)
        return None

    async def _begun(
        self, request: Request, admitted: Admitted, body: Body, book: Book, *, fresh: bool
    ) -> Begun | None:
        """None where there is no place for it. Raises UpstreamFailed."""
        at = asyncio.get_running_loop().time()
        bulkhead = self._bulkheads.of(admitted.cell, admitted.service)
        if not bulkhead.enter():
            return None
        try:
            exchange = await self._forwarder.open(
                admitted.hosts, self._sending(request, admitted, body.whole, book), fresh=fresh
            )
        except BaseException:
            bulkhead.leave()
            raise
        return Begun(exchange, at, bulkhead)

    def _sending(self, request: Request, admitted: Admitted, whole: bytes | None, book: Book) -> Sending:
        return Sending(
            request_line(request),
            partial(self._outbound.rest, request, admitted, whole, book),
            request.method == "HEAD",
            whole is not None,
            request.fields.handshake is not None,
        )

    def _served_at(self, admitted: Admitted) -> Spread:
        place = (admitted.cell, admitted.service)
        served = self._served.get(place)
        if served is None:
            served = self._served[place] = SERVED.labels(*place)
        return served


def _stay(request: Request, admitted: Admitted, desk: Desk) -> Stay | None:
    if admitted.subject is None or admitted.epoch is None:
        return None
    return Stay(desk.lasting, admitted.subject, admitted.epoch, request.line)

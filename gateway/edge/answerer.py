"""Carries an admitted request to its service and the answer back; tries once more where that is safe.

A service's `Domicile-Refusal: stale_epoch` leads to a new look at the directory and one more try, `cell_behind` to growing waits and
further tries within a second, both only while the whole body is still here. What a cell's service has no room or no health for is turned
away at once. A request for a websocket goes the same way until its service answers 101; any other answer is an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Send

from foundation.problems import Code, Problem
from gateway.edge.answers import refusal_of, stated
from gateway.edge.begun import Begun
from gateway.edge.body import Body
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.exchanges import Exchanges
from gateway.edge.failures import behind, busy, problem_of
from gateway.edge.observed import FAULTS, RETRIES
from gateway.edge.outcome import RETRY_AFTER_S, Admitted
from gateway.edge.relay import ClientLeft, Helper, Stay, read_small, relay
from gateway.edge.request import Request
from gateway.edge.sockets import Sockets
from gateway.edge.tries import Tries
from gateway.edge.upstream.fault import Fault, UpstreamFailed
from gateway.edge.upstream.forwarder import may_repeat
from gateway.settings import Upstream

Again = Callable[[], Awaitable[Admitted | Problem]]


class Answerer:
    """Forwards admitted requests. Holds what is the same for all of them."""

    def __init__(self, exchanges: Exchanges, sockets: Sockets, limits: Upstream) -> None:
        self._exchanges = exchanges
        self._sockets = sockets
        self._limits = limits

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
            turned_away = self._exchanges.turned_away(admitted) if begun is None else None
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
        unread = await read_small(body, self._limits)
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
        if begun is None:
            begun = await self._exchanges.begin(request, admitted, body.whole, book, fresh=fresh)
        if begun is None:
            return busy(admitted)
        exchange = begun.exchange
        exchange.connection.over = begun.leave
        stay = _stay(request, admitted, desk)
        helper = Helper(asyncio.get_running_loop(), body, exchange, stay)
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
        begun.took(asyncio.get_running_loop().time())
        return None


def _stay(request: Request, admitted: Admitted, desk: Desk) -> Stay | None:
    if admitted.subject is None or admitted.epoch is None:
        return None
    return Stay(desk.lasting, admitted.subject, admitted.epoch, request.line)

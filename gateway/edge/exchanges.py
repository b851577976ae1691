"""Exchanges with cells' services: each in a place behind the bulkhead of its cell's service, and timed; begun and ended at once, in
callbacks, or by a task."""

import asyncio
from functools import partial
from typing import NamedTuple

from foundation.problems import Problem
from gateway.edge.answers import client_fields, refusal_of, stated
from gateway.edge.begun import Begun
from gateway.edge.book import Book
from gateway.edge.bulkhead import Bulkhead, Bulkheads
from gateway.edge.failures import busy, unreachable
from gateway.edge.familiar import Came
from gateway.edge.headers import RequestFields
from gateway.edge.landing import Landing
from gateway.edge.observed import FAULTS
from gateway.edge.outbound import Outbound, request_line
from gateway.edge.outcome import Admitted
from gateway.edge.request import Request
from gateway.edge.upstream.connection import Connection
from gateway.edge.upstream.exchange import Exchange, Sending
from gateway.edge.upstream.fault import Fault
from gateway.edge.upstream.forwarder import Forwarder
from gateway.edge.upstream.pool import AddressPool

Aloft = tuple[AddressPool, int, Connection, Bulkhead]
"""An exchange that was begun at once: what `begun_of` makes a `Begun` of, for most of them need none."""


class Answer(NamedTuple):
    """A whole answer, as the client gets it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def begun_of(aloft: Aloft, at: float) -> Begun:
    """Once only, since it is ended once. `at`: when it was begun."""
    pool, ticket, connection, bulkhead = aloft
    return Begun(Exchange(pool, ticket, connection), at, bulkhead)


class Exchanges:
    """One per gateway."""

    def __init__(self, forwarder: Forwarder, outbound: Outbound, bulkheads: Bulkheads) -> None:
        self._forwarder = forwarder
        self._bulkheads = bulkheads
        self._outbound = outbound
        self.landing = Landing()
        """For answers to what `begin_now` began."""

    def turned_away(self, admitted: Admitted) -> Problem | None:
        """Why the cell's service is not to be asked now: it has too much under way, or no address of it is well. Never another's cell."""
        if self._bulkheads.of(admitted.cell, admitted.service).refuses():
            return busy(admitted)
        wait_s = self._forwarder.barred_s(admitted.hosts)
        if wait_s is None:
            return None
        FAULTS.labels(Fault.OPEN.value).inc()
        return unreachable(admitted, wait_s)

    # --- at once -------------------------------------------------------------------------------------------------------------

    def begin_now(
        self,
        one: Came,
        fields: RequestFields,
        admitted: Admitted,
        book: Book,
        traced: bytes,
        peer: str,
        scheme: str,
        now: float,
    ) -> Aloft | None:
        """The exchange of a request that came whole, where a connection is idle; `now` on the loop's clock. Never waits. Whoever is to hear
        what comes of it is made the connection's `listener`, and its `landing`, next. `traced`: the header of its trace."""
        bulkhead = self._bulkheads.of(admitted.cell, admitted.service)
        if bulkhead.under_way >= bulkhead.exchanges_max:
            return None
        taken = self._forwarder.take_now(admitted.hosts)
        if taken is None:
            return None
        pool, ticket, connection = taken
        try:
            data = self._outbound.whole(one, fields, admitted, book, traced, peer, scheme, pool.behind_target)
            began = connection.begin_now(data, now, pool.outbox, head_only=one.method == "HEAD")
        except BaseException:
            Exchange(pool, ticket, connection).end()
            raise
        if not began:
            Exchange(pool, ticket, connection).end()
            return None
        bulkhead.under_way += 1
        return pool, ticket, connection, bulkhead

    def finish_now(self, method: str, admitted: Admitted, begun: Begun, now: float) -> Answer | None:
        """The answer of an exchange that is complete, which ends here; None where another try may cure it, and it does not end."""
        connection = begun.exchange.connection
        head = connection.known_head
        if head is None or refusal_of(head) is not None:
            return None
        fields = client_fields(head, stated(admitted), method=method)
        answer = Answer(head.status, fields, connection.take())
        begun.finish(now)
        return answer

    # --- by a task -----------------------------------------------------------------------------------------------------------

    async def begin(
        self, request: Request, admitted: Admitted, whole: bytes | None, book: Book, *, fresh: bool
    ) -> Begun | None:
        """One on a connection just made if `fresh`; its body goes with the head if it is `whole`. None where there is no place for it.
        Raises UpstreamFailed."""
        at = asyncio.get_running_loop().time()
        bulkhead = self._bulkheads.of(admitted.cell, admitted.service)
        if not bulkhead.enter():
            return None
        try:
            exchange = await self._forwarder.open(
                admitted.hosts, self._sending(request, admitted, whole, book), fresh=fresh
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

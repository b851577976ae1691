"""Websockets of this gateway: how many, how one is opened once its service has agreed, and what ends it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from foundation import logs
from foundation.problems import Code, Problem
from foundation.wire.head import StatusHead
from gateway.edge.handshake import SWITCHED, accepted
from gateway.edge.headers import read_response
from gateway.edge.observed import WEBSOCKETS, WEBSOCKETS_ENDED
from gateway.edge.outcome import RETRY_AFTER_S, Admitted
from gateway.edge.relay import ClientLeft, Stay
from gateway.edge.request import Request
from gateway.edge.tunnel import Tunnel
from gateway.edge.upstream.exchange import Exchange
from gateway.edge.upstream.fault import Fault, UpstreamFailed
from gateway.settings import Websockets

log = logs.get(__name__)

_FULL = Problem(code=Code.NOT_READY, detail="too many websockets are open here", retry_after_s=RETRY_AFTER_S)


class Sockets:
    """One per gateway."""

    def __init__(self, limits: Websockets) -> None:
        self._limits = limits
        self._count = 0

    @contextmanager
    def room(self) -> Iterator[Problem | None]:
        """Holds one place among those that may be open; a Problem where there is none."""
        if self._count >= self._limits.open_max:
            yield _FULL
            return
        self._count += 1
        WEBSOCKETS.set(self._count)
        try:
            yield None
        finally:
            self._count -= 1
            WEBSOCKETS.set(self._count)

    async def carry(
        self,
        request: Request,
        admitted: Admitted,
        exchange: Exchange,
        head: StatusHead,
        stated: Sequence[tuple[bytes, bytes]],
        stay: Stay | None,
    ) -> None:
        """Hands the service's 101 on and is both connections' owner until they have ended. Raises UpstreamFailed, ClientLeft."""
        handshake = request.fields.handshake
        if handshake is None or not accepted(handshake, head):
            raise UpstreamFailed(Fault.PROTOCOL, answered=True)
        service, ahead = exchange.detach()
        tunnel = Tunnel(asyncio.get_running_loop(), self._limits)
        entry = None
        try:
            fields = [*read_response(head.fields, status=101, head_only=False), *stated, *SWITCHED]
            if request.line is None or not request.line.switch(fields, tunnel.client):
                raise ClientLeft
            tunnel.open(service, ahead)
            if stay is not None:
                entry = stay.lasting.enter(stay.subject, stay.epoch, tunnel.outdated, moment_s=0.0)
            ending = await tunnel.over
        finally:
            if stay is not None and entry is not None:
                stay.lasting.leave(entry)
            service.abort()
            tunnel.abort()
        WEBSOCKETS_ENDED.labels(ending.value).inc()
        log.info(
            "websocket_ended",
            reason=ending.value,
            cell=admitted.cell,
            service=admitted.service,
            trace_id=request.trace.trace_id,
        )

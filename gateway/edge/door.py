"""The gateway's HTTP/1.1 protocol: that of every process, with a request's fields sorted once, for the proxied path as well."""

import asyncio
from collections.abc import Callable
from typing import Any

from mypy_extensions import mypyc_attr
from uvicorn.config import Config

from foundation import logs
from foundation.problems import Problem
from foundation.wire.door import Door
from foundation.wire.framing import Framed
from foundation.wire.head import RequestHead
from foundation.wire.serving import State
from foundation.wire.targets import Asked
from gateway.edge.departures import Departures
from gateway.edge.familiar import Came, came
from gateway.edge.flight import Flight
from gateway.edge.handshake import handshake_of
from gateway.edge.headers import RequestFields, read_request
from gateway.edge.lane import Lane
from gateway.edge.problems import rendered

log = logs.get(__name__)


@mypyc_attr(allow_interpreted_subclasses=True)
class EdgeDoor(Door):
    """Give it to `uvicorn.Config(http=...)`. The sorted fields (`RequestFields`) stand in the scope under `extensions[FIELDS]` of
    `foundation.wire.scope`."""

    __slots__ = ("_came", "_departures", "_peer", "looks")

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._departures = self._app.departures if isinstance(self._app, Lane) else None
        self._peer = ""
        self._came: Came | None = None  # what is being read, where it may be like what came before
        self.looks: Callable[[bytes], Came | None] = came
        """How to look for what may be like what came before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer = self._client[0] if self._client else ""

    def read(self, head: RequestHead, asked: Asked) -> RequestFields | Problem:
        fields = read_request(head.fields, minor=head.minor)
        if isinstance(fields, Problem):
            return fields
        if asked.authority is not None:
            fields.host = asked.authority  # RFC 9112 section 3.2.2
        if fields.upgrades and head.minor:  # of HTTP/1.0 it is ignored (RFC 9110 section 7.8)
            handshake = handshake_of(asked.method, head.fields)
            if isinstance(handshake, Problem):
                return handshake
            fields.handshake = handshake
        return fields

    def data_received(self, data: bytes) -> None:
        departures, came = self._departures, None
        # Also between two requests something may be held: what came behind the one before, and waits for its turn.
        between = self._idle or (self._cycle is None and not self._parting.begun)
        if between and departures is not None and self._reader.fresh():
            looks = self.looks  # a callable that is an attribute is found slowly where it is called
            came = looks(data)
            if came is not None and self._departs_again(departures, came):
                return
        self._came = came
        super().data_received(data)
        self._came = None

    def _departs_again(self, departures: Departures, came: Came) -> bool:
        if self._transport.is_closing():
            return False
        keep = not (self._leaving or self._server.leaving)
        try:
            flight = departures.depart_again(self, self._loop, came, self._peer, self._scheme, keep=keep)
        except Exception as exc:  # noqa: BLE001 - as below
            log.fault("departure_failed", exc)
            return False
        if flight is None:
            return False
        self._read_elsewhere(flight)
        return True

    def answer_now(self, head: RequestHead, asked: Asked, fields: Framed, body: bytes, *, keep: bool) -> Flight | None:
        departures, came = self._departures, self._came
        if departures is None or not isinstance(fields, RequestFields):
            return None
        if came is not None and (came.counted or came.over_ms):  # it has been tried
            fields.counted, fields.over_ms = came.counted, came.over_ms
            return None
        try:
            flight = departures.depart(
                self, self._loop, head, asked, fields, body, peer=self._peer, scheme=self._scheme, keep=keep
            )
        except Exception as exc:  # noqa: BLE001 - the task that answers instead meets it too, and tells the client
            log.fault("departure_failed", exc)
            return None
        if flight is not None and came is not None:
            departures.familiar.learn(came, head, fields)
        return flight

    def refusal(self, problem: Problem) -> bytes:
        return rendered(problem, self.dated())

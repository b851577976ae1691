"""The gateway's HTTP/1.1 protocol: that of every process, with a request's fields sorted once, for the proxied path as well."""

from foundation import logs
from foundation.problems import Problem
from foundation.wire import door
from foundation.wire.framing import Framed
from foundation.wire.head import RequestHead
from foundation.wire.targets import Asked
from gateway.edge.flight import Flight
from gateway.edge.handshake import handshake_of
from gateway.edge.headers import RequestFields, read_request
from gateway.edge.lane import Lane
from gateway.edge.problems import rendered

log = logs.get(__name__)


class Door(door.Door):
    """Give it to `uvicorn.Config(http=...)`. The sorted fields (`RequestFields`) stand in the scope under `extensions[FIELDS]` of
    `foundation.wire.scope`."""

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

    def answer_now(self, head: RequestHead, asked: Asked, fields: Framed, body: bytes, *, keep: bool) -> Flight | None:
        if not (isinstance(self._app, Lane) and isinstance(fields, RequestFields)):
            return None
        peer = self._client[0] if self._client else ""
        try:
            return self._app.depart(
                self, self._loop, head, asked, fields, body, peer=peer, scheme=self._scheme, keep=keep
            )
        except Exception as exc:  # noqa: BLE001 - the task that answers instead meets it too, and tells the client
            log.fault("departure_failed", exc)
            return None

    def refusal(self, problem: Problem) -> bytes:
        return rendered(problem, self.dated())

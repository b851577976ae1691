"""The head of a request on the proxied path, as everything behind the door sees it."""

import msgspec

from foundation.hop_header import Hop
from foundation.trace import Trace, continue_or_start, start
from foundation.wire.switch import Line
from foundation.words import Verb, verb_of_method
from gateway.edge.headers import RequestFields
from gateway.edge.target import Target


class Request(msgspec.Struct):
    """One request.

    `sent`: path and query, as they came and go on. `hop`: set on one that another region carried here. `navigates`: a browser's
    navigation by session cookie, which may be redirected. `line`: the connection that it came by. One that asks for a websocket is a
    write (`gateway.edge.upgraded`).
    """

    method: str
    raw_path: bytes
    query: bytes
    sent: bytes
    fields: RequestFields
    target: Target
    peer: str
    scheme: str
    verb: Verb
    trace: Trace
    hop: Hop | None = None
    navigates: bool = False
    line: Line | None = None


def verb_of(method: str, fields: RequestFields) -> Verb:
    return verb_of_method(method) if fields.handshake is None else Verb.WRITE


def trace_of(traceparent: bytes | None) -> Trace:
    """A new span of the trace that the client sent, or of a new one."""
    return start() if traceparent is None else continue_or_start(traceparent.decode("latin-1"))


def as_sent_there(request: Request, hop: Hop) -> Request:
    """The request with the client, host and trace that the other region sealed in the hop; forwarding fields beside it say nothing."""
    fields = request.fields
    fields.forwarded_for = []
    fields.forwarded_host = fields.forwarded_proto = None
    fields.host = hop.host.encode("latin-1")
    fields.traceparent = hop.trace.encode("latin-1")
    return Request(
        method=request.method,
        raw_path=request.raw_path,
        query=request.query,
        sent=request.sent,
        fields=fields,
        target=request.target,
        peer=hop.client or "",
        scheme=hop.scheme,
        verb=request.verb,
        trace=trace_of(fields.traceparent),
        hop=hop,
        line=request.line,
    )

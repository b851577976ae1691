"""Header hygiene, both ways. Pure.

Dropped: hop-by-hop fields and those that `Connection` names (RFC 9110 section 7.6.1), `Authorization`, everything that could pass for
a `Domicile-*` header, forwarding headers of others (rewritten), and what would override the decided method or target. The body is
framed anew, so no second reading of its length exists. Of the inbound `Domicile-*` headers the edge itself reads two, `Domicile-For` and
`Domicile-Hop`; one that stands twice, or is spelt so that only some servers would take it for one of them, is read as empty: it says
something that nobody will be believed for.
"""

from collections.abc import Iterable, Sequence

import msgspec

from foundation.problems import Code, Problem
from foundation.wire import framing
from gateway.edge.handshake import Handshake

Pairs = Sequence[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
     b"transfer-encoding", b"upgrade"}
)  # fmt: skip
_UNDECIDED = frozenset(
    {b"path-info", b"remote-user", b"script-name", b"x-http-method", b"x-http-method-override", b"x-method-override",
     b"x-original-host", b"x-original-url", b"x-rewrite-url"}
)  # fmt: skip
"""Fields by which frameworks take another method, path or host than the one that was decided, or another person: gunicorn reads the first
three, spelt with underscores, from a proxy that it trusts, and one on its own machine it trusts unasked."""
_SPECIAL_REQUEST = (
    _HOP_BY_HOP
    | _UNDECIDED
    | {
        b"authorization",
        b"content-length",
        b"expect",
        b"forwarded",
        b"host",
        b"traceparent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
_FORWARDED_PREFIX = b"x-forwarded-"
_SPECIAL_RESPONSE = _HOP_BY_HOP | {b"date", b"content-length"}
_TOKENS_MAX = 32
_USUAL = frozenset(
    {b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"content-encoding", b"content-type", b"cookie", b"dnt",
     b"if-match", b"if-modified-since", b"if-none-match", b"origin", b"pragma", b"prefer", b"priority", b"range", b"referer",
     b"sec-ch-ua", b"sec-ch-ua-mobile", b"sec-ch-ua-platform", b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site",
     b"sec-fetch-user", b"upgrade-insecure-requests", b"user-agent", b"x-requested-with"}
)  # fmt: skip
"""Names that go on and need no further look: most are among them."""
_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_FOLDED = bytes(byte if byte in _PLAIN else 0x2D for byte in range(256))
"""What servers that hand fields on as variables make of other characters in a name: underscores of all of them, as of hyphens."""


class Written(msgspec.Struct):
    """What services get of fields that come again and again (`gateway.edge.familiar`), written out: `kept`, and to those who came by
    `peer` and `scheme` last, `whence` (`gateway.edge.outbound`)."""

    kept: bytes
    peer: str = ""
    scheme: str = ""
    whence: bytes = b""


class RequestFields(msgspec.Struct):
    """A request's header fields, sorted: `kept` go on as they are (rendered lines), the rest is what the edge reads itself."""

    minor: int = 1
    """Of the HTTP/1 that it came by."""
    kept: list[bytes] = []
    host: bytes | None = None
    authorization: bytes | None = None
    content_length: int | None = None
    chunked: bool = False
    counted: int = 0
    """How many of its limits it has passed (`gateway.edge.limits.gate`): by address 1, by who asks as well 2."""
    over_ms: float = 0.0
    """Of the limit that comes next: how long it is to wait, where that is known already."""
    closes: bool = False
    """Its connection carries no other request."""
    expects: bool = False
    traceparent: bytes | None = None
    via: list[bytes] = []
    forwarded_for: list[bytes] = []
    forwarded_host: bytes | None = None
    forwarded_proto: bytes | None = None
    acts_for: bytes | None = None
    """`Domicile-For`; empty where it is ambiguous."""
    hop: bytes | None = None
    """`Domicile-Hop`; empty where it is ambiguous."""
    upgrades: bool = False
    handshake: Handshake | None = None
    """A websocket is asked for."""
    written: Written | None = None

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


def read_request(headers: Iterable[tuple[bytes, bytes]], *, minor: int = 1) -> RequestFields | Problem:
    """Sorts the fields of a request of HTTP/1.`minor`; names are lower case already. A Problem where framing, host or a credential is
    ambiguous."""
    fields = RequestFields(minor)
    kept = fields.kept
    connection: list[bytes] = []
    for name, value in headers:
        if name in _SPECIAL_REQUEST:
            if name == b"authorization" and fields.authorization is None:
                fields.authorization = value
                continue
            problem = _read_special(fields, connection, name, value)
            if problem is not None:
                return problem
        elif name in _USUAL:
            kept.append(b"%b: %b\r\n" % (name, value))
        elif name[:8] == b"domicile":
            _read_own(fields, name, value)
        elif name.translate(None, _PLAIN) and _edges_own(name.translate(_FOLDED)):
            pass  # the same trick with a field that is the edge's own, such as `X_Forwarded_For`
        elif name[:12] == _FORWARDED_PREFIX:
            pass  # X-Forwarded-Port, -Prefix, …: nobody here vouches for them
        else:
            kept.append(b"%b: %b\r\n" % (name, value))
    if not (connection or fields.chunked or fields.upgrades) and fields.host is not None:
        return fields  # nothing that could contradict anything
    return _contradiction(fields, connection, minor) or fields


def _contradiction(fields: RequestFields, connection: list[bytes], minor: int) -> Problem | None:
    """What fields say against each other; those that `Connection` names end here."""
    problem = framing.contradiction(fields, minor)
    if problem is not None:
        return problem
    tokens = _tokens(connection)
    if len(tokens) > _TOKENS_MAX:
        return _bad("too many connection options")
    fields.closes = b"close" in tokens or fields.upgrades  # one that is not made: whoever asked may believe that it was
    if fields.upgrades and fields.has_body and b"upgrade" in tokens:
        return _bad("a request that asks for an upgrade has no body here; send it as plain HTTP/1.1")
    named = frozenset(tokens) - _NEVER_NAMED
    if named:
        fields.kept = [line for line in fields.kept if line.partition(b":")[0] not in named]
    return None


def _read_own(fields: RequestFields, name: bytes, value: bytes) -> None:
    """`Domicile_For` counts as well, ambiguous: some servers fold underscores into hyphens."""
    match name[9:]:
        case b"for":
            fields.acts_for = value if name == b"domicile-for" and fields.acts_for is None else b""
        case b"hop":
            fields.hop = value if name == b"domicile-hop" and fields.hop is None else b""
        case _:
            pass


def _edges_own(name: bytes) -> bool:
    return name in _SPECIAL_REQUEST or name[:12] == _FORWARDED_PREFIX


def _read_special(fields: RequestFields, connection: list[bytes], name: bytes, value: bytes) -> Problem | None:
    match name:
        case b"host":
            problem, fields.host = framing.host(value, fields.host), value
            return problem
        case b"authorization":
            return Problem(code=Code.MALFORMED_TOKEN, detail="send one Authorization header")
        case b"content-length":
            stated = framing.length(value, fields.content_length)
            if isinstance(stated, Problem):
                return stated
            fields.content_length = stated
        case b"transfer-encoding":
            problem, fields.chunked = framing.coding(value, before=fields.chunked), True
            return problem
        case b"connection":
            connection.append(value)
        case b"expect":
            fields.expects = True
            return framing.expectation(value)
        case b"upgrade":
            fields.upgrades = True
        case _:
            _read_forwarding(fields, name, value)
    return None


def _read_forwarding(fields: RequestFields, name: bytes, value: bytes) -> None:
    match name:
        case b"traceparent":
            fields.traceparent = value
        case b"via":
            fields.via.append(value)
        case b"x-forwarded-for":
            fields.forwarded_for.append(value)
        case b"x-forwarded-host":
            fields.forwarded_host = value
        case b"x-forwarded-proto":
            fields.forwarded_proto = value
        case _:
            pass  # hop-by-hop, Forwarded, X-Real-IP, what would override the decided method or target: end here


def read_response(headers: Pairs, *, status: int, head_only: bool) -> list[tuple[bytes, bytes]]:
    """The fields of an upstream's answer that the client gets. `Content-Length` stays where a body of that length follows, or where
    HEAD says what GET would have had (RFC 9110 sections 8.6 and 9.3.2)."""
    kept: list[tuple[bytes, bytes]] = []
    connection: list[bytes] = []
    for pair in headers:
        name = pair[0]
        if name in _SPECIAL_RESPONSE:
            if name == b"connection":
                connection.append(pair[1])
            elif name == b"content-length" and status != 204 and (head_only or status != 304):
                kept.append(pair)
        elif name[:8] != b"domicile":
            kept.append(pair)
    if connection:
        named = frozenset(_tokens(connection)) - _NEVER_NAMED
        if named:
            kept = [pair for pair in kept if pair[0] not in named]
    return kept


_NEVER_NAMED = frozenset({b"close", b"keep-alive", b"", b"content-length", b"host"})


def _tokens(connection: list[bytes]) -> list[bytes]:
    """What `Connection` names for this hop, in lower case."""
    return [token.strip().lower() for value in connection for token in value.split(b",")]


def _bad(detail: str) -> Problem:
    return Problem(code=Code.BAD_REQUEST, detail=detail)

"""Requests whose fields came before, byte for byte, but for those that are each request's own: what a strict reading made of them is given
again instead of reading them anew. Pure.

Clients say the same with every request. What is kept of it is nobody's: only fields of `_KEPT` count, the token, the client's address, the
trace and the body's length are cut out before, and it is forgotten after `KEPT_S` at most. A request with any other field (a cookie, say)
is read anew each time.
"""

import re
from collections.abc import Sequence
from copy import copy
from typing import Final

from foundation.wire.cycle import BUFFER_BYTES_HIGH
from foundation.wire.framing import LENGTH_DIGITS_MAX
from foundation.wire.head import FIELDS_MAX, RequestHead
from foundation.words import Verb, verb_of_method
from gateway.edge.headers import RequestFields, Written

HEADS_MAX = 1_024
HEAD_BYTES_MAX: Final = 4_096
"""Longer ones are read anew, and so are those whose body has more than `BUFFER_BYTES_HIGH`."""
KEPT_S = 300.0
"""Then all are forgotten, whether or not they are asked for."""

_LINE: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) "
    rb"((/([a-z0-9-]++)(?:/(?!\.)[!\"$&-.0->@-\[\]-~]*+)*+)(?:\?([!\"$-~]*+))?) HTTP/1\.1(?=\r\n)"
)
"""A path without `%`, a backslash or a fragment, no segment of which begins with a dot."""
_METHODS: Final = {
    method.encode("ascii"): (method, verb_of_method(method))
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
_END: Final = b"\r\n\r\n"
_ADDRESS: Final = re.compile(rb"[0-9A-Za-z.:,\[\]-](?:[0-9A-Za-z.:, \[\]-]*[0-9A-Za-z.:,\[\]-])?")
_TRACE: Final = re.compile(rb"[0-9a-f-]{55}")
_KEPT: Final = frozenset(
    {b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"accept-profile", b"cache-control", b"connection",
     b"content-encoding", b"content-language", b"content-profile", b"content-type", b"dnt", b"host", b"origin", b"pragma",
     b"prefer", b"priority", b"sec-ch-ua", b"sec-ch-ua-mobile", b"sec-ch-ua-platform", b"sec-fetch-dest", b"sec-fetch-mode",
     b"sec-fetch-site", b"sec-fetch-user", b"sec-gpc", b"upgrade-insecure-requests", b"user-agent", b"via", b"x-forwarded-host",
     b"x-forwarded-proto", b"x-requested-with"}
)  # fmt: skip
_OWN: Final = frozenset({b"authorization", b"content-length", b"traceparent", b"x-forwarded-for"})


class Came:
    """A request that came whole, taken apart. `fields`: the bytes of all fields but its own, where they may be like others. `counted` and
    `over_ms`: as `RequestFields` have them."""

    __slots__ = ("authorization", "body", "counted", "fields", "forwarded_for", "length", "method", "over_ms", "path", "query",
                 "sent", "service", "traceparent", "verb")  # fmt: skip

    def __init__(
        self,
        method: str,
        verb: Verb,
        sent: bytes,
        path: bytes,
        service: bytes,
        query: bytes,
        fields: bytes,
        authorization: bytes | None,
        length: int | None,
        traceparent: bytes | None,
        forwarded_for: Sequence[bytes],
        body: bytes,
    ) -> None:
        self.method = method
        self.verb = verb
        self.sent = sent
        self.path = path
        self.service = service
        self.query = query
        self.fields = fields
        self.authorization = authorization
        self.length = length
        self.traceparent = traceparent
        self.forwarded_for = forwarded_for
        self.body = body
        self.counted = 0
        self.over_ms = 0.0


def came(data: bytes) -> Came | None:
    """What arrived, if it is one whole request of the usual shape with a token, else None: then it is to be read as any other.

    Of its fields only the token's is looked at here, and the length of a body; that the rest is well formed, and ends where the head does,
    is what `Familiar` knows. Whatever is cut out is one line that began and ended where a line does, so with it or without it the rest is
    well formed, or is not."""
    line = _LINE.match(data)
    if line is None:
        return None
    body, length = b"", None
    if data[-4:] != _END:
        if len(data) > HEAD_BYTES_MAX + BUFFER_BYTES_HIGH:
            return None  # one of both is too long; taken apart, it would be copied
        data, end, body = data.partition(_END)
        if not end or len(body) > BUFFER_BYTES_HIGH:
            return None
        data += end
    if len(data) > HEAD_BYTES_MAX:
        return None
    before, named, rest = data.partition(b"\r\nAuthorization: ")
    if not named:
        before, named, rest = data.partition(b"\r\nauthorization: ")
    authorization, _, behind = rest.partition(b"\r")
    if not named or behind[:1] != b"\n":
        return None
    fields = b"\r".join((before[line.end() :], behind))
    if body:
        before, _, rest = fields.partition(b"\r\nContent-Length: ")
        if not rest:
            before, _, rest = fields.partition(b"\r\ncontent-length: ")
        stated, _, behind = rest.partition(b"\r")
        length = len(body)
        if not stated.isdigit() or len(stated) > LENGTH_DIGITS_MAX or int(stated) != length or behind[:1] != b"\n":
            return None
        fields = b"\r".join((before, behind))
    spelt, sent, path, service, query = line.groups()
    method, verb = _METHODS[spelt]
    return Came(method, verb, sent, path, service, query or b"", fields, authorization, length, None, (), body)


def _cut_more(one: Came) -> bool:
    """Takes the client's address and the trace out of its fields; False where there is neither, or they are not as usual."""
    said, fields = _cut(one.fields, b"\r\nX-Forwarded-For: ", b"\r\nx-forwarded-for: ")
    traceparent, fields = _cut(fields, b"\r\nTraceparent: ", b"\r\ntraceparent: ")
    if said is not None and _ADDRESS.fullmatch(said) is None:
        return False
    if traceparent is not None and _TRACE.fullmatch(traceparent) is None:
        return False
    one.fields, one.traceparent, one.forwarded_for = fields, traceparent, () if said is None else (said,)
    return said is not None or traceparent is not None


class Familiar:
    """What is known of requests' fields by their bytes. One per gateway; times are seconds on one clock."""

    def __init__(self) -> None:
        self._known: dict[bytes, RequestFields] = {}
        self._until_s = 0.0

    def __len__(self) -> int:
        return len(self._known)

    def known(self, one: Came, now_s: float) -> RequestFields | None:
        """What it has in common with others, sorted, where its like was `learn`ed: `own_fields` are its own. What is its own besides is
        taken out of `fields` first, if it is there."""
        if now_s > self._until_s:
            self._known.clear()
            self._until_s = now_s + KEPT_S
        known = self._known.get(one.fields)
        return self._known.get(one.fields) if known is None and _cut_more(one) else known

    def forget(self) -> None:
        """All of it."""
        self._known.clear()

    def learn(self, one: Came, head: RequestHead, fields: RequestFields) -> None:
        """What a strict reading of the same request made of it: `head`, and its `fields`, sorted."""
        if one.fields.find(_END) != len(one.fields) - len(_END):
            return  # it holds more than one head
        if not _speaks_of_nobody(one, head) or fields.closes or fields.expects or fields.chunked or fields.upgrades:
            return
        if len(self._known) >= HEADS_MAX:
            self._known.clear()
        self._known[one.fields] = RequestFields(
            minor=fields.minor,
            kept=fields.kept,
            host=fields.host,
            via=fields.via,
            forwarded_host=fields.forwarded_host,
            forwarded_proto=fields.forwarded_proto,
            written=Written(b"".join(fields.kept)),
        )


def own_fields(one: Came, known: RequestFields) -> RequestFields:
    """The sorted fields of one request, `known` being what it has in common with others."""
    fields = copy(known)
    fields.authorization = one.authorization
    fields.content_length = one.length
    fields.traceparent = one.traceparent
    fields.forwarded_for = list(one.forwarded_for)
    fields.counted, fields.over_ms = one.counted, one.over_ms
    return fields


def _speaks_of_nobody(one: Came, head: RequestHead) -> bool:
    """Whether nothing but what is kept of anybody is left once its own fields, each of which stands there once, are cut out."""
    own = [name for name, _ in head.fields if name in _OWN]
    cut = [one.authorization, one.forwarded_for or None, one.traceparent, one.length]
    if len(own) != len(cut) - cut.count(None) or len(head.fields) >= FIELDS_MAX - len(_OWN):
        return False
    return all(name in _KEPT or name in _OWN for name, _ in head.fields)


def _cut(fields: bytes, *spelt: bytes) -> tuple[bytes | None, bytes]:
    """The value of one line, and all the others; None, and all of them, where it is not there in one of the spellings."""
    for spelling in spelt:
        at = fields.find(spelling)
        if at >= 0:
            over = fields.find(b"\r\n", at + 2)
            return fields[at + len(spelling) : over], fields[:at] + fields[over:]
    return None, fields

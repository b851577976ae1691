"""The head of a request as its service gets it: what the client sent and may say, the decision, and who asked from where."""

from collections.abc import Sequence

from foundation.trace import Trace
from gateway.edge.book import Book
from gateway.edge.familiar import Came
from gateway.edge.handshake import UPGRADE
from gateway.edge.headers import RequestFields, Written
from gateway.edge.outcome import Admitted
from gateway.edge.request import Request
from gateway.identity.address import Network, trusted

VIA = (b"1.0 domicile", b"1.1 domicile")
"""By the protocol that a request came by (RFC 9110 section 7.6.3)."""
PEERS_MAX = 4096


class Outbound:
    """One per gateway. `proxies`: those whose word on the client, the host and the scheme counts."""

    def __init__(self, proxies: tuple[Network, ...]) -> None:
        self._proxies = proxies
        self._trusted: dict[str, bool] = {}

    def whole(
        self,
        one: Came,
        fields: RequestFields,
        admitted: Admitted,
        book: Book,
        trace: Trace,
        peer: str,
        scheme: str,
        host: bytes,
    ) -> bytes:
        """A request that came whole and asks for nothing but an answer, for the address that is called `host`. `fields`: its own, or what
        it has in common with others."""
        length = one.length
        return b"".join(
            (
                one.method.encode("ascii"),
                b" ",
                one.sent,
                b" HTTP/1.1\r\nhost: ",
                host,
                b"\r\n",
                self._stated(fields, one.forwarded_for, admitted, book, trace, peer, scheme),
                b"\r\n" if length is None else b"content-length: %d\r\n\r\n%b" % (length, one.body),
            )
        )

    def rest(self, request: Request, admitted: Admitted, whole: bytes | None, book: Book) -> bytes:
        """What stands behind request line and Host: fields, empty line, and the body where it is `whole`. Signs a decision, whose life is
        short, so it is called once the connection is there."""
        fields = request.fields
        return b"%b%b%b" % (
            self._stated(fields, fields.forwarded_for, admitted, book, request.trace, request.peer, request.scheme),
            b"" if fields.handshake is None else UPGRADE,
            framed(fields, whole) if fields.chunked or fields.content_length is not None else b"\r\n",
        )

    def _stated(
        self,
        fields: RequestFields,
        forwarded_for: Sequence[bytes],
        admitted: Admitted,
        book: Book,
        trace: Trace,
        peer: str,
        scheme: str,
    ) -> bytes:
        """All fields but Host and those of the connection and the body."""
        written, traced = fields.written, trace.header().encode("ascii")
        if written is None:
            kept, whence = b"".join(fields.kept), self._whence(fields, forwarded_for, peer, scheme)
        elif forwarded_for:
            kept, whence = written.kept, self._whence(fields, forwarded_for, peer, scheme)
        else:
            kept, whence = written.kept, self._again(fields, written, peer, scheme)
        if admitted.digest is None:
            return b"".join((kept, b"traceparent: ", traced, b"\r\n", whence))
        decision = book.mint(admitted)
        return b"".join((kept, b"domicile-decision: ", decision, b"\r\ntraceparent: ", traced, b"\r\n", whence))

    def _whence(self, fields: RequestFields, forwarded_for: Sequence[bytes], peer: str, scheme: str) -> bytes:
        """Who asked, by which host and scheme, and that it came by here."""
        client = peer.encode("ascii")
        host, proto = self._asked(fields, peer, scheme)
        if forwarded_for and self._is_trusted(peer):
            client = b"%b, %b" % (b", ".join(forwarded_for), client)
        return b"x-forwarded-for: %b\r\nx-forwarded-host: %b\r\nx-forwarded-proto: %b\r\nvia: %b\r\n" % (
            client,
            host,
            proto,
            via(fields) if fields.via else VIA[fields.minor],
        )

    def _again(self, fields: RequestFields, written: Written, peer: str, scheme: str) -> bytes:
        """The same, for fields that come again and again; of them only the client's address is each request's own."""
        if written.peer != peer or written.scheme != scheme:
            written.whence = self._whence(fields, (), peer, scheme)
            written.peer, written.scheme = peer, scheme
        return written.whence

    def asked(self, request: Request) -> tuple[str, str]:
        """The host and scheme that the client asked for, as this gateway or a proxy that it trusts saw them."""
        host, scheme = self._asked(request.fields, request.peer, request.scheme)
        return host.decode("latin-1"), scheme.decode("latin-1")

    def _asked(self, fields: RequestFields, peer: str, scheme: str) -> tuple[bytes, bytes]:
        host, proto = fields.host or b"", scheme.encode("ascii")
        if self._is_trusted(peer):
            return fields.forwarded_host or host, fields.forwarded_proto or proto
        return host, proto

    def _is_trusted(self, peer: str) -> bool:
        known = self._trusted.get(peer)
        if known is None:
            if len(self._trusted) > PEERS_MAX:
                self._trusted.clear()
            known = self._trusted[peer] = trusted(peer, self._proxies)
        return known


def request_line(request: Request) -> bytes:
    return b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.sent)


def via(fields: RequestFields) -> bytes:
    own = VIA[fields.minor]
    return b", ".join((*fields.via, own)) if fields.via else own


def framed(fields: RequestFields, whole: bytes | None) -> bytes:
    """The fields that frame the body, the empty line, and the body if it is `whole`."""
    framing = b""
    if fields.chunked:
        # a body that was kept whole has a length by now
        framing = b"transfer-encoding: chunked\r\n" if whole is None else b"content-length: %d\r\n" % len(whole)
    elif fields.content_length is not None:
        framing = b"content-length: %d\r\n" % fields.content_length
    return b"%b\r\n%b" % (framing, whole) if whole else framing + b"\r\n"

"""The head of a request as its service gets it: what the client sent and may say, the decision, and who asked from where."""

from gateway.edge.book import Book
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

    def rest(self, request: Request, admitted: Admitted, whole: bytes | None, book: Book) -> bytes:
        """What stands behind request line and Host: fields, empty line, and the body where it is `whole`. Signs a decision, whose life is
        short, so it is called once the connection is there."""
        fields, written = request.fields, request.fields.written
        return b"%b%btraceparent: %b\r\n%b%b%b" % (
            b"".join(fields.kept) if written is None else written.kept,
            b"" if admitted.digest is None else b"domicile-decision: %b\r\n" % book.mint(admitted),
            request.trace.header().encode("ascii"),
            self._whence(request) if written is None else self._again(request, written),
            b"" if fields.handshake is None else UPGRADE,
            framed(fields, whole) if fields.chunked or fields.content_length is not None else b"\r\n",
        )

    def _whence(self, request: Request) -> bytes:
        """Who asked, by which host and scheme, and that it came by here."""
        fields, peer = request.fields, request.peer.encode("ascii")
        host, scheme = self._asked(request)
        if fields.forwarded_for and self._is_trusted(request.peer):
            peer = b"%b, %b" % (b", ".join(fields.forwarded_for), peer)
        return b"x-forwarded-for: %b\r\nx-forwarded-host: %b\r\nx-forwarded-proto: %b\r\nvia: %b\r\n" % (
            peer,
            host,
            scheme,
            via(fields) if fields.via else VIA[fields.minor],
        )

    def _again(self, request: Request, written: Written) -> bytes:
        """The same, for fields that come again and again; of them only the client's address is each request's own."""
        if request.fields.forwarded_for:
            return self._whence(request)
        if written.peer != request.peer or written.scheme != request.scheme:
            written.whence = self._whence(request)
            written.peer, written.scheme = request.peer, request.scheme
        return written.whence

    def asked(self, request: Request) -> tuple[str, str]:
        """The host and scheme that the client asked for, as this gateway or a proxy that it trusts saw them."""
        host, scheme = self._asked(request)
        return host.decode("latin-1"), scheme.decode("latin-1")

    def _asked(self, request: Request) -> tuple[bytes, bytes]:
        fields = request.fields
        host, scheme = fields.host or b"", request.scheme.encode("ascii")
        if self._is_trusted(request.peer):
            return fields.forwarded_host or host, fields.forwarded_proto or scheme
        return host, scheme

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

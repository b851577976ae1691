"""The head of a request as its service gets it: what the client sent and may say, the decision, and who asked from where."""

from collections.abc import Sequence
from typing import Final

from gateway.edge.book import Book
from gateway.edge.familiar import Came
from gateway.edge.handshake import UPGRADE
from gateway.edge.headers import RequestFields
from gateway.edge.outcome import Admitted
from gateway.edge.request import Request
from gateway.identity.address import Network, trusted

VIA: Final = (b"1.0 domicile", b"1.1 domicile")
"""By the protocol that a request came by (RFC 9110 section 7.6.3)."""
PEERS_MAX = 4096
LENGTHS_MAX = 4_096


class Outbound:
    """One per gateway. `proxies`: those whose word on the client, the host and the scheme counts."""

    def __init__(self, proxies: tuple[Network, ...]) -> None:
        self._proxies = proxies
        self._trusted: dict[str, bool] = {}
        self._framed: dict[int, bytes] = {}

    def whole(
        self,
        one: Came,
        fields: RequestFields,
        admitted: Admitted,
        book: Book,
        traced: bytes,
        peer: str,
        scheme: str,
        behind_target: bytes,
    ) -> bytes:
        """A request that came whole and asks for nothing but an answer, whose trace's header is `traced`, for an address: `behind_target`
        stands between the target and the fields. `fields`: its own, or what it has in common with others."""
        written = fields.written
        if written is not None and written.peer == peer and written.scheme == scheme and not one.forwarded_for:
            kept, whence = written.kept, written.whence
        else:
            kept, whence = self._said(fields, one.forwarded_for, peer, scheme)
        if admitted.digest is None:
            named, decision, then = b"", b"", b"traceparent: "
        else:
            named, decision, then = b"domicile-decision: ", book.mint(admitted), b"\r\ntraceparent: "
        length = one.length
        return b"".join(
            (
                one.method.encode(),
                b" ",
                one.sent,
                behind_target,
                kept,
                named,
                decision,
                then,
                traced,
                b"\r\n",
                whence,
                b"\r\n" if length is None else self._framed.get(length) or self._framing(length),
                one.body,
            )
        )

    def _framing(self, length: int) -> bytes:
        """The field that frames a body, and the empty line; kept for the next of that length."""
        if len(self._framed) >= LENGTHS_MAX:
            self._framed.clear()
        framing = self._framed[length] = b"content-length: %d\r\n\r\n" % length
        return framing

    def rest(self, request: Request, admitted: Admitted, whole: bytes | None, book: Book) -> bytes:
        """What stands behind request line and Host: fields, empty line, and the body where it is `whole`. Signs a decision, whose life is
        short, so it is called once the connection is there."""
        fields = request.fields
        kept, whence = self._said(fields, fields.forwarded_for, request.peer, request.scheme)
        return b"".join(
            (
                kept,
                b"" if admitted.digest is None else b"domicile-decision: %b\r\n" % book.mint(admitted),
                b"traceparent: %b\r\n" % request.trace.header().encode("ascii"),
                whence,
                b"" if fields.handshake is None else UPGRADE,
                framed(fields, whole) if fields.chunked or fields.content_length is not None else b"\r\n",
            )
        )

    def _said(
        self, fields: RequestFields, forwarded_for: Sequence[bytes], peer: str, scheme: str
    ) -> tuple[bytes, bytes]:
        """What goes on of the fields, and who asked from where."""
        written = fields.written
        if written is None:
            return b"".join(fields.kept), self._whence(fields, forwarded_for, peer, scheme)
        if forwarded_for:
            return written.kept, self._whence(fields, forwarded_for, peer, scheme)
        if written.peer != peer or written.scheme != scheme:
            written.whence = self._whence(fields, (), peer, scheme)
            written.peer, written.scheme = peer, scheme
        return written.kept, written.whence

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

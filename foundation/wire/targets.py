"""Request targets (RFC 9112 section 3.2): what is asked for, byte for byte."""

import re

import msgspec

from foundation.wire.head import Malformed, RequestHead

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_HASH = 0x23  # as a number: for bytes, `in` would raise and catch a TypeError first
_FRAGMENT = Malformed("a target holds no fragment")
_FORM = Malformed("the request target is a path")
_AUTHORITY = Malformed("Host, or the authority of the target, is a host and a port")


class Asked(msgspec.Struct, frozen=True, gc=False):
    """`path` begins with a slash, but for `*` and CONNECT, which go no further. `sent`: path and query as they came, an empty one too.
    `authority` of an absolute form: it stands for Host."""

    method: str
    path: bytes
    query: bytes
    sent: bytes
    authority: bytes | None = None


def asked_of(head: RequestHead) -> Asked | Malformed:
    """Nothing is decoded or normalised."""
    target, method = head.target, head.method.decode("ascii")
    if _HASH in target:
        return _FRAGMENT
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return Asked(method, path, query, target)
    if target == b"*" or method == "CONNECT":
        return Asked(method, target, b"", target)
    scheme, colon, rest = target.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https"):
        return _FORM
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority, sent = rest[:end], rest[end:]
    if authority[:1] in (b"", b":") or not is_host(authority):  # RFC 9110 section 4.2.1: an empty host is none
        return _AUTHORITY
    if sent[:1] != b"/":
        sent = b"/" + sent
    path, _, query = sent.partition(b"?")
    return Asked(method, path, query, sent, authority)


def is_host(value: bytes) -> bool:
    """Whether a value of Host, or an authority, is a host with perhaps a port (RFC 9110 section 7.2); it names no user."""
    return _HOST.fullmatch(value) is not None

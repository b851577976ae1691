"""How the body of a request is framed, and what else its head says of its connection (RFC 9112 sections 6.3 and 9.3)."""

from typing import Protocol

import msgspec

from foundation.problems import Code, Problem
from foundation.wire.head import RequestHead
from foundation.wire.targets import is_host

LENGTH_DIGITS_MAX = 15
_LENGTH = Problem(code=Code.BAD_REQUEST, detail="Content-Length is one whole number")
_CODING = Problem(code=Code.BAD_REQUEST, detail="the only transfer coding taken is chunked")
_FRAMED_TWICE = Problem(code=Code.BAD_REQUEST, detail="a body has a length or chunks, not both")
_NO_CODINGS = Problem(code=Code.BAD_REQUEST, detail="HTTP/1.0 has no transfer codings")
_EXPECTATION = Problem(code=Code.EXPECTATION_FAILED, detail="the only expectation met here is 100-continue")
ONE_HOST = Problem(code=Code.BAD_REQUEST, detail="send one Host header: a host, perhaps with a port")


class Framed(Protocol):
    """What a connection needs to know of a request."""

    @property
    def content_length(self) -> int | None: ...

    @property
    def chunked(self) -> bool: ...

    @property
    def expects(self) -> bool:
        """It waits for 100 Continue."""
        ...

    @property
    def closes(self) -> bool:
        """Its connection carries no other request."""
        ...


class Addressed(Framed, Protocol):
    """With the host that is asked."""

    @property
    def host(self) -> bytes | None: ...


class Framing(msgspec.Struct):
    """`host`: as it was sent."""

    content_length: int | None = None
    chunked: bool = False
    expects: bool = False
    closes: bool = False
    host: bytes | None = None


def framing_of(head: RequestHead) -> Framing | Problem:
    """A Problem where more than one reading is possible."""
    found = Framing()
    for name, value in head.fields:
        problem = _read(found, name, value) if name in _READ else None
        if problem is not None:
            return problem
    return contradiction(found, head.minor) or found


def contradiction(found: Addressed, minor: int) -> Problem | None:
    """What the fields of a request of HTTP/1.`minor` say against each other."""
    if found.chunked and (found.content_length is not None or not minor):  # RFC 9112 section 6.1
        return _FRAMED_TWICE if minor else _NO_CODINGS
    return ONE_HOST if found.host is None and minor else None  # RFC 9112 section 3.2


def length(value: bytes, before: int | None) -> int | Problem:
    """A value of Content-Length; one only, digits only."""
    if before is not None or not value.isdigit() or len(value) > LENGTH_DIGITS_MAX:
        return _LENGTH
    return int(value)


def coding(value: bytes, *, before: bool) -> Problem | None:
    """None where a value of Transfer-Encoding is the one that is taken."""
    return None if value.lower() == b"chunked" and not before else _CODING


def expectation(value: bytes) -> Problem | None:
    """The same of Expect (RFC 9110 section 10.1.1)."""
    return None if value.lower() == b"100-continue" else _EXPECTATION


def host(value: bytes, before: bytes | None) -> Problem | None:
    """And of Host."""
    return None if before is None and is_host(value) else ONE_HOST


_READ = frozenset({b"content-length", b"transfer-encoding", b"connection", b"expect", b"host", b"upgrade"})


def _read(found: Framing, name: bytes, value: bytes) -> Problem | None:
    match name:
        case b"content-length":
            stated = length(value, found.content_length)
            if isinstance(stated, Problem):
                return stated
            found.content_length = stated
        case b"transfer-encoding":
            problem, found.chunked = coding(value, before=found.chunked), True
            return problem
        case b"expect":
            found.expects = True
            return expectation(value)
        case b"host":
            problem, found.host = host(value, found.host), value
            return problem
        case b"upgrade":
            found.closes = True  # it is not made, and whoever asked may believe that it was
        case _:
            found.closes = found.closes or b"close" in [token.strip().lower() for token in value.split(b",")]
    return None

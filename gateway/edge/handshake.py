"""The handshake of a websocket (RFC 6455 section 4), both sides of it. Pure.

Of all that `Upgrade` may name, `websocket` alone is taken; anything else is ignored, as the field may always be (RFC 9110 section 7.8).
"""

import msgspec

from foundation.problems import Code, Problem
from foundation.wire.head import Fields, StatusHead
from foundation.wire.websocket import VERSION, accept_of, is_key

UPGRADE = b"connection: Upgrade\r\nupgrade: websocket\r\n"
SWITCHED = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
_PROTOCOL = b"websocket"
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_GET = Problem(code=Code.BAD_REQUEST, detail="a websocket is asked for by GET")
_KEY = Problem(code=Code.BAD_REQUEST, detail="send one Sec-WebSocket-Key: 16 bytes in base64")
_ONE_VERSION = Problem(code=Code.BAD_REQUEST, detail="send one Sec-WebSocket-Version")
_VERSION = Problem(code=Code.UPGRADE_REQUIRED, detail="websockets of version 13 are spoken here")


class Handshake(msgspec.Struct, frozen=True):
    """`accept`: what the service has to answer."""

    accept: bytes


def handshake_of(method: str, fields: Fields) -> Handshake | Problem | None:
    """What a request of HTTP/1.1 with an `Upgrade` field asks for; None: no websocket, so it is an ordinary request."""
    if b"upgrade" not in _tokens(fields, b"connection") or _PROTOCOL not in _tokens(fields, b"upgrade"):
        return None
    keys = _values(fields, b"sec-websocket-key")
    versions = _values(fields, b"sec-websocket-version")
    if method != "GET":
        return _GET
    if len(versions) != 1:
        return _ONE_VERSION
    if versions[0] != VERSION:
        return _VERSION
    if len(keys) != 1 or not is_key(keys[0]):
        return _KEY
    return Handshake(accept_of(keys[0]))


def accepted(handshake: Handshake, head: StatusHead) -> bool:
    """Whether a 101 is the answer to this handshake, and to nothing else (section 4.1; RFC 9112 section 6.1: it frames no body)."""
    return (
        bool(head.minor)
        and b"upgrade" in _tokens(head.fields, b"connection")
        and _tokens(head.fields, b"upgrade") == [_PROTOCOL]
        and _values(head.fields, b"sec-websocket-accept") == [handshake.accept]
        and not any(name in _FRAMING for name, _ in head.fields)
    )


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]


def _tokens(fields: Fields, name: bytes) -> list[bytes]:
    return [token.strip().lower() for value in _values(fields, name) for token in value.split(b",")]

"""How a connection begins: what it asks for first, and what it is told before it may ask more. Pure."""

import struct
from typing import NamedTuple, TypeAlias

from cells.breakglass.door import frames
from cells.breakglass.door.frames import Error, Malformed, violation

PACKET_BYTES_MAX = 10_000
"""As Postgres' own bound on startup packets."""
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80_877_103, 80_877_104, 80_877_102
PROTOCOL_3_0 = 196_608
KEY_BYTES = 4
_LONG = struct.Struct("!i")
_LONGS = struct.Struct("!ii")
_OWN = frozenset({"user", "database", "application_name", "client_encoding"})
"""Parameters that the door states itself."""


class SslRequest(NamedTuple):
    pass


class GssRequest(NamedTuple):
    pass


class CancelRequest(NamedTuple):
    pid: int
    key: bytes


class Startup(NamedTuple):
    """`newer`: asked for a later protocol than 3.0. `unknown`: options of the protocol that are not known here. `settings`: what the
    session is to begin with."""

    database: str
    newer: bool
    unknown: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]


First: TypeAlias = SslRequest | GssRequest | CancelRequest | Startup


def packet_bytes(head: bytes) -> int:
    """The whole length of a first packet, by its first four bytes. Raises Malformed."""
    (size,) = _LONG.unpack(head)
    if not 8 <= size <= PACKET_BYTES_MAX:
        raise violation("no startup packet of Postgres' protocol")
    return int(size)


def read(packet: bytes) -> First:
    """A whole first packet. Raises Malformed."""
    (code,) = _LONG.unpack_from(packet, 4)
    asked = code, len(packet)
    if asked == (SSL_REQUEST, 8):
        return SslRequest()
    if asked == (GSS_REQUEST, 8):
        return GssRequest()
    if asked == (CANCEL_REQUEST, 12 + KEY_BYTES):
        return CancelRequest(_LONG.unpack_from(packet, 8)[0], packet[12:])
    if code >> 16 != 3:
        raise Malformed(Error("0A000", "protocol 3.0 is spoken here"))
    return _startup(packet, code)


def _startup(packet: bytes, code: int) -> Startup:
    """Raises Malformed."""
    try:
        parts = packet[8:].decode().split("\0")
    except UnicodeDecodeError as exc:
        raise Malformed(Error("22021", "text is UTF-8 here")) from exc
    if len(parts) < 2 or parts[-1] or parts[-2] or len(parts) % 2:
        raise violation("a startup packet is pairs of strings and a zero")
    said = dict(zip(parts[:-2:2], parts[1:-2:2], strict=True))
    given = {key.lower(): value for key, value in said.items()}  # Postgres knows its settings by names in any case
    if given.get("replication", "false").lower() not in ("false", "off", "no", "0"):
        raise Malformed(Error("0A000", "replication is refused here"))
    if given.get("options"):
        raise Malformed(Error("0A000", "startup options are refused here", "SET what you need once you are in"))
    protocol = tuple(key for key in given if key.startswith("_pq_."))
    known = _OWN | {"replication", "options", *protocol}
    return Startup(
        database=given.get("database", ""),
        newer=code > PROTOCOL_3_0,
        unknown=protocol,
        settings=tuple((key, value) for key, value in said.items() if key.lower() not in known),
    )


def cancel_request(pid: int, key: bytes) -> bytes:
    return _LONG.pack(12 + len(key)) + _LONGS.pack(CANCEL_REQUEST, pid) + key


def ssl_request() -> bytes:
    return _LONGS.pack(8, SSL_REQUEST)


def welcome(asked: Startup, pid: int, key: bytes, settings: list[bytes]) -> bytes:
    """What a session begins with; `settings` are ParameterStatus messages."""
    negotiated = b""
    if asked.newer or asked.unknown:
        body = _LONGS.pack(PROTOCOL_3_0, len(asked.unknown)) + frames.text(*asked.unknown)
        negotiated = frames.message(b"v", body)
    return b"".join(
        (
            negotiated,
            frames.message(b"R", _LONG.pack(0)),
            *settings,
            frames.message(b"K", _LONG.pack(pid) + key),
            frames.message(b"Z", b"I"),
        )
    )

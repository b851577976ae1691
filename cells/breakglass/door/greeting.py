"""How a connection is met: TLS by SSLRequest or at once, a cancel in the clear, and nothing else in the clear.

The plain socket is read byte by byte as far as a request goes and no further, so nothing that came before TLS is ever taken for what came
inside.
"""

import asyncio
import socket
import ssl

from cells.breakglass.door import endings, startup
from cells.breakglass.door.frames import Malformed, violation
from cells.breakglass.door.startup import CancelRequest, First, GssRequest, SslRequest
from cells.breakglass.door.wire import Wire, WireClosed

HANDSHAKE_S_MAX = 5.0
ALPN = "postgresql"
_GREETINGS_MAX = 3
_TLS_HANDSHAKE = 0x16


async def met(plain: socket.socket, context: ssl.SSLContext) -> Wire | CancelRequest:
    """The connection inside TLS, whose other side has shown a certificate under the authority of `context`; or a cancel. Raises Malformed,
    WireClosed, OSError, ssl.SSLError."""
    loop = asyncio.get_running_loop()
    for _ in range(_GREETINGS_MAX):
        if await _next_byte(plain) == _TLS_HANDSHAKE:
            return await _inside(plain, context, direct=True)
        match await _request(plain):
            case SslRequest():
                await loop.sock_sendall(plain, b"S")
                return await _inside(plain, context, direct=False)
            case GssRequest():
                await loop.sock_sendall(plain, b"N")
            case CancelRequest() as cancel:
                return cancel
            case _:
                raise Malformed(endings.TLS_ONLY)
    raise violation("TLS is asked for once")


async def asked(wire: Wire) -> First:
    """The first packet inside TLS. Raises Malformed, WireClosed."""
    head = await wire.exactly(4)
    return startup.read(head + await wire.exactly(startup.packet_bytes(head) - 4))


def certificate(wire: Wire) -> bytes:
    """What the other side has shown, DER. Raises Malformed."""
    inside = wire.transport.get_extra_info("ssl_object")
    shown = None if inside is None else inside.getpeercert(binary_form=True)
    if not shown:
        raise Malformed(endings.TLS_ONLY)
    return bytes(shown)


async def _inside(plain: socket.socket, context: ssl.SSLContext, *, direct: bool) -> Wire:
    loop = asyncio.get_running_loop()
    wire = Wire()  # uvloop returns another protocol than this factory's
    await loop.connect_accepted_socket(
        lambda: wire, plain, ssl=context, ssl_handshake_timeout=HANDSHAKE_S_MAX, ssl_shutdown_timeout=HANDSHAKE_S_MAX
    )
    if direct and wire.transport.get_extra_info("ssl_object").selected_alpn_protocol() != ALPN:
        wire.transport.abort()
        raise violation("TLS without SSLRequest goes with ALPN")
    return wire


async def _request(plain: socket.socket) -> First:
    head = await _exactly(plain, 4)
    return startup.read(head + await _exactly(plain, startup.packet_bytes(head) - 4))


async def _exactly(plain: socket.socket, size: int) -> bytes:
    loop, found = asyncio.get_running_loop(), b""
    while len(found) < size:
        piece = await loop.sock_recv(plain, size - len(found))
        if not piece:
            raise WireClosed
        found += piece
    return found


async def _next_byte(plain: socket.socket) -> int:
    """Without taking it."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(plain, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(plain)
    piece = plain.recv(1, socket.MSG_PEEK)
    if not piece:
        raise WireClosed
    return piece[0]

"""How a connection ends whose client may still be writing, or must not take what it got for a whole answer."""

import asyncio
import socket
import struct

LINGER_BYTES_MAX = 8 << 20
LINGER_S_MAX = 2.0


class Parting:
    """Ends a connection that has said all it will. What the client still sends is read for a moment and dropped, since a reset could take
    the answer from it (RFC 9112 section 9.6)."""

    __slots__ = ("_dropped", "_transport", "begun")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._dropped = 0
        self.begun = False

    def begin(self) -> bool:
        """True: what still comes is to be read, and `drop`ped, for LINGER_S_MAX. False: the connection has ended."""
        if self.begun or self._transport.is_closing() or not self._transport.can_write_eof():
            self._transport.close()
            return False
        self.begun = True
        self._transport.write_eof()
        return True

    def drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES_MAX:
            self._transport.close()


def reset(transport: asyncio.Transport) -> None:
    """Where the end of the connection would be taken for the end of the answer."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()

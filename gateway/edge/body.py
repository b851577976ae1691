"""A request's body on its way through: kept whole while small, so that a request can be tried once more; streamed otherwise."""

import asyncio

from starlette.types import Receive

from gateway.edge.headers import RequestFields
from gateway.edge.upstream.connection import Connection
from gateway.edge.upstream.fault import Fault
from gateway.edge.upstream.forwarder import send_chunk, send_end

KEPT_BYTES_MAX = 64 * 1024
LINGER_BYTES_MAX = 8 << 20
LINGER_S_MAX = 2.0


class Body:
    """The body of one request. `whole` is all of it, once it is known and small enough."""

    __slots__ = ("_bytes", "_bytes_max", "_fields", "_kept", "_kept_bytes", "_receive", "gone", "read", "whole")

    def __init__(self, receive: Receive, fields: RequestFields, bytes_max: int) -> None:
        self._receive = receive
        self._fields = fields
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self._bytes = 0
        self._bytes_max = bytes_max
        self.gone = False
        """The client has left."""
        self.read = not fields.has_body
        """All of it has been read from the client."""
        self.whole: bytes | None = b"" if self.read else None

    @property
    def streams(self) -> bool:
        """Whether it is sent while it arrives, rather than after."""
        return self._fields.chunked or (self._fields.content_length or 0) > KEPT_BYTES_MAX

    @property
    def too_large(self) -> bool:
        """By what is stated of it, or by what has come."""
        return max(self._bytes, self._fields.content_length or 0) > self._bytes_max

    async def read_whole(self, *, stall_s: float, total_s: float) -> bool:
        """Reads a small body of known length before a connection is taken; False when the client left, stalls, or takes too long in all."""
        try:
            async with asyncio.timeout(total_s):
                return await self._read_whole(stall_s)
        except TimeoutError:
            return False

    async def _read_whole(self, stall_s: float) -> bool:
        pieces: list[bytes] = []
        while not self.read:
            async with asyncio.timeout(stall_s):
                piece = await self._next()
            if piece is None:
                return False
            pieces.append(piece)
        self.whole = b"".join(pieces) if self.whole is None else self.whole
        return True

    async def pump(self, connection: Connection) -> None:
        """Sends the body on as it arrives, then watches for the client's leaving. Ends by cancellation or with the client."""
        chunked = self._fields.chunked
        while not self.read:
            piece = await self._next()
            if piece is None:
                connection.fail(Fault.CLIENT_GONE)
                return
            if self.too_large:
                connection.fail(Fault.TOO_LARGE)
                return
            self._keep(piece)
            await send_chunk(connection, piece, chunked=chunked)
        send_end(connection, chunked=chunked)
        await self.watch(connection)

    async def watch(self, connection: Connection) -> None:
        """Breaks the exchange off when the client leaves, or sends more of a body that nobody wants any more than one may have."""
        while await self._next() is not None:
            if self.too_large:
                connection.fail(Fault.TOO_LARGE)
                return
        connection.fail(Fault.CLIENT_GONE)

    async def linger(self) -> None:
        """Takes what the client still sends, bounded, so that it gets to read the answer (RFC 9112 section 9.6)."""
        taken = 0
        try:
            async with asyncio.timeout(LINGER_S_MAX):
                while not self.read and taken <= LINGER_BYTES_MAX:
                    piece = await self._next()
                    if piece is None:
                        return
                    taken += len(piece)
        except TimeoutError:
            return

    async def _next(self) -> bytes | None:
        """The next piece (empty ones too), or None when the client has left."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
            return None
        if not message.get("more_body", False):
            self.read = True
        body: bytes = message.get("body", b"")
        self._bytes += len(body)
        return body

    def _keep(self, piece: bytes) -> None:
        if self._kept is None:
            return
        self._kept.append(piece)
        self._kept_bytes += len(piece)
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._kept = None
        elif self.read:
            self.whole = b"".join(self._kept)

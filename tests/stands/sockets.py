"""Websockets for tests: a client and services that speak RFC 6455 by an implementation that is not the product's."""

import asyncio
import base64
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message

from foundation.wire.websocket import accept_of

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n%b\r\n"


class Talk:
    """An open websocket, either end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, side: ConnectionType, head: bytes = b""
    ) -> None:
        self.reader, self.writer = reader, writer
        self.head = head
        self.piece_bytes = 65_536
        """How much is read at a time."""
        self._protocol = Connection(side)
        self._events: list[Event] = []

    def frame(self, event: Event) -> bytes:
        return self._protocol.send(event)

    async def send(self, event: Event) -> None:
        self.writer.write(self.frame(event))
        await self.writer.drain()

    async def next(self) -> Event | None:
        """The next event, messages as they arrive in parts; None at the end of the connection."""
        while not self._events:
            data = await self.reader.read(self.piece_bytes)
            if not data:
                return None
            self._protocol.receive_data(data)
            self._events.extend(self._protocol.events())
        return self._events.pop(0)

    async def message(self) -> bytes | CloseConnection | None:
        """The next whole message, as bytes; or how it was closed; or that the connection ended without."""
        whole = bytearray()
        while (event := await self.next()) is not None:
            if isinstance(event, CloseConnection):
                return event
            if isinstance(event, Message):
                whole += event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                if event.message_finished:
                    return bytes(whole)
        return None

    async def ended(self) -> bool:
        """Whether nothing more comes."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True


def asking(path: bytes, *fields: bytes, key: bytes | None = None) -> bytes:
    key = key or base64.b64encode(secrets.token_bytes(16))
    lines = (
        b"GET %b HTTP/1.1" % path,
        b"Host: eu.example.com",
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: " + key,
        b"Sec-WebSocket-Version: 13",
        *fields,
    )
    return b"\r\n".join((*lines, b"", b""))


@asynccontextmanager
async def sending(port: int, data: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which `data` was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def opened(port: int, path: bytes, *fields: bytes, behind: bytes = b"") -> AsyncIterator[Talk]:
    """A client's websocket. `behind`: sent with the handshake, before anything was answered."""
    async with sending(port, asking(path, *fields) + behind) as (reader, writer):
        with anyio.fail_after(10):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield Talk(reader, writer, ConnectionType.CLIENT, head)


Speaker = Callable[[Talk], Awaitable[None]]


class Service:
    """Accepts every handshake, `more` fields and bytes with it, and then does what `speaker` says. Heads are kept in `seen`."""

    def __init__(self, speaker: Speaker, *, fields: bytes = b"", behind: bytes = b"") -> None:
        self._speaker = speaker
        self._fields, self._behind = fields, behind
        self.seen: list[bytes] = []
        self.gone = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head)
            writer.write(SWITCHING % (accept_of(key_of(head)), self._fields) + self._behind)
            with contextlib.suppress(ConnectionError):
                await self._speaker(Talk(reader, writer, ConnectionType.SERVER, head))
        finally:
            self.gone += 1


def key_of(head: bytes) -> bytes:
    return next(
        line.partition(b":")[2].strip()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )


async def echo(talk: Talk) -> None:
    """Says back each message, and answers a Close."""
    while (said := await talk.message()) is not None:
        if isinstance(said, CloseConnection):
            await talk.send(said.response())
            return
        await talk.send(BytesMessage(data=said))


async def silent(talk: Talk) -> None:
    """Reads, says nothing."""
    while await talk.next() is not None:
        pass

"""Bytes through an edge: a service that keeps those that reach it, and a client that sends and reads them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from tests.stands.edge import Stand, edge, placement, tcp

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATH = b"/orders/1"


class Service:
    """Keeps each request that reaches it, byte for byte, and answers with `answers` in turn, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self.seen: list[bytes] = []
        self._answers = list(answers or (OK,))
        self.received = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await self._until(reader, b"\r\n\r\n")
            fields = fields_of(head)
            body = b""
            if "content-length" in fields:
                body = await reader.readexactly(int(fields["content-length"]))
            elif "transfer-encoding" in fields:
                body = await self._until(reader, b"0\r\n\r\n")
            self.seen.append(head + body)
            writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])

    async def _until(self, reader: asyncio.StreamReader, end: bytes) -> bytes:
        found = b""
        while not found.endswith(end):
            piece = await reader.readexactly(1)
            self.received += 1
            found += piece
        return found


def fields_of(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


class Client:
    """A connection to the edge, with the token of somebody who has a home."""

    def __init__(self, stand: Stand, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.token = b"Authorization: %b\r\n" % stand.bearer("ann")["authorization"].encode()
        self.reader = reader
        self.writer = writer

    def request(self, line: bytes = b"GET %b HTTP/1.1" % PATH, fields: bytes = b"", body: bytes = b"") -> bytes:
        return b"%b\r\nHost: eu.example.com\r\n%b%b\r\n%b" % (line, self.token, fields, body)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        with anyio.fail_after(5):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and body, by length."""
        head = await self.head()
        fields = fields_of(head)
        with anyio.fail_after(5):
            body = await self.reader.readexactly(int(fields.get("content-length", "0")))
        return int(head.split(b" ")[1]), fields, body

    async def rest(self) -> bytes:
        """Everything until the edge closes the connection."""
        with anyio.fail_after(5):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@contextlib.asynccontextmanager
async def facing(folder: Path, service: Service) -> AsyncIterator[Client]:
    async with tcp(service) as port, edge(folder, port, records_port=port) as stand:
        stand.settle("ann", placement(epoch=7))
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        try:
            yield Client(stand, reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

"""A client of loopback that reads the lines of an answer while it sends those of its request."""

import asyncio
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import msgspec


class Streaming:
    """`POST /cell/egress/stream`, chunked both ways."""

    def __init__(self, port: int, query: dict[str, str], headers: dict[str, str]) -> None:
        self._port = port
        lines = [f"POST /cell/egress/stream?{urlencode(query)} HTTP/1.1", "host: cell", "transfer-encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._head = "\r\n".join(lines).encode() + b"\r\n\r\n"

    async def __aenter__(self) -> Self:
        self._read, self._write = await asyncio.open_connection("127.0.0.1", self._port)
        self._write.write(self._head)
        self._begun = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write.close()
        await self._write.wait_closed()

    async def asked(self, lines: bytes) -> Any:
        """The line that answers these."""
        await self.send(lines)
        return await self.line()

    async def send(self, lines: bytes) -> None:
        self._write.write(b"%x\r\n%b\r\n" % (len(lines), lines))
        await self._write.drain()

    async def ended(self) -> Any:
        """The last line."""
        self._write.write(b"0\r\n\r\n")
        await self._write.drain()
        return await self.line()

    async def line(self) -> Any:
        """One chunk of the answer, which has one line of it. Raises IncompleteReadError where the answer breaks off."""
        if not self._begun:
            head = await self._read.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ValueError(head.decode())
            self._begun = True
        size = int(await self._read.readuntil(b"\r\n"), 16)
        piece = await self._read.readexactly(size + 2)
        return msgspec.json.decode(piece[:-2])

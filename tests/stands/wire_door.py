"""Applications of a few messages behind the protocol that every process serves HTTP/1.1 by, and a client of theirs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.stands.servers import serving

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def saying(*messages: Message) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


@contextlib.asynccontextmanager
async def connected(app: ASGIApp) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def answered(app: ASGIApp, *requests: bytes) -> bytes:
    """All that is answered until the connection ends; the last request asks for that."""
    async with connected(app) as (reader, writer):
        writer.write(
            b"".join(requests[:-1]) + requests[-1].replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
        )
        with anyio.fail_after(5):
            try:
                return await reader.read()
            except ConnectionResetError:
                return b"reset"

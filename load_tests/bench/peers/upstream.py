"""The service behind every proxy: answers as many bytes as its path says. And the parts of peers that are written in Python."""

import asyncio
import json
import os
import sys
from functools import lru_cache
from typing import Any

import httptools
import httpx
import jwt
import uvloop
from starlette.types import Receive, Scope, Send

# --- the service -------------------------------------------------------------------------------------------------------------


@lru_cache
def _answer(size: int) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    return head.encode("ascii") + b"x" * size


class Service(asyncio.Protocol):
    """One connection. Answers in the order of the requests, and only reads on while its peer does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)
        self._size = 0

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        last = url.rpartition(b"/")[2]
        self._size = int(last) if last.isdigit() else 0

    def on_message_complete(self) -> None:
        self._transport.write(_answer(self._size))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


# --- a decision service, as nginx's `auth_request` asks one; and a proxy of Granian and httpx -----------------------------------


class Decisions:
    """Verifies tokens once, remembers them, and knows where everybody lives."""

    def __init__(self) -> None:
        given = json.loads(os.environ["PEERS_GIVEN"])
        self._key = jwt.PyJWK(given["jwk"]).key
        self._issuer, self._audience = given["issuer"], given["audience"]
        self._homes = dict.fromkeys(given["subs"], "eu-de")
        self._known: dict[str, str] = {}

    def cell(self, header: str) -> str | None:
        known = self._known.get(header)
        if known is None:
            try:
                claims = jwt.decode(
                    header.removeprefix("Bearer "),
                    self._key,
                    algorithms=["ES256"],
                    audience=self._audience,
                    issuer=self._issuer,
                )
            except jwt.InvalidTokenError:
                return None
            known = self._homes.get(claims["sub"])
            if known is not None:
                self._known[header] = known
        return known


class DecisionService:
    """ASGI: 204 with the cell, or 401."""

    def __init__(self) -> None:
        self._decisions = Decisions()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        cell = self._decisions.cell(header.decode("ascii"))
        headers = [(b"content-length", b"0")] + ([(b"domicile-cell", cell.encode())] if cell else [])
        await send({"type": "http.response.start", "status": 204 if cell else 401, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class HttpxProxy:
    """ASGI: decides as the decision service does, and forwards with httpx, streaming both ways."""

    def __init__(self) -> None:
        self._decisions = Decisions()
        self._client: httpx.AsyncClient | None = None  # noqa: TID251 - it is what this peer is measured with
        self._upstream = os.environ["PEERS_UPSTREAM"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._client is None:
            self._client = httpx.AsyncClient(limits=httpx.Limits(max_connections=128))  # noqa: TID251
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"host", b"connection")]
        cell = self._decisions.cell(next((value for name, value in headers if name == b"authorization"), b"").decode())
        if cell is None:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def body() -> Any:
            while True:
                message = await receive()
                yield message.get("body", b"")
                if not message.get("more_body", False):
                    return

        content = body() if scope["method"] == "POST" else None
        request = self._client.build_request(
            scope["method"],
            self._upstream + scope["path"],
            headers=[*headers, (b"domicile-cell", cell.encode())],
            content=content,
        )
        answer = await self._client.send(request, stream=True)
        kept = [(name, value) for name, value in answer.headers.raw if name.lower() != b"connection"]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
        async for piece in answer.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def decision_service() -> DecisionService:
    return DecisionService()


def httpx_proxy() -> HttpxProxy:
    return HttpxProxy()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

"""Services that answer with what arrived."""

import asyncio
import json

from starlette.types import Receive, Scope, Send


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def answer(send: Send, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": length + (headers or [])})
    await send({"type": "http.response.body", "body": body})


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what arrived, as JSON."""
    seen = {
        "method": scope["method"],
        "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode("latin-1"),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": (await body_of(receive)).decode("latin-1"),
    }
    await answer(
        send, 200, json.dumps(seen).encode(), [(b"content-type", b"application/json"), (b"domicile-epoch", b"9")]
    )


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body that came, as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


class Mirror:
    """Orders of one cell: answers with what it saw; holds each answer back while `gate` is shut."""

    def __init__(self, cell: str) -> None:
        self.cell = cell
        self.calls = 0
        self.gate: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = await body_of(receive)
        if self.gate is not None:
            await self.gate.wait()
        seen = {"cell": self.cell, "headers": headers, "body": body.decode(), "path": scope["path"]}
        document = json.dumps(seen).encode()
        head = [(b"content-length", b"%d" % len(document)), (b"domicile-verdict", b"mine")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": document})

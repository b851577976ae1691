"""Servers for tests: ports of loopback, programs that run while a block does, ASGI applications on a real server."""

import asyncio
import contextlib
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from foundation.server import Server
from foundation.tls import Credentials
from foundation.wire.door import Door

PORTS = range(10_000, 32_000)
"""Below those that systems give to connections and to whoever binds port 0, so that none of these takes a port that is to be bound soon."""


def free_port() -> int:
    """A port that nobody listens on, to be bound soon."""
    while True:
        port = PORTS[secrets.randbelow(len(PORTS))]
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


@contextlib.contextmanager
def running(command: list[str], **popen: object) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **popen
    )  # type: ignore[call-overload]
    try:
        yield child
    finally:
        child.send_signal(2)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    port: int = 0,
    http: type[asyncio.Protocol] = Door,
    ws: str = "none",
    tls: Credentials | None = None,
    **options: Any,
) -> AsyncIterator[int]:
    """`app` on a real server of loopback until the block ends; then nobody listens there any more. Yields the port.

    `options` are uvicorn's."""
    config = uvicorn.Config(
        app,
        proxy_headers=False,
        server_header=False,
        http=http,
        ws=ws,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        **options,
    )
    config.load()
    server = Server(config, tls)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        await server.startup(sockets=[listener])
        try:
            yield int(listener.getsockname()[1])
        finally:
            await server.shutdown(sockets=[listener])

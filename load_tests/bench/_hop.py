"""A process that answers each request with the same bytes, unread: what an exchange takes with nothing behind it.

`python -m load_tests.bench._hop BYTES` says its port and answers until its standard input ends.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import uvloop


class Answering(asyncio.Protocol):
    """One connection; a request comes in one piece here."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - unread
        self._transport.write(self._answer)


@asynccontextmanager
async def answering(body_bytes: int) -> AsyncIterator[str]:
    """Its address, while the block runs."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "load_tests.bench._hop", str(body_bytes), stdin=PIPE, stdout=PIPE
    )
    if child.stdin is None or child.stdout is None:
        raise SystemExit("the child has no pipes")
    try:
        port = int(await child.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stdin.close()
        await child.wait()


async def main(body_bytes: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (body_bytes, b"x" * body_bytes)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(answer), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

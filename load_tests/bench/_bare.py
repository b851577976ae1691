"""A bare HTTP client for benches: one keep-alive connection on httptools, so that the figures are the servers' and not the client's."""

import asyncio

import httptools


class Connection(asyncio.Protocol):
    """One keep-alive connection for one request at a time."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[int] | None = None
        self.body = b""
        """Of the last answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            raise SystemExit(f"status {status}")
        if self._answered is not None:
            self._answered.set_result(len(self.body))

    async def ask(self, request: bytes) -> int:
        """Sends one request and waits for its whole answer; answers the body's length in bytes."""
        self.body = b""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]
        return await self._answered


async def connected(address: str) -> Connection:
    host, _, port = address.removeprefix("http://").partition(":")
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
    return connection

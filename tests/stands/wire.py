"""A TCP relay in front of a server that can be cut and mended: what its clients see of an outage."""

import asyncio
import socket

from tests.stands.servers import free_port


class Wire:
    """Begins cut.

    It accepts by itself: a connection that `asyncio.Server` of Python 3.11 has accepted when it is closed is attached to nobody, and nobody
    closes it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener: socket.socket | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self.port = free_port()

    async def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._let_in, self._listener)

    async def cut(self) -> None:
        """Nobody listens any more, and every open connection breaks."""
        listener, self._listener = self._listener, None
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        for writer in list(self._open):
            writer.transport.abort()

    def _let_in(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        relay = asyncio.get_running_loop().create_task(self._relay(listener, accepted))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, listener: socket.socket, accepted: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=accepted)
        except OSError:
            accepted.close()
            return
        self._open.add(writer)
        try:
            if self._listener is not listener:
                return  # it came in, and then the wire was cut
            there, away = await asyncio.open_connection(*self._target)
            self._open.add(away)
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, away))
                group.create_task(_copy(there, writer))
            self._open.discard(away)
        except* OSError:
            pass
        finally:
            # Also of whoever came in at the moment of the cut, or could not be taken any further.
            writer.transport.abort()
            self._open.discard(writer)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    finally:
        sink.transport.abort()

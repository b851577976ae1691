"""The rest of a long answer, from its service's connection straight to its client's: what one read brings is written before the next, out
of the memory that it was read into. So nothing is copied in between, and no task has a turn for it, but where the client takes no more.
"""

import asyncio

from foundation.wire.switch import Line
from gateway.edge.upstream.connection import Connection

POURED_BYTES_MIN = 64 * 1024
"""Of what is still to come: less is not worth it."""
BASIN_BYTES = 128 * 1024
"""Read at once, at most: few enough to be in the processor's caches still when they are written."""

TURN_BYTES = 4 * BASIN_BYTES
"""After so much of an answer everything else has a turn: as long as its service's connection holds enough to fill what is read into, the
loop reads from it up to 32 times in a row."""


class Basin:
    """What all connections of one loop are read into, one after the other: what is in `memory` is gone with the next read of any."""

    __slots__ = ("_memory",)

    def __init__(self) -> None:
        self._memory: memoryview | None = None

    @property
    def memory(self) -> memoryview:
        """Other memory, where what was there is still to be written."""
        if self._memory is None:
            self._memory = memoryview(bytearray(BASIN_BYTES))
        return self._memory

    def taken(self) -> memoryview:
        """Nobody reads into it any more but who gives it `back`: so none of it is, whatever goes wrong before it is known to be free."""
        memory, self._memory = self.memory, None
        return memory

    def back(self, memory: memoryview) -> None:
        """All that was in it has been written, or copied."""
        self._memory = memory


class Pouring(asyncio.BufferedProtocol):
    """Stands in for a connection with its transport, and is its listener meanwhile."""

    def __init__(self, connection: Connection, transport: asyncio.Transport, line: Line, basin: Basin) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._transport = transport
        self._line = line
        self._basin = basin
        self._owed = self._left = connection.owed
        self._in_a_row = 0
        self._paused = self._over = False
        self._waiter: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Until the answer is complete, or has failed; then until the client's connection, where it was full, has room."""
        connection = self._connection
        connection.listener = self
        self._transport.set_protocol(self)
        try:
            while not (self._over or connection.failed):
                if self._paused:
                    await self._line.drained()
                    self._go_on()
                else:
                    self._waiter = self._loop.create_future()
                    await self._waiter
        finally:
            self._end()

    def _go_on(self) -> None:
        self._paused = False
        self._connection.quiet_since = self._loop.time()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _has_turn(self) -> None:
        self._in_a_row = 0
        if not (self._over or self._transport.is_closing()):
            self._transport.resume_reading()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._connection.listener = None
            self._line.poured(self._owed - self._left)
            if not self._transport.is_closing():
                self._transport.set_protocol(self._connection)

    # --- Listener ---------------------------------------------------------------------------------------------------------------

    def heard(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def lands(self, data: bytes) -> bool:  # noqa: ARG002
        return False

    # --- asyncio.BufferedProtocol -----------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """A byte more than is to come, if there is room: that more was sent than was stated has to be seen at once."""
        memory, left = self._basin.memory, self._left
        return memory if left >= BASIN_BYTES else memory[: left + 1]

    def buffer_updated(self, nbytes: int) -> None:
        connection, line, basin = self._connection, self._line, self._basin
        connection.quiet_since = self._loop.time()
        count = min(nbytes, self._left)
        self._left -= count
        memory = basin.taken()
        if not line.pour(memory[:count]):
            basin.back(memory)
        if not self._left:
            self._end()
            connection.poured(more=nbytes > count)
            self.heard()
        elif line.is_full:
            self._paused = True
            self._transport.pause_reading()
            self.heard()
        else:
            self._in_a_row += count
            if self._in_a_row >= TURN_BYTES:
                self._transport.pause_reading()
                self._loop.call_soon(self._has_turn)

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


async def poured(connection: Connection, line: Line | None, basin: Basin) -> bool:
    """Whether the rest of the answer has been passed on so, until it was complete or had failed. False: nothing has happened."""
    transport, owed = connection.transport, connection.owed
    if line is None or owed < POURED_BYTES_MIN or owed != line.owed or transport is None or _is_tls(transport):
        return False
    await Pouring(connection, transport, line, basin).run()
    return True


def _is_tls(transport: asyncio.Transport) -> bool:
    """What comes by TLS is read into memory of its own first."""
    return transport.get_extra_info("sslcontext") is not None

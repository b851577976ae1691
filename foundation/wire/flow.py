"""Back-pressure of one connection, both ways: whether it is read, and whether it takes more."""

import asyncio
import select
from typing import Final

LOOK_S = 0.02
"""After how long it is looked whether the system takes more of what lies below TLS; twice as long each time that it does not."""
LOOK_S_MAX = 1.28
"""And no longer than this, where the connection is to be closed; whoever waits to go on looks as often as at first."""
LOOKS: Final = 3
"""So often in a row it has to take more: at once, after a turn of the loop, and LOOK_S after that."""


class Flow:
    """`full` and `room` are what a transport tells its protocol (`pause_writing`, `resume_writing`)."""

    __slots__ = ("_full", "_loop", "_transport", "is_full", "paused")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self.paused = False
        """Whether it is not read."""
        self.is_full = False
        """Whether it takes no more for now."""
        self._full: asyncio.Future[None] | None = None

    @property
    def holds(self) -> bool:
        """Whether what was written waits in this process: as much as makes it full, or, where `emptied` was given up, anything."""
        return self.is_full or (self.has_tls and not self._transport.is_closing() and not _takes_more(self._transport))

    def full(self) -> None:
        self.is_full = True
        self._full = self._full or self._loop.create_future()

    def room(self) -> None:
        self.is_full = False
        full, self._full = self._full, None
        if full is not None and not full.done():
            full.set_result(None)

    async def drained(self) -> None:
        if self._full is not None:
            await asyncio.shield(self._full)

    async def emptied(self) -> None:
        """Until nothing that was written waits in this process, or nobody is there."""
        if self._transport.is_closing():
            return
        # TLS tells that it is full from its bound on, a plain connection beyond it.
        self._transport.set_write_buffer_limits(high=1 if self.has_tls else 0)
        await self.drained()
        if self.has_tls:
            await _taken_from_tls(self._transport, LOOK_S)
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits()

    def pause(self) -> None:
        if not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.paused and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()

    @property
    def has_tls(self) -> bool:
        return self._transport.get_extra_info("sslcontext") is not None


async def closed_once_taken(transport: asyncio.Transport) -> None:
    """Closes a transport of TLS once nothing that was written waits in this process. One that is closed earlier waits for that no longer
    than for its client's own end (`foundation.server.TLS_BOUNDS`)."""
    try:
        await _taken_from_tls(transport, LOOK_S_MAX)
    finally:
        transport.close()


async def _taken_from_tls(transport: asyncio.Transport, wait_s_max: float) -> None:
    """A transport of TLS tells nothing of the one below, which holds only what the system did not take. So it has to take more, also after
    the loop has had a turn to give it that, and some time later still: room may come between a write and the look after it."""
    taken, wait_s = 0, LOOK_S
    while not transport.is_closing():
        taken = taken + 1 if not transport.get_write_buffer_size() and _takes_more(transport) else 0
        if taken == LOOKS:
            return
        if taken:
            wait_s = LOOK_S
        await asyncio.sleep(0 if taken == 1 else wait_s)
        if not taken:
            wait_s = min(2 * wait_s, wait_s_max)


def _takes_more(transport: asyncio.Transport) -> bool:
    """Whether the system does, or nobody is there."""
    looking = select.poll()
    looking.register(transport.get_extra_info("socket").fileno(), select.POLLOUT)
    return bool(looking.poll(0))

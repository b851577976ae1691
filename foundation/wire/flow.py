"""Back-pressure of one connection, both ways: whether it is read, and whether it takes more."""

import asyncio


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

    def pause(self) -> None:
        if not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.paused and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()

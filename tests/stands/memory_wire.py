"""Connections in memory, on a loop whose time goes by at once: a test says what arrives in one read and what in two, when a connection ends
and how, and sees every byte that left."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.stands.simulated_network import StillLoop

PEER = ("192.0.2.7", 4000)


def nothing() -> None:
    """Nobody leaves, or is told of anything."""


class Loop(StillLoop):
    """`accept` is told of each connection that is made; nothing refuses one."""

    def __init__(self) -> None:
        super().__init__()
        self.accept: Callable[[Pipe], None] = lambda _: None

    async def create_connection(self, factory: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        protocol = factory()
        pipe = Pipe(protocol, self)
        self.accept(pipe)
        protocol.connection_made(pipe)
        return pipe, protocol

    def go_on(self, seconds: float) -> None:
        """Everything that happens in that time, in its order."""
        until = self.now_s + seconds
        self.settle()
        while (due := self._next()) is not None and due <= until:
            self.now_s = max(due, self.now_s)
            self.settle()
        self.now_s = until
        self.settle()

    def _next(self) -> float | None:
        due = [one.when() for one in self._scheduled if not one.cancelled()]  # type: ignore[attr-defined]
        return min(due, default=None)


class Pipe(asyncio.Transport):
    """A protocol's transport: `sent` is what it wrote, `ended` how it ended. `give` what comes for it; `leave` is the other end's end."""

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._protocol = protocol
        self._loop = loop
        self._paused = False
        self._waiting: list[bytes] = []
        self._leaves: Callable[[], None] = nothing
        self._lost = False
        self.sent = bytearray()
        self.ended: str | None = None
        self.heard: Callable[[], None] = nothing

    def give(self, data: bytes) -> None:
        if self._paused:
            self._waiting.append(data)
        elif self.ended in (None, "half"):
            self._arrives(data)

    def _arrives(self, data: bytes) -> None:
        """As much at once as the protocol has room for, if it says so."""
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(data)
            return
        buffer = self._protocol.get_buffer(-1)
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        self._protocol.buffer_updated(count)
        if rest := data[count:]:
            self._waiting.insert(0, rest)
            self._go_on()

    def leave(self, exc: Exception | None = None) -> None:
        """Behind what waits to be read."""
        if self._waiting:
            self._leaves = partial(self.leave, exc)
        elif self.ended in (None, "half"):
            if exc is None:
                self._protocol.eof_received()
            self._end("left", exc)

    def _end(self, how: str, exc: Exception | None = None) -> None:
        if self.ended in (None, "half"):
            self.ended = how
            self._loop.call_soon(self._protocol.connection_lost, exc)

    # --- asyncio.Transport -----------------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": PEER, "sockname": ("192.0.2.1", 80), "socket": self}.get(name, default)

    def getpeername(self) -> tuple[str, int]:
        return PEER

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.1", 80

    def setsockopt(self, *_: object) -> None:
        """An abort after this is a reset; every abort is told apart here anyway."""

    def write(self, data: Any) -> None:
        if self.ended is None:
            self.sent += data
            self._loop.call_soon(self.heard)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = self.ended or "half"

    def close(self) -> None:
        self._end("half, closed" if self.ended == "half" else "closed")

    def abort(self) -> None:
        self._end("aborted")

    def is_closing(self) -> bool:
        return self.ended not in (None, "half")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        while self._waiting and not self._paused:
            self.give(self._waiting.pop(0))
        if not self._waiting:
            leaves, self._leaves = self._leaves, nothing
            leaves()


class Narrow(Pipe):
    """Takes so much, and has the rest wait for `make_room`: what was written, not a copy of it, as transports do."""

    BYTES_HIGH = 64 * 1024

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(protocol, loop)
        self._room = 0
        self._held: list[memoryview] = []
        self._full = self._closes = False

    def write(self, data: Any) -> None:
        if not self.is_closing():
            self._held.append(memoryview(data))
            self._take()
            if self.get_write_buffer_size() > self.BYTES_HIGH and not self._full:
                self._full = True
                self._protocol.pause_writing()

    def make_room(self, count: int) -> None:
        self._room += count
        self._take()
        if self._full and not self._held:
            self._full = False
            self._protocol.resume_writing()
        if self._closes and not self._held:
            super().close()

    def close(self) -> None:
        self._closes = True
        self.make_room(0)

    def is_closing(self) -> bool:
        return self._closes or super().is_closing()

    def _take(self) -> None:
        while self._held and self._room:
            first = self._held[0]
            count = min(self._room, len(first))
            super().write(first[:count])
            self._room -= count
            if count == len(first):
                self._held.pop(0)
            else:
                self._held[0] = first[count:]

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._held))

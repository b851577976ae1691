"""Connections in memory, on a loop whose time goes by at once: a test says what arrives in one read and what in two, when a connection ends
and how, and sees every byte that left."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.stands.simulated_network import StillLoop

PEER = ("192.0.2.7", 4000)


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
        self._lost = False
        self.sent = bytearray()
        self.ended: str | None = None
        self.heard: Callable[[], None] = lambda: None

    def give(self, data: bytes) -> None:
        if self._paused:
            self._waiting.append(data)
        elif self.ended in (None, "half"):
            self._protocol.data_received(data)

    def leave(self, exc: Exception | None = None) -> None:
        if self.ended in (None, "half"):
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
        while self._waiting and not self._paused:
            self.give(self._waiting.pop(0))

"""What goes out in one turn of the loop, together at its end."""

import asyncio
from typing import Final

HELD_MAX: Final = 64
"""Beyond it nothing waits for the end of the turn."""


class Outbox:
    """Whole messages, each for a connection on which nothing else goes out meanwhile.

    A write wakes whoever it is for, and takes the processor's caches from what is read next; so what arrived in a turn is read first, and
    whoever is written to wakes for many at once.
    """

    __slots__ = ("_held", "_loop", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: list[tuple[asyncio.Transport, bytes]] = []
        self.turn = 0
        """Another once all that was written has gone out."""

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        held = self._held
        held.append((transport, data))
        if len(held) == 1:
            self._loop.call_soon(self.flush)
        elif len(held) >= HELD_MAX:
            self.flush()

    def flush(self) -> None:
        """All of it goes out. To be called before anything else happens to a connection that has some of it."""
        held = self._held
        if held:
            self.turn += 1
            self._held = []
            for transport, data in held:
                if not transport.is_closing():
                    transport.write(data)

"""A client that takes nothing of what was written for it: its connection ends without that."""

import asyncio

from foundation.wire.alarm import Alarm

TAKEN_S_MAX = 60.0
"""In which something of what waits for it is taken. As long as it may be silent inside a body (`foundation.wire.connection`)."""


class Taking:
    """Watches one connection while something waits for its client. Whoever takes a little each time is not cut off here."""

    __slots__ = ("_alarm", "_left", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._alarm = Alarm(loop, self._late)
        self._left = 0

    def waits(self) -> None:
        """Something does from now on, and nothing more is written until it is `taken`, or the connection lost."""
        self._left = self._transport.get_write_buffer_size()
        self._alarm.within(TAKEN_S_MAX)

    def taken(self) -> None:
        self._alarm.within(None)

    def lost(self) -> None:
        self._alarm.cancel()

    def _late(self) -> None:
        left = self._transport.get_write_buffer_size()
        if left < self._left:
            self._left = left
            self._alarm.within(TAKEN_S_MAX)
        else:
            self._transport.abort()

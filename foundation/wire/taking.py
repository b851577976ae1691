"""A client that takes nothing of what was written for it: its connection ends without that."""

import asyncio
import socket
import struct

from foundation.wire.alarm import Alarm

TAKEN_S_MAX = 60.0
"""In which something of what waits for it is taken. As long as it may be silent inside a body (`foundation.wire.connection`)."""
FIRST_LOOK = 1 / 60
"""Of TAKEN_S_MAX, before it is looked for the first time: most waits are over by then, and cost no look."""
TAKEN_BYTES_MIN = 4_096
"""As much has to be taken from one look to the next, where the system says how much was: else a byte a minute held it for days."""
_ACKNOWLEDGED = struct.Struct("=120xQ")
"""Of what Linux says of a connection (`struct tcp_info`): how many bytes of it were acknowledged, ever (RFC 4898, HCThruOctetsAcked)."""


class Taking:
    """Watches one connection while something waits for its client. Whoever takes some of it each time is not cut off here."""

    __slots__ = ("_alarm", "_seen", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._alarm = Alarm(loop, self._look)
        self._seen: int | None = None

    def waits(self) -> None:
        """Something does from now on, until it is `taken`, or the connection lost. More may be written meanwhile."""
        self._seen = None
        self._alarm.within(TAKEN_S_MAX * FIRST_LOOK)

    def taken(self) -> None:
        self._alarm.within(None)

    def lost(self) -> None:
        self._alarm.cancel()

    def _look(self) -> None:
        """What the client's system has acknowledged since the last look was taken. Where this one does not say: what has changed was taken,
        or written because something was. What TLS itself has to say changes that, too, so it counts nowhere else."""
        told = acknowledged(self._transport)
        seen, before = told or self._transport.get_write_buffer_size(), self._seen
        if before is not None and (seen - before < TAKEN_BYTES_MIN if told else seen == before):
            self._transport.abort()
        else:
            self._seen = seen
            self._alarm.within(TAKEN_S_MAX)


def acknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the client's system has taken of its connection, below TLS: a transport of TLS tells nothing of what the one beneath it
    still holds. 0 where this system does not say."""
    connection = transport.get_extra_info("socket")
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
    except (AttributeError, OSError, ValueError):  # uvloop has no descriptor of what it closed
        return 0
    return int(_ACKNOWLEDGED.unpack(told)[0]) if len(told) == _ACKNOWLEDGED.size else 0

"""The two connections of an open websocket: what comes on one goes out on the other, byte for byte, as fast as the slower takes it.

Nothing is buffered here: while one side's transport is full, the other is not read. Frames are counted in both directions only to know
where a Close may stand that the gateway itself sends: between two frames (RFC 6455 section 5.4), and not behind another.

Whoever leaves takes the other along: what it sent goes out, then the other connection ends too, without a Close that nobody sent.
"""

import asyncio
import enum
import secrets
from collections.abc import Callable
from typing import cast

from foundation.wire.alarm import Alarm
from foundation.wire.flow import closed_once_taken
from foundation.wire.websocket import MASK_BYTES, Frames, close_frame
from gateway.edge.lasting import Why
from gateway.settings import Websockets

CLOSING_S_MAX = 5.0
"""From the gateway's own decision to end: for a frame under way to end, and for the Close to go out and be answered. A drain takes 10."""
PARTING_S_MAX = 30.0
"""For what the side that left had sent to go out to the other."""


class Ending(enum.Enum):
    """What ended a websocket."""

    CLIENT = "client"
    SERVICE = "service"
    EPOCH = "epoch"
    STALE = "stale"
    IDLE = "idle"
    LIFETIME = "lifetime"
    DRAIN = "drain"


CLOSES = {
    Ending.EPOCH: (1008, b"epoch changed"),
    Ending.STALE: (1013, b"the home cannot be established just now"),
    Ending.IDLE: (1001, b"idle"),
    Ending.LIFETIME: (1001, b"open for too long"),
    Ending.DRAIN: (1012, b"draining"),
}
"""Codes of RFC 6455 section 7.4.1 and of its registry. 4000 to 4999 are for agreements between a client and its service."""


class Side(asyncio.Protocol):
    """One connection. `frames`: those that come from it. `told`: nothing more goes out on it."""

    def __init__(self, tunnel: "Tunnel", leaves: Ending) -> None:
        self._tunnel = tunnel
        self._leave: Callable[[], None] = lambda: None
        self._paused = True
        self.leaves = leaves
        self.transport: asyncio.Transport | None = None
        self.frames = Frames()
        self.ahead = b""
        self.told = False
        self.lost = False

    def switched(self, transport: asyncio.Transport, ahead: bytes, leave: Callable[[], None]) -> None:
        self.transport, self.ahead, self._leave = transport, ahead, leave

    def write(self, data: bytes) -> None:
        if self.transport is not None and not (self.told or self.transport.is_closing()):
            self.transport.write(data)

    def part(self) -> None:
        """Nothing more goes out; what is on its way does, and the other side's end is waited for (RFC 6455 section 7.1.1)."""
        if self.told or self.transport is None or self.transport.is_closing():
            return
        self.told = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self._tunnel.close_once_taken(self.transport)

    def pause(self) -> None:
        if not (self._paused or self.transport is None or self.transport.is_closing()):
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # --- asyncio.Protocol, after the handshake ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._tunnel.came(self, data)

    def eof_received(self) -> None:
        self._tunnel.left(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost = self.told = True
        self._leave()
        self._tunnel.left(self)

    def pause_writing(self) -> None:
        self._tunnel.other(self).pause()

    def resume_writing(self) -> None:
        self._tunnel.other(self).resume()

    def shutdown(self) -> None:
        """The process is leaving."""
        self._tunnel.end(Ending.DRAIN)


class Tunnel:
    """`client` takes its connection first, then `open`; `over` says what ended it once both connections are lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Websockets) -> None:
        self._limits = limits
        self._loop = loop
        self._alarm = Alarm(loop, self._late)
        self._lifetime: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._ending: Ending | None = None
        self._opened = False
        self.client = Side(self, Ending.CLIENT)
        self.service = Side(self, Ending.SERVICE)
        self.over: asyncio.Future[Ending] = loop.create_future()

    def open(self, transport: asyncio.Transport, ahead: bytes) -> None:
        """The service's connection, whose reading is paused, and what had arrived behind its 101."""
        self.service.switched(transport, ahead, lambda: None)
        transport.set_protocol(cast("asyncio.BaseProtocol", self.service))
        self._alarm.within(self._limits.idle_s)
        self._lifetime = self._loop.call_later(self._limits.total_s, self.end, Ending.LIFETIME)
        self._opened = True
        for side in (self.client, self.service):
            side.resume()  # first, so that what is ahead may pause it again
        for side in (self.client, self.service):
            ahead, side.ahead = side.ahead, b""
            if ahead:
                self.came(side, ahead)
        if self._ending is not None:
            self._close(self._ending)

    def other(self, side: Side) -> Side:
        return self.service if side is self.client else self.client

    def came(self, side: Side, data: bytes) -> None:
        to = self.other(side)
        if self._ending is None:
            self._alarm.within(self._limits.idle_s)
            side.frames.take(data)
            to.write(data)
        elif not to.told:
            end = side.frames.step(data, 0)
            to.write(data[:end])
            self._tell(side, self._ending)

    def left(self, side: Side) -> None:
        """It sends no more, or is gone."""
        if self._ending is None:
            self._ending = side.leaves
            self._alarm.within(PARTING_S_MAX)
        self._part(self.other(side))
        self._part(side)
        if self.client.lost and self.service.lost:
            self._rest()
            if not self.over.done():
                self.over.set_result(self._ending)

    def close_once_taken(self, transport: asyncio.Transport) -> None:
        """Of either side, where it speaks TLS."""
        task = self._loop.create_task(closed_once_taken(transport), name="edge tunnel end")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def outdated(self, why: Why) -> None:
        self.end(Ending.EPOCH if why is Why.EPOCH else Ending.STALE)

    def end(self, why: Ending) -> None:
        """Closes both sides, each between two frames, or without a Close once CLOSING_S_MAX has passed."""
        if self._ending is None:
            self._ending = why
            if self._opened:
                self._close(why)

    def abort(self) -> None:
        self._rest()
        self.client.abort()
        self.service.abort()

    def _close(self, why: Ending) -> None:
        self._alarm.within(CLOSING_S_MAX)
        for side in (self.client, self.service):
            self._tell(side, why)

    def _tell(self, side: Side, why: Ending) -> None:
        """Ends the direction that comes from `side`, if it stands between two frames."""
        to = self.other(side)
        if side.frames.between and not to.told:
            if not side.frames.closed and why in CLOSES:
                code, reason = CLOSES[why]
                mask = secrets.token_bytes(MASK_BYTES) if to is self.service else b""
                to.write(close_frame(code, reason, mask=mask))
            self._part(to)

    def _part(self, to: Side) -> None:
        to.part()
        self.other(to).resume()  # what still comes for it is dropped

    def _late(self) -> None:
        if self._ending is None:
            self.end(Ending.IDLE)
        else:
            self.abort()

    def _rest(self) -> None:
        self._alarm.cancel()
        if self._lifetime is not None:
            self._lifetime.cancel()
            self._lifetime = None
        for task in self._closing:
            task.cancel()

"""One connection of the door, towards a client or a shard: read by exact lengths while it begins, then handed what comes as it comes."""

import asyncio
from collections.abc import Callable

WRITE_BYTES_HIGH = 262_144
"""What may wait to be written before the other side is read no more."""
UNHEARD_BYTES_MAX = 65_536
"""What may have come while it begins, and was not asked for yet."""


class WireClosed(Exception):
    """It ended before what was to be read had come."""


class Wire(asyncio.Protocol):
    """`full` and `room` are called as the transport takes no more, and takes more again; `lost` once, when it is gone."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.full: Callable[[], None] = _nothing
        self.room: Callable[[], None] = _nothing
        self.lost: Callable[[], None] = _nothing
        self.gone = asyncio.Event()
        self._heard: Callable[[bytes], None] | None = None
        self._kept = bytearray()
        self._more = asyncio.Event()
        self._paused = False

    # --- asyncio's calls -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a stream, both ways
        self.transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)

    def data_received(self, data: bytes) -> None:
        if self._heard is not None:
            self._heard(data)
            return
        self._kept += data
        self._more.set()
        if len(self._kept) > UNHEARD_BYTES_MAX:
            self.pause()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gone.set()
        self._more.set()
        self.lost()

    def pause_writing(self) -> None:
        self.full()

    def resume_writing(self) -> None:
        self.room()

    # --- ours ----------------------------------------------------------------------------------------------------------------

    async def exactly(self, size: int) -> bytes:
        """Raises WireClosed."""
        while len(self._kept) < size:
            if self.gone.is_set():
                raise WireClosed
            self._more.clear()
            self.resume()
            await self._more.wait()
        found = bytes(self._kept[:size])
        del self._kept[:size]
        return found

    def hand(self, heard: Callable[[bytes], None]) -> None:
        """From now on what comes goes there, what has come already first."""
        self._heard = heard
        kept = bytes(self._kept)
        self._kept.clear()
        self.resume()
        if kept:
            heard(kept)

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    async def close(self, within_s: float) -> None:
        """What was sent still goes out, for so long at most."""
        if self.gone.is_set():
            return
        self.transport.close()
        try:
            async with asyncio.timeout(within_s):
                await self.gone.wait()
        except TimeoutError:
            self.transport.abort()


def _nothing() -> None:
    pass

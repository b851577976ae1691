"""What a crew's parent and its processes say to each other: a JSON object a line, over a pair of sockets that the process inherits one of.

The end of it tells each that the other is gone.
"""

import asyncio
import socket
from typing import Generic, TypeVar

import msgspec

LINE_BYTES_MAX = 16 << 20
"""Metrics come in one line."""


class Look(msgspec.Struct, frozen=True, tag="look"):
    """The parent asks for `Shown`."""


class Listen(msgspec.Struct, frozen=True, tag="listen"):
    """The parent says that nobody listens: whoever is there does, ready or not."""


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """The parent says that a successor listens on the same socket."""


class Over(msgspec.Struct, frozen=True, tag="over"):
    """The parent says that no successor comes, and does not hold the socket any more: whoever is told to leave may."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The process's settings hold."""


class Serving(msgspec.Struct, frozen=True, tag="serving"):
    """It listens."""


class Leaving(msgspec.Struct, frozen=True, tag="leaving"):
    """It was told to end by somebody, and listens on until it has a successor."""


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    """`problem`: why it would take no traffic, None: it would. `metrics`: its `/metrics`."""

    problem: str | None
    metrics: str


Asked = Look | Listen | Leave | Over
Told = Opened | Serving | Leaving | Shown
Heard = TypeVar("Heard")
_encoder = msgspec.json.Encoder()


class Channel(Generic[Heard]):
    """Either end of it, for as long as both are there."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgspec.json.Decoder[Heard]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    def say(self, message: Asked | Told) -> None:
        """Never waits. Nobody hears it where the other has gone."""
        if not self._writer.transport.is_closing():
            self._writer.write(_encoder.encode(message) + b"\n")

    async def hear(self) -> Heard | None:
        """The next message; None: the other is gone, or is sent away since it says what nobody understands."""
        try:
            line = await self._reader.readline()
            return self._decoder.decode(line) if line.endswith(b"\n") else None
        except ConnectionError:
            return None
        except (ValueError, msgspec.MsgspecError):  # a line without an end, or one of another release
            self.close()
            return None

    def close(self) -> None:
        self._writer.transport.abort()


async def to_a_process(end: socket.socket) -> Channel[Told]:
    """The parent's end."""
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=LINE_BYTES_MAX)
    return Channel(reader, writer, msgspec.json.Decoder(Told))


async def to_the_parent(end: socket.socket) -> Channel[Asked]:
    """A process's end."""
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=LINE_BYTES_MAX)
    return Channel(reader, writer, msgspec.json.Decoder(Asked))

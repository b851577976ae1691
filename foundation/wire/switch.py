"""A connection that goes on under another protocol after 101 (RFC 9110 section 7.8): what hands it over, and what takes it."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from foundation.wire.answer import UnfitAnswer

LINE = "domicile.line"
"""Under which extension of the scope a request finds its connection."""


class Successor(Protocol):
    """The rest of an `asyncio.Protocol`, which has the connection from `switched` on."""

    def switched(self, transport: asyncio.Transport, ahead: bytes, leave: Callable[[], None]) -> None:
        """Reading is paused; `ahead` arrived already. `leave` is called once, when the connection is lost."""
        ...

    def shutdown(self) -> None:
        """The process is leaving."""
        ...


class Line(Protocol):
    """The connection of a request, while the request has no answer or one that is under way."""

    def switch(self, fields: Iterable[tuple[bytes, bytes]], successor: Successor) -> bool:
        """Answers 101 with `fields` and hands the connection over. False where the client has left."""
        ...

    async def emptied(self) -> None:
        """Until nothing that was written waits in this process, or nobody is there. Where that is given up, `break_off`."""
        ...

    def drops(self) -> None:
        """What still comes of the request's body is for nobody: its client may be silent from here on."""
        ...

    def break_off(self) -> None:
        """The answer under way ends without its end, also towards a client that does not read."""
        ...

    # What comes of a long body can go out without the application: as many bytes as are `owed`, each piece by `pour`, and then `poured`.

    @property
    def owed(self) -> int:
        """How much of the answer's body is to be written yet, if its length is stated and its head has gone out; else 0."""
        ...

    @property
    def is_full(self) -> bool:
        """Nothing more is to be written until `drained`."""
        ...

    def pour(self, piece: memoryview) -> bool:
        """Writes a piece of the body. True: its memory is in use from here on, and must stay as it is."""
        ...

    def poured(self, count: int) -> None:
        """So many bytes of the body were."""
        ...

    async def drained(self) -> None:
        """Until more may be written, or nobody is there."""
        ...


def switching(dated: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a 101. Raises UnfitAnswer for a field that would be more than one."""
    lines = [b"%b: %b" % field for field in fields]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise UnfitAnswer("a field of the answer holds a line's end")
    return b"\r\n".join((b"HTTP/1.1 101 Switching Protocols", *dated.splitlines(), *lines, b"", b""))

"""One request on a connection as an ASGI application has it: `receive` its body, `send` its answer (ASGI 3.0, HTTP 2.5)."""

import asyncio
from http import HTTPStatus
from typing import Protocol

from starlette.types import Message

Lines = list[tuple[bytes, bytes]]

BUFFER_BYTES_HIGH = 64 * 1024
"""Reading pauses while more of a body than this waits to be received."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WORDS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
BODILESS = (204, 304)
"""Statuses whose answers have no body, whatever their fields say (RFC 9110 sections 15.3.5 and 15.4.5)."""


class Line(Protocol):
    """The connection, as its request sees it."""

    def write(self, data: bytes) -> None: ...

    def dated(self) -> bytes:
        """Lines that every answer has."""
        ...

    async def drained(self) -> None:
        """Until more may be written, or nobody is there."""
        ...

    def awaits(self, waiting: bool) -> None:
        """Whether the application waits for more of the body: silence of the client is bounded then."""
        ...

    def taken(self) -> None:
        """What had arrived of the body was received; there is room again."""
        ...

    def answered(self, *, keep: bool) -> None:
        """The answer is whole. `keep`: another request may follow."""
        ...

    def give_up(self) -> None:
        """The answer cannot be ended properly: the client must not take it for a whole one."""
        ...


class Answering(Protocol):
    """What answers a connection's request, as the connection sees it."""

    ended: bool
    """The whole body has arrived."""
    done: bool
    """The answer is whole."""

    @property
    def started(self) -> bool:
        """Something of the answer has been sent."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes of the body that wait to be received."""
        ...

    @property
    def until_closed(self) -> bool:
        """Whether the end of the connection would be taken for the end of the answer."""
        ...

    def data(self, piece: bytes) -> None: ...

    def end(self) -> None: ...

    def leave(self) -> None:
        """The client is gone."""
        ...

    def close_after(self) -> None:
        """No other request follows on this connection."""
        ...


class AnswerBroken(Exception):
    """The application has told already why its answer has no end; its connection is closed, so that no end is taken for one."""


def status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, _WORDS.get(status, b""))


class UnfitAnswer(Exception):
    """The application's messages do not make an answer."""


class Cycle:
    """`minor`: of the request's HTTP/1; `keep`: whether its connection may carry another; `expects`: it waits for 100 Continue."""

    __slots__ = (
        "_chunked",
        "_expects",
        "_held",
        "_keep",
        "_left",
        "_line",
        "_loop",
        "_method",
        "_minor",
        "_stated",
        "_waiter",
        "buffered",
        "done",
        "ended",
        "gone",
        "started",
        "told_end",
    )

    def __init__(
        self, line: Line, loop: asyncio.AbstractEventLoop, *, method: str, minor: int, keep: bool, expects: bool
    ) -> None:
        self._line = line
        self._loop = loop
        self._method = method
        self._minor = minor
        self._keep = keep
        self._expects = expects
        self._held: list[bytes] = []
        self._stated: bytes | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._chunked = False
        self._left: int | None = None
        self.buffered = 0
        self.ended = False
        """The whole body has arrived."""
        self.told_end = False
        """And the application has received it."""
        self.started = False
        self.done = False
        """The answer is whole."""
        self.gone = False
        """The client is."""

    # --- from the connection -------------------------------------------------------------------------------------------------

    def data(self, piece: bytes) -> None:
        if not self.done:
            self._held.append(piece)
            self.buffered += len(piece)
            self._wake()

    def begin_with(self, body: bytes) -> None:
        """All of the body, before anybody asks for it."""
        if body:
            self._held.append(body)
            self.buffered = len(body)
        self.ended = True

    def end(self) -> None:
        self.ended = True
        self._wake()

    def leave(self) -> None:
        self.gone = True
        self._wake()

    def switch(self) -> None:
        """Another protocol has the connection from here on."""
        self.started = self.done = True
        self._wake()

    def close_after(self) -> None:
        """No other request follows on this connection."""
        self._keep = False

    # --- ASGI ----------------------------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        if self._expects and not self.started and not self.gone:
            self._expects = False
            self._line.write(CONTINUE)
        while not (self._held or self.gone or self.done or (self.ended and not self.told_end)):
            waiter = self._waiter = self._loop.create_future()
            self._line.awaits(not self.ended)
            try:
                await waiter
            finally:
                if self._waiter is waiter:  # else whoever was cancelled here was followed by another
                    self._waiter = None
                    if not self.done:
                        self._line.awaits(False)
        if self.gone or self.done:
            return {"type": "http.disconnect"}
        body, self._held, self.buffered = b"".join(self._held), [], 0
        self.told_end = self.ended
        self._line.taken()
        return {"type": "http.request", "body": body, "more_body": not self.ended}

    async def send(self, message: Message) -> None:
        """Raises UnfitAnswer. The head goes out with the first piece of the body, or by itself where that takes another turn."""
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self._start(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self.started and not self.done:
            await self._piece(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise UnfitAnswer(f"{kind} is out of turn")

    def _start(self, status: int, headers: Lines) -> None:
        if self._expects:
            self._keep = False  # nobody knows whether the body that was not asked for will come
        dated = self._line.dated()
        lines = [status_line(status), dated]
        framed = status in BODILESS or status < 200
        left = 0 if framed else None
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"content-length":
                framed = True
                left = 0 if status in BODILESS else int(value)
            elif lowered == b"transfer-encoding":
                continue  # framed here
            elif lowered == b"connection":
                if b"close" in value.lower():
                    self._keep = False
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        self._left = 0 if self._method == "HEAD" else left
        if self._method == "HEAD":
            pass
        elif not framed and self._minor:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        elif not framed:
            self._keep = False  # HTTP/1.0: the end of the connection is the end of the body
        if not self._keep:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        stated = b"".join(lines)
        ends = len(lines) - 1 + dated.count(b"\r\n")
        if not (stated.count(b"\r\n") == stated.count(b"\n") == stated.count(b"\r") == ends) or b"\x00" in stated:
            raise UnfitAnswer("a field of the answer holds a line's end")
        self._stated = stated
        self.started = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        stated, self._stated = self._stated, None
        if stated is not None and not self.gone:
            self._line.write(stated)

    async def _piece(self, body: bytes, *, last: bool) -> None:
        if self._method == "HEAD":
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (last and self._left):
                raise UnfitAnswer("the body has another length than was stated")
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")
        stated, self._stated = self._stated, None
        if stated is not None:
            body = stated + body
        if body:
            self._line.write(body)
        if last:
            self.done = True
            self._wake()
            self._line.answered(keep=self._keep)
        else:
            await self._line.drained()

    def fail(self) -> None:
        """The application will say no more. An answer that is not whole ends its connection."""
        self._stated = None
        if not self.gone and not self.done:
            self.done = True
            self._line.give_up()

    @property
    def until_closed(self) -> bool:
        """Whether the end of the connection would be taken for the end of the answer."""
        return self.started and not self._chunked and self._left is None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

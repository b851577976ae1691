"""One request on a connection as an ASGI application has it: `receive` its body, `send` its answer (ASGI 3.0, HTTP 2.5)."""

import asyncio
from collections.abc import Iterable

from starlette.types import Message

from foundation.wire.answer import BODILESS, CHUNKED, Lines, UnfitAnswer, head_of, stated_by, whole
from foundation.wire.line import Line

BUFFER_BYTES_HIGH = 64 * 1024
"""Reading pauses while more of a body than this waits to be received."""
APART_BYTES_MIN = 16 * 1024
"""Of a piece of the body that goes out with its head: it is not copied for that."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Cycle:
    """`minor`: of the request's HTTP/1; `keep`: whether its connection may carry another; `expects`: it waits for 100 Continue."""

    __slots__ = (
        "_chunked",
        "_expects",
        "_framed",
        "_head",
        "_held",
        "_keep",
        "_left",
        "_line",
        "_loop",
        "_method",
        "_minor",
        "_waiter",
        "buffered",
        "done",
        "dropped",
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
        self._head: tuple[int, Lines] | None = None
        """What goes out with the first piece of the body, or soon."""
        self._framed = False
        self._waiter: asyncio.Future[None] | None = None
        self._chunked = False
        self._left: int | None = None
        self.buffered = 0
        self.ended = False
        """The whole body has arrived."""
        self.told_end = False
        """And the application has received it."""
        self.dropped = False
        """What still comes of the body is for nobody: whoever receives it waits for the client's leaving, not for more."""
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
            self._line.awaits(not (self.ended or self.dropped))
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

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self._expects:
            self._keep = False  # nobody knows whether the body that was not asked for will come
        fields, length, closes = stated_by(headers)
        bodiless = status in BODILESS or status < 200
        self._keep = self._keep and not closes
        self._framed = bodiless or length is not None or self._method == "HEAD"
        self._left = 0 if bodiless or self._method == "HEAD" else length
        self._head = status, fields
        self.started = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._head is not None and not (self.gone or self.done):
            head, self._head = self._head, None
            self._line.write(self._begun(*head))

    def _begun(self, status: int, fields: Lines) -> bytes:
        """The head of an answer whose body, or some of it, is still to come."""
        framing = b""
        if not self._framed and self._minor:
            self._chunked, framing = True, CHUNKED
        elif not self._framed:
            self._keep = False  # HTTP/1.0: the end of the connection is the end of the body
        return head_of(status, fields, self._line.dated(), framing=framing, keep=self._keep)

    async def _piece(self, body: bytes, *, last: bool) -> None:
        begun, data = self._framed_piece(body, last=last)
        if begun and len(data) >= APART_BYTES_MIN:
            self._line.write_both(begun, data)
        elif begun or data:
            self._line.write(begun + data)
        if last:
            self.done = True
            self._wake()
            self._line.answered(keep=self._keep)
        else:
            await self._line.drained()

    def _framed_piece(self, body: bytes, *, last: bool) -> tuple[bytes, bytes]:
        """What goes out for a piece of the body, behind the head, if that has not gone."""
        if self._method == "HEAD":
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (last and self._left):
                raise UnfitAnswer("the body has another length than was stated")
        head, self._head = self._head, None
        if head is not None and last:
            return b"", whole(*head, body, self._line.dated(), method=self._method, keep=self._keep)
        begun = b"" if head is None else self._begun(*head)
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")
        return begun, body

    def fail(self) -> None:
        """The application will say no more. An answer that is not whole ends its connection."""
        if not self.gone and not self.done:
            self.done = True
            self._line.give_up()

    @property
    def owed(self) -> int:
        """How much of the body is to be sent yet, if its length is stated and the head has gone out; else 0."""
        return 0 if self.gone or self.done or self._head is not None else self._left or 0

    def poured(self, count: int) -> None:
        """So much of it has gone out, past the application."""
        if self._left is not None:
            self._left -= count

    @property
    def head_only(self) -> bool:
        """Whether HEAD was asked."""
        return self._method == "HEAD"

    @property
    def until_closed(self) -> bool:
        """Whether the end of the connection would be taken for the end of the answer."""
        return self.started and self._head is None and not self._chunked and self._left is None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

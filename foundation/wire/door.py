"""The HTTP/1.1 protocol of every process, for uvicorn: reads requests strictly, answers what is ambiguous itself, hands the rest to the
application one after the other.

Give it to `uvicorn.Config(http=...)`.
"""

from collections.abc import Awaitable, Coroutine
from typing import Any, Final

from mypy_extensions import mypyc_attr
from starlette.types import Scope

from foundation import logs
from foundation.problems import Code, Problem
from foundation.wire.connection import ServerConnection
from foundation.wire.cycle import BUFFER_BYTES_HIGH, Cycle
from foundation.wire.framing import Framed, framing_of
from foundation.wire.head import Malformed, RequestHead
from foundation.wire.line import AnswerBroken, Answering
from foundation.wire.messages import END
from foundation.wire.scope import scope_of
from foundation.wire.targets import Asked, asked_of

log = logs.get(__name__)

_CODES: Final = {
    400: Code.BAD_REQUEST,
    414: Code.TARGET_TOO_LONG,
    431: Code.HEAD_TOO_LARGE,
    505: Code.VERSION_NOT_SUPPORTED,
}

UNREAD_BYTES_MAX: Final = 1 << 20
"""How much of a body is read and dropped once its request has been answered; beyond it the connection ends."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Door(ServerConnection):
    """One connection: its requests, one after the other."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        self._let_out()
        if self._parting.begun:
            self._parting.drop(data)
        elif not self._transport.is_closing():
            self._reader.feed(data)
            self._advance()

    # --- reading -------------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Takes in what the reader has."""
        reader = self._reader
        while not (self._parting.begun or self._transport.is_closing()):
            event = reader.event()
            if isinstance(event, bytes):
                self._piece(event)
            elif isinstance(event, RequestHead):
                self._begin(event)
            elif isinstance(event, Malformed):
                self._refuse(Problem(code=_CODES[event.status], detail=event.detail))
            elif event is END:
                self._ended()
            else:
                break
        if self._idle and reader.in_head:
            self._idle = False
            self._head_within()
        cycle = self._cycle
        if cycle is not None and (reader.ahead or (cycle.buffered > BUFFER_BYTES_HIGH and not cycle.done)):
            self._flow.pause()

    def _begin(self, head: RequestHead) -> None:
        self._idle = False
        self._alarm.due = None
        head_only = head.method == b"HEAD"
        asked = asked_of(head)
        if isinstance(asked, Malformed):
            self._refuse(Problem(code=_CODES[asked.status], detail=asked.detail), head_only=head_only)
            return
        fields = self.read(head, asked)
        if isinstance(fields, Problem):
            self._refuse(fields, head_only=head_only)
            return
        more = self._reader.body(length=fields.content_length, chunked=fields.chunked)
        self._unread = 0
        keep = bool(head.minor) and not (fields.closes or self._last())
        whole = self._reader.whole(BUFFER_BYTES_HIGH) if more else b""
        if whole is not None:
            at_once = self.answer_now(head, asked, fields, whole, keep=keep)
            if at_once is not None:
                self._cycle = at_once
                return
        cycle = Cycle(
            self,
            self._loop,
            method=asked.method,
            minor=head.minor,
            keep=keep,
            expects=fields.expects and bool(head.minor) and whole is None,  # RFC 9110 section 10.1.1
        )
        if whole is not None:
            cycle.begin_with(whole)
        self.run(cycle, self._app(self._scope(head, asked, fields), cycle.receive, cycle.send))

    def _last(self) -> bool:
        """Whether no other request follows on this connection, since the server leaves."""
        return self._leaving or self._server.leaving

    def read(self, head: RequestHead, asked: Asked) -> Framed | Problem:  # noqa: ARG002 - for protocols that build on this one
        """What the head says of its body and connection, or why it goes no further."""
        return framing_of(head)

    def answer_now(
        self,
        head: RequestHead,  # noqa: ARG002
        asked: Asked,  # noqa: ARG002
        fields: Framed,  # noqa: ARG002
        body: bytes,  # noqa: ARG002
        *,
        keep: bool,  # noqa: ARG002
    ) -> Answering | None:
        """For protocols that build on this one: who answers a request that came whole, without a task; None: the application does.
        Called while what came is read, so it must not answer before it returns."""
        return None

    def _read_elsewhere(self, answering: Answering) -> None:
        """For protocols that build on this one: a request that came whole, between two, was read by them and is being answered."""
        self._idle = False
        self._alarm.due = None
        self._unread = 0
        self._reader.read_elsewhere()
        self._cycle = answering

    def run(self, cycle: Cycle, answering: Coroutine[Any, Any, None]) -> None:
        """From now on the request is answered by this coroutine over `cycle`."""
        self._cycle = cycle
        self._owned(self._run(cycle, answering), "edge request")

    def _scope(self, head: RequestHead, asked: Asked, fields: Framed) -> Scope:
        return scope_of(head, asked, fields, self, client=self._client, server=self._address, scheme=self._scheme)

    async def _run(self, cycle: Cycle, answering: Awaitable[None]) -> None:
        try:
            await answering
        except AnswerBroken:
            pass  # told where it was seen
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told, or its connection ends
            log.fault("answer_failed", exc)
        finally:
            if cycle.started:
                cycle.fail()
            elif not cycle.gone:
                self._refuse(Problem(code=Code.INTERNAL, detail="the request was not answered"))

    def _piece(self, piece: bytes) -> None:
        cycle = self._cycle
        if cycle is not None and not cycle.done:
            cycle.data(piece)
            return
        self._unread += len(piece)
        if self._unread > UNREAD_BYTES_MAX:
            self._end()

    def _ended(self) -> None:
        cycle = self._cycle
        if cycle is not None:
            cycle.end()
            if not cycle.done:
                return
        self._next()

    def _next(self) -> None:
        """The request has been read and answered. The next one is, once the client has taken of its answers what a connection holds."""
        self._cycle = None
        if self._flow.is_full:
            self._idle, self._untaken = False, True
            self._alarm.within(None)  # who takes nothing is another's matter: `Taking`
            self._flow.pause()
            return
        self._untaken = False
        self._reader.another()
        self._idle = True
        self._alarm.within(self._idle_s)
        if self._flow.paused:
            self._flow.resume()

    def answered(self, *, keep: bool) -> None:
        self._server.total_requests += 1
        cycle = self._cycle
        if cycle is None or not keep or self._leaving:
            if cycle is None or (cycle.ended and not self._reader.ahead):
                self._end()
            else:
                self._part()
        elif cycle.ended:
            self._next()
            if self._reader.waiting:
                self._loop.call_soon(self._go_on)
        else:
            self._body_within()
            self._flow.resume()

    def land(self, answer: bytes, now: float, *, keep: bool) -> None:
        """`write` and `answered` at once, for the whole answer of a request that came whole; `now` on the loop's clock."""
        flow, outbox = self._flow, self._outbox
        if not keep or self._leaving or flow.is_full or flow.paused or not self._reader.another_now():
            self.write(answer)
            self.answered(keep=keep)
            return
        self._server.total_requests += 1
        self._cycle = None
        self._idle = True
        self._alarm.at(now + self._idle_s)
        outbox.write(self._transport, answer)
        self._out_in = outbox.turn

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._idle:  # by an answer that went out at the end of its turn
            self._reader.read_elsewhere()  # what comes now is held, as behind any answer that is not taken
            self._next()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._untaken:
            self._next()
            if self._reader.waiting:
                self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._cycle is None:
            self._advance()

"""The HTTP/1.1 protocol of every process, for uvicorn: reads requests strictly, answers what is ambiguous itself, hands the rest to the
application one after the other.

Give it to `uvicorn.Config(http=...)`.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from functools import partial
from typing import Any, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from foundation import logs
from foundation.problems import Code, Problem
from foundation.wire.alarm import Alarm
from foundation.wire.cycle import BUFFER_BYTES_HIGH, Cycle
from foundation.wire.flow import Flow
from foundation.wire.framing import Framed, framing_of
from foundation.wire.head import Malformed, RequestHead
from foundation.wire.line import AnswerBroken, Answering
from foundation.wire.messages import Told
from foundation.wire.parting import LINGER_S_MAX, Parting, reset
from foundation.wire.refusals import rendered
from foundation.wire.requests import RequestReader
from foundation.wire.scope import scope_of
from foundation.wire.serving import State, rendered_once
from foundation.wire.switch import Successor, switching
from foundation.wire.targets import Asked, asked_of

log = logs.get(__name__)

HEAD_S_MAX = 15.0
"""From the connection, or the first byte of a head, to its end."""
BODY_SILENT_S_MAX = 60.0
"""Between two pieces of a body that the application waits for. Services' bodies have the edge's own, shorter bound."""
UNREAD_BYTES_MAX = 1 << 20
"""How much of a body is read and dropped once its request has been answered; beyond it the connection ends."""


class Door(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - uvicorn gives it
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: Any = config.loaded_app
        self._loop = _loop or asyncio.get_running_loop()
        self._server = server_state
        self._idle_s = config.timeout_keep_alive
        self._reader = RequestReader()
        self._cycle: Answering | None = None
        self._leaving = False
        self._idle = False  # whether the bound that runs is that of a connection between two requests
        self._unread = 0
        self._alarm = Alarm(self._loop, self._late)

    # --- asyncio.Protocol ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry
        self._flow = Flow(self._transport, self._loop)
        self._parting = Parting(self._transport)
        self._client = get_remote_addr(self._transport)
        self._address = get_local_addr(self._transport)
        self._scheme = "https" if is_ssl(self._transport) else "http"
        self._server.connections.add(cast("Any", self))
        self._alarm.within(HEAD_S_MAX)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.connections.discard(cast("Any", self))
        self._alarm.cancel()
        if self._cycle is not None:
            self._cycle.leave()
        self._flow.room()

    def data_received(self, data: bytes) -> None:
        if self._parting.begun:
            self._parting.drop(data)
        elif not self._transport.is_closing():
            self._reader.feed(data)
            self._advance()

    def pause_writing(self) -> None:
        self._flow.full()

    def resume_writing(self) -> None:
        self._flow.room()

    def shutdown(self) -> None:
        """uvicorn is leaving: what is being answered is answered, and nothing else."""
        self._leaving = True
        if self._cycle is None:
            self._transport.close()
        else:
            self._cycle.close_after()

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
            elif event is Told.END:
                self._ended()
            else:
                break
        if self._idle and reader.in_head:
            self._idle = False
            self._alarm.within(HEAD_S_MAX)
        cycle = self._cycle
        if cycle is not None and (reader.ahead or (cycle.buffered > BUFFER_BYTES_HIGH and not cycle.done)):
            self._flow.pause()

    def _begin(self, head: RequestHead) -> None:
        self._idle = False
        self._alarm.within(None)
        asked = asked_of(head)
        if isinstance(asked, Malformed):
            self._refuse(Problem(code=_CODES[asked.status], detail=asked.detail))
            return
        fields = self.read(head, asked)
        if isinstance(fields, Problem):
            self._refuse(fields)
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
        return self._leaving or (isinstance(self._server, State) and self._server.leaving)

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

    def run(self, cycle: Cycle, answering: Coroutine[Any, Any, None]) -> None:
        """From now on the request is answered by this coroutine over `cycle`."""
        self._cycle = cycle
        task = self._loop.create_task(self._run(cycle, answering), name="edge request")
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def refusal(self, problem: Problem) -> bytes:
        """The answer that ends the connection, with what every answer has."""
        return rendered(problem, self.dated())

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
            self._transport.close()

    def _ended(self) -> None:
        cycle = self._cycle
        if cycle is not None:
            cycle.end()
            if not cycle.done:
                return
        self._next()

    def _next(self) -> None:
        """The request has been read and answered."""
        self._cycle = None
        self._reader.another()
        self._idle = True
        self._alarm.within(self._idle_s)
        self._flow.resume()

    def _refuse(self, problem: Problem) -> None:
        """Answers what goes no further, unless an answer is under way, and ends the connection."""
        cycle, self._cycle = self._cycle, None
        if cycle is None or not cycle.started:
            self.write(self.refusal(problem))
        if cycle is not None:
            cycle.leave()
        self._part()

    def _part(self) -> None:
        """Ends the connection."""
        if self._parting.begin():
            self._flow.resume()
            self._alarm.within(LINGER_S_MAX)

    # --- `Line`: what the request asks of its connection -----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not (self._parting.begun or self._transport.is_closing()):
            self._transport.write(data)

    def dated(self) -> bytes:
        return rendered_once(self._server.default_headers)

    async def drained(self) -> None:
        await self._flow.drained()

    def awaits(self, waiting: bool) -> None:
        self._alarm.within(BODY_SILENT_S_MAX if waiting else None)

    def taken(self) -> None:
        self._flow.resume()

    def answered(self, *, keep: bool) -> None:
        self._server.total_requests += 1
        cycle = self._cycle
        if cycle is None or not keep or self._leaving:
            if cycle is None or (cycle.ended and not self._reader.ahead):
                self._transport.close()
            else:
                self._part()
        elif cycle.ended:
            self._next()
            if self._reader.waiting:
                self._loop.call_soon(self._go_on)
        else:
            self._alarm.within(BODY_SILENT_S_MAX)
            self._flow.resume()

    def give_up(self) -> None:
        if self._cycle is not None and self._cycle.until_closed and not self._transport.is_closing():
            reset(self._transport)
        else:
            self._transport.close()

    # --- `switch.Line` ---------------------------------------------------------------------------------------------------------

    def switch(self, fields: Iterable[tuple[bytes, bytes]], successor: Successor) -> bool:
        """Raises UnfitAnswer. What arrived behind the request is the successor's, and none of it is read as another."""
        cycle, transport = self._cycle, self._transport
        if not isinstance(cycle, Cycle) or cycle.started or cycle.gone or transport.is_closing():
            return False
        transport.write(switching(self.dated(), fields))
        cycle.switch()
        self._cycle = None
        self._flow.pause()
        self._alarm.within(None)
        self._alarm.cancel()
        self._server.total_requests += 1
        connections = cast("set[Any]", self._server.connections)
        connections.discard(self)
        connections.add(successor)
        transport.set_protocol(cast("asyncio.BaseProtocol", successor))
        successor.switched(transport, self._reader.rest(), partial(connections.discard, successor))
        if self._leaving:
            successor.shutdown()
        return True

    def break_off(self) -> None:
        if self._flow.is_full:
            self._transport.abort()

    def _go_on(self) -> None:
        if self._cycle is None:
            self._advance()

    # --- bounds --------------------------------------------------------------------------------------------------------------

    def _late(self) -> None:
        """A bound on time has passed: whoever is owed an answer is told."""
        if not self._parting.begun and (self._reader.in_head or (self._cycle is not None and not self._cycle.started)):
            self._refuse(_LATE)
        else:
            self._transport.close()


_LATE = Problem(code=Code.REQUEST_TIMEOUT, detail="the request did not arrive in time")
_CODES = {400: Code.BAD_REQUEST, 414: Code.TARGET_TOO_LONG, 431: Code.HEAD_TOO_LARGE, 505: Code.VERSION_NOT_SUPPORTED}

"""One connection of a server, but for what is read from it (`foundation.wire.door`): how it begins and ends, what is written on it, and the
bounds on its time."""

import asyncio
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any, Final, cast

from mypy_extensions import mypyc_attr
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from foundation.problems import Code, Problem
from foundation.wire.alarm import Alarm
from foundation.wire.cycle import Cycle
from foundation.wire.flow import Flow, closed_once_taken
from foundation.wire.line import Answering
from foundation.wire.parting import LINGER_S_MAX, Parting, reset
from foundation.wire.refusals import rendered
from foundation.wire.requests import RequestReader
from foundation.wire.serving import State, rendered_once
from foundation.wire.switch import Successor, switching
from foundation.wire.taking import Taking

HEAD_S_MAX = 15.0
"""From the connection, or the first byte of a head, to its end."""
BODY_SILENT_S_MAX = 60.0
"""Between two pieces of a body that the application waits for. Services' bodies have the edge's own, shorter bound."""
_LATE: Final = Problem(code=Code.REQUEST_TIMEOUT, detail="the request did not arrive in time")
_FULL: Final = Problem(code=Code.NOT_READY, detail="too many connections are open here", retry_after_s=1)


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerConnection(asyncio.Protocol):
    """Implements all of `line.Line` and `switch.Line` but `answered`."""

    __slots__ = (
        "_address", "_alarm", "_app", "_client", "_cycle", "_dated", "_dated_of", "_flow", "_idle", "_idle_s", "_leaving", "_loop",
        "_out_in", "_outbox", "_parting", "_reader", "_scheme", "_server", "_taking", "_transport", "_unread", "_untaken",
    )  # fmt: skip

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],  # noqa: ARG002 - uvicorn gives it
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: Any = config.loaded_app
        self._loop = _loop or asyncio.get_running_loop()
        self._server = server_state
        self._idle_s = float(config.timeout_keep_alive)
        self._reader = RequestReader()
        self._cycle: Answering | None = None
        self._leaving = False
        self._idle = False  # whether the bound that runs is that of a connection between two requests
        self._unread = 0
        self._untaken = False  # whether the next request waits until the client has taken answers
        self._taking: Taking | None = None  # once something has waited for the client
        self._dated_of: list[tuple[bytes, bytes]] | None = None
        self._dated = b""
        self._alarm = Alarm(self._loop, self._late)
        self._outbox = server_state.outbox_of(self._loop)
        self._out_in = -1  # the turn of the outbox in which it last took something of this connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry
        self._flow = Flow(self._transport, self._loop)
        self._parting = Parting(self._transport)
        self._client = get_remote_addr(self._transport)
        self._address = get_local_addr(self._transport)
        self._scheme = "https" if is_ssl(self._transport) else "http"
        self._server.connections.add(cast("Any", self))
        if self._server.refuses():
            self._transport.write(self.refusal(_FULL))
            self._transport.close()
            return
        self._head_within()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.connections.discard(cast("Any", self))
        self._alarm.cancel()
        if self._taking is not None:
            self._taking.lost()
        if self._cycle is not None:
            self._cycle.leave()
        self._flow.room()

    def eof_received(self) -> None:
        """No more requests come. What waits for the end of the turn goes out before the connection is closed."""
        self._let_out()
        if self._transport.get_write_buffer_size():
            self._waits()

    def pause_writing(self) -> None:
        self._flow.full()
        self._waits()

    def resume_writing(self) -> None:
        self._flow.room()
        if self._taking is not None and not (self._parting.begun or self._transport.is_closing()):
            self._taking.taken()

    def shutdown(self) -> None:
        """uvicorn is leaving: what is being answered is answered, and nothing else."""
        self._leaving = True
        self._let_out()
        if self._cycle is None:
            self._end()
        else:
            self._cycle.close_after()

    def leaves(self) -> None:
        """The server is about to: an answer that has not begun says that it is the last. Others are followed by one that does."""
        if self._cycle is not None and not self._cycle.started:
            self._cycle.close_after()

    # --- `line.Line` -----------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._let_out()
        if not (self._parting.begun or self._transport.is_closing()):
            self._transport.write(data)

    def write_both(self, head: bytes, body: bytes) -> None:
        self._let_out()
        if not (self._parting.begun or self._transport.is_closing()):
            self._transport.writelines((head, body))

    def dated(self) -> bytes:
        lines = self._server.default_headers
        if lines is not self._dated_of:
            self._dated_of, self._dated = lines, rendered_once(lines)
        return self._dated

    async def drained(self) -> None:
        await self._flow.drained()

    def awaits(self, waiting: bool) -> None:
        self._alarm.within(BODY_SILENT_S_MAX if waiting else None)

    def taken(self) -> None:
        self._flow.resume()

    def give_up(self) -> None:
        if self._cycle is not None and self._cycle.until_closed and not self._transport.is_closing():
            reset(self._transport)
        else:
            self._end()

    def _let_out(self) -> None:
        """What waits for the end of the turn goes out before anything else happens here."""
        if self._out_in == self._outbox.turn:
            self._outbox.flush()

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
        if self._taking is not None:
            self._taking.lost()
        self._server.total_requests += 1
        connections = cast("set[Any]", self._server.connections)
        connections.discard(self)
        connections.add(successor)
        transport.set_protocol(cast("asyncio.BaseProtocol", successor))
        successor.switched(transport, self._reader.rest(), partial(connections.discard, successor))
        if self._leaving:
            successor.shutdown()
        return True

    async def emptied(self) -> None:
        await self._flow.emptied()

    def drops(self) -> None:
        if isinstance(self._cycle, Cycle):
            self._cycle.dropped = True

    def break_off(self) -> None:
        if self._flow.holds:
            self._transport.abort()

    @property
    def owed(self) -> int:
        return self._cycle.owed if isinstance(self._cycle, Cycle) else 0

    @property
    def is_full(self) -> bool:
        return self._flow.is_full

    def pour(self, piece: memoryview) -> bool:
        """What is behind something that waits is copied, so that one piece at most is in use for each connection."""
        transport = self._transport
        if self._parting.begun or transport.is_closing():
            return False
        if transport.get_write_buffer_size():
            transport.write(bytes(piece))
            return False
        transport.write(piece)
        return transport.get_write_buffer_size() > 0

    def poured(self, count: int) -> None:
        if isinstance(self._cycle, Cycle):
            self._cycle.poured(count)

    # --- its end -----------------------------------------------------------------------------------------------------------------

    def refusal(self, problem: Problem) -> bytes:
        """The answer that ends the connection, with what every answer has."""
        return rendered(problem, self.dated())

    def _refuse(self, problem: Problem, *, head_only: bool = False) -> None:
        """Answers what goes no further, unless an answer is under way, and ends the connection. `head_only`: HEAD was asked, and no cycle
        knows it yet."""
        cycle, self._cycle = self._cycle, None
        if cycle is None or not cycle.started:
            answer = self.refusal(problem)
            head_only = head_only or (isinstance(cycle, Cycle) and cycle.head_only)
            self.write(answer[: answer.index(b"\r\n\r\n") + 4] if head_only else answer)
        if cycle is not None:
            cycle.leave()
        self._part()

    def _part(self) -> None:
        """Ends the connection; what the client still sends is read for a moment."""
        self._idle = False
        if self._flow.has_tls:
            self._end()
        elif self._parting.begin():
            self._flow.resume()
            self._alarm.within(LINGER_S_MAX)

    def _end(self) -> None:
        """Closes the connection once its client has taken what was written, or takes nothing of it any more (`Taking`)."""
        self._idle = self._untaken = False
        if self._flow.has_tls and not self._transport.is_closing():
            if not self._parting.begun:
                self._parting.begun = True
                self._flow.resume()
                self._alarm.within(None)
                self._waits()
                self._owned(closed_once_taken(self._transport), "edge end")
            return
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._waits()

    def _owned(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """A task of the server's."""
        task = self._loop.create_task(coroutine, name=name)
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _waits(self) -> None:
        """Something waits for the client."""
        self._taking = self._taking or Taking(self._transport, self._loop)
        self._taking.waits()

    # --- bounds on time ----------------------------------------------------------------------------------------------------------

    def _head_within(self) -> None:
        self._alarm.within(HEAD_S_MAX)

    def _body_within(self) -> None:
        self._alarm.within(BODY_SILENT_S_MAX)

    def _late(self) -> None:
        """A bound on time has passed: whoever is owed an answer is told."""
        if not self._parting.begun and (self._reader.in_head or (self._cycle is not None and not self._cycle.started)):
            self._refuse(_LATE)
        else:
            self._end()

"""One HTTP/1.1 connection to a service: an asyncio protocol that carries one exchange at a time, with back-pressure both ways.

The answer is read as strictly as requests are (`foundation.wire`): ambiguous framing, an upgrade that was not asked for, an oversized head,
bytes nobody asked for: each breaks the exchange, and the connection with it. A broken exchange never looks complete.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

from foundation.wire.head import Malformed, StatusHead
from foundation.wire.messages import MORE
from foundation.wire.outbox import Outbox
from foundation.wire.responses import ResponseReader
from gateway.edge.upstream.fault import Fault, UpstreamFailed
from gateway.settings import Upstream

BUFFER_BYTES_HIGH: Final = 64 * 1024
"""Reading pauses above this until the buffered part of the answer has been taken."""


class Listener(Protocol):
    """Who is told of an exchange instead of waiting for it."""

    def heard(self) -> None:
        """There is more of the answer, or the exchange has failed."""
        ...

    def lands(self, data: bytes) -> bool:
        """Is given the first piece of the answer before it is read; True: it was all of it, and the exchange has ended
        (`AddressPool.landed`)."""
        ...


class Connection(asyncio.Protocol):
    """Owned by a pool; lent to one exchange between `begin` and `end`."""

    def __init__(self, limits: Upstream, lost: Callable[["Connection"], None], loop: asyncio.AbstractEventLoop) -> None:
        self._limits = limits
        self._lost = lost
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        """None before it is there, and once it is somebody else's."""
        self._reader = ResponseReader()
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._write_paused = False
        self._read_paused = False
        self.used = False
        """Whether an exchange was completed on this connection before."""
        self.busy = False
        self.quiet_since = loop.time()
        self.listener: Listener | None = None
        """Whoever `heard`."""
        self.landing: Listener | None = None
        """With whom the next piece `lands`."""
        self.over: Callable[[], None] | None = None
        """Is told, once or more, that nothing more of the answer will come, whether or not it has been taken."""
        self._began_at = 0.0
        self._reset_exchange(head_only=False)

    def _reset_exchange(self, *, head_only: bool, upgrade: bool = False) -> None:
        self._await_answer(head_only=head_only, upgrade=upgrade)
        self.request_done = False
        self._answered = False
        self.known_head: StatusHead | None = None
        """The head of the final answer, where it has arrived."""
        self.complete = False
        """Whether the whole answer has arrived (some of it may still be buffered here)."""
        self._failure: UpstreamFailed | None = None

    def _await_answer(self, *, head_only: bool, upgrade: bool = False) -> None:
        """From here on what arrives is read as the answer."""
        self._reader.begin(head_only=head_only, upgrade=upgrade)
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._reads = True

    # --- an exchange ---------------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @property
    def failed(self) -> bool:
        return self._failure is not None

    def begin(self, data: bytes, *, head_only: bool, done: bool, upgrade: bool = False) -> bool:
        """Starts an exchange: writes the head (and the body, if `done`). `upgrade`: it may be answered with 101. False: it has failed."""
        self._reset_exchange(head_only=head_only, upgrade=upgrade)
        self.busy = True
        self._began_at = self.quiet_since = self._loop.time()
        self.request_done = done
        transport = self.transport
        if transport is None or transport.is_closing():
            self.fail(Fault.RESET)
            return False
        transport.write(data)
        return True

    def begin_now(self, data: bytes, now: float, outbox: Outbox, *, head_only: bool) -> bool:
        """As `begin`, on one that is `usable`, for a request that is whole, which goes out by `outbox`, and for a `listener`. The reader is
        made ready once there is something to read, since most answers are not read here. False: nothing has begun."""
        transport = self.transport
        if transport is None:
            return False
        self.busy = self.request_done = True
        self._answered = self.complete = self._reads = False
        self.known_head = self._failure = None
        self._began_at = self.quiet_since = now
        if head_only:
            self._await_answer(head_only=True)
        outbox.write(transport, data)
        return True

    def write(self, data: bytes, *, done: bool = False) -> None:
        """More of the request's body, framed by the caller; `drain` afterwards."""
        self.quiet_since = self._loop.time()
        self.request_done = self.request_done or done
        if self._failure is None and data:
            self._write(data)

    async def drain(self) -> None:
        """Waits until the transport takes more, the exchange is over or it failed."""
        if self._write_paused and self._failure is None and not self.complete:
            self._drain = self._loop.create_future()
            await self._drain

    async def head(self) -> StatusHead:
        """The head of the final answer. Raises UpstreamFailed."""
        while self.known_head is None:
            self._raise_failure()
            await self._wait()
        return self.known_head

    async def arrived(self) -> None:
        """Waits until there is something to `take` or the answer is `complete`. Raises UpstreamFailed."""
        while not self._body and not self.complete:
            self._raise_failure()
            await self._wait()

    def take(self) -> bytes:
        """What is buffered of the body, without waiting."""
        body = self._body
        if not body:
            return b""
        data = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self._body_bytes = 0
        if self._read_paused:
            self._read_paused = False
            self.quiet_since = self._loop.time()
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()
        return data

    @property
    def owed(self) -> int:
        """How much of the answer's body has not arrived, if its length is stated, all else has been taken, and the request is through; else
        0. All of it may be read by another protocol of the transport, by which it is `poured`."""
        through = self.request_done and not (self._body or self.complete or self._read_paused or self.failed)
        return self._reader.owed if through else 0

    def poured(self, *, more: bool) -> None:
        """`more`: something came behind the answer."""
        self._reader.poured()
        self._finish()
        if more:
            self.close()
        self._wake()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After a 101: the transport, whose reading is paused, and what has arrived behind the head. Raises UpstreamFailed."""
        transport, self.transport = self.transport, None
        if transport is None or transport.is_closing():
            raise UpstreamFailed(Fault.RESET, answered=True)
        return transport, self._reader.rest()

    def end(self) -> bool:
        """Ends the exchange; True when the connection may carry another, else it is closed."""
        again = self.complete and self._reader.keep and self.request_done and self._failure is None and self.usable
        self.busy = False
        self.listener = self.landing = self.over = None
        if not again:
            self.close()
            return False
        self.used = True
        self._body = []
        self.known_head = None
        self.quiet_since = self._loop.time()
        return True

    def fail(self, fault: Fault) -> None:
        """Breaks the exchange off and closes the connection. The first failure counts."""
        if self._failure is None and not self.complete:
            self._failure = UpstreamFailed(fault, answered=self._answered)
        self.close()
        self._wake()

    def close(self) -> None:
        if self.transport is not None:
            # abort, not close: what is still buffered towards the service belongs to an exchange that is over
            self.transport.abort()

    @property
    def until(self) -> float:
        """When all of the time of the running exchange has passed, on the loop's clock."""
        return self._began_at + self._limits.total_s

    def overdue(self, now: float) -> bool:
        """Whether a bound of the running exchange has passed. Silence counts on both sides."""
        if now > self.until:
            return True
        waiting_for_head = self.request_done and self.known_head is None
        return now - self.quiet_since > (self._limits.first_byte_s if waiting_for_head else self._limits.stall_s)

    def blame(self) -> Fault:
        """Who is late when the exchange is overdue: the client if its body is awaited and the service would take more."""
        awaited = not self.request_done and not self._write_paused and self.known_head is None
        return Fault.CLIENT_STALLED if awaited else Fault.TIMEOUT

    # --- asyncio.Protocol ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self.close()  # an answer to nothing
            return
        landing = self.landing
        if landing is not None:
            self.landing = None
            if landing.lands(data):
                return
        if not self._reads:
            self._await_answer(head_only=False)
        self.quiet_since = self._loop.time()
        self._answered = True
        reader = self._reader
        reader.feed(data)
        while (event := reader.event()) is not MORE:
            if isinstance(event, StatusHead):
                self.known_head = event
                whole = reader.whole()
                if whole is not None:
                    self._arrives(whole)
                    self._finish()
                    break
            elif isinstance(event, bytes):
                self._arrives(event)
            elif isinstance(event, Malformed):
                self.fail(Fault.PROTOCOL)
                return
            else:
                self._finish()
                break
        switched = self.known_head is not None and self.known_head.status == 101
        if reader.ahead and not switched:
            self.close()  # more than was asked for
        elif switched or self._body_bytes > BUFFER_BYTES_HIGH:
            self._pause()
        self._wake()

    def _arrives(self, piece: bytes) -> None:
        if piece:
            self._body.append(piece)
            self._body_bytes += len(piece)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy and not self.complete:
            if exc is None and self._failure is None and self._reader.close():
                self.complete = True
            elif self._failure is None:
                self._failure = UpstreamFailed(Fault.RESET, answered=self._answered)
        self._wake()
        self._lost(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_drain()

    def _pause(self) -> None:
        if not self._read_paused and self.transport is not None:
            self._read_paused = True
            self.transport.pause_reading()

    def _finish(self) -> None:
        self.complete = True
        if self._drain is not None:
            self._wake_drain()

    # --- waiting -------------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            self.fail(Fault.RESET)
        else:
            transport.write(data)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self.over is not None and (self.complete or self._failure is not None):
            self.over()
        if self.listener is not None:
            self.listener.heard()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._failure is not None:
            self._wake_drain()

    def _wake_drain(self) -> None:
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
        self._drain = None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise UpstreamFailed(self._failure.fault, answered=self._failure.answered)

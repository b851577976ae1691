"""One HTTP/1.1 connection to a service: an asyncio protocol that carries one exchange at a time, with back-pressure both ways.

The response is parsed by httptools (llhttp, strict): both a length and chunks, a transfer coding other than chunked, an upgrade, an
oversized head, bytes nobody asked for: each breaks the exchange, and the connection with it. A broken exchange never looks complete.
"""

import asyncio
import enum
from collections.abc import Callable
from typing import cast

import httptools

from gateway.settings import Upstream

BUFFER_BYTES_HIGH = 256 * 1024
"""Reading pauses above this until the buffered part of the answer has been taken."""
HEAD_BYTES_MAX = 64 * 1024
INTERIM_MAX = 16


class Fault(enum.Enum):
    """How an exchange failed."""

    BUSY = "busy"
    CONNECT = "connect"
    RESET = "reset"
    PROTOCOL = "protocol"
    TIMEOUT = "timeout"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"


class UpstreamFailed(Exception):
    """The exchange broke. `answered`: whether anything of an answer had arrived."""

    def __init__(self, fault: Fault, *, answered: bool = False) -> None:
        super().__init__(f"upstream: {fault.value}")
        self.fault = fault
        self.answered = answered


class ResponseHead:
    """Status and fields (names in lower case) of a final answer."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.headers = headers


class Connection(asyncio.Protocol):
    """Owned by a pool; lent to one exchange between `begin` and `end`."""

    def __init__(self, limits: Upstream, lost: Callable[["Connection"], None], loop: asyncio.AbstractEventLoop) -> None:
        self._limits = limits
        self._lost = lost
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._write_paused = False
        self._read_paused = False
        self.used = False
        """Whether an exchange was completed on this connection before."""
        self.busy = False
        self.quiet_since = loop.time()
        self._began_at = 0.0
        self._reset_exchange(head_only=False)

    def _reset_exchange(self, *, head_only: bool) -> None:
        self._head_only = head_only
        self._request_done = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._interims = 0
        self._interim = False
        self._head: ResponseHead | None = None
        self._to_eof = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._complete = False
        self._keep = False
        self._failure: UpstreamFailed | None = None

    # --- an exchange ---------------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def complete(self) -> bool:
        """Whether the whole answer has arrived (some of it may still be buffered here)."""
        return self._complete

    @property
    def request_done(self) -> bool:
        return self._request_done

    def begin(self, data: bytes, *, head_only: bool, done: bool) -> None:
        """Starts an exchange: writes the head (and the body, if `done`)."""
        self._reset_exchange(head_only=head_only)
        self.busy = True
        self._began_at = self.quiet_since = self._loop.time()
        self._request_done = done
        self._write(data)

    def write(self, data: bytes, *, done: bool = False) -> None:
        """More of the request's body, framed by the caller; `drain` afterwards."""
        self.quiet_since = self._loop.time()
        self._request_done = self._request_done or done
        if self._failure is None and data:
            self._write(data)

    async def drain(self) -> None:
        """Waits until the transport takes more, the exchange is over or it failed."""
        if self._write_paused and self._failure is None and not self._complete:
            self._drain = self._loop.create_future()
            await self._drain

    async def head(self) -> ResponseHead:
        """The head of the final answer. Raises UpstreamFailed."""
        while self._head is None:
            self._raise_failure()
            await self._wait()
        return self._head

    async def arrived(self) -> None:
        """Waits until there is something to `take` or the answer is `complete`. Raises UpstreamFailed."""
        while not self._body and not self._complete:
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
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def end(self) -> bool:
        """Ends the exchange; True when the connection may carry another, else it is closed."""
        again = self._complete and self._keep and self._request_done and self._failure is None and self.usable
        self.busy = False
        if not again:
            self.close()
            return False
        if self._head_only:
            # The parser waits for a body that HEAD does not have.
            self._parser = httptools.HttpResponseParser(self)
        self.used = True
        self._body = []
        self._headers = []
        self._head = None
        self.quiet_since = self._loop.time()
        return True

    def fail(self, fault: Fault) -> None:
        """Breaks the exchange off and closes the connection. The first failure counts."""
        if self._failure is None and not self._complete:
            self._failure = UpstreamFailed(fault, answered=self._head_bytes > 0)
        self.close()
        self._wake()

    def close(self) -> None:
        if self._transport is not None:
            # abort, not close: what is still buffered towards the service belongs to an exchange that is over
            self._transport.abort()

    def overdue(self, now: float) -> bool:
        """Whether a bound of the running exchange has passed. Silence counts on both sides."""
        if now - self._began_at > self._limits.total_s:
            return True
        waiting_for_head = self._request_done and self._head is None
        return now - self.quiet_since > (self._limits.first_byte_s if waiting_for_head else self._limits.stall_s)

    def blame(self) -> Fault:
        """Who is late when the exchange is overdue: the client if its body is awaited and the service would take more."""
        awaited = not self._request_done and not self._write_paused and self._head is None
        return Fault.CLIENT_STALLED if awaited else Fault.TIMEOUT

    # --- asyncio.Protocol ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self.close()  # an answer to nothing
            return
        self.quiet_since = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._keep = False
            self.fail(Fault.PROTOCOL)
            return
        if self._body_bytes > BUFFER_BYTES_HIGH and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy and not self._complete:
            if self._to_eof and exc is None and self._head is not None and self._failure is None:
                self._complete = True
            elif self._failure is None:
                self._failure = UpstreamFailed(Fault.RESET, answered=self._head_bytes > 0)
        self._keep = False
        self._wake()
        self._lost(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_drain()

    # --- httptools -----------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("bytes after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError("the head of the answer is too large")
        if self._head is None:  # else a trailer: dropped
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._head_bytes += 1
        self._interim = 100 <= status < 200
        if self._interim:
            self._interims += 1
            self._headers = []
            if self._interims > INTERIM_MAX or status == 101:
                raise ValueError("too many interim answers, or an upgrade nobody asked for")
            return
        if not 100 <= status <= 599:
            raise ValueError("no status of HTTP (RFC 9110 section 15)")
        framed = False
        for name, value in self._headers:
            if name == b"transfer-encoding":
                framed = True
                if value.strip().lower() != b"chunked":
                    raise ValueError("a transfer coding other than chunked")
            elif name == b"content-length":
                framed = True
        self._head = ResponseHead(status, self._headers)
        if self._head_only:
            self._finish()
        else:
            self._to_eof = not framed and status not in (204, 304)

    def on_body(self, body: bytes) -> None:
        if self._complete:
            raise ValueError("a body where none may be")
        self._body.append(body)
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        if not self._interim and not self._complete:
            self._finish()

    def _finish(self) -> None:
        self._complete = True
        self._keep = self._parser.should_keep_alive()
        self._wake_drain()

    # --- waiting -------------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            self.fail(Fault.RESET)
        else:
            self._transport.write(data)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
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

"""httpx's way onto the wire for control traffic: keep-alive connections read by the product's own reader, each answer whole and bounded.

httpx makes requests and answers as everywhere; what lies beneath it (httpcore, h11, anyio) costs several times what an exchange on
loopback does (docs/benchmarks/resolve.md). Nothing here streams: bodies are small, and large ones bounded.
"""

import asyncio
import ssl
from typing import cast

import httpx

from foundation.turns import Crowded, Turns
from foundation.wire.alarm import Alarm
from foundation.wire.head import Malformed, StatusHead
from foundation.wire.messages import Told
from foundation.wire.responses import ResponseReader

ANSWER_BYTES_MAX = 64 << 20
REQUEST_BYTES_MAX = 64 << 20
IDLE_S_MAX = 20.0
"""How long an idle connection may be used again: shorter than any server here keeps one."""
WAITERS_MAX = 100_000
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2: sent once more where a connection that was used before had ended by the time."""
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
Origin = tuple[bytes, str, int]


class Transport(httpx.AsyncBaseTransport):
    """At most `connections_max` exchanges at once. `tls`: for https; without it, the authorities that httpx brings and the system's."""

    def __init__(self, *, connections_max: int, wait_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._turns = Turns(at_once=connections_max, waiters_max=WAITERS_MAX, wait_s=wait_s)
        self._connections_max = connections_max
        self._tls = tls
        self._idle: dict[Origin, list[_Connection]] = {}
        self._idle_count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises what httpx's own transport raises: TimeoutException, NetworkError, ProtocolError."""
        data = await _rendered(request)
        limits = request.extensions.get("timeout", {})
        try:
            await self._turns.enter()
        except Crowded as exc:
            raise httpx.PoolTimeout("no connection came free", request=request) from exc
        try:
            return await self._exchanged(request, data, limits)
        except _Failed as exc:
            raise exc.kind(str(exc), request=request) from exc
        finally:
            self._turns.leave()

    async def _exchanged(self, request: httpx.Request, data: bytes, limits: dict[str, float | None]) -> httpx.Response:
        origin = _origin(request.url)
        while True:
            connection = self._used_before(origin) or await self._connect(origin, limits.get("connect"))
            used = connection.used
            try:
                head, body = await connection.ask(data, limits.get("read"), head_only=request.method == "HEAD")
            except _Failed as exc:
                if used and not exc.answered and exc.kind is httpx.ReadError and request.method in _IDEMPOTENT:
                    continue
                raise
            if connection.usable:
                self._keep(origin, connection)
            return httpx.Response(head.status, headers=head.fields, stream=httpx.ByteStream(body))

    def _used_before(self, origin: Origin) -> "_Connection | None":
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.usable and connection.idle_s < IDLE_S_MAX:
                return connection
            connection.abort()
        return None

    def _keep(self, origin: Origin, connection: "_Connection") -> None:
        if self._idle_count >= self._connections_max:
            connection.abort()
            return
        self._idle.setdefault(origin, []).append(connection)
        self._idle_count += 1

    async def _connect(self, origin: Origin, seconds: float | None) -> "_Connection":
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        if scheme == b"https" and self._tls is None:
            self._tls = _believing()
        tls = self._tls if scheme == b"https" else None
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(lambda: _Connection(loop), host, port, ssl=tls)
        except TimeoutError as exc:
            raise _Failed(httpx.ConnectTimeout, "no connection in time") from exc
        except OSError as exc:
            raise _Failed(httpx.ConnectError, exc.strerror or "no connection") from exc
        return connection

    async def aclose(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()
        self._idle_count = 0


class _Failed(Exception):
    def __init__(self, kind: type[httpx.TransportError], words: str, *, answered: bool = False) -> None:
        super().__init__(words)
        self.kind = kind
        self.answered = answered


class _Connection(asyncio.Protocol):
    """One exchange at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = ResponseReader()
        self._alarm = Alarm(loop, self._late)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._head: StatusHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._silent_s: float | None = None
        self._answered = False
        self._idle_since = loop.time()
        self.used = False

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def idle_s(self) -> float:
        return self._loop.time() - self._idle_since

    async def ask(self, data: bytes, silent_s: float | None, *, head_only: bool) -> tuple[StatusHead, bytes]:
        """The whole answer. Raises _Failed; then, and where it is cancelled, the connection is closed."""
        if self._transport is None or self._transport.is_closing():
            raise _Failed(httpx.ReadError, "the connection has ended")
        self._reader.begin(head_only=head_only)
        waiter = self._waits(silent_s)
        self._transport.write(data)
        try:
            await waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None
            self._alarm.within(None)
            self._idle_since = self._loop.time()
        if not self._reader.keep:
            self.abort()
        self.used = True
        if self._head is None:
            raise _Failed(httpx.RemoteProtocolError, "an answer without a head", answered=True)
        return self._head, b"".join(self._body)

    def _waits(self, silent_s: float | None) -> asyncio.Future[None]:
        """For an answer, of which nothing has come."""
        self._head, self._body, self._body_bytes, self._answered = None, [], 0, False
        self._silent_s = silent_s
        self._waiter = self._loop.create_future()
        self._alarm.within(silent_s)
        return self._waiter

    def abort(self) -> None:
        self._alarm.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # an answer to nothing
            return
        self._answered = True
        self._alarm.within(self._silent_s)
        reader = self._reader
        reader.feed(data)
        while (event := reader.event()) is not Told.MORE:
            if isinstance(event, bytes):
                self._body.append(event)
                self._body_bytes += len(event)
                if self._body_bytes > ANSWER_BYTES_MAX:
                    self._fail(httpx.RemoteProtocolError, "the answer is too large")
                    return
            elif isinstance(event, StatusHead):
                self._head = event
            elif isinstance(event, Malformed):
                self._fail(httpx.RemoteProtocolError, event.detail)
                return
            else:
                self._waiter.set_result(None)
        if reader.ahead:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._alarm.cancel()
        if self._waiter is None or self._waiter.done():
            return
        if exc is None and self._reader.close():
            self._waiter.set_result(None)
        else:
            kind = httpx.RemoteProtocolError if self._answered else httpx.ReadError
            self._fail(kind, "the connection ended before the answer")

    def _late(self) -> None:
        self._fail(httpx.ReadTimeout, "no answer in time")

    def _fail(self, kind: type[httpx.TransportError], words: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(_Failed(kind, words, answered=self._answered))
        self.abort()


def _believing() -> ssl.SSLContext:
    """Whom everybody believes, and whom this machine does: an operator's own authority stands in the system's store or in SSL_CERT_FILE."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def _origin(url: httpx.URL) -> Origin:
    return url.raw_scheme, url.host, url.port or (443 if url.raw_scheme == b"https" else 80)


async def _rendered(request: httpx.Request) -> bytes:
    """Head and body. Raises LocalProtocolError for a field that would be more than one, and for a body beyond REQUEST_BYTES_MAX."""
    stream = request.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous client sends asynchronous bodies")
    pieces: list[bytes] = []
    size = 0
    async for piece in stream:
        pieces.append(piece)
        size += len(piece)
        if size > REQUEST_BYTES_MAX:
            raise httpx.LocalProtocolError("the body of the request is too large", request=request)
    body = b"".join(pieces)
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)]
    framed = False
    for name, value in request.headers.raw:
        if b"\r" in value or b"\n" in value or b"\x00" in value:
            raise httpx.LocalProtocolError("a field of the request is malformed", request=request)
        lowered = name.lower()
        if lowered in _FRAMING:
            framed = True
        else:
            lines.append(b"%b: %b\r\n" % (name, value))
    if body or framed:
        lines.append(b"content-length: %d\r\n" % len(body))
    lines.append(b"\r\n")
    lines.append(body)
    return b"".join(lines)

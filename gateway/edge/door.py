"""uvicorn's HTTP protocol, held tighter: a bounded request head (uvicorn itself would collect one of any size, for any time), no
trailers among the headers, no connection kept after an upgrade that was asked for and not made."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 64 * 1024
HEAD_S_MAX = 15.0
"""From the connection, or the first byte of a head, to its end. Idle connections between requests have uvicorn's own bound."""


class _Closed(list[tuple[bytes, bytes]]):
    """Header fields after which none is taken."""

    def append(self, field: tuple[bytes, bytes], /) -> None:
        pass


class Door(HttpToolsProtocol):
    """Give it to `uvicorn.Config(http=...)`. A head in one piece may exceed the bound by what one read brings."""

    _head_open = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _unused_bytes = 0
    """What came since the last piece of a body and was none: chunk extensions and trailers, which have no bound of their own."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unused_bytes += len(data)
        super().data_received(data)
        if not self._head_open:
            if self._head_timer is not None:
                self._disarm()
            if self._unused_bytes > HEAD_BYTES_MAX:
                self.transport.close()
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")
        elif self._head_timer is None:
            self._arm()

    def on_message_begin(self) -> None:
        self._head_open = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_open = False
        super().on_headers_complete()
        # uvicorn appends trailers to the same list, and the application may read it late: a field that a proxy before us has
        # checked among the headers must not come in behind the body (RFC 9110 section 6.5.1). They end here.
        self.headers = _Closed(self.headers)
        self._unused_bytes = 0
        if self.parser.should_upgrade() and self.cycle is not None:
            self.cycle.keep_alive = False  # the parser reads no further request from this connection

    def on_body(self, body: bytes) -> None:
        self._unused_bytes = 0
        super().on_body(body)

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S_MAX, self.transport.close)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

"""One request on one connection to a service."""

import asyncio
from collections.abc import Callable

import msgspec

from foundation.wire.head import StatusHead
from gateway.edge.upstream.connection import Connection
from gateway.edge.upstream.fault import UpstreamFailed
from gateway.edge.upstream.pool import AddressPool


class Sending(msgspec.Struct, frozen=True, gc=False):
    """A request as it goes to whichever address takes it: `line`, a Host field for the address, and `rest` (fields, empty line, and the
    body if `done`). `rest` is called once a connection is there, however long that took: what it signs lives for seconds."""

    line: bytes
    rest: Callable[[], bytes]
    head_only: bool
    done: bool
    upgrade: bool = False


class Exchange(msgspec.Struct):
    """One request on one connection. Ended exactly once, whatever happened."""

    pool: AddressPool
    _ticket: int
    connection: Connection

    async def head(self) -> StatusHead:
        """The head of the final answer; what came of it is told to the address's breaker. Raises UpstreamFailed."""
        try:
            head = await self.connection.head()
        except UpstreamFailed as exc:
            self.pool.health.broke(self._ticket, exc.fault, used=self.connection.used)
            raise
        self.heard()
        return head

    def heard(self) -> None:
        """For whoever saw the head come without waiting for it."""
        self.pool.health.heard()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """After a 101: the transport and what stood behind the head; the address has a slot free. Raises UpstreamFailed."""
        found = self.connection.detach()
        self.pool.let_go(self.connection)
        return found

    def finish(self) -> None:
        """For whoever saw the whole answer come: `heard` and `end`. Where it came in one piece: `AddressPool.landed`."""
        self.pool.health.heard()
        self.pool.release(self.connection)

    def end(self) -> None:
        self.pool.health.given_back(self._ticket)
        self.pool.release(self.connection)

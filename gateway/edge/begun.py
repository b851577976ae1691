"""An exchange with a service once it is under way."""

import msgspec

from gateway.edge.bulkhead import Bulkhead
from gateway.edge.upstream.forwarder import Exchange


class Begun(msgspec.Struct):
    """An exchange in its place behind the bulkhead, since `at` on the loop's clock."""

    exchange: Exchange
    at: float
    _bulkhead: Bulkhead | None
    _ended: bool = False

    def leave(self) -> None:
        """Its place, once or more: what goes on from here is no request any more."""
        bulkhead, self._bulkhead = self._bulkhead, None
        if bulkhead is not None:
            bulkhead.leave()

    def finish(self) -> None:
        """As `end`, where the whole answer has come."""
        self._ended = True
        self.leave()
        self.exchange.finish()

    def landed(self, now: float) -> None:
        """The same, where it came in one piece and nobody has read it from the connection."""
        self._ended = True
        bulkhead, self._bulkhead = self._bulkhead, None
        if bulkhead is not None:
            bulkhead.leave()
        exchange = self.exchange
        exchange.pool.landed(exchange.connection, now)

    def end(self) -> None:
        """Once or more."""
        if not self._ended:
            self._ended = True
            self.leave()
            self.exchange.end()

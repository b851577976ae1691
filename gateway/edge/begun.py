"""An exchange with a service once it is under way."""

from gateway.edge.bulkhead import Bulkhead
from gateway.edge.upstream.forwarder import Exchange


class Begun:
    """An exchange in its place behind the bulkhead, since `at` on the loop's clock."""

    __slots__ = ("_bulkhead", "_ended", "at", "exchange")

    def __init__(self, exchange: Exchange, at: float, bulkhead: Bulkhead) -> None:
        self.exchange = exchange
        self.at = at
        self._bulkhead: Bulkhead | None = bulkhead
        self._ended = False

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
        self.leave()
        self.exchange.landed(now)

    def end(self) -> None:
        """Once or more."""
        if not self._ended:
            self._ended = True
            self.leave()
            self.exchange.end()

"""An exchange with a service once it is under way."""

import msgspec

from gateway.edge.bulkhead import Bulkhead
from gateway.edge.upstream.exchange import Exchange


class Begun(msgspec.Struct):
    """An exchange in its place behind the bulkhead, since `at` on the loop's clock."""

    exchange: Exchange
    at: float
    _bulkhead: Bulkhead
    _in_place: bool = True
    _ended: bool = False

    def leave(self) -> None:
        """Its place, once or more: what goes on from here is no request any more."""
        if self._in_place:
            self._in_place = False
            self._bulkhead.leave()

    def finish(self, now: float) -> None:
        """As `end` and `took`, where the whole answer has come. One that came in one piece, and that nobody has read from the connection,
        `gateway.edge.flight` ends by itself."""
        self._ended = True
        self.leave()
        self.exchange.finish()
        self.took(now)

    def took(self, now: float) -> None:
        """The whole answer has been sent."""
        self._bulkhead.served.observe(now - self.at)

    def end(self) -> None:
        """Once or more."""
        if not self._ended:
            self._ended = True
            self.leave()
            self.exchange.end()

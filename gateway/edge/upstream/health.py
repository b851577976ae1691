"""What exchanges say of an address: which faults count, the breaker on the loop's clock, and its changes in log and metrics."""

import asyncio
from typing import Final

from foundation import logs
from gateway.edge.observed import BREAKER, BREAKER_OPENED
from gateway.edge.upstream.breaker import CLOSED, Bounds, Breaker, State
from gateway.edge.upstream.fault import Fault
from gateway.settings import Upstream

log = logs.get(__name__)

PROBE_SPARE_S = 1.0
"""Beyond the bounds on a probe's connecting and silence: what the sweeper may be late."""
_DOWN: Final = frozenset({Fault.CONNECT, Fault.TIMEOUT, Fault.RESET})
_SHOWN: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class Health:
    """One per address. Costs an exchange a look at the clock, no wait and no task."""

    __slots__ = ("_address", "_loop", "_shown", "breaker")

    def __init__(self, address: str, limits: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._loop = loop
        self.breaker = Breaker(
            Bounds(
                failures=limits.breaker_failures,
                open_s=limits.breaker_open_s,
                open_s_max=limits.breaker_open_s_max,
                probe_s_max=limits.wait_s + limits.connect_s + limits.first_byte_s + PROBE_SPARE_S,
            )
        )
        self._shown = BREAKER.labels(address)
        self._shown.set(_SHOWN[State.CLOSED])

    @property
    def state(self) -> State:
        return self.breaker.state

    def admits(self) -> bool:
        return self.breaker.admits(self._loop.time())

    def left_s(self) -> float:
        """How long nobody may ask from now on."""
        return self.breaker.left_s(self._loop.time())

    def admit(self) -> int | None:
        """A ticket for one exchange, or None while nobody may ask. What was let through `heard`, `broke`, or is `given_back`."""
        before = self.breaker.state
        ticket = self.breaker.admit(self._loop.time())
        if self.breaker.state is not before:
            self._shows("breaker_half_open")
        return ticket

    def heard(self) -> None:
        """The head of an answer came, of whatever status."""
        breaker = self.breaker
        if breaker.state is CLOSED:
            breaker.failures = 0
        else:
            breaker.succeeded()
            self._shows("breaker_closed")

    def broke(self, ticket: int, fault: Fault, *, used: bool = False) -> None:
        """Nothing came. `used`: on a connection that had carried an exchange before. Services close such ones when they like, and those
        of one process among many behind an address break together: a reset there says nothing of the address."""
        if fault not in _DOWN or (used and fault is Fault.RESET):
            self.breaker.gave_back(ticket)
            return
        before = self.breaker.state
        self.breaker.failed(ticket, self._loop.time())
        if self.breaker.state is not before:
            BREAKER_OPENED.labels(self._address).inc()
            self._shown.set(_SHOWN[State.OPEN])
            log.warning("breaker_opened", upstream=self._address, reason=fault.value, wait_s=round(self.left_s(), 3))

    def given_back(self, ticket: int) -> None:
        """The exchange is over, whatever was said of it before."""
        self.breaker.gave_back(ticket)

    def _shows(self, event: str) -> None:
        self._shown.set(_SHOWN[self.breaker.state])
        log.info(event, upstream=self._address)

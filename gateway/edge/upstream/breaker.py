"""Whether an address may be asked: a circuit breaker. Pure: what happened, when, and chance are arguments.

Closed: everybody may ask. After so many broken exchanges in a row it opens: nobody may, for a wait that grows with each opening and is
spread by chance. Then it is half-open: one exchange at a time goes through as a probe. A probe that breaks opens it again; any answer
closes it.
"""

import enum
import random
from dataclasses import dataclass
from typing import Final

from foundation.tasks import Backoff, Chance

_AT_ONCE: Final = float("-inf")


class State(enum.Enum):
    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


# A member of an enum is looked up anew each time that it is named.
CLOSED: Final = State.CLOSED
HALF_OPEN: Final = State.HALF_OPEN
OPEN: Final = State.OPEN


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """`failures`: broken exchanges in a row that open it. Seconds: the first wait, the longest, and how long a probe keeps others out."""

    failures: int
    open_s: float
    open_s_max: float
    probe_s_max: float


class Breaker:
    """The breaker of one address. Times are seconds on one clock that never goes back.

    Whoever is let through holds a ticket and says how it ended: `succeeded`, `failed` or `gave_back` (nothing was learnt). A failure counts
    only while what let it through still holds, so exchanges that began before an opening neither prolong it nor judge a probe.
    """

    __slots__ = ("_backoff", "_bounds", "_until", "failures", "period", "state")

    def __init__(self, bounds: Bounds, chance: Chance = random.random) -> None:
        self._bounds = bounds
        self._backoff = Backoff(first_s=bounds.open_s, max_s=bounds.open_s_max, chance=chance)
        self.failures = 0
        """In a row. While it is closed, 0 is all that an answer makes of it."""
        self.period = 0
        """Begins anew with every opening, closing and probe; tickets are its numbers, and while it is closed anybody may take one."""
        self._until = _AT_ONCE
        """Unless closed: nobody is let through before."""
        self.state = CLOSED

    def admits(self, now_s: float) -> bool:
        return self.state is CLOSED or now_s >= self._until

    def admit(self, now_s: float) -> int | None:
        """A ticket, or None while nobody may ask. Unless closed, whoever gets one is the probe."""
        if self.state is CLOSED:
            return self.period
        if now_s < self._until:
            return None
        self._turn(HALF_OPEN, until_s=now_s + self._bounds.probe_s_max)
        return self.period

    def left_s(self, now_s: float) -> float:
        """How much of the wait is left. 0 while a probe is out: it may end at any moment."""
        return max(0.0, self._until - now_s) if self.state is OPEN else 0.0

    def succeeded(self) -> None:
        """An answer came. It closes whatever ticket it came on: what was asked before the opening proves the same."""
        self.failures = 0
        if self.state is not CLOSED:
            self._turn(CLOSED, until_s=_AT_ONCE)
            self._backoff.reset()

    def failed(self, ticket: int, now_s: float) -> None:
        if ticket != self.period:
            return
        self.failures += 1
        if self.state is HALF_OPEN or self.failures >= self._bounds.failures:
            self.failures = 0
            self._turn(OPEN, until_s=now_s + self._backoff.next_s())

    def gave_back(self, ticket: int) -> None:
        """The exchange ended, and says nothing of the address; after a probe the next may go."""
        if ticket == self.period and self.state is HALF_OPEN:
            self._until = _AT_ONCE

    def _turn(self, state: State, *, until_s: float) -> None:
        self.state = state
        self.period += 1
        self._until = until_s

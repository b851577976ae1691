"""When to stop asking a neighbour that does not answer, and when to try again. Pure: time and chance are arguments."""

import random

from foundation.tasks import Backoff, Chance

PROBE_S_MAX = 2.0
"""After so long a probe whose outcome nobody told (its asker went away) is given up, and another one may go."""


class Circuit:
    """Closed: ask. Open: refuse at once, except one probe at a time when the wait is over; its outcome closes or reopens.

    A refused connection opens at once; timeouts and errors open after `failures_max` in a row.
    """

    def __init__(
        self, *, failures_max: int = 3, first_s: float = 0.1, max_s: float = 1.0, chance: Chance = random.random
    ) -> None:
        self._failures_max = failures_max
        self._backoff = Backoff(first_s=first_s, max_s=max_s, chance=chance)
        self._failures = 0
        self._probe_at: float | None = None  # None = closed
        self._probing = False

    @property
    def open(self) -> bool:
        return self._probe_at is not None

    def allows(self, now_s: float) -> bool:
        """Whether to ask now. While open, the call that gets True is the probe: nobody else asks until its outcome is known."""
        if self._probe_at is None:
            return True
        if now_s < self._probe_at:
            return False
        self._probe_at, self._probing = now_s + PROBE_S_MAX, True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._probe_at, self._probing = None, False
        self._backoff.reset()

    def failed(self, now_s: float, *, refused: bool = False) -> None:
        """`refused`: nobody listens there, which needs no second opinion."""
        self._failures += 1
        opens = self._probe_at is None and (refused or self._failures >= self._failures_max)
        if opens or self._probing:
            self._probing = False
            self._probe_at = now_s + self._backoff.next_s()

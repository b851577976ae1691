"""When to stop asking a neighbour that does not answer, and when to try again. Pure: time is an argument."""

from foundation.tasks import Backoff


class Circuit:
    """Closed: ask. Open: refuse at once, except one probe when the wait is over; its outcome closes or reopens.

    A refused connection opens at once; timeouts and errors open after `failures_max` in a row.
    """

    def __init__(self, *, failures_max: int = 3, first_s: float = 0.1, max_s: float = 1.0) -> None:
        self._failures_max = failures_max
        self._backoff = Backoff(first_s=first_s, max_s=max_s)
        self._failures = 0
        self._probe_at: float | None = None  # None = closed

    @property
    def open(self) -> bool:
        return self._probe_at is not None

    def allows(self, now_s: float) -> bool:
        """Whether to ask now. While open, the call that gets True is the probe, and the next one waits again."""
        if self._probe_at is None:
            return True
        if now_s < self._probe_at:
            return False
        self._probe_at = now_s + self._backoff.next_s()
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._probe_at = None
        self._backoff.reset()

    def failed(self, now_s: float, *, refused: bool = False) -> None:
        """`refused`: nobody listens there, which needs no second opinion."""
        self._failures += 1
        if self._probe_at is None and (refused or self._failures >= self._failures_max):
            self._probe_at = now_s + self._backoff.next_s()

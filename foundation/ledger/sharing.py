"""How long a write waits for those whom the one before it let go, so that all of them share one. Pure.

Who asks for one thing after another comes back soon after they were told, and one write for all whom a write let go costs as much as one
for some: so the first of them to come back waits for the others, for a while. One alone has nobody to wait for.
"""

WAIT_S_MIN, WAIT_S_MAX = 0.004, 0.02
"""They are waited for as long as the write took that let them go, but for no less and no more, from when it was over. Eight who ask one
thing after another of the SQL door are all back within 3 ms."""
IN_VAIN_MAX = 64
"""So many writes at most wait for nobody after a wait that was in vain."""


class Sharing:
    """Of the writes of one log. Times are those of one clock that never goes back."""

    def __init__(self) -> None:
        self.until_s = 0.0
        """From then on nobody is waited for."""
        self._missing = 0
        self._unshared = 0
        """So many writes more wait for nobody."""
        self._vain = 1
        """How many will after the next wait in vain."""

    def let_go(self, count: int, at_s: float, took_s: float) -> None:
        """A write is over, and so many may come back."""
        if self._unshared:
            self._unshared -= 1
            count = 0
        self._missing, self.until_s = count, at_s + min(max(took_s, WAIT_S_MIN), WAIT_S_MAX)

    def came(self) -> None:
        """Somebody who may be one of them."""
        if self._missing:
            self._missing -= 1
            if not self._missing:
                self._vain = 1

    def waits(self, at_s: float) -> bool:
        """Whether a write that could begin waits for more."""
        return self._missing > 0 and at_s < self.until_s

    def waited_in_vain(self) -> None:
        """Somebody waited, and not all came: they ask in a time of their own. Each time in a row, twice as many writes wait for nobody."""
        if self._missing:
            self._missing, self._unshared = 0, self._vain
            self._vain = min(2 * self._vain, IN_VAIN_MAX)

"""Salts of entries, drawn many at a time: a system call costs a small batch more than its salts do, and whoever makes it lets go of the
interpreter, for which others wait."""

from collections.abc import Callable

AHEAD_BYTES = 4_096


class Salts:
    """One log's. Each byte is given out once."""

    def __init__(self, chance: Callable[[int], bytes]) -> None:
        """`chance` gives so many random bytes."""
        self._chance = chance
        self._ahead = b""

    def take(self, size: int) -> bytes:
        """So many of them. Calls take turns."""
        if size > AHEAD_BYTES:
            return self._chance(size)
        if size > len(self._ahead):
            self._ahead = self._chance(AHEAD_BYTES)
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return taken

"""Random bytes for names (of traces, spans, decisions): the kernel's, drawn many at a time, since a system call costs more than a name.

Not for keys and tokens: those are `secrets`' own, which keeps nothing ahead.
"""

import os

AHEAD_BYTES = 4096


class Drawn:
    """What is drawn is given out once. A child of `fork` draws anew, so that no two processes give out the same."""

    __slots__ = ("_ahead", "_at")

    def __init__(self) -> None:
        self.clear()
        os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        self._ahead = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """`size` bytes, at most AHEAD_BYTES."""
        end = self._at + size
        if end > len(self._ahead):
            self._ahead = os.urandom(AHEAD_BYTES)
            self._at, end = 0, size
        taken = self._ahead[self._at : end]
        self._at = end
        return taken


take = Drawn().take

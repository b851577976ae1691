"""How often one request may be tried, and after which waits. Pure; one value a request.

Refusals that another try may cure come from guards and the records API, which have done nothing by then. `stale_epoch` is tried once
more (after a new look at the directory): an epoch that changes again meanwhile is the client's to repeat. `cell_behind` says that the
directory is ahead of the cell, which catches up within milliseconds, so it is worth growing waits of less than a second in all.
"""

from foundation.problems import Code

BEHIND_WAITS_S = (0.02, 0.04, 0.08, 0.16, 0.32)
"""Waits before each further try after `cell_behind`; 0.62 s in all."""


class Tries:
    """Counts what one request has used up."""

    __slots__ = ("_behind", "_stale", "after_fault")

    def __init__(self) -> None:
        self._behind = 0
        self._stale = False
        self.after_fault = False
        """Whether a try has failed on its connection: the next needs a fresh one."""

    def again_after_fault(self) -> bool:
        """Whether a connection that broke may be followed by another try: once."""
        if self.after_fault:
            return False
        self.after_fault = True
        return True

    def again_after(self, refusal: Code) -> float | None:
        """Seconds to wait before the next try, or None when there is to be none."""
        if refusal is Code.STALE_EPOCH and not self._stale:
            self._stale = True
            return 0.0
        if refusal is Code.CELL_BEHIND and self._behind < len(BEHIND_WAITS_S):
            self._behind += 1
            return BEHIND_WAITS_S[self._behind - 1]
        return None

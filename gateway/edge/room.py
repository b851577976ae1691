"""The room that this gateway has for records which no cell service has yet, and what happens to one for which there is none."""

import enum

from foundation.problems import Code, Problem
from gateway.edge.observed import RECORDS_LOST, RECORDS_PENDING

PENDING_MAX = 10_000


class WhenFull(enum.StrEnum):
    """`refuse`: what cannot be recorded does not happen, and the gateway is not ready. `count`: it happens, its record is lost, and how
    many were is said in the metrics and, by whatever is handed over next, in the ledger."""

    REFUSE = "refuse"
    COUNT = "count"


class Room:
    """One per gateway."""

    __slots__ = ("most", "taken", "untold", "when_full")

    def __init__(self, most: int = PENDING_MAX, when_full: WhenFull = WhenFull.REFUSE) -> None:
        self.most = most
        self.taken = 0
        self.when_full = when_full
        self.untold = 0
        """Records that were lost and that no cell service has been told of."""

    @property
    def is_full(self) -> bool:
        return self.taken >= self.most

    def overflow(self) -> bool:
        """For a record for which there is no room: False where it has to be refused."""
        if self.when_full is WhenFull.REFUSE:
            return False
        self.lose(1)
        return True

    def lose(self, count: int) -> None:
        self.untold += count
        RECORDS_LOST.inc(count)

    def give_back(self, count: int) -> None:
        self.taken -= count
        self.observe()

    def observe(self) -> None:
        RECORDS_PENDING.set(self.taken)

    def problem(self) -> Problem | None:
        if self.is_full and self.when_full is WhenFull.REFUSE:
            return Problem(code=Code.NOT_READY, detail="records cannot be handed to a cell service", retry_after_s=1)
        return None

"""What this cell has heard of other cells' locks, and how long ago it was known to be all. Owned by `following`; asked without waiting."""

import asyncio
from collections.abc import Iterable, Iterator

from cells.breakglass.locks.core import STALE_S_MAX, Barred, newer, person_of
from directory.locks.core import CellLocks, LockCode, LockPage, LockStands
from foundation import logs
from foundation.clock import Clock
from foundation.words import CellId

log = logs.get(__name__)


class Elsewhere:
    """One process's. `state`: the name of all that was heard, for the next question; "" where it is not all. `own`: what the directory
    holds of this cell, and when it was asked for. `stale_s_max`: how old what was heard may be. `changed` is set when `heard` is another.

    Of this cell's own locks the book is asked and not what the directory holds, but for those that are kept of a history which this cell
    has lost: nobody else here knows of these.
    """

    def __init__(self, *, cell: CellId, issuer: str, clock: Clock) -> None:
        self.issuer = issuer
        self.stale_s_max = STALE_S_MAX
        self.state = ""
        self.own: tuple[CellLocks | None, float] = None, float("-inf")
        self.changed = asyncio.Event()
        self._cell = cell
        self._clock = clock
        self._cells: dict[CellId, CellLocks] = {}
        self._against: dict[str, frozenset[LockCode]] = {}
        self._heard_s = float("-inf")

    @property
    def others(self) -> tuple[CellLocks, ...]:
        """Of each other cell what was heard last."""
        return tuple(told for _, told in sorted(self._cells.items()))

    @property
    def heard(self) -> tuple[CellLocks, ...]:
        """The same, and of this cell where something of it is kept: what is to be recalled after a restart."""
        own = self.own[0]
        return (*self.others, own) if own is not None and own.kept else self.others

    def recall(self, heard: Iterable[CellLocks]) -> None:
        """Takes in what was heard before this process began. It stands, and nothing older is believed; that it is all nobody knows."""
        for one in heard:
            if one.cell == self._cell:
                self.own = one, float("-inf")
            else:
                self._cells[one.cell] = one
        self._stand()

    def hear(self, page: LockPage, asked_s: float) -> bool:
        """Takes in what the directory says to a question of `asked_s` (monotonic). Whether all is known as of then."""
        if page.cells is None:
            whole = bool(self.state) and page.state == self.state
            if whole:
                self.own = self.own[0], asked_s
        else:
            whole = self._take(page.cells, asked_s)
            self.state = page.state if whole else ""
        if whole:
            self._heard_s = max(self._heard_s, asked_s)
        return whole

    def age_s(self) -> float:
        """Seconds since what was heard was known to be all; infinite before the first time."""
        return self._clock.monotonic_s() - self._heard_s

    @property
    def fresh(self) -> bool:
        return self.age_s() <= self.stale_s_max

    def barred(self, engineer: str, *, needs_fresh: bool) -> Barred | None:
        """Why somebody is stopped by what was heard last or, where that has to be fresh, by nothing having been heard."""
        if self._against and LockCode.LOCKED in self._codes(engineer):
            return Barred.LOCKED
        return Barred.STALE if needs_fresh and not self.fresh else None

    def overdue(self, engineer: str) -> bool:
        """Whether a review of an emergency in another cell was overdue when that was heard last."""
        return LockCode.REVIEW_OVERDUE in self._codes(engineer)

    def kept(self) -> tuple[LockStands, ...]:
        """What the directory keeps of a history that this cell has lost."""
        return () if self.own[0] is None else self.own[0].kept

    def locks(self) -> Iterator[tuple[CellId, LockStands]]:
        """All that stand in other cells, as heard last, and what is kept of this one."""
        yield from ((self._cell, lock) for lock in self.kept())
        yield from ((told.cell, lock) for told in self.others for lock in told.locks)

    def _codes(self, engineer: str) -> frozenset[LockCode]:
        return self._against.get(person_of(self.issuer, engineer), frozenset())

    def _take(self, told: tuple[CellLocks, ...], asked_s: float) -> bool:
        before = self.heard
        self.own = next((one for one in told if one.cell == self._cell), None), asked_s
        self._cells, whole = newer(self._cells, (one for one in told if one.cell != self._cell))
        self._stand()
        if self.heard != before:
            self.changed.set()
        if not whole:
            log.error("locks_went_back", reason="the directory tells of older locks than before: restored?")
        return whole

    def _stand(self) -> None:
        against: dict[str, frozenset[LockCode]] = {}
        for _, lock in self.locks():
            against[lock.person] = against.get(lock.person, frozenset()) | {lock.code}
        self._against = against

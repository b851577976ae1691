"""What this cell has heard of other cells' locks, and how long ago it was known to be all; and what it has lost of its own. Owned by
`following`; asked without waiting."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

import msgspec

from cells.breakglass.book import Book
from cells.breakglass.locks.core import STALE_S_MAX, Barred, believed, kept, lost, newer, person_of, standing, unlifted
from cells.breakglass.words import SECOND_US
from directory.locks.core import CellLocks, LockCode, LockPage, LockStands, TellRequest
from foundation import logs
from foundation.clock import Clock
from foundation.words import CellId

log = logs.get(__name__)


class Elsewhere:
    """One process's. `state`: the name of all that was heard, for the next question; "" where it is not all. `own`: what the directory
    holds of this cell, and when it was asked for; `newest`: the newest telling of this cell that was ever heard, or taken, whatever a
    directory that was restored says since. `stale_s_max`: how old what was heard may be. `changed` is set when `heard` is another.

    Of this cell's own locks the book is asked and not what the directory holds, but for those of a history which this cell has lost:
    nobody else here knows of these. They stand until a step of the book lifts them: at once, whether the directory was told of it or not.
    """

    def __init__(self, *, cell: CellId, issuer: str, clock: Clock, book: Callable[[], Book | None]) -> None:
        """`book`: this cell's, as it is held; None before it was read."""
        self.issuer = issuer
        self.stale_s_max = STALE_S_MAX
        self.state = ""
        self.own: tuple[CellLocks | None, float] = None, float("-inf")
        self.newest: CellLocks | None = None
        self.changed = asyncio.Event()
        self._cell = cell
        self._clock = clock
        self._book = book
        self._cells: dict[CellId, CellLocks] = {}
        self._against: dict[str, frozenset[LockCode]] = {}
        self._heard_s = float("-inf")

    @property
    def others(self) -> tuple[CellLocks, ...]:
        """Of each other cell what was heard last."""
        return tuple(told for _, told in sorted(self._cells.items()))

    @property
    def heard(self) -> tuple[CellLocks, ...]:
        """The same, and the newest telling of this cell: what is to be recalled after a restart."""
        return self.others if self.newest is None else (*self.others, self.newest)

    def recall(self, heard: Iterable[CellLocks]) -> None:
        """Takes in what was heard before this process began. It stands, and nothing older is believed; that it is all nobody knows."""
        for one in heard:
            if one.cell == self._cell:
                self.newest = one
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

    def taken(self, asked: TellRequest, number: int) -> None:
        """The directory took this telling of this cell."""
        told = CellLocks(
            cell=self._cell,
            number=number,
            locks=(*asked.locks, *asked.kept),
            kept=asked.kept,
            steps=0 if asked.history is None else asked.history.steps,
            digest=None if asked.history is None else asked.history.digest,
        )
        self.newest = self._newest(told)
        self.changed.set()

    @property
    def number(self) -> int:
        """Of the newest telling of this cell; 0 before the first."""
        return 0 if self.newest is None else self.newest.number

    def age_s(self) -> float:
        """Seconds since what was heard was known to be all; infinite before the first time."""
        return self._clock.monotonic_s() - self._heard_s

    @property
    def fresh(self) -> bool:
        return self.age_s() <= self.stale_s_max

    def barred(self, engineer: str, *, needs_fresh: bool) -> Barred | None:
        """Why somebody is stopped by what was heard last or, where that has to be fresh, by nothing having been heard."""
        codes = self._codes(engineer)
        if codes and LockCode.LOCKED in codes:
            return Barred.LOCKED
        return Barred.STALE if needs_fresh and self.age_s() > self.stale_s_max else None

    def overdue(self, engineer: str) -> bool:
        """Whether a review of an emergency was overdue in another cell when that was heard last, or in a history that this one has lost."""
        return LockCode.REVIEW_OVERDUE in self._codes(engineer)

    def kept(self) -> tuple[LockStands, ...]:
        """What stands of histories that this cell has lost, and no step made since has lifted."""
        lost, book = self._lost()
        if self.newest is None or not lost:
            return ()
        at_us = max(int(self._clock.unix_s() * SECOND_US), book.at_us)
        return kept(book, self.newest, standing(book, at_us, self.issuer), self.issuer)

    def own_locks(self) -> Iterable[LockStands]:
        """What the directory may hold of this cell: by its last answer, and by the newest telling."""
        told = (one for one in (self.own[0], self.newest) if one is not None)
        return dict.fromkeys(lock for one in told for lock in one.locks)

    def locks(self) -> Iterator[tuple[CellId, LockStands]]:
        """All that stand in other cells, as heard last, and what is kept of this one."""
        yield from ((self._cell, lock) for lock in self.kept())
        yield from ((told.cell, lock) for told in self.others for lock in told.locks)

    def _codes(self, engineer: str) -> frozenset[LockCode]:
        if self.newest is None and not self._against:
            return frozenset()
        lost, book = self._lost()
        if not (lost or self._against):
            return frozenset()
        person = person_of(self.issuer, engineer)
        own = unlifted(book, [lock for lock in lost if lock.person == person], self.issuer)
        return self._against.get(person, frozenset()) | {lock.code for lock in own}

    def _lost(self) -> tuple[tuple[LockStands, ...], Book]:
        """What this cell's book may not know of, with the book: an empty one before it was read."""
        book = self._book() or Book()
        return (() if self.newest is None else lost(book, self.newest)), book

    def _newest(self, told: CellLocks | None) -> CellLocks | None:
        """The newest telling of this cell, now that this one was heard. What stands of histories that are lost stays there, too, where a
        newer one leaves it out, as one does that came late to a directory which was restored; but not where an operator forgot the cell."""
        known = self.newest
        if known is None or told is None:
            return known or told
        newest = believed(known, told)
        forgotten = newest.digest is None and not newest.locks
        left_out = (
            () if newest is known or forgotten else kept(self._book() or Book(), known, newest.locks, self.issuer)
        )
        if not left_out:
            return newest
        return msgspec.structs.replace(newest, locks=(*newest.locks, *left_out), kept=(*newest.kept, *left_out))

    def _take(self, told: tuple[CellLocks, ...], asked_s: float) -> bool:
        before = self.heard
        own = next((one for one in told if one.cell == self._cell), None)
        behind = (0 if own is None else own.number) < self.number
        self.own = own, asked_s
        self.newest = self._newest(own)
        self._cells, whole = newer(self._cells, (one for one in told if one.cell != self._cell))
        self._stand()
        if self.heard != before:
            self.changed.set()
        if behind or not whole:
            log.error("locks_went_back", reason="the directory tells of older locks than before: restored?")
        return whole

    def _stand(self) -> None:
        against: dict[str, frozenset[LockCode]] = {}
        for told in self.others:
            for lock in told.locks:
                against[lock.person] = against.get(lock.person, frozenset()) | {lock.code}
        self._against = against

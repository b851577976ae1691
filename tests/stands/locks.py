"""Other cells' locks for tests: a directory of them in memory, and a cell that has always just heard."""

import asyncio

from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.assembly import Locks
from cells.breakglass.locks.core import person_of
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.following import Following
from cells.breakglass.locks.source import Otherwise, Shorter
from cells.breakglass.locks.telling import Telling
from directory.client.remote import DirectoryUnavailable
from directory.locks.core import (
    CellLocks,
    Held,
    LockCode,
    LockPage,
    LockStands,
    TellRequest,
    ToldAnswer,
    Verdict,
    judge,
    number_after,
    state_of,
)
from foundation.clock import Clock
from foundation.tasks import Bell
from foundation.words import CellId

ISSUER = "https://staff.example.com"


def stands(name: str, code: LockCode = LockCode.LOCKED, number: int = 0) -> LockStands:
    return LockStands(person=person_of(ISSUER, f"engineer:{name}"), code=code, since_us=1, event=f"lock:{number}")


class MemoryLocks:
    """Implements `cells.breakglass.locks.source.LockSource`. `away`: whether it answers nobody; `now_us`: what its numbers are made of."""

    def __init__(self) -> None:
        self.held: dict[CellId, tuple[Held, tuple[LockStands, ...]]] = {}
        self.away = False
        self.now_us = 1_000
        self.tellings = 0
        self._bell = Bell()

    async def page(self, held: str, *, wait_ms: int) -> LockPage:
        self._answer()
        if held == self._state():
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._bell.heard()
            except TimeoutError:
                self._answer()
        if held == self._state():
            return LockPage(state=held, cells=None)
        cells = (CellLocks(cell=cell, number=told.number, locks=locks) for cell, (told, locks) in self.held.items())
        return LockPage(state=self._state(), cells=tuple(cells))

    async def tell(self, cell: CellId, asked: TellRequest) -> ToldAnswer | Otherwise | Shorter:
        self._answer()
        self.tellings += 1
        held = self.held.get(cell, (Held(), ()))[0]
        match judge(held, asked):
            case Verdict.OTHERWISE:
                return Otherwise(held.number)
            case Verdict.SHORTER:
                return Shorter()
            case Verdict.TAKEN:
                number = number_after(held, self.now_us)
                self.put(cell, Held(number, asked.locking), *asked.locks)
                return ToldAnswer(number=number)

    def put(self, cell: CellId, told: Held, *locks: LockStands) -> None:
        self.held[cell] = told, locks
        self._bell.ring()

    def copied(self) -> dict[CellId, tuple[Held, tuple[LockStands, ...]]]:
        """A backup of it."""
        return dict(self.held)

    def _state(self) -> str:
        return state_of({cell: told.number for cell, (told, _) in self.held.items()})

    def _answer(self) -> None:
        if self.away:
            raise DirectoryUnavailable("refused")


class JustHeard(Elsewhere):
    """Heard of other cells a moment ago, whatever a clock says that is told; or `stale_s` ago."""

    stale_s = 0.0

    def age_s(self) -> float:
        return self.stale_s

    def lock(self, cell: str, *locks: LockStands, number: int = 1) -> None:
        """Another cell has told these."""
        told = CellLocks(cell=CellId(cell), number=number, locks=locks)
        assert self.hear(LockPage(state=state_of({told.cell: number}), cells=(told,)), self.age_s())


def just_heard(cell: CellId, keeper: Keeper, source: MemoryLocks, clock: Clock) -> Locks:
    heard = JustHeard(cell=cell, issuer=ISSUER, clock=clock)
    return Locks(
        elsewhere=heard,
        following=Following(source, heard, clock),
        telling=Telling(cell=cell, keeper=keeper, source=source, elsewhere=heard, clock=clock),
    )

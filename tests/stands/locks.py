"""Other cells' locks for tests: a directory of them in memory, and a cell that has always just heard."""

import asyncio
from pathlib import Path

from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.assembly import Locks
from cells.breakglass.locks.core import person_of
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.following import Following
from cells.breakglass.locks.remembering import Remembering
from cells.breakglass.locks.source import Otherwise, Overfull
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
    held_after,
    judge,
    number_after,
    state_of,
    whole,
)
from foundation.clock import Clock
from foundation.ledger.draining import Writer
from foundation.tasks import Bell
from foundation.words import CellId

ISSUER = "https://staff.example.com"


def stands(name: str, code: LockCode = LockCode.LOCKED, number: int = 0, since_us: int = 1) -> LockStands:
    person = person_of(ISSUER, f"engineer:{name}")
    return LockStands(person=person, code=code, since_us=since_us, event=f"lock:{number}")


class MemoryLocks:
    """Implements `cells.breakglass.locks.source.LockSource`. `away`: whether it answers nobody; `now_us`: what its numbers are made of."""

    def __init__(self) -> None:
        self.held: dict[CellId, Held] = {}
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
        return LockPage(state=self._state(), cells=tuple(_cell(cell, told) for cell, told in self.held.items()))

    async def tell(self, cell: CellId, asked: TellRequest) -> ToldAnswer | Otherwise | Overfull:
        self._answer()
        self.tellings += 1
        held = self.held.get(cell, Held())
        judged = judge(held, asked)
        match judged.verdict:
            case Verdict.OTHERWISE:
                return Otherwise(held.number, held.steps)
            case Verdict.OVERFULL:
                return Overfull()
            case Verdict.TAKEN | Verdict.PARTED:
                new = held_after(held, asked, judged, self.now_us)
                self._put(cell, new)
                return ToldAnswer(number=new.number, parted=judged.verdict is Verdict.PARTED)

    def put(self, cell: CellId, told: Held, *locks: LockStands) -> None:
        self._put(cell, told._replace(told=locks))

    def forget(self, cell: CellId) -> None:
        """As an operator does."""
        self._put(cell, Held(number_after(self.held.get(cell, Held()), self.now_us)))

    def copied(self) -> dict[CellId, Held]:
        """A backup of it."""
        return dict(self.held)

    def _put(self, cell: CellId, held: Held) -> None:
        self.held[cell] = held
        self._bell.ring()

    def _state(self) -> str:
        return state_of({cell: told.number for cell, told in self.held.items()})

    def _answer(self) -> None:
        if self.away:
            raise DirectoryUnavailable("refused")


def _cell(cell: CellId, held: Held) -> CellLocks:
    locks = tuple(sorted((*held.told, *held.kept), key=whole))
    digest = None if held.history is None else held.history.digest
    return CellLocks(cell=cell, number=held.number, locks=locks, kept=held.kept, steps=held.steps, digest=digest)


class JustHeard(Elsewhere):
    """Heard of other cells a moment ago, whatever a clock says that is told; or `stale_s` ago."""

    stale_s = 0.0

    def age_s(self) -> float:
        return self.stale_s

    def lock(self, cell: str, *locks: LockStands, number: int = 1) -> None:
        """Another cell has told these."""
        told = CellLocks(cell=CellId(cell), number=number, locks=locks)
        assert self.hear(LockPage(state=state_of({told.cell: number}), cells=(told,)), self.age_s())


def nothing_to_recall() -> asyncio.Event:
    known = asyncio.Event()
    known.set()
    return known


def just_heard(cell: CellId, keeper: Keeper, source: MemoryLocks, clock: Clock, folder: Path, writer: Writer) -> Locks:
    heard = JustHeard(cell=cell, issuer=ISSUER, clock=clock, book=keeper.glance)
    known = nothing_to_recall()
    return Locks(
        elsewhere=heard,
        remembering=Remembering(folder, writer, heard),
        following=Following(source, heard, clock, known),
        telling=Telling(cell=cell, keeper=keeper, source=source, elsewhere=heard, clock=clock, recalled=known),
    )

"""A cell's own parts that tell and hear of locks, in turns that the test takes."""

from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.source import LockSource
from cells.breakglass.locks.telling import Telling
from cells.breakglass.steps import AnyStep, Locked, Unlocked
from cells.breakglass.store import Row
from cells.breakglass.words import engineer_of
from directory.client.remote import DirectoryUnavailable
from directory.locks.core import CellLocks
from foundation.clock import ManualClock
from foundation.words import ActorId, CellId
from tests.stands.access_cell import MemorySteps
from tests.stands.locks import ISSUER, nothing_to_recall

SAM = engineer_of("sam")


class LockCell:
    """On a clock that is told, its own or `clock`; a second goes by with each step that it `takes` and each round.

    `file`: what it remembers over a restart."""

    def __init__(self, name: CellId, source: LockSource, clock: ManualClock | None = None) -> None:
        self.name = name
        self.source = source
        self.clock = clock or ManualClock()
        self.steps = MemorySteps()
        self.file: tuple[CellLocks, ...] = ()
        self.begins()

    def begins(self) -> None:
        """A new process, which knows what is in the database and in the file."""
        self.keeper = Keeper(self.steps, self.clock)
        self.heard = Elsewhere(cell=self.name, issuer=ISSUER, clock=self.clock, book=self.keeper.glance)
        self.heard.recall(self.file)
        self.telling = Telling(
            cell=self.name,
            keeper=self.keeper,
            source=self.source,
            elsewhere=self.heard,
            clock=self.clock,
            recalled=nothing_to_recall(),
        )

    def backup(self) -> list[Row]:
        return list(self.steps.kept)

    async def restored(self, backup: list[Row]) -> None:
        """Its database is, and it begins anew."""
        self.steps.kept = list(backup)
        self.begins()
        await self.keeper.book()

    async def locks(self, *names: str) -> None:
        for name in names:
            await self.takes(SAM, Locked(person=engineer_of(name), reason="x"))

    async def unlocks(self, *names: str) -> None:
        for name in names:
            await self.takes(SAM, Unlocked(person=engineer_of(name), reason="x"))

    async def takes(self, by: ActorId, *steps: AnyStep) -> None:
        self.clock.advance(1)
        await self.makes(by, *steps)

    async def makes(self, by: ActorId, *steps: AnyStep) -> None:
        await self.keeper.act(by, lambda _book, _at_us: steps)

    async def goes_round(self) -> bool:
        """Hears and tells; whether all is told."""
        self.clock.advance(1)
        try:
            self.heard.hear(await self.source.page("", wait_ms=0), self.clock.monotonic_s())
        except DirectoryUnavailable:
            return False
        told = await self.telling._round()
        self.file = self.heard.heard
        return told

    async def locked_out(self, *names: str) -> bool:
        """All of them, by its own book, by others' or by what it lost."""
        book, _ = await self.keeper.book()
        return {*names} == self.stopped(*names) | {name for name in names if engineer_of(name) in book.locks}

    def stopped(self, *names: str) -> set[str]:
        """By what was heard, or lost: whom its own book locks out is not among them."""
        return {name for name in names if self.heard.barred(engineer_of(name), needs_fresh=False) is not None}

"""Locks spread through cells, a directory that is restored and answers that come late, twice and out of order: nothing is believed that is
older than what was, and in the end everybody knows what stands.

The cells' own parts run: their books, what tells of them and what hears. The directory is the one in memory, which judges as the real one.
`LOCKS_SCRIPTS` says how many scripts.
"""

import os
import random
from collections.abc import Callable

import pytest

from cells.breakglass.keeper import Keeper
from cells.breakglass.locks import elsewhere
from cells.breakglass.locks.core import Newer, standing
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.source import Otherwise, Shorter
from cells.breakglass.locks.telling import Telling
from cells.breakglass.steps import AnyStep, Locked, Unlocked
from cells.breakglass.words import engineer_of
from directory.locks.core import LockPage, LockStands, TellRequest, ToldAnswer, Verdict
from foundation.clock import ManualClock
from foundation.words import CellId
from tests.stands import locks as memory
from tests.stands.access_cell import MemorySteps
from tests.stands.locks import ISSUER, MemoryLocks

pytestmark = pytest.mark.anyio
SCRIPTS = int(os.environ.get("LOCKS_SCRIPTS", "25"))
STEPS = 60
CELLS = tuple(CellId(name) for name in ("eu-de", "us-va", "jp-to"))
PEOPLE = tuple(engineer_of(name) for name in ("alice", "bob", "carol"))
SAM = engineer_of("sam")


class Wire(MemoryLocks):
    """Remembers what was told, and gives some of it to the directory again."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[CellId, TellRequest]] = []

    async def tell(self, cell: CellId, asked: TellRequest) -> ToldAnswer | Otherwise | Shorter:
        self.sent.append((cell, asked))
        return await super().tell(cell, asked)


class Cell:
    def __init__(self, name: CellId, wire: Wire, clock: ManualClock) -> None:
        self.name = name
        self.wire = wire
        self.clock = clock
        self.steps = MemorySteps()
        self.late: list[tuple[LockPage, float]] = []
        self.known: dict[CellId, int] = {}
        self.begin()

    def begin(self) -> None:
        """As a new process, which knows nothing but what is in the database."""
        self.keeper = Keeper(self.steps, self.clock)
        self.heard = Elsewhere(cell=self.name, issuer=ISSUER, clock=self.clock)
        self.telling = Telling(
            cell=self.name, keeper=self.keeper, source=self.wire, elsewhere=self.heard, clock=self.clock
        )
        self.late.clear()
        self.known = {}

    async def turn(self, chance: random.Random) -> None:
        """Locks or unlocks somebody."""
        person = chance.choice(PEOPLE)
        book, _ = await self.keeper.book()
        held = person in book.locks
        step: AnyStep = Unlocked(person=person, reason="x") if held else Locked(person=person, reason="x")
        await self.keeper.act(SAM, lambda _book, _at_us: (step,))

    async def ask(self) -> None:
        """A question, whose answer comes at some time."""
        asked_s = self.clock.monotonic_s()
        self.late.append((await self.wire.page(self.heard.state, wait_ms=0), asked_s))

    def answered(self, chance: random.Random, *, again: bool) -> None:
        if self.late:
            number = chance.randrange(len(self.late))
            self.heard.hear(*(self.late[number] if again else self.late.pop(number)))
            self.looked()

    def looked(self) -> None:
        """Nothing that is known goes back."""
        for cell, told in self.heard._cells.items():
            assert told.number >= self.known.get(cell, 0), "an older telling was believed"
            self.known[cell] = told.number

    async def stands(self) -> tuple[LockStands, ...]:
        book, at_us = await self.keeper.book()
        return standing(book, at_us, ISSUER)


async def script(seed: int) -> None:
    chance, clock, wire = random.Random(seed), ManualClock(), Wire()
    cells = [Cell(name, wire, clock) for name in CELLS]
    backup = wire.copied()
    for _ in range(STEPS):
        clock.advance(chance.random())
        wire.now_us += chance.randrange(1, 1_000)
        one = chance.choice(cells)
        match chance.choice(
            ("turn", "turn", "tell", "tell", "ask", "ask", "answer", "again", "replay", "backup", "rare")
        ):
            case "turn":
                await one.turn(chance)
            case "tell":
                await one.telling._round()
            case "ask":
                await one.ask()
            case "answer":
                one.answered(chance, again=False)
            case "again":
                one.answered(chance, again=True)
            case "replay" if wire.sent:
                await MemoryLocks.tell(wire, *chance.choice(wire.sent))
            case "backup":
                backup = wire.copied()
            case _ if chance.random() < 0.5:
                wire.held = dict(backup)
            case _:
                one.begin()
    await settled(cells, clock)
    for one in cells:
        assert one.heard.fresh
        known = {cell: told.locks for cell, told in one.heard._cells.items()}
        assert known == {other.name: await other.stands() for other in cells if other is not one}


async def settled(cells: list[Cell], clock: ManualClock) -> None:
    """Whatever is late has been lost; everybody tells and hears in turn."""
    for one in cells:
        one.late.clear()
    for _ in range(3):
        for one in cells:
            clock.advance(1)
            await one.ask()
            one.answered(random.Random(0), again=False)
            await one.telling._round()


@pytest.mark.parametrize("seed", range(SCRIPTS))
async def test_nothing_older_is_believed_and_in_the_end_everybody_knows(seed: int) -> None:
    await script(seed)


async def seen() -> bool:
    """Whether some script finds something."""
    for seed in range(200):
        try:
            await script(seed)
        except AssertionError:
            return True
    return False


def _anything_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(elsewhere, "newer", lambda _held, told: Newer({one.cell: one for one in told}, whole=True))


def _whatever_comes_is_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory, "judge", lambda _held, _told: Verdict.TAKEN)


def _numbers_are_given_out_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory, "number_after", lambda held, _now_us: held.number + 1)


def _losses_are_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Telling, "_holds", lambda self, now: self._told == now)


@pytest.mark.parametrize(
    "left_out",
    [_anything_is_believed, _whatever_comes_is_taken, _numbers_are_given_out_again, _losses_are_not_looked_for],
)
async def test_a_rule_that_is_left_out_is_seen(
    left_out: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out(monkeypatch)
    assert await seen()

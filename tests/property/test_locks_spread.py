"""Locks spread through cells, directories and cells that are restored, restarts, and answers that come late, twice and out of order.

- Nothing is believed that is older than what was, over restarts, and in the end everybody knows what stands.
- What a cell told and no step made since has lifted stands in the directory, whatever of its history the cell has lost, and however many
  steps it has made instead. A step made since lifts it, in that cell at once.
- Where the directory is restored as well, before the cell or after it, what the cell has noted of its tellings stands all the same: in that
  cell all the while, in the others from when they heard it, in the directory once it was told anew.

The cells' own parts run: their books, what tells of them and what hears. The directory is the one in memory, which judges as the real one.
`LOCKS_SCRIPTS` says how many scripts.
"""

import enum
import os
import random
from collections.abc import Callable, Iterable, Iterator

import msgspec
import pytest

import directory.locks.core
from cells.breakglass import core as machine
from cells.breakglass.book import Book
from cells.breakglass.locks import core, elsewhere
from cells.breakglass.locks.core import Barred, Newer, person_of, standing
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.source import Otherwise, Overfull
from cells.breakglass.locks.telling import Telling
from cells.breakglass.replay import grant_event
from cells.breakglass.steps import AnyStep, Approved, Locked, OnCall, Requested, Reviewed, Unlocked
from cells.breakglass.store import Row
from cells.breakglass.words import DAY_US, EngineerId, GrantId, engineer_of
from cells.breakglass.words import Verdict as Found
from directory.locks.core import (
    CellLocks,
    Held,
    Judged,
    LockCode,
    LockPage,
    LockStands,
    TellRequest,
    ToldAnswer,
    Verdict,
    judge,
)
from foundation.clock import ManualClock
from foundation.words import ActorId, CellId
from tests.stands import locks as memory
from tests.stands.access import presence, terms
from tests.stands.lock_cell import SAM, LockCell
from tests.stands.locks import ISSUER, MemoryLocks

pytestmark = pytest.mark.anyio
SCRIPTS = int(os.environ.get("LOCKS_SCRIPTS", "15"))
STEPS = 60
OFTEN = ("turn",) * 6 + ("tell",) * 4 + ("ask",) * 2 + ("answer",) * 2
ACTIONS = (*OFTEN, "again", "replay", "backup", "rare", "rare")
CELLS = tuple(CellId(name) for name in ("eu-de", "us-va", "jp-to"))
PEOPLE = tuple(engineer_of(name) for name in ("alice", "bob", "carol"))
HOURS_S = 8 * 3_600
"""At most between two steps, so that reviews are due within a script."""
APPROVAL = 1
"""Which step of an emergency approves it."""


class Restored(enum.Flag):
    """Whose database is put back to an older state now and then."""

    DIRECTORY = enum.auto()
    CELLS = enum.auto()


NOBODY = Restored(0)
EACH = (NOBODY, Restored.DIRECTORY, Restored.CELLS, Restored.DIRECTORY | Restored.CELLS)


class Wire(MemoryLocks):
    """Remembers what was told, and gives some of it to the directory again. `owed`: what each cell told and has not lifted since; `noted`:
    what of that it knew when it wrote its file. `replays`: numbers under which a directory that was restored took a telling again."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[CellId, TellRequest]] = []
        self.owed: dict[CellId, set[LockStands]] = {cell: set() for cell in CELLS}
        self.noted: dict[CellId, set[LockStands]] = {cell: set() for cell in CELLS}
        self.replays: set[int] = set()

    async def tell(self, cell: CellId, asked: TellRequest) -> ToldAnswer | Otherwise | Overfull:
        self.sent.append((cell, asked))
        answer = await super().tell(cell, asked)
        if isinstance(answer, ToldAnswer):
            self.owed[cell] |= {*asked.locks}
        return answer

    async def replay(self, cell: CellId, asked: TellRequest) -> None:
        answer = await super().tell(cell, asked)
        if isinstance(answer, ToldAnswer):
            self.replays.add(answer.number)

    def lifted(self, cell: CellId, *, person: str = "", event: str = "") -> None:
        """By a step that was made just now."""
        for those in (self.owed, self.noted):
            those[cell] = {one for one in those[cell] if one.person != person and one.event != event}

    def kept(self, cell: CellId) -> tuple[LockStands, ...]:
        return self.held.get(cell, Held()).kept

    def in_force(self, cell: CellId) -> set[LockStands]:
        return {*self.held.get(cell, Held()).told, *self.kept(cell)}


def emergency(grant: GrantId, at_us: int) -> tuple[AnyStep, ...]:
    on_call = OnCall(digest="0" * 64, until_us=at_us + DAY_US)
    return (
        Requested(grant=grant, terms=terms(), presence=presence(), needed=1, on_call=on_call),
        Approved(grant=grant, version=1, presence=presence()),
    )


class Cell(LockCell):
    """Whose answers come `late`; `saved`: a backup of its database; `known`: numbers of the newest tellings that it believed."""

    def __init__(self, name: CellId, wire: Wire, clock: ManualClock) -> None:
        self.wire = wire
        self.saved: list[Row] = []
        self.late: list[tuple[LockPage, float]] = []
        super().__init__(name, wire, clock)

    def begins(self) -> None:
        super().begins()
        self.late.clear()
        self.known = {told.cell: told.number for told in self.file if told.cell != self.name}

    def restore(self) -> None:
        self.steps.kept = list(self.saved)

    async def turn(self, chance: random.Random) -> None:
        """Locks or unlocks somebody; or they have an emergency, or it is reviewed."""
        person = chance.choice(PEOPLE)
        book, at_us = await self.keeper.book()
        unseen = next((grant for grant in book.of(person) if grant.review_due_us() is not None), None)
        if person in book.locks:
            await self.take(SAM, Unlocked(person=person, reason="x"))
        elif chance.random() < 0.5:
            await self.take(SAM, Locked(person=person, reason="x"))
        elif unseen is None or (chance.random() < 0.5 and not book.overdue(person, at_us)):
            await self.take(person, *emergency(GrantId(f"{chance.getrandbits(128):032x}"), at_us))
        else:
            await self.take(SAM, Reviewed(grant=unseen.id, verdict=Found.JUSTIFIED, note="x"))

    async def take(self, by: ActorId, *steps: AnyStep) -> None:
        await self.makes(by, *steps)
        for step in steps:
            match step:
                case Unlocked(person=person):
                    self.wire.lifted(self.name, person=person_of(ISSUER, person))
                    kept = {lock.person for lock in self.heard.kept()}
                    assert person_of(ISSUER, person) not in kept, "a lifting waits for the directory"
                case Reviewed(grant=grant):
                    self.wire.lifted(self.name, event=grant_event(grant, APPROVAL))
                case _:
                    pass

    async def ask(self) -> None:
        """A question, whose answer comes at some time."""
        asked_s = self.clock.monotonic_s()
        self.late.append((await self.wire.page(self.heard.state, wait_ms=0), asked_s))

    def answered(self, chance: random.Random, *, again: bool) -> None:
        if self.late:
            number = chance.randrange(len(self.late))
            self.heard_of(self.late[number] if again else self.late.pop(number))
            self.note(chance)

    def heard_of(self, answer: tuple[LockPage, float]) -> None:
        before = self.known_locks()
        self.heard.hear(*answer)
        self.looked(before)

    async def tell(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            await self.ask()
            self.heard_of(self.late.pop())
        await self.telling._round()
        self.note(chance)

    def note(self, chance: random.Random) -> None:
        """In its file, but for what a kill comes before."""
        if chance.random() < 0.8:
            self.file = self.heard.heard
            own = self.heard.newest
            self.wire.noted[self.name] |= set() if own is None else {*own.locks} & self.wire.owed[self.name]

    def known_locks(self) -> dict[CellId, set[LockStands]]:
        """Of other cells."""
        return {told.cell: {*told.locks} for told in self.heard.others}

    def looked(self, before: dict[CellId, set[LockStands]]) -> None:
        """Nothing that is known goes back, and no lock is lifted but by a step, or until the cell tells again what was replayed."""
        now = self.known_locks()
        told_again = {told.cell for told in self.heard.others if told.number in self.wire.replays}
        for cell in before.keys() - told_again:
            assert before[cell] & self.wire.noted[cell] <= now.get(cell, set()), (
                "another cell's lock was lifted by no step"
            )
        for told in self.heard.others:
            assert told.number >= self.known.get(told.cell, 0), "an older telling was believed"
            self.known[told.cell] = told.number
        assert self.known.keys() <= {told.cell for told in self.heard.others}, "a cell was left out"

    async def holds(self) -> None:
        """At home nothing that was noted is lifted but by a step, whoever loses what."""
        book, at_us = await self.keeper.book()
        for lock in self.wire.noted[self.name]:
            person = next(one for one in PEOPLE if person_of(ISSUER, one) == lock.person)
            if lock.code is LockCode.LOCKED:
                barred = self.heard.barred(person, needs_fresh=False)
                assert person in book.locks or barred is Barred.LOCKED, "a lock was lifted at home by no step"
            else:
                late = book.overdue(person, at_us) or self.heard.overdue(person)
                assert late, "an overdue review was forgotten at home"

    async def stands(self) -> tuple[LockStands, ...]:
        book, at_us = await self.keeper.book()
        return standing(book, at_us, ISSUER)


async def script(seed: int, restored: Restored) -> None:
    chance, clock, wire = random.Random(seed), ManualClock(), Wire()
    cells = [Cell(name, wire, clock) for name in CELLS]
    backup = wire.copied()
    for _ in range(STEPS):
        clock.advance(chance.random() * HOURS_S)
        wire.now_us += chance.randrange(1, 1_000)
        one = chance.choice(cells)
        match chance.choice(ACTIONS):
            case "turn":
                await one.turn(chance)
            case "tell":
                await one.tell(chance)
            case "ask":
                await one.ask()
            case "answer":
                one.answered(chance, again=False)
            case "again":
                one.answered(chance, again=True)
            case "replay" if wire.sent:
                await wire.replay(*chance.choice(wire.sent))
            case "backup":
                backup = wire.copied()
                one.saved = one.backup()
            case _:
                rare(one, wire, backup, restored, chance)
        held_to(wire, restored)
        await one.holds()
    await settled(cells, clock)
    held_to(wire, restored)
    for one in cells:
        await one.holds()
        assert wire.noted[one.name] <= wire.in_force(one.name), "a lock was lost"
        await each_is_told(one, wire)
    await everybody_knows(cells, wire)
    await all_can_be_lifted(cells, clock, wire)


def rare(one: Cell, wire: Wire, backup: dict[CellId, Held], restored: Restored, chance: random.Random) -> None:
    """A restoration or a restart."""
    if Restored.CELLS in restored and chance.random() < 0.6:
        one.restore()
        if chance.random() < 0.5:
            one.begins()
    elif Restored.DIRECTORY in restored and chance.random() < 0.5:
        wire.held = dict(backup)
    else:
        one.begins()


def held_to(wire: Wire, restored: Restored) -> None:
    """Where the directory loses nothing, nothing is lifted but by a step; where cells lose nothing, nothing is kept."""
    for cell in CELLS:
        if Restored.DIRECTORY not in restored:
            assert wire.owed[cell] <= wire.in_force(cell), "a lock was lifted by no step"
        if Restored.CELLS not in restored:
            assert not wire.kept(cell), "a history that goes on was taken for another"


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


async def each_is_told(one: Cell, wire: Wire) -> None:
    """Every overdue review, however many one person has."""
    book, at_us = await one.keeper.book()
    late = [grant for grant in book.grants.values() if (due_us := grant.review_due_us()) and due_us <= at_us]
    told = [lock.event for lock in wire.held[one.name].told if lock.code is LockCode.REVIEW_OVERDUE]
    assert sorted(told) == sorted(grant_event(grant.id, APPROVAL) for grant in late), "an overdue review was not told"


async def everybody_knows(cells: Iterable[Cell], wire: Wire) -> None:
    """What each cell tells and what is kept of it; a person of whom something is kept is stopped at home, too."""
    for one in cells:
        assert one.heard.fresh
        known = {told.cell: (told.told, told.kept) for told in one.heard.others}
        others = [other for other in cells if other is not one]
        assert known == {other.name: (await other.stands(), wire.kept(other.name)) for other in others}
        for person in kept_of(one, wire, LockCode.LOCKED):
            assert one.heard.barred(person, needs_fresh=True) is Barred.LOCKED
        for person in kept_of(one, wire, LockCode.REVIEW_OVERDUE):
            assert one.heard.overdue(person)


def kept_of(one: Cell, wire: Wire, *codes: LockCode) -> list[EngineerId]:
    kept = {lock.person for lock in wire.kept(one.name) if lock.code in (codes or LockCode)}
    return [person for person in PEOPLE if person_of(ISSUER, person) in kept]


async def all_can_be_lifted(cells: list[Cell], clock: ManualClock, wire: Wire) -> None:
    for one in cells:
        for person in kept_of(one, wire):
            clock.advance(1)
            book, _ = await one.keeper.book()
            if person not in book.locks:
                await one.take(SAM, Locked(person=person, reason="x"))
            await one.take(SAM, Unlocked(person=person, reason="x"))
    await settled(cells, clock)
    assert not any(kept_of(one, wire) for one in cells), "what is kept could not be lifted"
    await everybody_knows(cells, wire)


@pytest.mark.parametrize("restored", EACH, ids=str)
@pytest.mark.parametrize("seed", range(SCRIPTS))
async def test_nothing_older_is_believed_nothing_is_lifted_by_no_step_and_in_the_end_everybody_knows(
    seed: int, restored: Restored
) -> None:
    await script(seed, restored)


async def seen(restored: Restored) -> bool:
    """Whether some script finds something."""
    for seed in range(200):
        try:
            await script(seed, restored)
        except AssertionError:
            return True
    return False


def _anything_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(elsewhere, "newer", lambda _held, told: Newer({one.cell: one for one in told}, whole=True))


def _whatever_comes_is_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory, "judge", lambda _held, _told: Judged(Verdict.TAKEN))


def _numbers_are_given_out_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(directory.locks.core, "number_after", lambda held, _now_us: held.number + 1)


def _losses_are_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    def holds(self: Telling, now: TellRequest) -> bool:
        return self._told is not None and (self._told.locks, self._told.history) == (now.locks, now.history)

    patch.setattr(Telling, "_holds", holds)


def _what_was_heard_is_not_recalled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Elsewhere, "recall", lambda _self, _heard: None)


def _steps_are_only_counted(patch: pytest.MonkeyPatch) -> None:
    """By the directory. What the cell tells of itself would make up for it."""
    patch.setattr(directory.locks.core, "goes_on", lambda held, told: told.locking >= held.locking)
    _what_is_kept_is_not_told_again(patch)


def _emergencies_are_no_links(patch: pytest.MonkeyPatch) -> None:
    about = machine._about
    locks = (Locked, Unlocked)
    patch.setattr(machine, "_about", lambda book, step: about(book, step) if isinstance(step, locks) else None)


def _nothing_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory, "judge", lambda held, told: judge(held, told)._replace(kept=()))


def _nothing_of_it_is_lifted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "lifted", lambda _book, _held, _issuer: ())


def _what_is_kept_is_not_told_again(patch: pytest.MonkeyPatch) -> None:
    asked = Telling._asked

    async def without(self: Telling) -> TellRequest:
        return msgspec.structs.replace(await asked(self), kept=())

    patch.setattr(Telling, "_asked", without)


def _of_itself_a_cell_knows_what_the_directory_says(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(elsewhere, "believed", lambda known, heard: heard or known)


def _what_was_told_is_noted_once_it_is_kept(patch: pytest.MonkeyPatch) -> None:
    def heard(self: Elsewhere) -> tuple[CellLocks, ...]:
        own = self.newest
        return (*self.others, own) if own is not None and own.kept else self.others

    patch.setattr(Elsewhere, "heard", property(heard))


def _a_lifting_waits_for_the_directory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(elsewhere, "kept", lambda book, known, _stands, _issuer: core.lost(book, known))


def _the_earliest_review_is_told(patch: pytest.MonkeyPatch) -> None:
    overdue = core._overdue

    def earliest(book: Book, at_us: int) -> Iterator[tuple[str, int, str]]:
        found: dict[str, tuple[str, int, str]] = {}
        for one in overdue(book, at_us):
            found.setdefault(one[0], one)
        return iter(found.values())

    patch.setattr(core, "_overdue", earliest)


def _whoever_was_ever_unlocked_is(patch: pytest.MonkeyPatch) -> None:
    def lifted(book: Book, held: Iterable[LockStands], issuer: str) -> tuple[LockStands, ...]:
        unlocked = {person_of(issuer, person) for person in book.unlocked}
        return tuple(one for one in held if one.person in unlocked)

    patch.setattr(core, "lifted", lifted)


@pytest.mark.parametrize(
    ("left_out", "restored"),
    [
        (_anything_is_believed, Restored.DIRECTORY),
        (_whatever_comes_is_taken, NOBODY),
        (_numbers_are_given_out_again, Restored.DIRECTORY),
        (_losses_are_not_looked_for, Restored.DIRECTORY),
        (_what_was_heard_is_not_recalled, Restored.DIRECTORY),
        (_steps_are_only_counted, Restored.CELLS),
        (_emergencies_are_no_links, Restored.CELLS),
        (_nothing_is_kept, Restored.CELLS),
        (_nothing_of_it_is_lifted, Restored.CELLS),
        (_whoever_was_ever_unlocked_is, Restored.CELLS),
        (_what_is_kept_is_not_told_again, Restored.DIRECTORY | Restored.CELLS),
        (_of_itself_a_cell_knows_what_the_directory_says, Restored.DIRECTORY | Restored.CELLS),
        (_what_was_told_is_noted_once_it_is_kept, Restored.DIRECTORY | Restored.CELLS),
        (_a_lifting_waits_for_the_directory, Restored.CELLS),
        (_the_earliest_review_is_told, NOBODY),
    ],
)
async def test_a_rule_that_is_left_out_is_seen(
    left_out: Callable[[pytest.MonkeyPatch], None], restored: Restored, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out(monkeypatch)
    assert await seen(restored)

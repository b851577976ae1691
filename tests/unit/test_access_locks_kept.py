"""What is kept of a cell that lost it, in that cell: over its restarts, beside a directory that lost it as well or is away, until a step
lifts it or an operator forgets the cell; and each of several overdue reviews."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from cells.breakglass.book import Book
from cells.breakglass.core import take
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks import core
from cells.breakglass.locks.assembly import locks_of
from cells.breakglass.locks.core import Barred, newer, person_of, standing, telling
from cells.breakglass.locks.remembering import FILE
from cells.breakglass.steps import Approved, Locked, OnCall, Requested, Reviewed, Taken
from cells.breakglass.words import DAY_US, SECOND_US, EngineerId, GrantId, Verdict, engineer_of
from directory.locks.core import LOCKS_MAX, NUMBER_MAX, CellLocks, LockCode, LockHistory, LockStands, TellRequest
from foundation.clock import ManualClock
from foundation.http import BODY_BYTES_MAX
from foundation.ledger.draining import Writer
from foundation.tasks import ended
from foundation.words import CellId
from tests.stands.access import ALICE, AT, BOB, CELL, must, presence, terms
from tests.stands.access_cell import MemorySteps
from tests.stands.lock_cell import LockCell
from tests.stands.locks import ISSUER, MemoryLocks, stands
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
HOME, FAR = CellId(CELL), CellId("us-va")


def kept_in(source: MemoryLocks) -> list[str]:
    return [lock.person for lock in source.held[HOME].kept]


def digest(name: str) -> str:
    return person_of(ISSUER, engineer_of(name))


@pytest.fixture
def source() -> MemoryLocks:
    return MemoryLocks()


@pytest.fixture
def cell(source: MemoryLocks) -> LockCell:
    return LockCell(HOME, source)


# --- at home -----------------------------------------------------------------------------------------------------------------


async def test_what_a_cell_lost_stands_there_from_its_start_and_its_own_steps_lift_it_while_the_directory_is_away(
    cell: LockCell, source: MemoryLocks
) -> None:
    backup = cell.backup()
    await cell.locks("alice")
    assert await cell.goes_round()
    source.away = True
    await cell.restored(backup)
    assert await cell.locked_out("alice")
    await cell.locks("alice")
    await cell.unlocks("alice")
    assert not await cell.locked_out("alice")
    await cell.restored(backup)
    assert await cell.locked_out("alice"), "what lifted it was lost as well, and nobody else was told of it"
    source.away = False
    assert await cell.goes_round()
    assert kept_in(source) == [digest("alice")]


async def test_an_overdue_review_that_a_cell_lost_takes_the_next_emergency_there(cell: LockCell) -> None:
    backup = cell.backup()
    await cell.takes(ALICE, *emergency(GrantId("ab" * 16), int(cell.clock.unix_s() * SECOND_US)))
    cell.clock.advance(2 * 86_400)
    assert await cell.goes_round()
    await cell.restored(backup)
    assert (cell.heard.overdue(ALICE), cell.heard.overdue(BOB)) == (True, False)
    assert not await cell.locked_out("alice")


@pytest.mark.parametrize("told_before", [False, True], ids=["untold", "told"])
async def test_what_is_kept_outlives_a_late_telling_that_a_restored_directory_takes_again(
    cell: LockCell, source: MemoryLocks, told_before: bool
) -> None:
    await cell.locks("bob")
    assert await cell.goes_round()
    book, at_us = await cell.keeper.book()
    backup, copied = cell.backup(), source.copied()
    late = telling(book, at_us, ISSUER, number=copied[HOME].number, steps=copied[HOME].steps, held=())
    await cell.locks("alice")
    assert await cell.goes_round()
    await cell.restored(backup)
    if told_before:
        assert await cell.goes_round(), "and is satisfied with what it told: that is what the directory loses"
    source.held, source.now_us = copied, source.now_us + 1_000
    await source.tell(HOME, late)
    assert await cell.goes_round()
    assert await cell.locked_out("alice", "bob")
    assert kept_in(source) == [digest("alice")]


async def test_what_an_operator_has_forgotten_a_cell_does_not_tell_again(cell: LockCell, source: MemoryLocks) -> None:
    backup = cell.backup()
    await cell.locks("alice")
    assert await cell.goes_round()
    await cell.restored(backup)
    assert await cell.goes_round()
    source.forget(HOME)
    await cell.locks("bob")
    assert not await cell.telling._round(), "it hears what became of its tellings before it tells on"
    assert await cell.goes_round()
    assert (kept_in(source), await cell.locked_out("alice")) == ([], False)


async def test_a_cell_that_lost_more_than_is_kept_tells_nothing_and_says_so(
    cell: LockCell, source: MemoryLocks, caplog: pytest.LogCaptureFixture
) -> None:
    many = tuple(msgspec.structs.replace(stands("alice"), person=f"{one:064x}") for one in range(LOCKS_MAX + 1))
    cell.file = (CellLocks(cell=HOME, number=5, locks=many, kept=many),)
    cell.begins()
    assert not await cell.goes_round()
    assert (source.tellings, "locks_overfull" in {record.message for record in caplog.records}) == (0, True)


async def test_what_was_heard_before_stands_before_any_worker_runs(folder: Path, source: MemoryLocks) -> None:
    kept = CellLocks(cell=HOME, number=5, locks=(stands("alice"),), kept=(stands("alice"),))
    heard = (kept, CellLocks(cell=FAR, number=7, locks=(stands("bob"),)))
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_bytes(msgspec.json.encode(heard))
    clock = ManualClock()
    keeper = Keeper(MemorySteps(), clock)
    locks = locks_of(keeper, cell=HOME, issuer=ISSUER, source=source, clock=clock, folder=folder, writer=Writer())
    for person in (ALICE, BOB):
        assert locks.elsewhere.barred(person, needs_fresh=False) is Barred.LOCKED


async def test_nothing_is_told_before_it_is_known_what_was_heard(
    folder: Path, source: MemoryLocks, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_bytes(b'[{"cell": ')
    clock, steps = ManualClock(), MemorySteps()
    keeper = Keeper(steps, clock)
    await keeper.act(BOB, lambda _book, _at_us: (Locked(person=ALICE, reason="x"),))
    locks = locks_of(keeper, cell=HOME, issuer=ISSUER, source=source, clock=clock, folder=folder, writer=Writer())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for worker in locks.workers.values()]
        await eventually(lambda: "locks_not_recalled" in {record.message for record in caplog.records})
        await eventually(lambda: locks.telling._untold_since_s is not None)
        assert source.held == {}
        (folder / FILE).unlink()
        await eventually(lambda: HOME in source.held)
        await ended(tasks)


async def test_however_much_is_kept_what_a_step_lifts_is_told(cell: LockCell) -> None:
    bob = LockStands(person=digest("bob"), code=LockCode.LOCKED, since_us=1, event="lock:0")
    many = tuple(msgspec.structs.replace(bob, person=f"{one:064x}") for one in range(LOCKS_MAX))
    await cell.locks("bob")
    await cell.unlocks("bob")
    book, at_us = await cell.keeper.book()
    known = CellLocks(cell=HOME, number=5, locks=many, kept=many)
    told = telling(book, at_us, ISSUER, number=5, steps=0, held=(bob, *many), known=known)
    assert (told.lifted, len(told.kept)) == ((bob,), LOCKS_MAX)


def test_the_longest_telling_fits_the_bound_on_bodies() -> None:
    review = LockStands(
        person="f" * 64, code=LockCode.REVIEW_OVERDUE, since_us=NUMBER_MAX, event=f"grant:{'f' * 32}:{10**9}"
    )
    most = TellRequest(
        after=NUMBER_MAX,
        locking=NUMBER_MAX,
        locks=(review,) * LOCKS_MAX,
        history=LockHistory(steps=NUMBER_MAX, digest="f" * 64),
        before="f" * 64,
        lifted=(review,) * core.LIFTED_MIN,
        kept=(review,) * LOCKS_MAX,
    )
    assert len(msgspec.json.encode(most)) <= BODY_BYTES_MAX


# --- in other cells ----------------------------------------------------------------------------------------------------------


def test_what_a_directory_of_an_older_version_leaves_out_under_the_same_number_is_not_lifted() -> None:
    told, alone = stands("bob"), CellLocks(cell=FAR, number=9, locks=(stands("bob"),))
    known = CellLocks(cell=FAR, number=9, locks=(told, stands("alice")), kept=(stands("alice"),))
    assert newer({FAR: known}, [alone]) == ({FAR: known}, True)
    assert newer({FAR: alone}, [known]) == ({FAR: known}, True)
    lifted = msgspec.structs.replace(alone, number=10)
    assert newer({FAR: known}, [lifted]) == ({FAR: lifted}, True)


def test_what_such_a_directory_says_under_the_same_number_takes_nothing_from_what_is_known_of_the_history() -> None:
    locks = (stands("bob"), stands("alice"))
    known = CellLocks(cell=FAR, number=9, locks=locks, kept=locks[1:], steps=3, digest="d" * 64)
    bare = CellLocks(cell=FAR, number=9, locks=locks)
    assert newer({FAR: known}, [bare]) == ({FAR: known}, True)
    assert newer({FAR: bare}, [known]) == ({FAR: known}, True)


# --- several overdue reviews -------------------------------------------------------------------------------------------------


def emergency(grant: GrantId, at_us: int) -> tuple[Requested, Approved]:
    on_call = OnCall(digest="0" * 64, until_us=at_us + DAY_US)
    return (
        Requested(grant=grant, terms=terms(), presence=presence(), needed=1, on_call=on_call),
        Approved(grant=grant, version=1, presence=presence()),
    )


def overdue(book: Book, person: EngineerId, *grants: GrantId) -> None:
    """One emergency after the other, a second apart."""
    for grant in grants:
        at_us = max(book.at_us + SECOND_US, AT)
        for step in emergency(grant, at_us):
            must(book, person, step, at_us)


def told_of(book: Book, person: EngineerId) -> list[str]:
    found: tuple[LockStands, ...] = standing(book, book.at_us + 2 * DAY_US, ISSUER)
    late = [one for one in found if one.code is LockCode.REVIEW_OVERDUE and one.person == person_of(ISSUER, person)]
    return [one.event for one in late]


ONE, TWO, THREE = (GrantId(f"{one}" * 32) for one in "123")


def test_each_overdue_review_of_one_person_is_told_until_it_is_given() -> None:
    book = Book()
    overdue(book, ALICE, TWO, ONE)
    overdue(book, BOB, THREE)
    assert (told_of(book, ALICE), told_of(book, BOB)) == ([f"grant:{TWO}:1", f"grant:{ONE}:1"], [f"grant:{THREE}:1"])
    must(book, BOB, Reviewed(grant=TWO, verdict=Verdict.JUSTIFIED, note="seen"), book.at_us)
    assert told_of(book, ALICE) == [f"grant:{ONE}:1"]


def test_however_many_reviews_are_overdue_each_persons_earliest_and_each_lock_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "OVERDUE_MAX", 2)
    book = Book()
    overdue(book, ALICE, ONE, TWO)
    overdue(book, BOB, THREE)
    assert take(book, Taken(book.at_us, BOB, Locked(person=engineer_of("carol"), reason="x"))) is None
    assert (told_of(book, ALICE), told_of(book, BOB)) == ([f"grant:{ONE}:1"], [f"grant:{THREE}:1"])
    assert digest("carol") in {lock.person for lock in standing(book, book.at_us, ISSUER)}

"""Cells and directories that were restored: histories that go on or do not, what is kept of those that were lost and what lifts it; and
what a cell that starts anew recalls of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.breakglass.book import Book
from cells.breakglass.chaining import BEGINNING, linked
from cells.breakglass.core import take
from cells.breakglass.locks.core import Barred, lifted, person_of, telling
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.following import Following
from cells.breakglass.locks.remembering import FILE, Remembering
from cells.breakglass.steps import AnyStep, Approved, Locked, OnCall, Requested, Reviewed, Taken, Unlocked
from cells.breakglass.words import DAY_US, SECOND_US, GrantId, engineer_of
from cells.breakglass.words import Verdict as Found
from directory.locks.core import (
    LOCKS_MAX,
    Held,
    LockCode,
    LockHistory,
    LockStands,
    TellRequest,
    Verdict,
    held_after,
    judge,
    whole,
)
from foundation.clock import ManualClock
from foundation.ledger.draining import Writer
from foundation.ledger.log import Log
from foundation.tasks import ended
from foundation.words import CellId
from tests.stands.access import ALICE, AT, BOB, CELL, GRANT, must, presence, terms
from tests.stands.ledger import SIGNER, unsynced
from tests.stands.locks import ISSUER, MemoryLocks, stands
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
HOME, FAR = CellId(CELL), CellId("us-va")
SAM = engineer_of("sam")
NOTHING = Held()


def digest(name: str) -> str:
    return person_of(ISSUER, engineer_of(name))


def booked(*steps: AnyStep, at_us: int = AT) -> Book:
    """Of a cell in which these were taken, a second apart."""
    book = Book()
    for number, step in enumerate(steps):
        assert take(book, Taken(at_us + number * SECOND_US, SAM, step)) is None
    return book


def locked(*names: str) -> list[AnyStep]:
    return [Locked(person=engineer_of(name), reason="x") for name in names]


def held_of(book: Book, held: Held = NOTHING) -> Held:
    """What the directory holds once the cell has told of it."""
    told = telling_of(book, held)
    return held_after(held, told, judge(held, told), held.number + 1)


def telling_of(book: Book, held: Held) -> TellRequest:
    known = (*held.told, *held.kept)
    return telling(book, book.at_us, ISSUER, number=held.number, steps=held.steps, held=known)


def names_of(locks: Iterable[LockStands]) -> set[str]:
    return {lock.person for lock in locks}


def test_a_history_that_goes_on_is_taken_however_many_steps_it_made_since() -> None:
    book = booked(*locked("alice", "bob"))
    held = held_of(book)
    assert judge(held, telling_of(book, held)).verdict is Verdict.TAKEN
    for step in (Unlocked(person=ALICE, reason="x"), *locked("carol", "dora")):
        assert take(book, Taken(book.at_us + 1, SAM, step)) is None
    found = judge(held, telling_of(book, held))
    assert (found.verdict, found.kept) == (Verdict.TAKEN, ())


@pytest.mark.parametrize("instead", [("carol",), ("carol", "dora"), ("alice", "dora"), ("carol", "dora", "erin")])
def test_a_history_that_is_shorter_as_long_or_longer_and_another_lifts_nothing(instead: tuple[str, ...]) -> None:
    held = held_of(booked(*locked("alice", "bob")))
    restored = booked(*locked(*instead), at_us=AT + DAY_US)
    found = judge(held, telling_of(restored, held))
    assert (found.verdict, found.kept) == (Verdict.PARTED, tuple(sorted(held.told, key=whole)))
    now = held_of(restored, held)
    again = judge(now, telling_of(restored, now))
    assert (again.verdict, again.kept) == (Verdict.TAKEN, found.kept), "until it is lifted"


def test_a_step_that_was_made_since_lifts_what_is_kept_and_none_from_before_does() -> None:
    before = (*locked("alice", "bob"), Unlocked(person=BOB, reason="x"))
    held = held_of(booked(*before, *locked("bob")))
    restored = booked(*before)
    restored_since = booked(*before, *locked("carol"))
    assert judge(held, telling_of(restored, held)).kept == tuple(
        one for one in held.told if one.person != digest("alice")
    )
    assert names_of(judge(held, telling_of(restored_since, held)).kept) == {digest("bob")}
    for step in (*locked("bob"), Unlocked(person=BOB, reason="x")):
        assert take(restored_since, Taken(AT + DAY_US, SAM, step)) is None
    found = judge(held, telling_of(restored_since, held))
    assert (found.verdict, found.kept) == (Verdict.PARTED, ())


def test_a_review_that_was_made_since_lifts_what_is_kept_of_its_emergency() -> None:
    overdue = msgspec.structs.replace(stands("alice", LockCode.REVIEW_OVERDUE), event=f"grant:{GRANT}:1")
    book = Book()
    on_call = OnCall(digest="0" * 64, until_us=AT + DAY_US)
    must(book, ALICE, Requested(grant=GRANT, terms=terms(), presence=presence(), needed=1, on_call=on_call))
    must(book, ALICE, Approved(grant=GRANT, version=1, presence=presence()))
    assert lifted(book, [overdue], ISSUER) == ()
    must(book, BOB, Reviewed(grant=GRANT, verdict=Found.JUSTIFIED, note="seen"))
    assert lifted(book, [overdue], ISSUER) == (overdue,)


def test_what_was_told_before_there_were_digests_is_judged_by_numbers_once() -> None:
    old = Held(7, 3, None, (stands("alice"),))
    few, enough = booked(*locked("bob", "carol")), booked(*locked("bob", "carol", "dora"))
    assert judge(old, telling_of(few, old)).verdict is Verdict.PARTED
    assert judge(old, telling_of(enough, old)).verdict is Verdict.TAKEN
    held = held_of(enough, old)
    assert held.history == LockHistory(steps=3, digest=enough.head)
    assert judge(held, TellRequest(after=held.number, locking=3, locks=())).verdict is Verdict.TAKEN, "of an older cell"


def test_more_than_may_be_kept_is_not_taken() -> None:
    many = tuple(msgspec.structs.replace(stands("alice"), person=f"{one:064x}") for one in range(LOCKS_MAX))
    other = LockHistory(steps=1, digest="0" * 64)
    held = Held(7, 1, other, (stands("bob"),), many)
    restored = booked(*locked("carol"))
    assert judge(held, telling_of(restored, held)).verdict is Verdict.OVERFULL
    assert judge(held._replace(told=()), telling_of(restored, held)).verdict is Verdict.PARTED


def test_the_chain_holds_the_steps_by_which_locks_stand_and_fall_and_no_others() -> None:
    book = Book()
    must(book, ALICE, Requested(grant=GRANT, terms=terms(), presence=presence(), needed=1))
    must(book, BOB, Approved(grant=GRANT, version=1, presence=presence()))
    assert (book.head, book.begins(0), book.begins(1)) == (BEGINNING, BEGINNING, None)
    other = GrantId("cd" * 16)
    on_call = OnCall(digest="0" * 64, until_us=AT + DAY_US)
    must(book, ALICE, Requested(grant=other, terms=terms(), presence=presence(), needed=1, on_call=on_call))
    must(book, ALICE, Approved(grant=other, version=1, presence=presence()))
    must(book, BOB, Reviewed(grant=other, verdict=Found.JUSTIFIED, note="seen"))
    for step in (Locked(person=ALICE, reason="x"), Unlocked(person=ALICE, reason="x")):
        assert take(book, Taken(AT, SAM, step)) is None
    assert len(set(book.chain)) == 4
    assert [book.begins(steps) for steps in (1, 2, 3, 4)] == book.chain


def test_a_link_is_spelled_as_it_was_by_the_version_before() -> None:
    """Another spelling would look like another history to every directory."""
    step = Locked(person=ALICE, reason="its words are no part of it")
    assert (
        linked(BEGINNING, Taken(AT, SAM, step), ALICE)
        == "3e827d8928cd952b6801a9c7499691ebfdb16a56b627fffa9fde343f602e1f58"
    )


@asynccontextmanager
async def working(*workers: Callable[[], Any]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for worker in workers]
        yield
        await ended(tasks)


@asynccontextmanager
async def hearing(folder: Path, source: MemoryLocks, writer: Writer) -> AsyncIterator[Elsewhere]:
    """A process that hears and remembers, on a clock that stands."""
    clock = ManualClock()
    elsewhere = Elsewhere(cell=HOME, issuer=ISSUER, clock=clock, book=Book)
    remembering = Remembering(folder, writer, elsewhere)
    following = Following(source, elsewhere, clock, remembering.recalled)
    async with working(remembering.run, following.run):
        yield elsewhere


def noted(folder: Path) -> str:
    return (folder / FILE).read_text() if (folder / FILE).exists() else ""


async def test_what_was_heard_stands_over_a_restart_beside_a_directory_that_lost_it_until_the_cell_is_forgotten(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unsynced(monkeypatch)
    source, writer = MemoryLocks(), Writer()
    with Log(folder, SIGNER) as writer.log:
        async with hearing(folder, source, writer) as elsewhere:
            source.put(FAR, Held(number=500), stands("alice"))
            await eventually(lambda: digest("alice") in noted(folder))
            assert elsewhere.barred(ALICE, needs_fresh=True) is Barred.LOCKED
        source.held.clear()
        async with hearing(folder, source, writer) as again:
            await eventually(lambda: "locks_went_back" in {record.message for record in caplog.records})
            assert again.barred(ALICE, needs_fresh=False) is Barred.LOCKED
            assert again.barred(BOB, needs_fresh=True) is Barred.STALE
            source.forget(FAR)
            await eventually(lambda: again.fresh)
            assert again.barred(ALICE, needs_fresh=True) is None
            await eventually(lambda: digest("alice") not in noted(folder))


@pytest.mark.parametrize("damaged", [b'[{"cell": ', b'[{"cell": "\xff", "number": 1, "locks": []}]'])
async def test_a_file_that_cannot_be_read_lets_nothing_be_heard_until_it_is_gone(
    folder: Path, caplog: pytest.LogCaptureFixture, damaged: bytes
) -> None:
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_bytes(damaged)
    async with hearing(folder, MemoryLocks(), Writer()) as elsewhere:
        await eventually(lambda: "locks_not_recalled" in {record.message for record in caplog.records})
        assert not elsewhere.fresh
        (folder / FILE).unlink()
        await eventually(lambda: elsewhere.fresh)


async def test_whoever_has_not_opened_the_log_writes_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)
    source, writer = MemoryLocks(), Writer()
    async with hearing(folder, source, writer) as elsewhere:
        source.put(FAR, Held(number=500), stands("alice"))
        await eventually(lambda: elsewhere.fresh and elsewhere.changed.is_set())
        assert noted(folder) == ""
        with Log(folder, SIGNER) as writer.log:
            await eventually(lambda: digest("alice") in noted(folder))

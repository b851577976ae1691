"""Locks between cells: what is told, what is believed, whom it stops, and what goes on while nothing is heard."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cells.breakglass.book import Book
from cells.breakglass.core import take
from cells.breakglass.door.ports import Ending, NotRun, Session, Statement
from cells.breakglass.locks import following, telling
from cells.breakglass.locks.core import STALE_S_MAX, Barred, newer, person_of, standing
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.locks.following import Following
from cells.breakglass.statements import watching
from cells.breakglass.steps import Approved, Locked, OnCall, Requested, Reviewed, Taken, Unlocked
from cells.breakglass.words import DAY_US, Verdict, engineer_of
from directory.locks.core import (
    CellLocks,
    Held,
    LockCode,
    LockHistory,
    LockPage,
    LockStands,
    TellRequest,
    changes,
    judge,
    number_after,
    state_of,
)
from directory.locks.core import Verdict as Telling
from foundation.clock import ManualClock
from foundation.tasks import ended
from foundation.words import CellId
from tests.stands.access import ALICE, AT, BOB, CELL, GRANT, SUBJECT, must, presence
from tests.stands.access import terms as asked_terms
from tests.stands.access_cell import AccessStand, access_stand, reason, terms
from tests.stands.locks import ISSUER, MemoryLocks, nothing_to_recall, stands
from tests.stands.sessions import on_record
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
HOME, FAR, THIRD = CellId(CELL), CellId("us-va"), CellId("jp-to")
OVERDUE = LockCode.REVIEW_OVERDUE


@pytest.fixture
async def stand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AccessStand]:
    async with access_stand(folder, monkeypatch) as built:
        yield built


@asynccontextmanager
async def working(*workers: Callable[[], Any]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for worker in workers]
        yield
        await ended(tasks)


# --- what is told, and taken -------------------------------------------------------------------------------------------------


def test_what_is_told_of_a_lock_names_the_entry_and_nobody() -> None:
    book = Book()
    must(book, BOB, Requested(grant=GRANT, terms=asked_terms(), presence=presence(), needed=1))
    for step in (Locked(person=BOB, reason="x"), Unlocked(person=BOB, reason="x"), Locked(person=ALICE, reason="lost")):
        assert take(book, Taken(AT, "engineer:sam", step)) is None  # type: ignore[arg-type]
    (told,) = standing(book, AT, ISSUER)
    assert (told.person, told.event, told.since_us) == (person_of(ISSUER, ALICE), "lock:2", AT)
    assert "alice" not in str(told)
    assert person_of("https://other.example.com", ALICE) != told.person


def test_an_overdue_review_is_told_by_the_entry_of_its_emergency_until_it_is_given() -> None:
    book = Book()
    on_call = OnCall(digest="0" * 64, until_us=AT + DAY_US)
    must(book, ALICE, Requested(grant=GRANT, terms=asked_terms(), presence=presence(), needed=1, on_call=on_call))
    must(book, ALICE, Approved(grant=GRANT, version=1, presence=presence()))
    assert standing(book, AT + DAY_US - 1, ISSUER) == ()
    (told,) = standing(book, AT + DAY_US, ISSUER)
    assert (told.code, told.event, told.since_us) == (OVERDUE, f"grant:{GRANT}:1", AT + DAY_US)
    must(book, BOB, Reviewed(grant=GRANT, verdict=Verdict.JUSTIFIED, note="seen"), AT + DAY_US)
    assert standing(book, AT + DAY_US, ISSUER) == ()


def test_a_telling_that_comes_twice_late_or_out_of_order_is_not_taken() -> None:
    held = Held(number=7, locking=3)
    asked = {after: TellRequest(after=after, locking=3, locks=()) for after in (0, 6, 7, 8)}
    found = {after: judge(held, one).verdict for after, one in asked.items()}
    assert found == {0: Telling.OTHERWISE, 6: Telling.OTHERWISE, 7: Telling.TAKEN, 8: Telling.OTHERWISE}


def test_numbers_grow_over_a_restoration() -> None:
    assert (number_after(Held(7), 100), number_after(Held(100), 100), number_after(Held(200), 100)) == (100, 101, 201)


def test_a_lock_that_was_lifted_and_made_again_is_both() -> None:
    old, new = stands("alice", number=1), stands("alice", number=3)
    found = changes([old, stands("bob")], [new, stands("bob")])
    assert (found.stands, found.lifted) == ((new,), (old,))


# --- what is believed --------------------------------------------------------------------------------------------------------


def cell(name: CellId, number: int, *locks: Any) -> CellLocks:
    return CellLocks(cell=name, number=number, locks=locks)


def page(*cells: CellLocks) -> LockPage:
    return LockPage(state=state_of({one.cell: one.number for one in cells}), cells=cells)


def test_what_is_older_than_what_was_heard_or_leaves_it_out_is_not_believed() -> None:
    locked = cell(FAR, 9, stands("alice"))
    for told in ([cell(FAR, 8)], [], [cell(THIRD, 1)]):
        found = newer({FAR: locked}, told)
        assert (found.cells[FAR], found.whole) == (locked, False)
    assert newer({FAR: locked}, [cell(FAR, 9), cell(THIRD, 1)]).whole
    assert newer({FAR: locked}, [cell(FAR, 10)]) == ({FAR: cell(FAR, 10)}, True)


@pytest.fixture
def heard() -> tuple[Elsewhere, ManualClock]:
    clock = ManualClock()
    clock.advance(1_000)
    return Elsewhere(cell=HOME, issuer=ISSUER, clock=clock, book=Book), clock


def test_nobody_is_let_in_before_other_cells_were_heard_and_after_five_seconds_of_silence(
    heard: tuple[Elsewhere, ManualClock],
) -> None:
    elsewhere, clock = heard
    assert elsewhere.barred(ALICE, needs_fresh=True) is Barred.STALE
    assert elsewhere.hear(page(), clock.monotonic_s())
    assert elsewhere.barred(ALICE, needs_fresh=True) is None
    clock.advance(STALE_S_MAX)
    assert elsewhere.barred(ALICE, needs_fresh=True) is None
    clock.advance(0.1)
    assert elsewhere.barred(ALICE, needs_fresh=True) is Barred.STALE
    assert elsewhere.barred(ALICE, needs_fresh=False) is None
    assert elsewhere.hear(LockPage(state=elsewhere.state, cells=None), clock.monotonic_s() - 1)
    assert elsewhere.age_s() == 1


def test_a_lock_that_was_heard_holds_while_nothing_is_heard_and_an_answer_to_another_question_proves_nothing(
    heard: tuple[Elsewhere, ManualClock],
) -> None:
    elsewhere, clock = heard
    assert elsewhere.hear(page(cell(FAR, 9, stands("alice"), stands("bob", OVERDUE))), clock.monotonic_s())
    clock.advance(STALE_S_MAX + 1)
    assert not elsewhere.hear(LockPage(state="0" * 32, cells=None), clock.monotonic_s())
    assert elsewhere.barred(ALICE, needs_fresh=False) is Barred.LOCKED
    assert elsewhere.barred(BOB, needs_fresh=False) is None
    assert (elsewhere.overdue(BOB), elsewhere.overdue(ALICE)) == (True, False)


def test_a_directory_that_went_back_is_as_good_as_silent_until_the_cell_has_told_anew(
    heard: tuple[Elsewhere, ManualClock],
) -> None:
    elsewhere, clock = heard
    assert elsewhere.hear(page(cell(FAR, 9, stands("alice"))), clock.monotonic_s())
    clock.advance(STALE_S_MAX + 1)
    assert not elsewhere.hear(page(cell(FAR, 8)), clock.monotonic_s())
    assert (elsewhere.state, elsewhere.fresh) == ("", False)
    assert elsewhere.barred(ALICE, needs_fresh=False) is Barred.LOCKED
    assert elsewhere.hear(page(cell(FAR, 12)), clock.monotonic_s())
    assert elsewhere.barred(ALICE, needs_fresh=True) is None


def test_what_the_directory_holds_of_this_cell_stops_nobody_here(heard: tuple[Elsewhere, ManualClock]) -> None:
    elsewhere, clock = heard
    assert elsewhere.hear(page(cell(HOME, 9, stands("alice"))), clock.monotonic_s())
    assert elsewhere.barred(ALICE, needs_fresh=True) is None
    assert elsewhere.hear(page(cell(HOME, 8)), clock.monotonic_s())


def test_what_is_kept_of_a_history_that_this_cell_lost_stops_people_here(heard: tuple[Elsewhere, ManualClock]) -> None:
    elsewhere, clock = heard
    kept = (stands("alice"),)
    own = CellLocks(cell=HOME, number=9, locks=(*kept, stands("bob")), kept=kept)
    assert elsewhere.hear(page(own), clock.monotonic_s())
    assert elsewhere.barred(ALICE, needs_fresh=True) is Barred.LOCKED
    assert elsewhere.barred(BOB, needs_fresh=True) is None
    assert [*elsewhere.locks()] == [(HOME, kept[0])]
    for told, barred in ((cell(HOME, 10, stands("bob")), Barred.LOCKED), (cell(HOME, 11), None)):
        assert elsewhere.hear(page(told), clock.monotonic_s())
        assert elsewhere.barred(ALICE, needs_fresh=True) is barred, "by a step, or forgotten"


def test_what_is_recalled_stands_and_is_no_news(heard: tuple[Elsewhere, ManualClock]) -> None:
    elsewhere, clock = heard
    kept = stands("carol")
    own = CellLocks(cell=HOME, number=9, locks=(stands("bob"), kept), kept=(kept,))
    elsewhere.recall((cell(FAR, 9, stands("alice")), own))
    assert elsewhere.heard == (cell(FAR, 9, stands("alice")), own)
    assert elsewhere.barred(engineer_of("carol"), needs_fresh=False) is Barred.LOCKED
    assert elsewhere.barred(ALICE, needs_fresh=False) is Barred.LOCKED
    assert elsewhere.barred(BOB, needs_fresh=True) is Barred.STALE
    for told in (page(cell(FAR, 8)), page()):
        assert not elsewhere.hear(told, clock.monotonic_s())
        assert (elsewhere.barred(ALICE, needs_fresh=True), elsewhere.fresh) == (Barred.LOCKED, False)
    assert elsewhere.hear(page(cell(FAR, 9, stands("alice"))), clock.monotonic_s())
    assert elsewhere.hear(page(cell(FAR, 10)), clock.monotonic_s())
    assert elsewhere.barred(ALICE, needs_fresh=True) is None


# --- whom it stops -----------------------------------------------------------------------------------------------------------


async def emergency(stand: AccessStand) -> httpx.Response:
    body = {"terms": terms(minutes=5), "on_call": stand.proof("alice", exp=10**11)}
    return await stand.post("grants", stand.who("alice"), body)


async def test_a_person_who_is_locked_in_another_cell_is_refused_everything_here(stand: AccessStand) -> None:
    grant, open_ = await stand.approved(), await stand.asked()
    certificate = {"certificate": (await stand.certified(grant)).json()["certificate"]}
    alice, bob = stand.who("alice"), stand.who("bob", "approver")
    stand.heard.lock(FAR, stands("alice"))
    before = len(stand.steps.kept)
    for answer in (
        await stand.post("grants", alice, {"terms": terms()}),
        await emergency(stand),
        await stand.certified(grant),
        await stand.get("grants", alice),
        await stand.get(f"grants/{grant}", alice),
        await stand.post(f"grants/{grant}/close", alice, {"reason": "x"}),
        await stand.post("check", alice, certificate),
        await stand.post("check", bob, certificate),
        await stand.post(f"grants/{open_}/approve", bob, {"version": 1}),
    ):
        assert reason(answer) == (403, "locked_elsewhere")
    assert len(stand.steps.kept) == before
    assert (await stand.post(f"grants/{grant}/revoke", bob, {"reason": "x"})).status_code == 200
    stand.heard.lock(FAR, number=2)
    assert (await stand.post("grants", alice, {"terms": terms()})).status_code == 201


async def test_an_overdue_review_of_another_cell_takes_the_next_emergency_and_nothing_else(stand: AccessStand) -> None:
    stand.heard.lock(FAR, stands("alice", OVERDUE))
    assert reason(await emergency(stand)) == (403, "review_overdue")
    assert (await stand.certified(await stand.approved())).status_code == 201


async def test_while_other_cells_are_not_heard_nothing_is_granted(stand: AccessStand) -> None:
    grant, asked, open_ = await stand.approved(), await stand.asked(), await stand.asked()
    certificate = {"certificate": (await stand.certified(grant)).json()["certificate"]}
    alice, bob, sam = stand.who("alice"), stand.who("bob", "approver"), stand.who("sam", "security")
    stand.heard.stale_s = STALE_S_MAX + 0.1
    before = len(stand.steps.kept)
    for answer in (
        await stand.post("grants", alice, {"terms": terms()}),
        await stand.post(f"grants/{asked}/edit", alice, {"terms": terms(minutes=5)}),
        await stand.post(f"grants/{asked}/approve", bob, {"version": 1}),
        await stand.certified(grant),
        await stand.post("check", alice, certificate),
    ):
        assert reason(answer) == (503, "locks_stale"), answer.text
        assert answer.headers["retry-after"] == "1"
    assert len(stand.steps.kept) == before
    lock = {"person": "engineer:carl", "reason": "x"}
    for answer in (
        await stand.get("grants", alice),
        await stand.post(f"grants/{asked}/deny", bob, {"reason": "x"}),
        await stand.post(f"grants/{open_}/close", alice, {"reason": "x"}),
        await stand.post(f"grants/{grant}/revoke", bob, {"reason": "x"}),
        await stand.post("locks", sam, lock),
        await stand.post("locks/release", sam, lock),
    ):
        assert answer.status_code == 200, answer.text


async def test_an_emergency_goes_on_while_other_cells_are_not_heard(stand: AccessStand) -> None:
    stand.heard.stale_s = float("inf")
    begun = await emergency(stand)
    assert begun.status_code == 201, begun.text
    issued = await stand.certified(begun.json()["grant"]["id"])
    assert issued.status_code == 201, issued.text
    shown = await stand.post("check", stand.who("alice"), {"certificate": issued.json()["certificate"]})
    assert (shown.status_code, shown.json()["told"]["phase"]) == (200, "active")
    lock = {"person": "engineer:alice", "reason": "laptop stolen"}
    assert (await stand.post("locks", stand.who("sam", "security"), lock)).status_code == 200
    assert reason(await emergency(stand)) == (403, "locked")


async def test_the_list_names_whom_this_cell_knows_and_says_how_the_feed_stands(stand: AccessStand) -> None:
    await stand.asked()
    sam = stand.who("sam", "security")
    stand.heard.lock(FAR, stands("alice"), stands("nobody-here", OVERDUE, 4))
    told = (await stand.post("locks", sam, {"person": "engineer:carl", "reason": "left"})).json()
    assert [(one["person"], one["reason"]) for one in told["locks"]] == [("engineer:carl", "left")]
    seen = [(one["cell"], one["person"], one["code"], one["event"]) for one in told["elsewhere"]]
    assert seen == [(FAR, "engineer:alice", "locked", "lock:0"), (FAR, None, "review_overdue", "lock:4")]
    assert told["feed"] == {"age_s": 0.0, "fresh": True, "told": False, "kept": 0}
    async with working(stand.access.locks.telling.run):
        await eventually(lambda: HOME in stand.locks.held)
    assert (await stand.get("locks", sam)).json()["feed"]["told"] is True


# --- sessions ----------------------------------------------------------------------------------------------------------------


class Sitting:
    """Sessions at a door that does nothing but be told."""

    def __init__(self, stand: AccessStand) -> None:
        self.stand = stand
        self.ended: dict[str, Ending] = {}
        self._recorder = stand.access.recording.recorder

    async def opened(self, answer: httpx.Response, name: str) -> Session:
        """Under a grant that was approved."""
        grant = answer.json()["grant"]
        intent = (await self.stand.certified(grant["id"])).json()["told"]["grant"]["intents"][-1]
        session = Session(
            id=name,
            grant=grant["id"],
            engineer=grant["engineer"],
            certificate=intent["serial"],
            purpose="debugging",
            ticket="OPS-7",
            shard="s1",
            inside=True,
            subjects=(SUBJECT,),
            expires_at=intent["until_us"] / 1_000_000,
        )
        await self._recorder.opened(session, "1.1", lambda why: self.ended.update({name: why}))
        return session

    async def asked(self, session: Session) -> None:
        await on_record(self._recorder, Statement(session=session.id, number=1, text="SELECT 1", kind="simple"))


@pytest.fixture
async def sitting(stand: AccessStand, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sitting]:
    monkeypatch.setattr(watching, "SWEEP_S", 0.01)
    async with working(*stand.access.recording.workers.values()):
        yield Sitting(stand)


async def ordinary(stand: AccessStand) -> httpx.Response:
    grant = await stand.approved()
    return await stand.get(f"grants/{grant}", stand.who("alice"))


async def test_a_lock_of_another_cell_ends_every_session_and_runs_nothing_after(sitting: Sitting) -> None:
    one = await sitting.opened(await ordinary(sitting.stand), "0a" * 16)
    two = await sitting.opened(await emergency(sitting.stand), "0b" * 16)
    await sitting.asked(one)
    sitting.stand.heard.lock(FAR, stands("alice"))
    for session in (one, two):
        with pytest.raises(NotRun) as refused:
            await sitting.asked(session)
        assert refused.value.ending is Ending.LOCKED
    await eventually(lambda: sitting.ended == {one.id: Ending.LOCKED, two.id: Ending.LOCKED})


async def test_silence_ends_sessions_but_those_of_emergencies(sitting: Sitting) -> None:
    one = await sitting.opened(await ordinary(sitting.stand), "0a" * 16)
    two = await sitting.opened(await emergency(sitting.stand), "0b" * 16)
    sitting.stand.heard.stale_s = STALE_S_MAX + 0.1
    with pytest.raises(NotRun) as refused:
        await sitting.asked(one)
    assert refused.value.ending is Ending.STALE
    await eventually(lambda: sitting.ended == {one.id: Ending.STALE})
    await sitting.asked(two)
    assert two.id not in sitting.ended


async def test_no_session_begins_while_other_cells_are_not_heard(sitting: Sitting) -> None:
    granted = await ordinary(sitting.stand)
    heard = sitting.stand.heard
    session = await sitting.opened(granted, "0a" * 16)
    await sitting.stand.access.recording.recorder.closed(session.id, "left")
    heard.stale_s = STALE_S_MAX + 0.1
    with pytest.raises(NotRun) as refused:
        await sitting.stand.access.recording.recorder.opened(session, "1.1", lambda _: None)
    assert refused.value.ending is Ending.STALE


# --- telling and hearing -----------------------------------------------------------------------------------------------------


async def lock(stand: AccessStand, name: str, path: str = "locks") -> None:
    body = {"person": f"engineer:{name}", "reason": "x"}
    answer = await stand.post(path, stand.who("sam", "security"), body)
    assert answer.status_code == 200, answer.text


def names_of(locks: Iterable[LockStands]) -> set[str]:
    return {lock.person for lock in locks}


def people(source: MemoryLocks, of: CellId = HOME) -> set[str]:
    held = source.held.get(of, Held())
    return names_of((*held.told, *held.kept))


def digests(*names: str) -> set[str]:
    return {person_of(ISSUER, f"engineer:{name}") for name in names}


async def test_a_lock_and_its_lifting_are_told_and_what_could_not_be_is_told_later(stand: AccessStand) -> None:
    source = stand.locks
    await lock(stand, "carl")
    source.away = True
    async with working(stand.access.locks.telling.run):
        await lock(stand, "dora")
        source.away = False
        await eventually(lambda: people(source) == digests("carl", "dora"))
        await lock(stand, "carl", "locks/release")
        await eventually(lambda: people(source) == digests("dora"))
        await lock(stand, "dora", "locks/release")
        await eventually(lambda: people(source) == set())


async def test_what_stands_is_told_after_a_restart_and_only_when_it_changed(
    stand: AccessStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LOOK_S", 0.01)
    await lock(stand, "carl")
    source = stand.locks
    source.put(HOME, Held(number=500, locking=1))
    async with working(stand.access.locks.telling.run, stand.access.locks.following.run):
        await eventually(lambda: people(source) == digests("carl"))
        told = source.tellings
        rounds = len(stand.steps.kept)
        await lock(stand, "dora")
        await eventually(lambda: people(source) == digests("carl", "dora"))
    assert (source.tellings, len(stand.steps.kept)) == (told + 1, rounds + 1)


async def test_a_directory_that_lost_a_telling_is_told_anew_under_a_greater_number(
    stand: AccessStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LOOK_S", 0.01)
    source, heard = stand.locks, stand.heard
    async with working(stand.access.locks.telling.run, stand.access.locks.following.run):
        await eventually(lambda: HOME in source.held)
        backup = source.copied()
        await lock(stand, "carl")
        await eventually(lambda: people(source) == digests("carl"))
        before = source.held[HOME].number
        await eventually(lambda: heard.own[0] is not None and heard.own[0].number == before)
        source.now_us += 1_000
        source.held = backup
        stand.clock.advance(1)  # what was asked for from now on is later than the telling
        await eventually(lambda: people(source) == digests("carl"))
        assert source.held[HOME].number > before


async def test_a_cell_that_was_restored_and_made_as_many_steps_again_lifts_nothing_and_says_so(
    stand: AccessStand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "LOOK_S", 0.01)
    monkeypatch.setattr(following, "WAIT_MS", 50)
    source, sam = stand.locks, stand.who("sam", "security")
    lost = Held(number=500, locking=2, history=LockHistory(steps=2, digest="0" * 64))
    source.put(HOME, lost, stands("carl"), stands("alice"))
    for name in ("dora", "erin"):
        await lock(stand, name)
    async with working(stand.access.locks.telling.run, stand.access.locks.following.run):
        await eventually(lambda: "locks_parted" in {record.message for record in caplog.records})
        assert people(source) == digests("alice", "carl", "dora", "erin")
        await eventually(lambda: len(stand.heard.kept()) == 2)
        assert reason(await stand.post("grants", stand.who("alice"), {"terms": terms()})) == (403, "locked_elsewhere")
        told = (await stand.get("locks", sam)).json()
        assert (told["feed"]["told"], told["feed"]["kept"]) == (True, 2)
        assert {(one["cell"], one["event"]) for one in told["elsewhere"]} == {(HOME, "lock:0")}
        await lock(stand, "alice")
        await lock(stand, "alice", "locks/release")
        stand.clock.advance(1)  # what was heard is later than what was told
        await eventually(lambda: people(source) == digests("carl", "dora", "erin"))
        await eventually(lambda: len(stand.heard.kept()) == 1)
        assert (await stand.post("grants", stand.who("alice"), {"terms": terms()})).status_code == 201
        source.forget(HOME)
        stand.clock.advance(1)
        await eventually(lambda: people(source) == digests("dora", "erin"))


async def test_what_cells_tell_is_heard_and_an_outage_ages_it() -> None:
    source, clock = MemoryLocks(), ManualClock()
    elsewhere = Elsewhere(cell=HOME, issuer=ISSUER, clock=clock, book=Book)
    async with working(Following(source, elsewhere, clock, nothing_to_recall()).run):
        await eventually(lambda: elsewhere.fresh)
        source.put(FAR, Held(number=1), stands("alice"))
        await eventually(lambda: elsewhere.barred(ALICE, needs_fresh=True) is Barred.LOCKED)
        source.away = True
        source.put(FAR, Held(number=2))
        clock.advance(STALE_S_MAX + 1)
        assert elsewhere.barred(BOB, needs_fresh=True) is Barred.STALE
        assert elsewhere.barred(ALICE, needs_fresh=True) is Barred.LOCKED
        source.away = False
        await eventually(lambda: elsewhere.barred(ALICE, needs_fresh=True) is None)

"""What a session may still do while the book cannot be read just now; what its grant has put on the record when its process was killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from cells.breakglass.door.ports import Column, Ending, NotRun, Outcome, Session, Statement
from cells.breakglass.door.settings import RECORDED_BYTES_MAX
from cells.breakglass.statements import entries, watching
from cells.breakglass.statements.reading import DoorLog, Finding
from cells.breakglass.statements.recorder import LEFT, Recorder
from cells.breakglass.statements.spending import Spending
from cells.breakglass.store import Turn
from cells.shards.shard import unreachable
from foundation.ledger.beside import payload
from foundation.ledger.port import Kind, Spelled
from foundation.words import ShardId
from tests.stands.access import SUBJECT
from tests.stands.access_cell import OTHER, AccessStand, access_stand
from tests.stands.ledger import SIGNER, reader
from tests.stands.sessions import certified_session
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
REVOKE = {"reason": "found it"}
EMAIL = Column(name="email", source="wall.orders.email", masked=True)


@pytest.fixture
async def stand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AccessStand]:
    async with access_stand(folder, monkeypatch) as built:
        yield built


def lose_answers(stand: AccessStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written from now on is written, and nobody hears of it."""
    turn = stand.steps.turn

    @asynccontextmanager
    async def lost() -> AsyncIterator[Turn]:
        async with turn() as held:
            yield held
        raise unreachable(ShardId("s1"))

    monkeypatch.setattr(stand.steps, "turn", lost)


async def test_a_revocation_whose_answer_was_lost_lets_nothing_more_run(
    stand: AccessStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No look at the book comes in between: the watch's worker does not run."""
    session, ended, watch = await certified_session(stand, "5e" * 16), list[Ending](), stand.access.recording.watch
    await watch.begin(session, ended.append)
    assert watch.why(session.id) is None
    lose_answers(stand, monkeypatch)
    revoked = await stand.post(f"grants/{session.grant}/revoke", stand.who("bob", "approver"), REVOKE)
    assert revoked.status_code == 503
    assert watch.why(session.id) is Ending.ENDED


async def test_a_book_that_cannot_be_read_just_now_leaves_sessions_what_was_known_of_them(
    stand: AccessStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, watch = await certified_session(stand, "5e" * 16), stand.access.recording.watch
    await watch.begin(session, lambda _: None)
    lose_answers(stand, monkeypatch)
    assert (await stand.get("grants", stand.who("bob", "approver"))).status_code == 503
    assert watch.why(session.id) is None
    with pytest.raises(NotRun) as refused:
        await watch.begin(msgspec.structs.replace(session, id="0f" * 16), lambda _: None)
    assert refused.value.ending is Ending.STALE


async def test_what_was_seen_of_a_grant_holds_up_to_its_time_and_while_the_book_has_the_same(
    stand: AccessStand,
) -> None:
    session = await certified_session(stand, "5e" * 16)
    keeper = stand.access.recording.watch._keeper
    book, at_us = await keeper.book()
    watched = watching._Watched(msgspec.structs.replace(session, expires_at=session.expires_at + 3_600), print, 0, 0)
    found = book.intended(session.certificate)
    assert found is not None
    until_us = found[1].until_us
    told = [watching.judged(watched, book, at) for at in (at_us, at_us, until_us - 1, until_us, until_us - 1, until_us)]
    assert told == [None, None, None, Ending.EXPIRED, None, Ending.EXPIRED]
    await stand.post(f"grants/{session.grant}/revoke", stand.who("bob", "approver"), REVOKE)
    assert watching.judged(watched, (await keeper.book())[0], at_us) is Ending.ENDED


# --- on the record ---------------------------------------------------------------------------------------------------------------


def written(stand: AccessStand) -> int:
    """Bytes that the door's entries and notices take up in the ledger."""
    log = stand.writer.log
    assert log is not None
    log.publish()
    folder, kinds = stand.folder / "log", {kind.value for kind in (*entries.KINDS, Kind.NOTICE)}
    found = (payload(folder, one) for one in reader(folder).newest() if one.entry.kind in kinds)
    return sum(len(held.details) for held in found if held is not None)


async def left_open(stand: AccessStand, session: Session, *, told: bool) -> None:
    """By a process that was killed; `told`: after it had begun to tell of the end."""
    at, text = stand.clock.unix_s(), Statement(session=session.id, number=1, text="SELECT 1", kind="simple")
    result = entries.result_of(
        Outcome(session=session.id, number=1, tag="SELECT 3", rows=3, bytes=70, columns=(EMAIL,))
    )
    events = [
        entries.opened(session, "1.1", at),
        entries.intended(session, text, at),
        entries.ended(session, 1, (result,), at),
    ]
    for event in (*events, *(entries.notices(session, 1, (EMAIL,), at) if told else ())):
        await stand.access.recording.committer.commit(event)


@pytest.mark.parametrize("told", [False, True])
async def test_what_a_process_writes_of_sessions_that_another_left_counts_for_their_grant(
    stand: AccessStand, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    session = msgspec.structs.replace(await certified_session(stand, "1e" * 16), subjects=(SUBJECT, OTHER))
    spending, finding = (
        Spending(RECORDED_BYTES_MAX),
        Finding(stand.writer, DoorLog(stand.folder / "log", SIGNER.verifier)),
    )
    recording, closed = stand.access.recording, list[Spelled]()
    commit = recording.committer.commit

    async def noticing(event: Spelled) -> int:
        index = await commit(event)
        closed.extend([event] if event.id == f"session:{session.id}:closed" else [])
        return index

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(recording.committer.run())]
        await left_open(stand, session, told=told)
        written(stand)
        monkeypatch.setattr(recording.committer, "commit", noticing)
        after = Recorder(recording.committer, recording.watch, stand.clock, finding, spending)
        tasks.append(group.create_task(after.run()))
        await eventually(lambda: session.id not in after._held and closed)
        assert msgspec.json.decode(closed[0].details)["why"] == LEFT
        await after.opened(msgspec.structs.replace(session, id="0f" * 16), "1.1", lambda _: None)
        for task in tasks:
            task.cancel()
    took = written(stand)
    assert spending.fits(session.grant, RECORDED_BYTES_MAX - 2 * took)
    assert not spending.fits(session.grant, RECORDED_BYTES_MAX - took + 1)

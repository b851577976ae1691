"""Sessions at the door end with what lets them, and nothing runs that was asked for at that moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from cells.breakglass.door.ports import Ending, NotRun
from cells.breakglass.statements import watching
from cells.breakglass.statements.entries import Ended, Intended, Opened
from foundation.ledger.committing import NotCommitted, Then, Waiting
from foundation.ledger.port import Spelled
from tests.stands.recorded_door import Door, recorded_door, statement
from tests.stands.sessions import on_record
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
REVOKE = {"reason": "found it"}


@pytest.fixture
async def door(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    async with recorded_door(folder, monkeypatch) as built:
        yield built


async def test_a_revoked_grant_ends_its_sessions_and_what_is_asked_at_that_moment_does_not_run(door: Door) -> None:
    session = await door.opened()
    revoked = await door.stand.post(f"grants/{session.grant}/revoke", door.stand.who("bob", "approver"), REVOKE)
    assert revoked.status_code == 200
    with pytest.raises(NotRun) as refused:
        await on_record(door.recorder, statement(session))
    assert refused.value.ending is Ending.ENDED
    await eventually(lambda: door.ended == [Ending.ENDED])
    assert [type(one) for one in door.said()] == [Opened]


async def test_what_is_revoked_while_its_statement_is_written_does_not_run_and_the_ledger_says_so(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await door.opened()
    begin = door.committer.begin

    async def revoke(then: Then, told: int | NotCommitted) -> None:
        await door.stand.post(f"grants/{session.grant}/revoke", door.stand.who("bob", "approver"), REVOKE)
        then(told)

    async with asyncio.TaskGroup() as group:

        def revoked_meanwhile(event: Spelled, then: Then, *, again: bool = False) -> Waiting:
            def first(told: int | NotCommitted) -> None:
                group.create_task(revoke(then, told))

            return begin(event, first if event.id.startswith("statement:") else then, again=again)

        monkeypatch.setattr(door.committer, "begin", revoked_meanwhile)
        with pytest.raises(NotRun) as refused:
            await on_record(door.recorder, statement(session))
    assert refused.value.ending is Ending.ENDED
    await eventually(lambda: [type(one) for one in door.said()] == [Opened, Intended, Ended])
    assert [one.withheld for one in door.said()[-1].results] == ["ended"]


async def test_a_closed_ticket_ends_the_session(door: Door) -> None:
    session = await door.opened()
    door.stand.ticket("OPS-7", "closed")
    await eventually(lambda: door.ended == [Ending.TICKET])
    with pytest.raises(NotRun) as refused:
        await door.recorder.opened(msgspec.structs.replace(session, id="0f" * 16), "1.1", door.ended.append)
    assert refused.value.ending is Ending.TICKET


async def test_a_locked_person_loses_the_session(door: Door) -> None:
    session = await door.opened()
    lock = {"person": session.engineer, "reason": "laptop stolen"}
    assert (await door.stand.post("locks", door.stand.who("sue", "security"), lock)).status_code == 200
    await eventually(lambda: door.ended == [Ending.LOCKED])


async def test_a_session_ends_when_its_time_is_over_though_nobody_answers(door: Door) -> None:
    session = await door.opened()
    door.stand.clock.advance(session.expires_at - door.stand.clock.unix_s())
    with pytest.raises(NotRun) as refused:
        await on_record(door.recorder, statement(session))
    assert refused.value.ending is Ending.EXPIRED
    await eventually(lambda: door.ended == [Ending.EXPIRED])


async def test_what_was_heard_too_long_ago_lets_nothing_run(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await door.opened()
    door.stand.tickets.write_text("no JSON")
    door.stand.clock.advance(watching.STALE_S_MAX + 1)
    with pytest.raises(NotRun) as refused:
        await on_record(door.recorder, statement(session))
    assert refused.value.ending is Ending.STALE
    await eventually(lambda: door.ended == [Ending.STALE])


async def test_a_certificate_of_another_grant_or_none_opens_no_session(door: Door) -> None:
    session = await door.session()
    for changes in ({"certificate": "ff" * 16}, {"grant": "0" * 32}):
        with pytest.raises(NotRun) as refused:
            await door.recorder.opened(msgspec.structs.replace(session, **changes), "1.1", door.ended.append)
        assert refused.value.ending is Ending.ENDED
    assert door.said() == []

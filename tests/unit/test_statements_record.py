"""What is run stands in the ledger before it may run; sessions end with what lets them."""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from cells.breakglass.door.ports import Column, Ending, NotRun, Outcome, Session, Spent, Statement, backend_of
from cells.breakglass.door.settings import RECORDED_BYTES_MAX
from cells.breakglass.statements import entries, recorder, watching
from cells.breakglass.statements.entries import (
    Closed,
    Ended,
    Intended,
    MalformedSaid,
    Noticed,
    Opened,
    Value,
    notice_event,
)
from cells.breakglass.statements.reading import DoorLog, Finding
from cells.breakglass.statements.recorder import Recorder
from cells.breakglass.statements.spending import Spending
from cells.breakglass.words import APART_S_MAX
from foundation.ledger.beside import payload, speaking_of
from foundation.ledger.committing import NotCommitted, Then, Waiting
from foundation.ledger.log import Log
from foundation.ledger.port import Kind, Spelled
from gateway.cli.main import cli
from tests.stands.access import SUBJECT
from tests.stands.access_cell import OTHER, AccessStand, access_stand
from tests.stands.ledger import SIGNER, reader
from tests.stands.sessions import certified_session, on_record
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio
KEY = SIGNER.verifier


class Door:
    """A recorder over a real log and the calls of a cell, and a session under a real certificate."""

    def __init__(self, stand: AccessStand) -> None:
        self.stand = stand
        self.folder = stand.folder / "log"
        self.committer = stand.access.recording.committer
        self.recorder = stand.access.recording.recorder
        self.ended: list[Ending] = []

    @property
    def log(self) -> Log:
        assert self.stand.writer.log is not None
        return self.stand.writer.log

    async def session(self, **changes: Any) -> Session:
        return msgspec.structs.replace(await certified_session(self.stand, "5e" * 16), **changes)

    async def opened(self, **changes: Any) -> Session:
        session = await self.session(**changes)
        await self.recorder.opened(session, backend_of(1_800_000_000.5, 4_711), self.ended.append)
        return session

    def said(self) -> list[Any]:
        """What the door's entries say, in the log's order, each with its payload."""
        self.log.publish()
        kinds = {kind.value for kind in entries.KINDS}
        found = [one for one in reader(self.folder).newest() if one.entry.kind in kinds][::-1]
        payloads = [payload(self.folder, one) for one in found]
        return [entries.read(bytes(held.details)) for held in payloads if held is not None]


@pytest.fixture
async def door(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    monkeypatch.setattr(watching, "LOOK_S", 0.01)
    monkeypatch.setattr(watching, "SWEEP_S", 0.01)
    monkeypatch.setattr(recorder, "GATHER_S", 0.01)
    async with access_stand(folder, monkeypatch) as stand, working(*stand.access.recording.workers.values()):
        yield Door(stand)


@asynccontextmanager
async def working(*workers: Callable[[], Any]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for worker in workers]
        yield
        for task in tasks:
            task.cancel()


def statement(session: Session, number: int = 1, text: str = "SELECT 1", **more: Any) -> Statement:
    return Statement(session=session.id, number=number, text=text, kind=more.pop("kind", "simple"), **more)


async def test_a_session_reads_in_the_ledger_as_it_went(door: Door) -> None:
    session = await door.opened()
    raw = bytes(range(16))
    asked = statement(
        session,
        text="SELECT email, $1 FROM live.orders",
        kind="extended",
        parameters=(b"open", None, raw, b"\xff"),
        formats=(0, 0, 1, 0),
    )
    await on_record(door.recorder, asked)
    assert [type(one) for one in door.said()] == [Opened, Intended]
    column = Column(name="email", table=7, attribute=2, source="live.orders.email", masked=True)
    door.recorder.ended(Outcome(session=session.id, number=1, tag="SELECT 2", rows=2, bytes=90, columns=(column,)))
    await on_record(door.recorder, statement(session, 2))
    door.recorder.ended(Outcome(session=session.id, number=2, error="42501"))
    await door.recorder.closed(session.id, "terminated")
    first, *middle, last = door.said()
    assert (first.grant, first.subjects, first.backend) == (session.grant, (SUBJECT,), "6b49d200.1267")
    assert (last.why, last.statements) == ("terminated", 2)
    intended = [one for one in middle if isinstance(one, Intended)]
    assert [(one.number, one.text) for one in intended] == [(1, asked.text), (2, "SELECT 1")]
    assert intended[0].parameters == (
        Value(text="open"),
        None,
        Value(binary=raw.hex(), uuid="00010203-0405-0607-0809-0a0b0c0d0e0f"),
        Value(binary="ff"),
    )
    assert intended[0].subjects == (SUBJECT,)
    results = [result for one in middle if isinstance(one, Ended) for result in one.results]
    assert [(one.number, one.tag, one.error, one.rows) for one in results] == [
        (1, "SELECT 2", "", 2),
        (2, "", "42501", 0),
    ]
    assert results[0].columns == (column,)


async def test_each_subject_has_a_notice_that_says_of_nobody_else_and_can_be_proved(door: Door, folder: Path) -> None:
    session = await door.opened(subjects=(SUBJECT, OTHER))
    email = Column(name="email", source="wall.orders.email", masked=True)
    await on_record(door.recorder, statement(session))
    door.recorder.ended(Outcome(session=session.id, number=1, tag="SELECT 1", columns=(email,)))
    await door.recorder.closed(session.id, "left")
    door.log.publish()
    found = reader(door.folder).find(notice_event(session.id, SUBJECT))
    assert found is not None
    held = payload(door.folder, found)
    assert held is not None
    assert (held.actor, held.subject_id, OTHER in bytes(held.details).decode()) == (session.engineer, SUBJECT, False)
    told = msgspec.json.decode(held.details, type=Noticed)
    assert (told.grant, told.statements, told.columns) == (session.grant, 1, (email,))
    assert reader(door.folder).find(notice_event(session.id, OTHER)) is not None
    (folder / "log.vkey").write_text(KEY.text)
    key = ("--key", str(folder / "log.vkey"))
    words = ["ledger", "prove", str(door.folder), notice_event(session.id, SUBJECT), *key]
    files = ("--out", str(folder / "proof"), "--payload", str(folder / "opening"))
    proved = await asyncio.to_thread(CliRunner().invoke, cli, [*words, *files])
    assert proved.exit_code == 0, proved.output
    assert SUBJECT in (folder / "opening").read_bytes()[32:].decode()


EMAIL = Column(name="email", source="wall.orders.email", masked=True)


async def left_open(door: Door, **changes: Any) -> Session:
    """A session of a process that was killed: of its second statement nothing came."""
    lost = await door.session(**({"id": "1e" * 16} | changes))
    result = entries.result_of(Outcome(session=lost.id, number=1, tag="SELECT 3", rows=3, bytes=70, columns=(EMAIL,)))
    at = door.stand.clock.unix_s()
    for event in (
        entries.opened(lost, "1.1", at),
        entries.intended(lost, statement(lost), at),
        entries.ended(lost, 1, (result,), at),
        entries.intended(lost, statement(lost, 2), at),
    ):
        await door.committer.commit(event)
    return lost


def next_process(door: Door, recorded_bytes_max: int = RECORDED_BYTES_MAX) -> Recorder:
    """Its recorder. Its log is the one that the stand has open by then."""
    finding, watch = Finding(door.stand.writer, DoorLog(door.folder, KEY)), door.stand.access.recording.watch
    return Recorder(door.committer, watch, door.stand.clock, finding, Spending(recorded_bytes_max))


def noticed(door: Door, session: Session) -> Noticed:
    found = reader(door.folder).find(notice_event(session.id, SUBJECT))
    assert found is not None
    held = payload(door.folder, found)
    assert held is not None
    return msgspec.json.decode(held.details, type=Noticed)


async def test_what_a_process_left_open_the_next_one_ends_and_tells_its_subjects_once_its_log_was_opened(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "KNOWN_S_MAX", 0.05)
    lost = await left_open(door)
    door.stand.steps.flows = False  # else its steps would go into the log that is closed below
    door.log.close()
    door.stand.writer.log = None
    assert all(one.entry.source != recorder.SOURCE for one in reader(door.folder).newest()), (
        "nothing of it is signed for"
    )
    again = next_process(door)
    async with working(again.run):
        with pytest.raises(NotRun) as refused:
            await again.spent(lost.grant)
        assert refused.value.ending is Ending.NOT_RECORDED
        with pytest.raises(NotRun):
            await again.opened(lost, "1.1", door.ended.append)
        with Log(door.folder, SIGNER) as opened:
            door.stand.writer.log = opened
            await eventually(lambda: door.said()[-1] == Closed(session=lost.id, why=recorder.LEFT, statements=2))
            told = noticed(door, lost)
            assert (told.statements, told.untold, told.columns) == (2, 1, (EMAIL,))
            assert (await again.spent(lost.grant)).told is False


async def test_what_a_grant_had_before_a_restart_it_has_had(door: Door) -> None:
    session = await door.opened()
    for number, rows in ((1, 3), (2, 5)):
        await on_record(door.recorder, statement(session, number, f"SELECT {number}"))
        outcome = Outcome(session=session.id, number=number, tag="SELECT", rows=rows, bytes=rows * 10, columns=(EMAIL,))
        door.recorder.ended(outcome)
    await door.recorder.closed(session.id, "left")
    door.log.publish()
    kinds = {kind.value for kind in (*entries.KINDS, Kind.NOTICE)}
    found = (payload(door.folder, one) for one in reader(door.folder).newest() if one.entry.kind in kinds)
    written = sum(len(held.details) for held in found if held is not None)
    again = next_process(door)
    async with working(again.run):
        assert await again.spent(session.grant) == Spent(rows=8, bytes=80, recorded=written)
        assert await again.spent("f" * 32) == Spent()
        door.stand.clock.advance(session.expires_at - door.stand.clock.unix_s() + APART_S_MAX - 1)
        for has in (Spent(rows=8, bytes=80, recorded=written), Spent()):
            late = next_process(door)
            async with working(late.run):
                assert await late.spent(session.grant) == has
            door.stand.clock.advance(1)


async def test_what_a_grant_may_put_on_the_record_is_bounded_over_its_sessions_and_restarts(door: Door) -> None:
    session = await door.session()
    text = "SELECT '" + "x" * 4_000 + "'"
    one, ran = next_process(door, 20_000), list[int]()

    async def until_spent(by: Recorder, of: Session) -> None:
        await by.opened(of, "1.1", door.ended.append)
        for number in range(1, 100):
            await on_record(by, statement(of, number, text))
            by.ended(Outcome(session=of.id, number=number, tag="SELECT 1"))
            ran.append(number)

    async with working(one.run):
        with pytest.raises(NotRun) as refused:
            await until_spent(one, session)
        assert (refused.value.ending, ran) == (Ending.SPENT, [1, 2, 3, 4])
        await one.closed(session.id, "spent")
    door.log.publish()
    again = next_process(door, 20_000)
    async with working(again.run):
        with pytest.raises(NotRun) as refused:
            await until_spent(again, msgspec.structs.replace(session, id="0f" * 16))
        assert (refused.value.ending, ran) == (Ending.SPENT, [1, 2, 3, 4])
        other = await door.session(id="0e" * 16)
        await again.opened(other, "1.1", door.ended.append)
        await on_record(again, statement(other, 1, text))
    assert [one.text for one in door.said() if isinstance(one, Intended)] == [text] * 5


async def test_a_notice_names_so_many_columns_in_the_tables_words_and_says_how_many_there_were(door: Door) -> None:
    session = await door.opened()
    await on_record(door.recorder, statement(session))
    called = (msgspec.structs.replace(EMAIL, name="of ben@example.com", table=7), Column(name="ben@example.com"))
    wide = tuple(Column(name="x", source=f"wall.wide.c{number}") for number in range(entries.NOTICED_COLUMNS_MAX + 4))
    door.recorder.ended(Outcome(session=session.id, number=1, tag="SELECT 1", columns=(EMAIL, *called, *wide)))
    await door.recorder.closed(session.id, "left")
    door.log.publish()
    told = noticed(door, session)
    assert (told.columns[0], len(told.columns), told.others) == (EMAIL, entries.NOTICED_COLUMNS_MAX, 1 + 5)
    assert "ben@" not in msgspec.json.encode(told).decode()


async def test_a_session_in_which_nothing_was_asked_is_no_notice(door: Door) -> None:
    session = await door.opened()
    await door.recorder.closed(session.id, "left")
    door.log.publish()
    assert reader(door.folder).find(notice_event(session.id, SUBJECT)) is None


async def test_nothing_runs_in_a_session_that_was_not_opened_or_has_closed(door: Door) -> None:
    session = await door.opened()
    await door.recorder.closed(session.id, "terminated")
    await door.recorder.closed(session.id, "again")
    for one in (session, msgspec.structs.replace(session, id="other")):
        with pytest.raises(NotRun) as refused:
            await on_record(door.recorder, statement(one))
        assert refused.value.ending is Ending.UNKNOWN
    assert [type(one) for one in door.said()] == [Opened, Closed]


@pytest.mark.parametrize(
    "statement_",
    [{"text": "SELECT '\ud800'"}, {"parameters": (b"1", b"2", b"3"), "formats": (0, 1)}],
    ids=["text", "formats"],
)
async def test_what_cannot_be_written_down_does_not_run(door: Door, statement_: dict[str, Any]) -> None:
    session = await door.opened()
    with pytest.raises(NotRun) as refused:
        await on_record(door.recorder, statement(session, **statement_))
    assert refused.value.ending is Ending.NOT_RECORDED


async def test_a_disk_that_is_full_lets_nothing_run_and_no_session_begin(door: Door) -> None:
    session, other = await door.opened(), await door.session(id="0f" * 16)
    door.stand.steps.flows = False  # else its steps would go into the log that is closed below
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    ran = list[int]()
    try:
        with pytest.raises(NotRun) as refused:
            await until_refused(door, session, ran)
        assert refused.value.ending is Ending.NOT_RECORDED
        with pytest.raises(NotRun):
            await door.recorder.opened(other, "1.1", door.ended.append)
        with pytest.raises(NotRun) as unknown:
            await on_record(door.recorder, statement(other))
        assert unknown.value.ending is Ending.UNKNOWN
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    door.log.close()
    with Log(door.folder, SIGNER) as again:
        door.stand.writer.log = again
        assert {one.number for one in door.said() if isinstance(one, Intended)}.issuperset(ran)
        await on_record(door.recorder, statement(session, len(ran) + 2))
        await eventually(lambda: any(isinstance(one, Ended) for one in door.said()))
        withheld = [
            (one.number, one.withheld) for said in door.said() if isinstance(said, Ended) for one in said.results
        ]
        assert withheld == [(len(ran) + 1, "not_recorded")]


async def until_refused(door: Door, session: Session, ran: list[int]) -> None:
    while True:
        await on_record(door.recorder, statement(session, len(ran) + 1, "SELECT 'x'" + " " * 2_000))
        ran.append(len(ran) + 1)


async def test_nothing_runs_while_too_much_of_what_came_of_it_waits(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WAITING_MAX", 3)
    session = await door.opened()
    log, door.stand.writer.log = door.log, None
    for number in range(3):
        door.recorder.ended(Outcome(session=session.id, number=number, tag="SELECT 0"))
    door.stand.writer.log = log
    with pytest.raises(NotRun) as refused:
        await on_record(door.recorder, statement(session))
    assert refused.value.ending is Ending.NOT_RECORDED
    await eventually(lambda: any(isinstance(one, Ended) for one in door.said()))
    await eventually(lambda: not door.recorder._waiting)
    await on_record(door.recorder, statement(session))


async def test_an_intent_that_is_given_up_is_told_to_nobody_and_stands_as_withheld(door: Door) -> None:
    session, heard = await door.opened(), list[Ending | None]()
    door.recorder.intend(statement(session), heard.append).give_up()
    await on_record(door.recorder, statement(session, 2))
    await door.recorder.closed(session.id, "left")
    withheld = [one for said in door.said() if isinstance(said, Ended) for one in said.results]
    assert (heard, [(one.number, one.withheld) for one in withheld]) == ([], [(1, "not_recorded")])


async def test_what_came_of_a_session_is_written_once_the_log_can_be(door: Door) -> None:
    session = await door.opened()
    log, door.stand.writer.log = door.log, None
    door.recorder.ended(Outcome(session=session.id, number=1, tag="SELECT 1"))
    await door.recorder.closed(session.id, "terminated")
    door.stand.writer.log = log
    await eventually(lambda: [type(one) for one in door.said()] == [Opened, Ended, Closed])


async def test_what_comes_while_results_are_written_gathers_for_the_next_entry(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a recorder whose worker does not run."""
    still, commit = next_process(door), door.committer.commit
    still._known.set()
    session = await door.session()
    await still.opened(session, backend_of(1_800_000_000.5, 4_711), door.ended.append)

    async def more_meanwhile(event: Any) -> int:
        if event.id.startswith("outcome:"):
            still.ended(Outcome(session=session.id, number=2, tag="SELECT 1"))
        return await commit(event)

    monkeypatch.setattr(door.committer, "commit", more_meanwhile)
    still.ended(Outcome(session=session.id, number=1, tag="SELECT 1"))
    assert await still._give_on(still._held[session.id])
    assert [[two.number for two in one.results] for one in door.said() if isinstance(one, Ended)] == [[1]]
    monkeypatch.setattr(door.committer, "commit", commit)
    await still.closed(session.id, "left")
    assert [type(one) for one in door.said()] == [Opened, Ended, Ended, Closed]


REVOKE = {"reason": "found it"}


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


def test_what_is_no_entry_of_the_door_is_refused() -> None:
    with pytest.raises(MalformedSaid):
        entries.read(b'{"of":"intended","session":"s"}')


async def test_a_report_tells_who_saw_which_columns_and_a_replay_of_the_ledger_gives_the_same_bytes(
    door: Door, folder: Path
) -> None:
    session = await door.opened()
    email = Column(name="email", table=7, attribute=2, source="live.orders.email", masked=True)
    for number, columns in ((1, (email,)), (2, (email, Column(name="count"))), (3, ())):
        await on_record(door.recorder, statement(session, number, f"SELECT {number}"))
        door.recorder.ended(
            Outcome(session=session.id, number=number, tag=f"SELECT {number}", rows=number, bytes=10, columns=columns)
        )
    await door.recorder.closed(session.id, "left")
    auditor, until = door.stand.who("ida", "auditor"), int(door.stand.clock.unix_s() * 1_000_000)
    door.log.publish()
    told = await door.stand.get("report", auditor, until_us=until, statements=1)
    (seen,) = told.json()["grants"][0]["sessions"]
    assert (seen["subjects"], seen["statements"], seen["rows"], seen["bytes"]) == ([SUBJECT], 3, 6, 30)
    assert [(one["name"], one["source"], one["masked"]) for one in seen["columns"]] == [
        ("count", "", False),
        ("email", "live.orders.email", True),
    ]
    assert [(one["text"], one["tag"]) for one in seen["ran"]] == [(f"SELECT {n}", f"SELECT {n}") for n in (1, 2, 3)]
    assert seen["end"]["why"] == "left"
    size = str(told.json()["asked"]["size"])
    door.stand.clock.advance(1)
    await door.opened(id="0f" * 16)
    door.log.publish()
    again = await door.stand.get("report", auditor, until_us=until, size=size, statements=1)
    assert again.content == told.content
    (folder / "log.vkey").write_text(KEY.text)
    log = ("--log", str(folder / "log"), "--key", str(folder / "log.vkey"), "--offline", "--report")
    words = ["access", "replay", *log, "--until-us", str(until), "--size", size, "--statements"]
    replayed = await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--json"])
    assert msgspec.json.format(told.content, indent=2).decode() == replayed.stdout.strip(), replayed.output
    for_people = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert "saw live.orders.email, masked" in for_people.stdout


async def test_a_report_says_what_was_erased_and_of_whom_nothing_is_left(door: Door) -> None:
    session = await door.opened()
    await on_record(door.recorder, statement(session, text="SELECT 'somebody@example.com'"))
    door.log.publish()
    spoken = [found.index for found in speaking_of(reader(door.folder), door.folder, SUBJECT)]
    found = [one.index for one in reader(door.folder).newest() if one.entry.source == recorder.SOURCE]
    assert set(found).issubset(spoken)
    door.log.erase(*found)
    told = (await door.stand.get("report", door.stand.who("ida", "auditor"))).json()
    assert (told["erased"], told["grants"][0]["sessions"]) == (2, [])

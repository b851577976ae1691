"""Erasing by subject: nothing that speaks of somebody is left, whenever it was killed, and every proof still holds."""

import asyncio
import errno
import json
import re
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.breakglass.door.ports import Session, Statement
from cells.breakglass.statements import entries as statements
from cells.breakglass.steps import AnyStep, Approved, Edited, Requested, Taken, event_of
from deploy.verify import verify
from foundation.clock import ManualClock
from foundation.ledger import eraser as eraser_module
from foundation.ledger import erasing, files, payloads
from foundation.ledger.draining import Writer, drain
from foundation.ledger.entries import Recorded
from foundation.ledger.eraser import Eraser
from foundation.ledger.erasing import Job, digest_of, speaks_of, step, waiting_in
from foundation.ledger.log import Log
from foundation.ledger.port import Event, Kind
from foundation.problems import Code, ProblemError, refuse
from foundation.words import ActorId
from tests.stands.access import AT, GRANT, presence, terms
from tests.stands.ledger import SIGNER, reader, rows, unsynced
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

ADA = "aaaaaaaa-0000-4000-8000-00000000000a"
BEA = "bbbbbbbb-0000-4000-8000-00000000000b"


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


def spoken_of(position: int) -> Recorded:
    """Rows about nobody, and at every seventh position one about Ada, in turn as subject, as actor, in the id and in the details."""
    row = rows(position, 1)[0]
    if position % 7:
        return msgspec.structs.replace(row, subject_id=BEA if position % 5 == 0 else None)
    ways = (
        {"subject_id": ADA},
        {"actor": ADA},
        {"id": f"placement/{ADA}/{position}"},
        {"details": msgspec.Raw(json.dumps({"of": [ADA]}).encode())},
    )
    return msgspec.structs.replace(row, **ways[position // 7 % 4])


def filled(folder: Path, size: int = 700) -> list[int]:
    """A closed log; the entries in it that speak of Ada."""
    with Log(folder, SIGNER) as log:
        log.append({"s1": [spoken_of(position) for position in range(1, size + 1)]})
        log.publish()
    return [position - 1 for position in range(1, size + 1) if position % 7 == 0]


def holds(folder: Path, size: int, without: int, tmp_path: Path) -> None:
    """The stand-alone verifier and the product's own say so."""
    (tmp_path / "key").write_text(SIGNER.verifier.text)
    assert verify.main(["log", str(folder), "--key", str(tmp_path / "key")]) == 0
    found = reader(folder).verify(folder=folder)
    assert (found.size, found.without) == (size, without)


def nowhere(folder: Path, subject: str) -> bool:
    return not any(subject.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


class Recording:
    """Durable records in memory; unavailable as often as `away` says."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.away = 0

    async def __call__(self, events: Sequence[Event]) -> None:
        if self.away:
            self.away -= 1
            raise refuse(Code.NOT_READY, "away")
        for event in events:
            self.events.setdefault(event.id, event)


def eraser(folder: Path, writer: Writer, record: Recording) -> Eraser:
    numbers = count()
    return Eraser(folder, writer, record, ManualClock(), chance=lambda: f"job-{next(numbers)}")


async def test_steps_of_break_glass_that_name_a_subject_go_and_those_that_name_the_grant_stay(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    asked = Requested(grant=GRANT, terms=terms(subjects=(BEA, ADA)), presence=presence(), needed=1)
    edited = Edited(grant=GRANT, version=2, terms=terms(subjects=(BEA,)), presence=presence())
    approved = Approved(grant=GRANT, version=2, presence=presence())
    steps: tuple[AnyStep, ...] = (asked, edited, approved)
    events = [event_of(Taken(AT, ActorId("engineer:ann"), one), f"grant:{at}") for at, one in enumerate(steps)]
    with Log(folder, SIGNER) as log:
        log.append({"s1": [recorded(one, position) for position, one in enumerate(events, 1)]})
        log.publish()
        job = Job(id="job", subject=digest_of(ADA), actor="operator:ann", through=3)
        while not job.finished:
            job = step(log, folder, job)
    assert job.erased == 1
    assert [payloads.read(folder, index) is None for index in range(3)] == [True, False, False]
    assert nowhere(folder, ADA)
    holds(folder, 3, 1, tmp_path)


def recorded(event: Event, position: int) -> Recorded:
    return Recorded(
        position=position,
        id=event.id,
        at_us=AT,
        kind=event.kind,
        actor=event.actor,
        subject_id=event.subject_id,
        details=msgspec.Raw(msgspec.json.encode(event.details)),
    )


async def test_every_payload_that_speaks_of_a_subject_goes_and_every_proof_stays(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    about = filled(folder)
    shown = reader(folder).find("event:8")
    assert shown is not None
    proof = reader(folder).prove(shown)
    writer, record = Writer(), Recording()
    async with asyncio.TaskGroup() as group:
        one = eraser(folder, writer, record)
        tasks = [
            group.create_task(drain(folder, SIGNER, dict, writer=writer)),
            group.create_task(one.run()),
        ]
        job = await one.ask(ADA, "operator:ann")
        done = await one.wait(job.id, 10)
        assert done is not None
        assert (done.erased, done.through) == (len(about), 700)
        again = await one.wait((await one.ask(ADA, "operator:ann")).id, 10)
        assert again is not None
        assert again.erased == 0
        for task in tasks:
            task.cancel()
    assert nowhere(folder, ADA)
    assert not nowhere(folder, BEA)
    proof.verify(SIGNER.verifier)
    holds(folder, 700, len(about), tmp_path)
    assert waiting_in(folder) == []
    first = record.events[f"erasure:{job.id}"]
    assert (first.kind, first.actor, first.subject_id) == (Kind.ERASURE, "operator:ann", None)
    assert first.details == {"subject": digest_of(ADA), "erased": len(about), "through": 700}
    assert ADA not in json.dumps(msgspec.to_builtins(first))


async def test_whoever_asks_twice_waits_for_one_job(tmp_path: Path) -> None:
    one = eraser(tmp_path, Writer(), Recording())
    first, second = await one.ask(ADA, "operator:ann"), await one.ask(ADA, "operator:bob")
    assert first == second
    assert (await one.ask(BEA, "operator:bob")).id != first.id
    assert await one.wait(first.id, 0) is None
    assert one.finished(first.id) is None


async def test_jobs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eraser_module, "JOBS_MAX", 1)
    one = eraser(tmp_path, Writer(), Recording())
    await one.ask(ADA, "operator:ann")
    with pytest.raises(ProblemError, match="too many"):
        await one.ask(BEA, "operator:ann")


async def test_a_job_of_a_process_that_died_is_finished_by_the_next_one(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    about = filled(folder)
    asked = await eraser(folder, Writer(), Recording()).ask(ADA, "operator:ann")
    writer, record = Writer(), Recording()
    record.away = 2
    async with asyncio.TaskGroup() as group:
        next_one = eraser(folder, writer, record)
        tasks = [group.create_task(drain(folder, SIGNER, dict, writer=writer)), group.create_task(next_one.run())]
        done = await next_one.wait(asked.id, 20)
        for task in tasks:
            task.cancel()
    assert done is not None
    assert (done.erased, len(record.events)) == (len(about), 1)
    assert nowhere(folder, ADA)
    assert waiting_in(folder) == []


async def test_what_was_recorded_before_is_taken_in_before_it_is_looked_for(tmp_path: Path) -> None:
    writer, record = Writer(), Recording()
    one = eraser(tmp_path / "log", writer, record)
    filled(tmp_path / "log")
    with Log(tmp_path / "log", SIGNER) as log:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.run())
            writer.log = log
            job = await one.ask(ADA, "operator:ann")
            assert await one.wait(job.id, 0.3) is None
            log.append({"s1": [spoken_of(position) for position in range(701, 708)]})
            writer.looks += eraser_module.LOOKS
            await eventually(lambda: one.finished(job.id))
            task.cancel()
    done = one.finished(job.id)
    assert done is not None
    assert (done.through, done.erased) == (707, 101)


async def test_whoever_asks_once_an_erasure_has_begun_has_another_that_covers_what_was_recorded_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, begun, going = Writer(), threading.Event(), threading.Event()
    filled(tmp_path / "log")
    one, done = eraser(tmp_path / "log", writer, Recording()), eraser_module.step

    def slow(*given: Any) -> Job:
        begun.set()
        assert going.wait(20)
        return done(*given)

    def looked(holds: bool) -> bool:
        writer.looks += 1
        return holds

    monkeypatch.setattr(eraser_module, "step", slow)
    with Log(tmp_path / "log", SIGNER) as log:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.run())
            writer.log = log
            first = await one.ask(ADA, "operator:ann")
            await eventually(lambda: looked(begun.is_set()))
            log.append({"s1": [spoken_of(position) for position in range(701, 708)]})
            second = await one.ask(ADA, "operator:bob")
            assert second.id != first.id
            assert await one.ask(ADA, "operator:ann") == second, "which has not begun"
            assert await one.known(second.id)
            going.set()
            await eventually(lambda: looked(one.finished(second.id) is not None))
            task.cancel()
    ended = [one.finished(job.id) for job in (first, second)]
    assert [(job.through, job.erased, job.actor) for job in ended if job is not None] == [
        (700, 100, "operator:ann"),
        (707, 1, "operator:bob"),
    ]
    assert nowhere(tmp_path / "log", ADA)
    holds(tmp_path / "log", 707, 101, tmp_path)


async def test_a_job_that_another_process_has_begun_is_not_shared(tmp_path: Path) -> None:
    one = eraser(tmp_path, Writer(), Recording())
    first = await one.ask(ADA, "operator:ann")
    files.replace_durably(
        erasing.file_of(tmp_path, first.id), msgspec.json.encode(msgspec.structs.replace(first, begun=True))
    )
    assert (await one.ask(ADA, "operator:ann")).id != first.id


async def test_an_erasure_that_could_not_be_noted_is_shared_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ill(_: Path) -> None:
        raise OSError(errno.EIO, "the disk is ill")

    one = eraser(tmp_path, Writer(), Recording())
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_path", ill)
        with pytest.raises(ProblemError):
            await one.ask(ADA, "operator:ann")
    assert waiting_in(tmp_path) == []
    assert (await one.ask(ADA, "operator:ann")).id == "job-1"


def test_what_a_session_records_that_is_open_while_a_subject_is_erased_stays_until_that_is_asked_for_again(
    tmp_path: Path,
) -> None:
    """The door goes on recording: what was done after an erasure is no part of it."""
    session = Session(
        id="5e" * 16, grant="f" * 32, engineer="engineer:ann", certificate="c", purpose="debugging", ticket="OPS-7",
        shard="s1", inside=True, subjects=(ADA, BEA), expires_at=AT / 1_000_000 + 900,
    )  # fmt: skip

    def stated(number: int) -> Event:
        text = Statement(session=session.id, number=number, text=f"SELECT {number}", kind="simple")
        return statements.intended(session, text, AT / 1_000_000)

    def erased(log: Log, name: str) -> int:
        job = Job(id=name, subject=digest_of(ADA), actor="operator:ann", through=log.publish().size)
        while not job.finished:
            job = step(log, tmp_path, job)
        return job.erased

    before = [statements.opened(session, "1.1", AT / 1_000_000), stated(1)]
    told = statements.notices(session, 2, (), AT / 1_000_000)
    after = [stated(2), *told, statements.closed(session, "left", 2, AT / 1_000_000)]
    with Log(tmp_path, SIGNER) as log:
        log.append({"access.door": [recorded(one, position) for position, one in enumerate(before, 1)]})
        assert erased(log, "first") == 2
        assert nowhere(tmp_path, ADA)
        log.append({"access.door": [recorded(one, position) for position, one in enumerate(after, 3)]})
        log.publish()
        assert [payloads.read(tmp_path, index) is None for index in range(6)] == [
            True,
            True,
            False,
            False,
            False,
            False,
        ]
        assert erased(log, "second") == 2, "the second statement, which could see her, and what she is told"
        assert nowhere(tmp_path, ADA)
        assert [payloads.read(tmp_path, index) is None for index in range(6)] == [True, True, True, True, False, False]
    found = reader(tmp_path).verify(folder=tmp_path)
    assert (found.size, found.without) == (6, 4)


class Killed(BaseException):
    """Nothing in the way of it."""


def test_killed_at_any_write_a_job_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "STRIDE", 1)
    writes, kill_at = count(), -1

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            nonlocal kill_at
            if next(writes) == kill_at:
                raise Killed
            done = call(*args)
            if next(writes) == kill_at:
                raise Killed
            return done

        return wrapped

    monkeypatch.setattr(erasing, "replace_durably", dying(files.replace_durably))
    monkeypatch.setattr(payloads, "_erase_in", dying(payloads._erase_in))
    kills, ends = 0, set()
    for at in range(60):
        folder = tmp_path / str(at)
        about = filled(folder)
        writes, kill_at = count(), at
        job = Job(id="one", subject=digest_of(ADA), actor="operator:ann", through=700)
        while not job.finished:
            try:
                with Log(folder, SIGNER) as log:
                    while not job.finished:
                        job = step(log, folder, job)
            except Killed:
                kills += 1
                # As the next process reads it: not at all, where it died before the file was there.
                job = next(iter(waiting_in(folder)), msgspec.structs.replace(job, following=0, erased=0, at_hand=()))
        ends.add((job.erased, nowhere(folder, ADA), reader(folder).verify(folder=folder).without))
        assert ends == {(len(about), True, len(about))}
        if kills <= at:
            break
    assert kills > 10


def test_an_id_is_found_wherever_it_stands_and_no_other() -> None:
    for text in (f'"{ADA}"', f"placement/{ADA}/7", f"fence:eu-de:s1:{ADA}:7:active", f"{BEA} {ADA}"):
        assert speaks_of(text.encode(), digest_of(ADA)), text
    for text in ("", BEA, ADA[:-1], ADA.upper()):
        assert not speaks_of(text.encode(), digest_of(ADA)), text
    assert re.fullmatch("[0-9a-f]{64}", digest_of(ADA))

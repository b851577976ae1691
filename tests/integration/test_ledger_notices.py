"""Notices on their way to webhooks of this machine: from a session's end to whom it is told, whatever the receiver does meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cells.breakglass.door.ports import Column, Outcome, Session, Statement
from cells.breakglass.statements.entries import notice_event
from foundation.clock import SystemClock
from foundation.ledger import metrics
from foundation.ledger.export import position
from foundation.ledger.export.forms import Format
from foundation.ledger.export.settings import ExportSettings
from foundation.ledger.export.worker import export
from foundation.ledger.log import Log
from foundation.ledger.witness import gathering
from foundation.ledger.witness.cosignatures import verified as cosigned
from foundation.ledger.witness.gathering import Gathering
from foundation.ledger.witness.quorum import Reach
from foundation.tasks import Backoff
from tests.stands.access import SUBJECT
from tests.stands.access_cell import OTHER, access_stand
from tests.stands.ledger import SIGNER, unsynced
from tests.stands.notices import ADA, BEN, KEYS, is_signed, keys_in, mixed, verified
from tests.stands.servers import serving
from tests.stands.sessions import on_record
from tests.stands.waiting import eventually
from tests.stands.witnesses import NAMES, NEAR, WIDE, cosigner, network, plan

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.01)


class Receiver:
    """Answers with the statuses that it is given, then 200. `taken`: what it was asked to take when it did."""

    def __init__(self, *statuses: int) -> None:
        self.taken: list[dict[str, Any]] = []
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.port = 0
        self._statuses = list(statuses)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/notices"

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        self.asked.append((dict(request.headers), body))
        status = self._statuses.pop(0) if self._statuses else 200
        if status == 200:
            self.taken.append(json.loads(body))
        return Response(status_code=status)


@asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[Receiver]:
    made = Receiver(*statuses)
    async with serving(Starlette(routes=[Route("/notices", made.__call__, methods=["POST"])])) as made.port:
        yield made


@asynccontextmanager
async def exporting(log: Path, *exports: ExportSettings, by: Gathering | None = None) -> AsyncIterator[list[Any]]:
    announced = list[Any]()

    async def announce(details: dict[str, Any]) -> None:
        announced.append(details)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(export(log, SIGNER.verifier, exports, announce, SystemClock(), by))
        yield announced
        task.cancel()


def to(receiver: Receiver, name: str = "told", **more: Any) -> ExportSettings:
    return ExportSettings(name=name, url=receiver.url, format=Format.NOTICES, country="DE", **more)


async def test_each_subjects_tenant_is_told_of_a_session_by_a_signed_webhook_until_it_hears(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing = str(keys_in(folder))
    async with access_stand(folder, monkeypatch) as stand, receiving(503, 302) as one, receiving() as other:
        recording, log = stand.access.recording, folder / "log"
        exports = (
            to(one, "ada", subjects=(SUBJECT,), signing_file=signing),
            to(other, "ben", subjects=(OTHER,)),
            ExportSettings(name="file", file=str(folder / "told"), format=Format.NOTICES),
        )
        async with asyncio.TaskGroup() as group, exporting(log, *exports) as announced:
            working = [group.create_task(worker()) for worker in recording.workers.values()]
            grant = await stand.approved()
            intent = (await stand.certified(grant)).json()["told"]["grant"]["intents"][-1]
            stand.steps.flows = False  # else each look at the book signs for whatever stands there
            session = Session(
                id="5e" * 16,
                grant=grant,
                engineer="engineer:alice",
                certificate=intent["serial"],
                purpose="debugging",
                ticket="OPS-7",
                shard="s1",
                inside=True,
                subjects=(SUBJECT, OTHER),
                expires_at=intent["until_us"] / 1_000_000,
            )
            await recording.recorder.opened(session, "1.1", lambda _: None)
            text = "SELECT email FROM wall.orders WHERE id = 'of-somebody'"
            await on_record(recording.recorder, Statement(session=session.id, number=1, text=text, kind="simple"))
            email = Column(name="email", source="wall.orders.email", masked=True)
            recording.recorder.ended(Outcome(session=session.id, number=1, tag="SELECT 1", rows=1, columns=(email,)))
            await recording.recorder.closed(session.id, "left")
            assert (one.asked, other.asked) == ([], []), "nothing is told before it is signed for"
            assert stand.writer.log is not None
            stand.writer.log.publish()
            await eventually(lambda: (len(one.taken), len(other.taken)) == (1, 1))
            for task in working:
                task.cancel()
    assert [said["payloads"] for said in announced] == [True] * 3
    (told,) = one.taken
    assert (told["id"], told["subject_id"], told["actor"]) == (
        notice_event(session.id, SUBJECT),
        SUBJECT,
        session.engineer,
    )
    assert (told["details"]["ticket"], told["details"]["columns"][0]["source"]) == ("OPS-7", "wall.orders.email")
    assert len(one.asked) == 3
    for head, body in one.asked:
        assert head["idempotency-key"] == head["webhook-id"] == told["id"]
        assert head["content-type"] == "application/json"
        assert all(is_signed(key, head, body) for key in KEYS)
        assert OTHER not in body.decode()
        assert "of-somebody" not in body.decode()
    assert [said["subject_id"] for said in other.taken] == [OTHER]
    assert "webhook-signature" not in other.asked[0][0]
    lines = [json.loads(line) for line in (folder / "told").read_text().splitlines()]
    assert lines == [*one.taken, *other.taken] or lines == [*other.taken, *one.taken]
    verified(folder, told)


async def test_a_receiver_that_is_away_holds_up_nobody_else_and_gets_everything_when_it_is_back(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with Log(log, SIGNER) as opened:
        opened.append({"access.door": mixed(1, ADA, BEN, ADA)})
        opened.publish()
    async with receiving() as here, receiving() as away:
        port, away.port = away.port, 1
        failures = metrics.EXPORT_FAILURES.labels("away")
        before = failures._value.get()
        async with exporting(log, to(away, "away"), to(here, "here")):
            await eventually(lambda: len(here.taken) == 3 and failures._value.get() > before + 2)
            await eventually(lambda: position.read(log / "export/here.position", SIGNER.verifier.name) == opened.size)
        away.port = port
        async with exporting(log, to(away, "away"), to(here, "here")):
            await eventually(lambda: len(away.taken) == 3)
        assert [one["id"] for one in away.taken] == [one["id"] for one in here.taken]
        assert len({one["id"] for one in here.taken}) == 3, "a restart tells nobody twice what they took"


async def test_a_notice_waits_for_the_widest_quorum_that_is_stated_and_bears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PAUSE_S", {Reach.NEAR: 0.01, Reach.WIDE: 0.01})
    log = tmp_path / "log"
    with network(tmp_path) as net, Log(log, SIGNER) as opened:
        opened.append({"access.door": mixed(1, ADA)})
        opened.publish()
        net.away |= {"us", "in"}
        async with net.client() as http, receiving() as receiver, asyncio.TaskGroup() as group:
            gathered = Gathering(plan(NEAR, WIDE), log, SIGNER.verifier, http, net.clock)
            work = group.create_task(gathered.run(opened))
            async with exporting(log, to(receiver), by=gathered):
                await eventually(lambda: gathered.cosigned(Reach.NEAR))
                rounds = len(net.asked)
                await eventually(lambda: len(net.asked) > rounds + 3)
                assert (gathered.cosigned(Reach.WIDE), receiver.asked) == (None, [])
                net.away.clear()
                await eventually(lambda: receiver.taken)
            work.cancel()
    (told,) = receiver.taken
    note = told["proof"].partition("\n\n")[2].encode()
    assert len(cosigned(note, [cosigner(name).verifier for name in NAMES])) >= 2
    verified(tmp_path, told)

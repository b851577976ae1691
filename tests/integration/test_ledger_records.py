"""Many records under one root, on a real cell: accesses that a gateway hands over, refusals and crossings that come one by one."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from deploy.local.postgres import PostgresServer
from deploy.verify import verify
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.ledger.beside import payload
from foundation.ledger.entries import Single, is_sheaf
from foundation.ledger.port import Kind
from foundation.ledger.records import records_of
from foundation.words import ActorId, CellId, RegionId, RulesDigest, ServiceId
from gateway.cli.main import cli
from gateway.edge.accesses import Alike
from gateway.edge.events import Recorder
from tests.stands.cell import Stand, stand
from tests.stands.crossings import TWO_REGIONS, book, crossing, gateway, operator, shown
from tests.stands.ledger import kept_by, reader
from tests.stands.shard import rows
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

DESK = ActorId("service:support-desk")
BEA = "bbbbbbbb-0000-4000-8000-00000000000b"
MANY = 40


@pytest.fixture
async def live(postgres_server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    """A cell that keeps a log in folder/log."""
    async with stand(postgres_server, folder, monkeypatch, policy=TWO_REGIONS) as built:
        built.ledger = kept_by(folder)
        async with built.running():
            yield built


def handed(number: int, subject: str) -> dict[str, Any]:
    """A body of `POST /cell/records`."""
    alike = {"kind": "access", "actor": DESK, "details": {"service": "orders", "verb": "read"}}
    made = [[0, 1_800_000_000_000_000 + at, subject, 7, f"{at:032x}"] for at in range(number)]
    return {"id": "h" * 16, "records": {"shared": [alike], "rows": made, "lost": 0}}


def under_others(folder: Path) -> list[Single]:
    """Every record that stands under another's entry."""
    log = folder / "log"
    if not (log / "checkpoint").exists():
        return []
    return [one.single for found in list(reader(log).newest())[::-1] for one in records_of(log, found)]


def by_themselves(folder: Path) -> list[str]:
    log = folder / "log"
    found = [payload(log, one) for one in reader(log).newest() if not is_sheaf(one.entry)]
    return [told.id for told in found if told is not None]


async def command(*words: str | Path) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["ledger", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_accesses_of_a_gateway_stand_under_one_root_each_provable_each_once(live: Stand, folder: Path) -> None:
    ada, _ = await live.place("ada")
    recorder = Recorder(lambda: ["cell"])
    alike: Alike = (
        DESK, ServiceId("orders"), "read", "service", RulesDigest("sha256:" + "0" * 64), CellId("eu-de"), RegionId("eu"),
        RegionId("eu"), None,
    )  # fmt: skip
    for number in range(MANY):
        subject = ada if number % 2 else BEA
        assert recorder.accesses.add(alike, int(SystemClock().unix_s() * 1e6), subject, 7, f"{number:032x}")
    transport = httpx.ASGITransport(app=live.cell.app)
    async with HttpClient(transport=transport, headers=gateway(live)) as http, asyncio.TaskGroup() as group:
        delivering = group.create_task(recorder.deliver(http))
        await eventually(lambda: recorder.pending == 0)
        delivering.cancel()
    await eventually(lambda: len(under_others(folder)) == MANY)
    records = under_others(folder)
    assert [one.subject_id for one in records] == [ada if number % 2 else BEA for number in range(MANY)]
    assert {(one.kind, one.actor) for one in records} == {("access", DESK)}
    key, proof = ("--key", folder / "log.vkey"), folder / "p"
    await command("prove", folder / "log", records[7].id, *key, "--out", proof)
    assert records[7].id in await command("verify", proof, *key)
    assert verify.main(["proof", str(proof), *map(str, key)]) == 0
    answer = await live.call("POST", "/ledger/erasures", operator(live), json={"subject_id": ada})
    assert (answer.status_code, answer.json()["done"]) == (200, True)
    assert {one.subject_id for one in under_others(folder)} == {BEA}
    assert verify.main(["log", str(folder / "log"), *map(str, key)]) == 0


async def test_what_a_gateway_hands_over_again_is_kept_once_and_nothing_of_anybody_else(live: Stand) -> None:
    body = handed(3, BEA)
    for _ in range(2):
        assert (await live.call("POST", "/cell/records", gateway(live), json=body)).status_code == 204
    kept = await rows(live.dsns["s1"], "SELECT id, actor FROM domicile.outbox WHERE kind = 'sheaf'")
    assert [tuple(row) for row in kept] == [("sheaf:" + "h" * 16, "gateway:eu")]
    stranger = live.tokens.headers("gateway:us", ["gateway:us"])
    assert (await live.call("POST", "/cell/records", stranger, json=body)).status_code == 403
    assert (await live.call("POST", "/cell/records", live.service(), json=body)).status_code == 403
    spoiled = body | {"records": body["records"] | {"shared": []}}
    for other in (spoiled, body | {"id": "short"}, body | {"records": {"shared": [], "rows": []}}):
        assert (await live.call("POST", "/cell/records", gateway(live), json=other)).status_code == 400
    forged = {"id": "sheaf:" + "x" * 16, "at": 1.8e9, "kind": "access", "actor": "gateway:eu"}
    assert (await live.call("POST", "/cell/events", gateway(live), json={"events": [forged]})).status_code == 400


async def test_a_flood_of_refusals_is_one_entry_and_each_is_on_its_subjects_page(live: Stand, folder: Path) -> None:
    ada, _ = await live.place("ada")
    at = SystemClock().unix_s()
    events = [
        {
            "id": f"refused-{n:04}",
            "at": at + n * 1e-3,
            "kind": "refusal",
            "actor": ada,
            "subject_id": ada,
            "details": {"n": n},
        }
        for n in range(MANY)
    ]
    assert (await live.call("POST", "/cell/events", gateway(live), json={"events": events})).status_code == 204
    await eventually(lambda: len(under_others(folder)) == MANY)
    assert [one.id for one in under_others(folder)] == [event["id"] for event in events]
    page = (await shown(live, ada, limit=200))["entries"]
    assert sorted(one["id"] for one in page) == [event["id"] for event in events]


async def test_crossings_are_booked_one_by_one_and_stand_in_the_log_each_once_however_many_there_are(
    live: Stand, folder: Path
) -> None:
    ada, _ = await live.place("ada")
    made = [crossing(live, ada) for _ in range(3 * MANY)]
    answers = await asyncio.gather(*(book(live, one) for one in made))
    assert {answer.status_code for answer in answers} == {204}
    ids = sorted(f"crossing:{one['id']}" for one in made)

    def stand() -> list[str]:
        return sorted(
            [one for one in by_themselves(folder) if one.startswith("crossing:")]
            + [one.id for one in under_others(folder)]
        )

    await eventually(lambda: stand() == ids)
    for one in ids[::17]:
        told = json.loads(
            await command("prove", folder / "log", one, "--key", folder / "log.vkey", "--out", folder / "p", "--json")
        )
        assert verify.main(["proof", str(folder / "p"), "--key", str(folder / "log.vkey")]) == 0, told


async def test_records_that_were_lost_stand_in_the_log_by_their_number(live: Stand, folder: Path) -> None:
    body = {"id": "l" * 16, "records": {"shared": [], "rows": [], "lost": 12}}
    assert (await live.call("POST", "/cell/records", gateway(live), json=body)).status_code == 204

    def told() -> list[str]:
        shown = [
            payload(folder / "log", one) for one in reader(folder / "log").newest() if one.entry.kind == Kind.SHEAF
        ]
        return [bytes(one.details).decode() for one in shown if one is not None]

    await eventually(lambda: (folder / "log/checkpoint").exists() and told())
    assert json.loads(told()[0])["lost"] == 12

"""What stands in the logs, each by its own test: placements, rules and registry with digests, crossings, refusals, accesses, fences, reads
of the log itself; and erasing by subject, over HTTP and by the command."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from cells.app import opened
from cells.ledger.worker import countries_of
from deploy.local.postgres import PostgresServer
from deploy.verify import verify
from foundation.clock import SystemClock
from foundation.ledger import payloads as ledger_payloads
from foundation.ledger import reads as ledger_reads
from foundation.ledger.beside import payload
from foundation.ledger.canonical import canonical
from foundation.ledger.entries import AT_S_MAX
from foundation.ledger.erasing import digest_of
from foundation.ledger.export.forms import Format
from foundation.ledger.export.settings import ExportSettings
from foundation.ledger.port import Kind
from foundation.mute import Secret
from foundation.words import CellId, Verb
from gateway.cli.main import cli
from routing_rules.rules import load
from tests.stands.cell import Stand, stand
from tests.stands.collector import collecting
from tests.stands.crossings import TWO_REGIONS, book, crossing, gateway, operator, shown
from tests.stands.directory import Callers, running_directory
from tests.stands.ledger import SIGNER, kept_by, reader
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.shard import CELL
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


def told(folder: Path, kind: Kind) -> list[dict[str, Any]]:
    """Payloads of a log's entries of a kind, in order; None for each that is not there."""
    log = folder / "log"
    if not (log / "checkpoint").exists():
        return []
    found = [one for one in reader(log).newest() if one.entry.kind == kind]
    held = [payload(log, one) for one in reversed(found)]
    return [msgspec.json.decode(msgspec.json.encode(one)) for one in held if one is not None]


async def eventually_told(folder: Path, kind: Kind, **members: Any) -> dict[str, Any]:
    """The newest payload of a kind with these members or details, once it stands in the log."""

    def fitting() -> list[dict[str, Any]]:
        return [one for one in told(folder, kind) if members.items() <= (one | one["details"]).items()]

    await eventually(fitting)
    return fitting()[-1]


# --- the directory's ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def callers(database: Secret[str], folder: Path) -> AsyncIterator[Callers]:
    """A directory that keeps a log in folder/log, with rules."""
    async with running_directory(database, ServiceIssuer(folder), ledger=kept_by(folder)) as running:
        assert (await running.callers.publisher.publish()).status_code == 201
        yield running.callers


async def test_placements_stand_in_the_log(callers: Callers, folder: Path) -> None:
    placed = await callers.active("ada")
    first = await eventually_told(folder, Kind.PLACEMENT, to="reserved", subject_id=placed["subject_id"])
    assert (first["details"]["cell"], first["details"]["from"]) == (placed["cell"], None)
    await eventually_told(folder, Kind.PLACEMENT, to="active", subject_id=placed["subject_id"])


async def test_policy_changes_stand_in_the_log_with_their_digests(callers: Callers, folder: Path) -> None:
    current = (await callers.resolver.get("/v1/rules/current")).json()
    event = await eventually_told(folder, Kind.RULES, digest=current["digest"])
    assert event["details"]["before"] is None


async def test_registry_changes_stand_in_the_log_with_their_digests(callers: Callers, folder: Path) -> None:
    body = msgspec.json.encode({"reason": "test", "weight": 2.5})
    headers = {"if-match": '"0"', "content-type": "application/json"}
    assert (await callers.operator.raw("PUT", "/v1/registry/cells/eu-de", body, headers)).status_code == 200
    event = await eventually_told(folder, Kind.REGISTRY)
    details = event["details"]
    assert details["digest"] == f"sha256:{hashlib.sha256(canonical(details['after'])).hexdigest()}"
    assert details["rules"] == (await callers.resolver.get("/v1/rules/current")).json()["digest"]
    assert (details["after"]["entry"], details["after"]["weight"]) == ("cells/eu-de", 2.5)


async def test_sign_ins_of_operators_stand_in_the_log_once_a_token(callers: Callers, folder: Path) -> None:
    for _ in range(3):
        assert (await callers.operator.get("/v1/rules/current")).status_code == 200
    event = await eventually_told(folder, Kind.SIGN_IN, actor="operator:ops")
    assert (event["details"]["service"], event["details"]["roles"]) == ("directory", ["operator"])
    await eventually_told(folder, Kind.SIGN_IN, actor="operator:rules")
    await callers.active("ada")
    await eventually_told(folder, Kind.PLACEMENT, to="active")
    actors = [one["actor"] for one in told(folder, Kind.SIGN_IN)]
    assert sorted(actors) == ["operator:ops", "operator:rules"]


async def test_reads_of_the_directorys_log_stand_in_it(
    callers: Callers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_reads, "WINDOW_S", 0.0)
    await eventually_told(folder, Kind.RULES)
    size = reader(folder / "log").checkpoint.size
    assert (await callers.operator.get("/ledger/checkpoint")).status_code == 200
    assert (await callers.operator.get(f"/ledger/tile/0/000.p/{size}")).status_code == 200
    file = f"entries/000.p/{size}"
    assert (await callers.operator.get(f"/ledger/tile/{file}")).status_code == 200
    begun = await eventually_told(folder, Kind.LEDGER_READ, begun=True)
    assert (begun["actor"], begun["details"]["file"]) == ("operator:ops", f"tile/{file}")
    summary = await eventually_told(folder, Kind.LEDGER_READ, count=1)
    assert [read["file"] for read in summary["details"]["reads"]] == [f"tile/{file}"]
    stated = {"command": "show", "first": 0, "count": 3, "payloads": True}
    assert (await callers.operator.post("/ledger/reads", stated)).status_code == 201
    await eventually_told(folder, Kind.LEDGER_READ, actor="operator:ops", **stated)
    assert (await callers.resolver.post("/ledger/reads", stated)).status_code == 403
    assert (await callers.operator.post("/ledger/reads", stated | {"first": -1})).status_code == 400


async def test_a_subject_is_erased_from_the_directorys_log(callers: Callers, folder: Path) -> None:
    ada, bea = (await callers.active("ada"))["subject_id"], (await callers.active("bea"))["subject_id"]
    answer = await callers.operator.post("/ledger/erasures", {"subject_id": ada})
    assert (answer.status_code, answer.json()["done"]) == (200, True), answer.text
    assert answer.json()["erased"] >= 2
    assert (await callers.operator.get(f"/ledger/erasures/{answer.json()['id']}")).json() == answer.json()
    event = await eventually_told(folder, Kind.ERASURE, actor="operator:ops")
    assert event["details"] == {"subject": digest_of(ada), **{n: answer.json()[n] for n in ("erased", "through")}}
    assert event["subject_id"] is None
    assert bea in {one["subject_id"] for one in told(folder, Kind.PLACEMENT)}
    assert ada not in json.dumps([told(folder, kind) for kind in Kind])
    assert (await callers.operator.post("/ledger/erasures", {"subject_id": "ada"})).status_code == 400
    assert (await callers.resolver.post("/ledger/erasures", {"subject_id": ada})).status_code == 403
    assert (await callers.operator.get("/ledger/erasures/none")).status_code == 404


async def test_a_directory_without_a_log_has_nothing_to_state_or_erase(database: Secret[str], folder: Path) -> None:
    async with running_directory(database, ServiceIssuer(folder), workers=False) as one:
        subject = {"subject_id": "aaaaaaaa-0000-4000-8000-00000000000a"}
        stated = {"command": "show", "first": 0, "count": 3, "payloads": True}
        for path, body in (("reads", stated), ("erasures", subject)):
            assert (await one.callers.operator.post(f"/ledger/{path}", body)).status_code == 404


# --- a cell's ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def built(postgres_server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    """A cell, not yet running, that will keep a log in folder/log."""
    async with stand(postgres_server, folder, monkeypatch, policy=TWO_REGIONS) as made:
        made.ledger = kept_by(folder)
        yield made


@pytest.fixture
async def live(built: Stand) -> AsyncIterator[Stand]:
    async with built.running():
        yield built


async def test_what_a_cell_does_and_refuses_stands_in_its_log(live: Stand, folder: Path) -> None:
    subject, epoch = await live.place("ada")
    await eventually_told(folder, Kind.FENCE, subject_id=subject, epoch=epoch, state="active")
    made = crossing(live, subject)
    assert (await book(live, made)).status_code == 204
    event = await eventually_told(folder, Kind.CROSSING, subject_id=subject, ground=made["ground"], rules=made["rules"])
    assert (event["id"], event["actor"]) == (f"crossing:{made['id']}", "gateway:eu")
    refused = {"id": "r" * 16, "at": SystemClock().unix_s(), "kind": "refusal", "actor": subject, "subject_id": subject}
    refused["details"] = {"code": "residency_refused", "ground": "no instrument"}
    answer = await live.call("POST", "/cell/events", gateway(live), json={"events": [refused]})
    assert answer.status_code == 204
    await eventually_told(folder, Kind.REFUSAL, subject_id=subject, code="residency_refused")
    assert len((await shown(live, subject))["entries"]) == 2
    await eventually_told(folder, Kind.ACCESS, subject_id=subject, actor="operator:ada", read="crossings")
    await eventually_told(folder, Kind.SIGN_IN, actor="operator:ada", service=f"cell:{CELL}", roles=["operator"])
    asked = {"subject_id": subject, "verb": Verb.READ.value}
    assert (await live.call("POST", "/cell/jobs/decisions", live.service(), json=asked)).status_code == 200
    await eventually_told(folder, Kind.JOB_DECISION, subject_id=subject, actor="service:orders")
    answer = await live.call("POST", "/cell/signup", live.signing_up("bea"), json={"services": []})
    assert answer.status_code == 201, answer.text
    await eventually_told(folder, Kind.SIGNUP, subject_id=answer.json()["subject_id"])
    for prefix in ("erasure:", "ledger_read:", "sign_in:"):
        forged = refused | {"id": prefix + "x" * 16}
        answer = await live.call("POST", "/cell/events", gateway(live), json={"events": [forged]})
        assert answer.status_code == 400


async def test_an_event_of_a_time_that_no_entry_can_have_is_refused_and_the_log_goes_on(
    live: Stand, folder: Path
) -> None:
    """What is in the outbox has to find its place in the log: one row that could not would hold up all behind it."""

    async def hand_over(name: str, at: float) -> int:
        event = {"id": name * 16, "at": at, "kind": "refusal", "actor": "gateway:eu", "details": {"name": name}}
        return (await live.call("POST", "/cell/events", gateway(live), json={"events": [event]})).status_code

    assert [await hand_over("a", at) for at in (0.0, -1.0, float(AT_S_MAX), 9e9 + 1e8, 9.9e10)] == [400] * 5
    assert await hand_over("b", AT_S_MAX - 1e-5) == 204
    assert await hand_over("c", SystemClock().unix_s()) == 204
    await eventually_told(folder, Kind.REFUSAL, name="b")
    await eventually_told(folder, Kind.REFUSAL, name="c")


async def test_the_command_erases_a_subject_from_a_cells_log_and_every_proof_stays(live: Stand, folder: Path) -> None:
    ada, _ = await live.place("ada")
    bea, _ = await live.place("bea")
    made = crossing(live, ada)
    assert (await book(live, made)).status_code == 204
    await eventually_told(folder, Kind.CROSSING, subject_id=ada)
    log = folder / "log"
    found = reader(log).find(f"crossing:{made['id']}")
    assert found is not None
    proof = reader(log).prove(found)
    token = folder / "operator.jwt"
    token.write_text(operator(live)["authorization"].removeprefix("Bearer "))
    async with serving(live.cell.app) as port:
        words = ("erase", f"http://127.0.0.1:{port}/ledger", "--subject", ada, "--token-file", str(token), "--json")
        first, second = [await asyncio.to_thread(CliRunner().invoke, cli, ["ledger", *words]) for _ in range(2)]
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert json.loads(first.stdout)["erased"] >= 2
    assert json.loads(second.stdout)["erased"] == 0
    assert ledger_payloads.read(log, found.index) is None
    await eventually(lambda: len(told(folder, Kind.ERASURE)) == 2)
    events = told(folder, Kind.ERASURE)
    assert [(one["subject_id"], one["details"]["subject"]) for one in events] == [(None, digest_of(ada))] * 2
    assert not any(ada.encode() in path.read_bytes() for path in log.rglob("*") if path.is_file())
    assert bea in {one["subject_id"] for one in told(folder, Kind.FENCE)}
    proof.verify(SIGNER.verifier)
    assert verify.main(["log", str(log), "--key", str(folder / "log.vkey")]) == 0


async def test_only_operators_of_this_cell_erase_and_state_readings(live: Stand, folder: Path) -> None:
    subject, _ = await live.place("ada")
    body = {"subject_id": subject}
    for headers, status in (
        ({}, {401}),
        (live.service(), {401, 403}),
        (operator(live, cell="us-va"), {401}),
        (operator(live, roles=("resolver",)), {403}),
    ):
        assert (await live.call("POST", "/ledger/erasures", headers, json=body)).status_code in status
        assert (await live.call("POST", "/ledger/reads", headers, json={})).status_code in status
        assert (await live.call("GET", "/ledger/erasures/x", headers)).status_code in status
    assert (await live.call("POST", "/ledger/erasures", operator(live), json={"subject_id": "x"})).status_code == 400
    # Both tokens for this cell, whatever they may.
    await eventually(lambda: len(told(folder, Kind.SIGN_IN)) == 2)


async def test_a_cell_gives_its_log_on_as_its_settings_say(built: Stand, folder: Path) -> None:
    out = folder / "events.ndjson"
    assert built.ledger is not None
    file = ExportSettings(name="siem", file=str(out), payloads=True)
    built.ledger = msgspec.structs.replace(built.ledger, exports=(file,))
    async with built.running():
        subject, _ = await built.place("ada")
        await eventually(lambda: out.exists() and subject in out.read_text())
        begun = await eventually_told(folder, Kind.LEDGER_READ, actor=f"cell:{CELL}")
        assert begun["details"] == {"export": "siem", "to": str(out), "format": "ocsf", "payloads": True}
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert {one["metadata"]["log_name"] for one in events} == {SIGNER.verifier.name}


async def test_a_cell_that_would_send_payloads_abroad_is_not_ready_and_sends_none(built: Stand) -> None:
    assert built.ledger is not None
    async with collecting() as collector:
        away = ExportSettings(name="away", url=collector.url, payloads=True, country="US")
        told = ExportSettings(name="told", url=collector.url, format=Format.NOTICES, country="US")
        built.ledger = msgspec.structs.replace(built.ledger, exports=(away, told))
        async with opened(built.settings()) as cell, asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker()) for worker in cell.workers.values()]
            await eventually(lambda: cell.mistakes)
            problem = cell.ready()
            assert problem is not None
            assert "away: payloads do not go to US" in problem.detail
            assert "told: payloads do not go to US" in problem.detail
            await eventually(lambda: cell.shards and all(worker.current for worker in cell.shards.values()))
            for task in tasks:
                task.cancel()
        assert collector.keys == []


def test_a_cell_is_in_its_regions_country_and_its_shards() -> None:
    policy = load(TWO_REGIONS).policy
    assert countries_of(policy, CELL) == {"DE"}
    assert countries_of(policy, CellId("us-va")) == frozenset()

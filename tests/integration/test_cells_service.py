"""The cell service with the real directory: fences follow the feed, guards hear of it, people sign up, jobs get decisions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from cells.service.api import LEASE_MS
from deploy.local.postgres import PostgresServer
from foundation.clock import SystemClock
from foundation.decision_header import ServiceVerifier, service_key
from foundation.http import HttpClient
from foundation.ledger.port import Event, Kind
from foundation.mute import Secret
from foundation.words import Country, SubjectId, Verb, mint_subject_id
from gateway.edge.events import Recorder
from tests.stands.cell import CELL, ORDERS, POLICY, ROOT, Stand, decided, stand
from tests.stands.directory import lookup_key
from tests.stands.shard import rows
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def live(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """One running cell; each test has subjects of its own."""
    folder = tmp_path_factory.mktemp("cell")
    with pytest.MonkeyPatch.context() as patch:
        async with stand(postgres_server, folder, patch) as built, built.running():
            yield built


async def everywhere(live: Stand, sql: str, subject: str) -> list[asyncpg.Record]:
    """A subject's rows of every shard."""
    asked = f"{sql} subject_id = '{subject}'"
    return [row for dsns in live.dsns.values() for row in await rows(dsns, asked)]


async def test_a_placement_becomes_active_when_its_shards_fence_stands(live: Stand) -> None:
    subject, epoch = await live.place()
    answer = await live.call("GET", f"/cell/epochs/{subject}", live.service())
    told = answer.json()
    assert (told["epoch"], told["state"], told["lease_ms"]) == (epoch, "active", LEASE_MS)
    found = await everywhere(live, "SELECT epoch, state, services FROM domicile.home WHERE", subject)
    assert [tuple(row) for row in found] == [(epoch, "active", ["orders"])]


async def test_a_new_epoch_reaches_fence_and_guards(live: Stand) -> None:
    subject, epoch = await live.place()
    told = (await live.call("GET", f"/cell/epochs/{subject}", live.service())).json()
    waiting = asyncio.ensure_future(  # noqa: TID251 - awaited below
        live.call("GET", "/cell/changes", live.service(), params={"after": told["change"], "wait_ms": 2000})
    )
    raised = (
        await live.directory.operator.post(f"/v1/subjects/{subject}/epoch", {"epoch": epoch, "reason": "t"})
    ).json()
    changes = (await waiting).json()
    newer = raised["placement"]["epoch"]
    assert changes["changes"] == [{"subject_id": subject, "epoch": newer, "state": "active"}]
    assert changes["reset"] is False
    stale = await live.call("GET", "/records/notes", live.decision(subject, epoch))
    assert (stale.status_code, stale.headers["domicile-refusal"]) == (409, "stale_epoch")
    assert int(stale.headers["domicile-epoch"]) == newer
    assert (await live.call("GET", "/records/notes", live.decision(subject, newer))).status_code == 200


async def test_a_frozen_subject_is_read_and_not_written(live: Stand) -> None:
    subject, epoch = await live.place()
    frozen = await live.directory.operator.post(f"/v1/subjects/{subject}/freeze", {"epoch": epoch, "reason": "t"})
    newer = frozen.json()["placement"]["epoch"]
    await eventually(lambda: live.stands(subject, newer, "frozen"))
    assert (await live.call("GET", "/records/notes", live.decision(subject, newer))).status_code == 200
    refused = await live.call("PATCH", "/records/notes", live.decision(subject, newer), json={"body": "x"})
    assert (refused.status_code, refused.json()["code"]) == (503, "subject_frozen")


async def test_a_number_from_before_a_restart_is_answered_with_a_reset(live: Stand) -> None:
    await live.place()
    newest = live.cell.context.homes.newest
    for after in (0, newest + 1, newest - 100_000):
        answer = (await live.call("GET", "/cell/changes", live.service(), params={"after": after})).json()
        assert answer == {"changes": [], "next": newest, "reset": True, "lease_ms": LEASE_MS}


async def test_events_missed_while_the_cell_was_down_are_caught_up(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        async with built.running():
            subject, epoch = await built.place()
        raised = await built.directory.operator.post(f"/v1/subjects/{subject}/epoch", {"epoch": epoch, "reason": "t"})
        reserved = await built.directory.operator.place("late comer", services=["orders"])
        assert reserved.status_code == 202
        async with built.running():
            newer = raised.json()["placement"]["epoch"]
            await eventually(lambda: built.stands(subject, newer, "active"))
            other = reserved.json()["placement"]
            await eventually(lambda: built.stands(SubjectId(other["subject_id"]), other["epoch"], "active"))


async def test_a_sign_up_places_and_answers_with_the_first_decision(live: Stand) -> None:
    answer = await live.call("POST", "/cell/signup", live.signing_up("ada"), json={"services": []})
    assert answer.status_code == 201, answer.text
    key = Secret(service_key(ROOT.key.reveal(), ORDERS))
    verifier = ServiceVerifier(CELL, ORDERS, {ROOT.kid: key})
    first = verifier.verify(answer.json()["decision"], SystemClock().unix_s())
    assert (first.subject, first.epoch) == (answer.json()["subject_id"], answer.json()["epoch"])
    assert (first.verb, first.actor, first.purpose) == (Verb.WRITE, first.subject, "service")
    header = {"domicile-decision": answer.json()["decision"]}
    written = await live.call("POST", "/records/notes", live.service() | header, json={"body": "hello"})
    assert written.status_code == 201, written.text
    kinds = await everywhere(live, "SELECT kind FROM domicile.outbox WHERE", answer.json()["subject_id"])
    assert "signup" in {row["kind"] for row in kinds}


async def test_what_the_person_declared_and_the_product_knows_goes_to_the_directory(live: Stand) -> None:
    header = live.signing_up("bea", subdivision="DE-BY", citizenships=(Country("DE"),), observed=Country("FR"))
    answer = await live.call("POST", "/cell/signup", header, json={"verified_residence": "FR"})
    assert answer.status_code == 201, answer.text
    assert isinstance(answer.json()["questions"], list)
    path = f"/v1/subjects/{answer.json()['subject_id']}"
    facts = (await live.directory.operator.get(path)).json()["placement"]["facts"]
    assert (facts["residence"], facts["subdivision"], facts["citizenships"]) == ("FR", None, ["DE"])
    placed = (await live.directory.operator.get(f"{path}/history")).json()["entries"][0]["provenance"]
    assert (placed["basis"], placed["declared"]) == ("verified", "DE")
    assert placed["questions"] == answer.json()["questions"]


@pytest.mark.parametrize(
    "body", [{"tags": ["heatlh"]}, {"terms": "nowhere"}, {"verified_residence": "fr"}, {"observed": "DE"}]
)
async def test_what_the_product_states_in_no_known_form_is_refused(live: Stand, body: dict[str, object]) -> None:
    answer = await live.call("POST", "/cell/signup", live.signing_up("nobody"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), answer.text


async def test_one_login_signs_up_once(live: Stand) -> None:
    answers = await asyncio.gather(
        *(live.call("POST", "/cell/signup", live.signing_up("twin"), json={}) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"key_taken"}


async def test_a_repeated_sign_up_of_one_decision_has_one_effect(live: Stand) -> None:
    header = live.signing_up("again")
    first, second = [await live.call("POST", "/cell/signup", header, json={}) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["subject_id"] == second.json()["subject_id"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("no token", 401, "unauthenticated"),
        ("no decision", 401, "unauthenticated"),
        ("other service's decision", 403, "forbidden"),
        ("ordinary decision", 403, "forbidden"),
        ("residence elsewhere", 451, "no_cell_allowed"),
        ("unknown service", 404, "unknown_service"),
    ],
)
async def test_a_sign_up_that_may_not_be_is_refused(live: Stand, change: str, status: int, code: str) -> None:
    headers, body = live.signing_up("nobody"), {}
    match change:
        case "no token":
            del headers["authorization"]
        case "no decision":
            del headers["domicile-decision"]
        case "other service's decision":
            headers |= live.signing_up("nobody", service="analytics") | live.service()
            headers["domicile-decision"] = live.signing_up("nobody", service="analytics")["domicile-decision"]
        case "ordinary decision":
            headers |= live.decision(mint_subject_id(), 1, service="orders")
        case "residence elsewhere":
            headers = live.signing_up("nobody", residence="BR")
        case "unknown service":
            body = {"services": ["warehouse"]}
    answer = await live.call("POST", "/cell/signup", headers, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    resolved = await live.directory.resolver.post("/v1/resolve", {"keys": [lookup_key("nobody")]})
    assert resolved.json()["found"] == {}


async def test_jobs_get_decisions_as_policy_allows_and_each_is_recorded(live: Stand) -> None:
    subject, epoch = await live.place()
    ask = {"subject_id": subject, "verb": "read"}
    answer = await live.call("POST", "/cell/jobs/decisions", live.service(), json=ask)
    decision = decided(answer)
    assert (decision.actor, decision.epoch, decision.verb) == ("service:orders", epoch, Verb.READ)
    header = {"domicile-decision": answer.json()["decision"]}
    assert (await live.call("GET", "/records/notes", live.service() | header)).status_code == 200
    refused = await live.call("POST", "/records/notes", live.service() | header, json={"body": "x"})
    assert refused.status_code == 403
    recorded = await everywhere(live, "SELECT actor FROM domicile.outbox WHERE kind = 'job_decision' AND", subject)
    assert [row["actor"] for row in recorded] == ["service:orders"]
    for change, service, expected in (
        ({"verb": "write"}, "orders", 403),
        ({}, "analytics", 403),
        ({"subject_id": mint_subject_id()}, "orders", 404),
    ):
        answer = await live.call("POST", "/cell/jobs/decisions", live.service(service), json=ask | change)
        assert answer.status_code == expected


async def test_a_job_of_a_service_the_subject_was_not_placed_for_is_refused(live: Stand) -> None:
    subject, _ = await live.place(services=("analytics",))
    answer = await live.call(
        "POST", "/cell/jobs/decisions", live.service(), json={"subject_id": subject, "verb": "read"}
    )
    assert (answer.status_code, answer.json()["code"]) == (451, "not_placed_for_service")


async def test_events_of_the_regions_gateways_are_kept_once(live: Stand) -> None:
    events = [{"id": f"e{n}", "at": 1.8e9, "kind": "refusal", "actor": "gateway:eu"} for n in range(3)]
    gateway = live.tokens.headers("gateway:eu", ["gateway:eu"])
    for _ in range(2):
        assert (await live.call("POST", "/cell/events", gateway, json={"events": events})).status_code == 204
    kept = await rows(live.dsns["s1"], "SELECT id FROM domicile.outbox WHERE kind = 'refusal' ORDER BY id")
    assert [row["id"] for row in kept] == ["e0", "e1", "e2"]
    stranger = live.tokens.headers("gateway:us", ["gateway:us"])
    assert (await live.call("POST", "/cell/events", stranger, json={"events": []})).status_code == 403
    forged = [events[0] | {"id": "f", "kind": "fence"}]
    assert (await live.call("POST", "/cell/events", gateway, json={"events": forged})).status_code == 400


async def test_an_event_that_no_cell_takes_holds_up_no_other_of_its_gateway(live: Stand) -> None:
    gateway = live.tokens.headers("gateway:eu", ["gateway:eu"])
    recorder = Recorder(lambda: ["cell"])
    for number in range(40):
        name = "fence:forged" if number == 17 else f"held-up-{number}"
        assert recorder.add(Event(id=name, at=1.8e9, kind=Kind.REFUSAL, actor="gateway:eu"))
    transport = httpx.ASGITransport(app=live.cell.app)
    async with HttpClient(transport=transport, headers=gateway) as http:
        delivering = asyncio.ensure_future(recorder.deliver(http))  # noqa: TID251 - cancelled below
        await eventually(lambda: recorder.pending == 0)
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
    kept = await rows(live.dsns["s1"], "SELECT id FROM domicile.outbox WHERE id LIKE 'held-up-%'")
    assert len(kept) == 39


async def test_new_rules_are_followed_and_the_previous_digest_still_counts(live: Stand) -> None:
    subject, epoch = await live.place()
    before = live.decision(subject, epoch)
    published = await live.directory.publisher.publish(POLICY.replace("decision_s = 12", "decision_s = 13"))
    digest = published.json()["digest"]
    await eventually(lambda: live.cell.context.rules.require().digest == digest)
    assert (await live.call("GET", "/records/notes", before)).status_code == 200
    strange = live.decision(subject, epoch, rules="sha256:" + "1" * 64)
    answer = await live.call("GET", "/records/notes", strange)
    assert (answer.status_code, answer.headers["domicile-refusal"]) == (503, "cell_behind")


async def test_without_rules_the_cell_is_not_ready_and_serves_nothing(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch, policy=None) as built:
        starting = asyncio.ensure_future(_started(built))  # noqa: TID251 - awaited below
        await eventually(lambda: hasattr(built, "http"))
        assert (await built.http.get("/readyz")).json()["code"] == "not_ready"
        assert (await built.call("GET", "/records/notes", built.decision(mint_subject_id(), 1))).status_code == 503
        assert (await built.directory.publisher.publish(POLICY)).status_code == 201
        await starting


async def _started(built: Stand) -> None:
    async with built.running():
        assert (await built.http.get("/readyz")).status_code == 200

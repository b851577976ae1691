"""Why a placement is where it is: what was declared and verified, which law, which rules; kept with the history, and made anew for
further services."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from directory.placement.core import PlacementEvent
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.directory import POLICY, Running, running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio

SERVICES = """
[services.shop]
purpose = "service"
hosts = { eu-de = ["127.0.0.1:7301"], us-va = [] }
[services.far]
purpose = "service"
hosts = { eu-de = [], us-va = ["127.0.0.1:7302"] }
"""
WIDER = POLICY + SERVICES


@pytest.fixture
async def running(database: Secret[str], tmp_path: Path) -> AsyncIterator[Running]:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        published = await one.callers.publisher.publish(WIDER)
        assert published.status_code == 201, published.text
        yield one


async def entries(running: Running, subject_id: str) -> list[dict[str, Any]]:
    found = await running.callers.operator.get(f"/v1/subjects/{subject_id}/history")
    listed: list[dict[str, Any]] = found.json()["entries"]
    return listed


async def add(running: Running, held: dict[str, Any], *services: str, **headers: str) -> httpx.Response:
    path = f"/v1/subjects/{held['subject_id']}/services"
    body = {"add": list(services), "epoch": held["epoch"], "reason": "they asked for it"}
    return await running.callers.operator.post(path, body, headers)


async def test_a_placement_keeps_the_law_and_the_rules_that_it_rests_on(running: Running) -> None:
    held = await running.callers.active("ada")
    rules = (await running.callers.resolver.get("/v1/rules/current")).json()["digest"]
    placed, acknowledged = await entries(running, held["subject_id"])
    why = placed["provenance"]
    assert (why["basis"], why["declared"], why["rules"]) == ("declared", None, rules)
    assert why["ground"]
    (law,) = [row for row in why["law"] if row["regime"] == "eu"]
    assert law["row"] == "jurisdictions.csv:2"
    assert "2016/679" in law["law"]
    assert law["source"]
    assert law["as_of"]
    assert law["confidence"] == "high"
    assert acknowledged["provenance"] is None


async def test_the_verified_residence_decides_and_the_declared_one_is_kept(running: Running) -> None:
    calls = running.callers
    answer = await calls.operator.place("ada", residence="DE", verified_residence="US", subdivision="DE-BY")
    placement = answer.json()["placement"]
    assert (placement["cell"], placement["facts"]["residence"]) == ("us-va", "US")
    assert placement["facts"]["subdivision"] is None, "a part of the declared country says nothing of the verified one"
    why = (await entries(running, placement["subject_id"]))[0]["provenance"]
    assert (why["basis"], why["declared"]) == ("verified", "DE")
    same = (await calls.operator.place("bob", residence="DE", verified_residence="DE")).json()["placement"]
    why = (await entries(running, same["subject_id"]))[0]["provenance"]
    assert (why["basis"], why["declared"]) == ("verified", None)


async def test_the_observed_country_decides_nothing_and_is_not_kept(running: Running, database: Secret[str]) -> None:
    calls = running.callers
    plain = (await calls.operator.place("ada")).json()["placement"]
    for name, observed in (("bob", "US"), ("cid", "KP")):
        seen = (await calls.operator.place(name, observed=observed)).json()
        assert (seen["placement"]["cell"], seen["placement"]["facts"]) == ("eu-de", plain["facts"])
        assert isinstance(seen["questions"], list)
    async with connect(database) as db:
        kept = await db.fetch("SELECT provenance::text FROM directory.entry UNION ALL SELECT body FROM directory.feed")
    assert not any('"KP"' in row[0] for row in kept if row[0] is not None)


async def test_the_same_facts_in_other_words_are_the_same_facts(running: Running) -> None:
    calls = running.callers
    one = await calls.operator.place("ada", citizenships=["US", "DE"], subdivision="DE-BY")
    two = await calls.operator.place("bob", citizenships=["DE", "US", "DE"], subdivision="DE-BY")
    assert one.status_code == two.status_code == 202, (one.text, two.text)
    assert one.json()["placement"]["facts"] == two.json()["placement"]["facts"]
    assert one.json()["placement"]["facts"]["citizenships"] == ["DE", "US"]
    none = await calls.operator.place("cid", citizenships=[], subdivision="DE-BY")
    assert none.json()["placement"]["facts"]["citizenships"] == []


async def test_a_misspelt_tag_is_refused_with_the_nearest_one(running: Running) -> None:
    refused = await running.callers.operator.place("ada", tags=["heatlh"])
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
    assert "health" in refused.json()["detail"]


async def test_a_repeat_is_told_the_same_questions(running: Running) -> None:
    first = await running.callers.operator.place("ada", idempotency_key="k", observed="US")
    again = await running.callers.operator.place("ada", idempotency_key="k", observed="US")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()


async def test_another_service_is_added_under_a_new_epoch_and_with_a_reason_of_its_own(running: Running) -> None:
    held = await running.callers.active("ada", services=["orders"])
    done = await add(running, held, "shop", "orders")
    assert done.status_code == 200, done.text
    placement = done.json()["placement"]
    assert placement == held | {"services": ["orders", "shop"], "epoch": placement["epoch"]}
    assert placement["epoch"] > held["epoch"]
    assert done.headers["etag"] == f'"{placement["epoch"]}"'
    last = (await entries(running, held["subject_id"]))[-1]
    assert (last["reason"], last["from"], last["to"]) == ("they asked for it", "active", "active")
    assert last["provenance"]["ground"]
    event = (await running.callers.resolver.feed(0)).events[-1]
    assert isinstance(event, PlacementEvent)
    assert (event.placement.services, event.placement.epoch) == (("orders", "shop"), placement["epoch"])
    stored = (await running.callers.operator.get(f"/v1/subjects/{held['subject_id']}")).json()
    assert stored == {"as_of": event.seq, "placement": placement}
    same = await add(running, placement, "shop")
    assert same.json()["placement"] == placement, "nothing to do"
    assert (await running.callers.resolver.feed(0)).head == event.seq


async def test_a_service_that_the_home_cell_may_not_give_is_refused_with_the_ground(running: Running) -> None:
    held = await running.callers.active("ada", services=["orders"])
    for service in ("far", "nowhere"):
        refused = await add(running, held, service)
        assert (refused.status_code, refused.json()["code"]) == (451, "no_cell_allowed")
        assert refused.json()["ground"]
    found = (await running.callers.operator.get(f"/v1/subjects/{held['subject_id']}")).json()["placement"]
    assert found == held


async def test_a_service_is_added_only_where_the_rules_of_today_allow_the_cell(running: Running) -> None:
    calls = running.callers
    allowing = WIDER.replace('serves = ["eu"]', 'serves = ["eu", "uk"]')
    await calls.publisher.publish(allowing)
    held = await calls.active("ada", residence="GB", services=["orders"])
    await calls.publisher.publish(WIDER)
    assert (await add(running, held, "shop")).status_code == 451
    await calls.publisher.publish(allowing)
    assert (await add(running, held, "shop")).status_code == 200


async def test_a_service_of_another_cell_that_may_hold_the_subject_moves_nobody(running: Running) -> None:
    held = await running.callers.active("ada", services=["orders"])
    cell = """[cells.eu-fr]
region = "eu"
jurisdiction = "eu"
serves = ["eu"]
shards = { s1 = { dsn_env = "EU_FR_S1", country = "FR" } }
"""
    policy = WIDER.replace("us-va = [", 'eu-fr = ["127.0.0.1:7401"], us-va = [') + cell
    published = await running.callers.publisher.publish(policy)
    assert published.status_code == 201, published.text
    refused = await add(running, held, "far")
    assert (refused.status_code, refused.json()["code"]) == (451, "residency_refused")
    assert (refused.json()["cells"], bool(refused.json()["ground"])) == (["eu-fr"], True)


async def test_services_are_added_by_the_epoch_that_is_held(running: Running) -> None:
    held = await running.callers.active("ada", services=["orders"])
    answers = await asyncio.gather(*(add(running, held, "shop") for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 19}
    newest = next(answer.json()["placement"] for answer in answers if answer.status_code == 200)
    assert {answer.json()["epoch"] for answer in answers if answer.status_code == 412} == {newest["epoch"]}
    path = f"/v1/subjects/{held['subject_id']}/services"
    assert (await running.callers.operator.post(path, {"add": ["shop"], "reason": "r"})).status_code == 400
    by_header = {"if-match": f'"{newest["epoch"]}"'}
    assert (await running.callers.operator.post(path, {"add": ["shop"], "reason": "r"}, by_header)).status_code == 200
    for wrong in ([], ["Shop"], ["s"] * 33):
        body = {"add": wrong, "epoch": newest["epoch"], "reason": "r"}
        assert (await running.callers.operator.post(path, body)).status_code == 400
    many = await add(running, newest, *(f"s{n}" for n in range(31)))
    assert (many.status_code, many.json()["code"]) == (400, "bad_request")


async def test_services_are_added_to_nobody_who_is_not_there(running: Running) -> None:
    reserved = (await running.callers.operator.place("ada")).json()["placement"]
    assert (await add(running, reserved, "shop")).status_code == 409
    nobody = reserved | {"subject_id": "00000000-0000-0000-0000-000000000000"}
    assert (await add(running, nobody, "shop")).status_code == 404


async def test_what_an_earlier_version_placed_has_no_reason_and_gets_one_when_it_is_placed_anew(
    running: Running, database: Secret[str]
) -> None:
    held = await running.callers.active("ada", services=["orders"])
    async with connect(database) as db:
        await db.execute("UPDATE directory.history SET provenance = NULL")
    assert [entry["provenance"] for entry in await entries(running, held["subject_id"])] == [None, None]
    assert (await add(running, held, "shop")).status_code == 200
    assert (await entries(running, held["subject_id"]))[-1]["provenance"]["basis"] == "declared"

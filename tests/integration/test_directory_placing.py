"""Placing through the API on a real database: two phases, who may, keys unique, idempotency."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.directory import Running, lookup_key, running_directory
from tests.stands.races import race
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def running(database: Secret[str], tmp_path: Path) -> AsyncIterator[Running]:
    async with running_directory(database, ServiceIssuer(tmp_path)) as one:
        assert (await one.callers.publisher.publish()).status_code == 201
        yield one


async def test_a_placement_is_reserved_until_its_cell_acknowledges(running: Running) -> None:
    calls = running.callers
    placed = await calls.operator.place("ada")
    assert placed.status_code == 202, placed.text
    placement = placed.json()["placement"]
    assert placement["state"] == "reserved"
    assert placement["cell"] == "eu-de"
    assert placement["shard"] in {"s1", "s2"}
    assert placed.headers["etag"] == f'"{placement["epoch"]}"'
    assert placed.headers["location"] == f"/v1/subjects/{placement['subject_id']}"

    path = f"/v1/subjects/{placement['subject_id']}/ack"
    answer = await calls.cell.post(path, {"epoch": placement["epoch"]})
    assert answer.status_code == 200
    assert answer.json()["placement"] == placement | {"state": "active"}
    again = await calls.cell.post(path, {"epoch": placement["epoch"]})
    assert again.json()["placement"] == answer.json()["placement"]

    resolved = (await calls.resolver.post("/v1/resolve", {"keys": [lookup_key("ada"), lookup_key("bob")]})).json()
    assert resolved["found"] == {lookup_key("ada"): placement | {"state": "active"}}
    assert resolved["absent"] == [lookup_key("bob")]
    events = (await calls.resolver.feed(1)).events
    assert [event.placement.state for event in events] == ["reserved", "active"]
    assert events[0].keys_added == (lookup_key("ada"),)
    assert resolved["as_of"] == events[-1].seq


async def test_placing_answers_201_when_the_cell_acknowledges_in_time(running: Running) -> None:
    calls = running.callers

    async def cell() -> None:
        page = await calls.cell.feed(1, wait_ms=5000)
        placement = page.events[0].placement
        await calls.cell.post(f"/v1/subjects/{placement.subject_id}/ack", {"epoch": placement.epoch})

    async with asyncio.TaskGroup() as group:
        group.create_task(cell())
        placed = await calls.operator.place("ada", wait_ms=2000)
    assert placed.status_code == 201, placed.text
    assert placed.json()["placement"]["state"] == "active"


async def test_one_of_many_placements_that_race_for_a_key_wins(running: Running) -> None:
    calls = running.callers
    answers = await race([partial(calls.operator.place, "ada")] * 200)
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 199}
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    assert refused["code"] == "key_taken"
    assert refused["kinds"] == ["login"]
    page = await calls.resolver.feed(1)
    assert len(page.events) == 1, "losers leave nothing in the feed"


async def test_a_race_over_crossed_keys_leaves_no_half_placement(running: Running, database: Secret[str]) -> None:
    def keys(*names: str) -> list[dict[str, str]]:
        return [{"kind": "email", "key": lookup_key(name)} for name in names]

    pairs = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "a")] * 10
    answers = await race([partial(running.callers.operator.place, "x", keys=keys(*pair)) for pair in pairs])
    codes = Counter(answer.status_code for answer in answers)
    assert codes == {202: 1, 409: 39}
    async with connect(database) as db:
        assert await db.fetchval("SELECT count(*) FROM directory.lookup_key") == 2
        assert await db.fetchval("SELECT count(*) FROM directory.subject") == 1


async def test_concurrent_repeats_under_one_idempotency_key_have_one_effect(
    running: Running, database: Secret[str]
) -> None:
    answers = await race([partial(running.callers.operator.place, "ada", idempotency_key="k")] * 50)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["placement"]["subject_id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 49
    async with connect(database) as db:
        assert await db.fetchval("SELECT count(*) FROM directory.subject") == 1


async def test_an_idempotency_key_is_bound_to_its_body_and_its_caller(running: Running) -> None:
    calls = running.callers
    first = await calls.operator.place("ada", idempotency_key="k")
    other = await calls.operator.place("bob", idempotency_key="k")
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_mismatch"
    elsewhere = await calls.cell.place("bob", idempotency_key="k")
    assert elsewhere.status_code == 202
    assert elsewhere.json()["placement"]["subject_id"] != first.json()["placement"]["subject_id"]


async def test_a_repeat_tells_what_became_of_the_placement(running: Running) -> None:
    calls = running.callers
    placement = (await calls.operator.place("ada", idempotency_key="k")).json()["placement"]
    await calls.cell.post(f"/v1/subjects/{placement['subject_id']}/ack", {"epoch": placement["epoch"]})
    again = await calls.operator.place("ada", idempotency_key="k")
    assert again.status_code == 201
    assert again.json()["placement"] == placement | {"state": "active"}


async def test_a_repeat_without_idempotency_key_finds_the_key_taken(running: Running) -> None:
    await running.callers.active("ada")
    again = await running.callers.cell.place("ada")
    assert (again.status_code, again.json()["code"]) == (409, "key_taken")


async def test_an_idempotency_key_is_forgotten_after_its_time(running: Running) -> None:
    changes = running.directory.services.changes
    assert (await running.callers.operator.place("ada", idempotency_key="k")).status_code == 202
    await changes.forget_idempotency_keys(3600)
    assert (await running.callers.operator.place("ada", idempotency_key="k")).status_code == 202
    await changes.forget_idempotency_keys(0)
    again = await running.callers.operator.place("ada", idempotency_key="k")
    assert (again.status_code, again.json()["code"]) == (409, "key_taken")


async def test_rules_place_and_no_caller_names_a_cell(running: Running) -> None:
    calls = running.callers
    us = await calls.operator.place("ada", residence="US")
    assert us.json()["placement"]["cell"] == "us-va"
    nowhere = await calls.operator.place("bob", residence="IN")
    assert (nowhere.status_code, nowhere.json()["code"]) == (451, "no_cell_allowed")
    assert nowhere.json()["ground"]
    named = await calls.operator.place("cid", cell="eu-de")
    assert named.status_code == 400


async def test_a_cell_signs_up_only_whom_the_rules_give_it(running: Running) -> None:
    calls = running.callers
    refused = await calls.cell.place("ada", residence="US")
    assert (refused.status_code, refused.json()["code"]) == (421, "home_elsewhere")
    assert refused.json()["home"] == "https://us.example.com"
    placed = await calls.cell.place("ada", residence="DE")
    assert placed.json()["placement"]["cell"] == "eu-de"


async def test_an_acknowledgement_needs_the_owning_cell_and_the_epoch_that_holds(running: Running) -> None:
    calls = running.callers
    placement = (await calls.operator.place("ada")).json()["placement"]
    path = f"/v1/subjects/{placement['subject_id']}/ack"
    foreign = await calls.cell_us.post(path, {"epoch": placement["epoch"]})
    assert foreign.status_code == 403
    unknown = await calls.cell.post(path, {"epoch": placement["epoch"] + 1})
    assert (unknown.status_code, unknown.json()["code"]) == (409, "stale_epoch")
    assert unknown.json()["epoch"] == placement["epoch"]
    nobody = await calls.cell.post("/v1/subjects/00000000-0000-0000-0000-000000000000/ack", {"epoch": 1})
    assert nobody.status_code == 404
    assert (await calls.operator.get(f"/v1/subjects/{placement['subject_id']}")).json()["placement"] == placement


async def test_nothing_is_placed_before_rules_are_published(database: Secret[str], tmp_path: Path) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path)) as one:
        assert (await one.callers.http.get("/readyz")).status_code == 200
        refused = await one.callers.operator.place("ada")
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert "no rules published yet" in refused.json()["detail"]


async def test_an_unacknowledged_reservation_is_erased_and_gives_its_keys_back(
    database: Secret[str], tmp_path: Path
) -> None:
    async with running_directory(database, ServiceIssuer(tmp_path), reservation_s=0.0, expiry_check_s=0.01) as one:
        calls = one.callers
        await calls.publisher.publish()
        first = await calls.operator.place("ada", idempotency_key="k", wait_ms=2000)
        assert (first.status_code, first.json()["code"]) == (409, "conflict")
        page = await calls.resolver.feed(2, wait_ms=5000)
        erased = page.events[-1]
        assert erased.placement.state == "erased"
        assert erased.keys_removed == (lookup_key("ada"),)
        reserved = (await calls.resolver.feed(1)).events[0].placement
        assert erased.placement.epoch > reserved.epoch
        late = await calls.cell.post(f"/v1/subjects/{reserved.subject_id}/ack", {"epoch": reserved.epoch})
        assert (late.status_code, late.json()["code"]) == (409, "stale_epoch")
        resolved = (await calls.resolver.post("/v1/resolve", {"keys": [lookup_key("ada")]})).json()
        assert resolved["absent"] == [lookup_key("ada")]
        repeat = await calls.operator.place("ada", idempotency_key="k")
        assert (repeat.status_code, repeat.json()["code"]) == (409, "conflict")
        assert (await calls.operator.place("ada")).status_code == 202, "the key is free again"

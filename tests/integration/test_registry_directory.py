"""The registry over the directory's API, on a real database: compare-and-set, refusals, history, drains that hold at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from directory.client.remote import HttpDirectory
from directory.feed.client import FeedFollower
from directory.placement.core import PlacementEvent, RegistryEvent
from directory.registry.client import HeldRegistry, RegistryFollower
from directory.registry.core import cell_name
from foundation.clock import SystemClock
from foundation.http import HttpClient
from foundation.mute import Secret
from foundation.words import CellId
from tests.stands.directory import Caller, Callers, running_directory
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def callers(database: Secret[str], tmp_path: Path) -> AsyncIterator[Callers]:
    async with running_directory(database, ServiceIssuer(tmp_path)) as running:
        assert (await running.callers.publisher.publish()).status_code == 201
        yield running.callers


async def state(caller: Caller, entry: str, version: int, **said: object) -> tuple[int, dict[str, object]]:
    body = msgspec.json.encode({"reason": "test", **said})
    headers = {"if-match": f'"{version}"', "content-type": "application/json"}
    answer = await caller.raw("PUT", f"/v1/registry/{entry}", body, headers)
    return answer.status_code, answer.json()


async def test_an_entry_is_stated_by_compare_and_set(callers: Callers) -> None:
    read = await callers.resolver.get("/v1/registry/cells/eu-de")
    assert (read.status_code, read.headers["etag"]) == (200, '"0"')
    assert await state(callers.operator, "cells/eu-de", 0, weight=2.5) == (
        200,
        {"entry": {"entry": "cells/eu-de", "version": 1, "drain": False, "weight": 2.5, "addresses": None}},
    )
    status, problem = await state(callers.operator, "cells/eu-de", 0, weight=3)
    assert (status, problem["code"], problem["version"]) == (412, "precondition_failed", 1)
    # what holds already is no change, whatever was compared
    assert (await state(callers.operator, "cells/eu-de", 0, weight=2.5))[0] == 200
    assert (await callers.resolver.get("/v1/registry/cells/eu-de")).headers["etag"] == '"1"'


async def test_only_one_of_many_who_hold_the_same_version_wins(callers: Callers) -> None:
    answers = await asyncio.gather(
        *(state(callers.operator, "cells/eu-de", 0, weight=1.0 + one) for one in range(1, 9))
    )
    assert sorted(status for status, _ in answers) == [200] + [412] * 7


async def test_who_may_not_state_and_what_may_not_be_stated_is_refused(callers: Callers) -> None:
    assert (await state(callers.resolver, "cells/eu-de", 0, drain=True))[0] == 403
    assert (await state(callers.cell, "cells/eu-de", 0, drain=True))[0] == 403
    for entry in ("cells/eu-dd", "regions/mars", "cells/eu-de/shards/s7", "services/oders/cells/eu-de"):
        status, problem = await state(callers.operator, entry, 0, drain=True)
        assert (status, problem["code"]) == (404, "not_found"), entry
        assert "policy declares no" in str(problem["detail"])
    status, problem = await state(callers.operator, "services/orders/cells/eu-de", 0, addresses=["10.9.9.9:1"])
    assert (status, problem["code"], problem["addresses"]) == (422, "unprocessable", ["10.9.9.9:1"])
    for bad in ({"weight": 0}, {"weight": -1}, {"addresses": []}, {"unknown": 1}):
        assert (await state(callers.operator, "cells/eu-de", 0, **bad))[0] == 400, bad
    body = msgspec.json.encode({"reason": "test"})
    without = await callers.operator.raw("PUT", "/v1/registry/cells/eu-de", body)
    assert (without.status_code, without.json()["code"]) == (400, "bad_request")


async def test_the_list_names_everything_that_policy_declares(callers: Callers) -> None:
    await state(callers.operator, "regions/us", 0, drain=True)
    listed = (await callers.resolver.get("/v1/registry")).json()
    said = {one["entry"]: one["drain"] for one in listed["entries"]}
    assert set(said) == {
        "regions/eu", "regions/us", "cells/eu-de", "cells/us-va", "cells/eu-de/shards/s1", "cells/eu-de/shards/s2",
        "cells/us-va/shards/s1", "services/orders/cells/eu-de", "services/orders/cells/us-va",
        "services/records/cells/eu-de", "services/records/cells/us-va",
    }  # fmt: skip
    assert [name for name, drain in said.items() if drain] == ["regions/us"]
    assert listed["as_of"] == (await callers.resolver.feed()).head


async def test_history_tells_who_said_what_and_why(callers: Callers) -> None:
    await state(callers.operator, "cells/eu-de", 0, drain=True)
    await state(callers.operator, "cells/us-va", 0, weight=4)
    await state(callers.operator, "cells/eu-de", 1, drain=False)
    first = (await callers.operator.get("/v1/registry/history", limit=2)).json()
    assert [(one["entry"], one["version"]) for one in first["entries"]] == [("cells/eu-de", 2), ("cells/us-va", 1)]
    rest = (await callers.operator.get("/v1/registry/history", limit=2, cursor=first["next"])).json()
    assert [(one["entry"], one["drain"], one["actor"], one["reason"]) for one in rest["entries"]] == [
        ("cells/eu-de", True, "operator:ops", "test")
    ]
    only = (await callers.operator.get("/v1/registry/history", entry="cells/us-va")).json()
    assert [one["weight"] for one in only["entries"]] == [4]


async def test_a_drained_shard_takes_nobody_from_the_answer_on(callers: Callers) -> None:
    assert (await state(callers.operator, "cells/eu-de/shards/s1", 0, drain=True))[0] == 200
    placed = [await callers.operator.place(f"p{number}") for number in range(24)]
    assert {one.json()["placement"]["shard"] for one in placed} == {"s2"}


async def test_a_drained_cell_refuses_new_people_until_it_is_opened_again(callers: Callers) -> None:
    before = (await callers.active("early"))["subject_id"]
    await state(callers.operator, "cells/eu-de", 0, drain=True)
    refused = await callers.operator.place("late")
    assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert refused.json()["cells"] == ["eu-de"]
    assert int(refused.headers["retry-after"]) > 0
    # whoever is there stays there, and another jurisdiction's cell goes on
    assert (await callers.resolver.get(f"/v1/subjects/{before}")).json()["placement"]["state"] == "active"
    assert (await callers.operator.place("american", residence="US")).status_code == 202
    await state(callers.operator, "cells/eu-de", 1, drain=False)
    assert (await callers.operator.place("late")).status_code == 202


async def test_no_placement_stands_in_the_feed_after_the_drain_of_its_shard(callers: Callers) -> None:
    """Placements race the drain: whichever commits later has seen it."""

    async def placing(worker: int) -> None:
        for number in range(12):
            answer = await callers.operator.place(f"w{worker}-{number}")
            assert answer.status_code == 202, answer.text

    async def draining() -> None:
        await eventually(lambda: _placed_more_than(callers, 5))
        assert (await state(callers.operator, "cells/eu-de/shards/s1", 0, drain=True))[0] == 200

    async with asyncio.TaskGroup() as group:
        for worker in range(6):
            group.create_task(placing(worker))
        group.create_task(draining())
    events = (await callers.resolver.feed()).events
    drained = next(event.seq for event in events if isinstance(event, RegistryEvent))
    placed = [event for event in events if isinstance(event, PlacementEvent)]
    assert {one.placement.shard for one in placed if one.seq > drained} == {"s2"}
    assert {one.placement.shard for one in placed if one.seq < drained} == {"s1", "s2"}


async def _placed_more_than(callers: Callers, count: int) -> bool:
    return (await callers.resolver.feed(limit=1)).head > count


async def test_a_follower_knows_what_was_said_before_and_what_is_said_then(callers: Callers) -> None:
    await state(callers.operator, "cells/eu-de", 0, drain=True)
    headers = callers.resolver._headers
    transport = callers.http._transport
    held = HeldRegistry()
    async with HttpClient(transport=transport, base_url="http://directory", headers=headers) as http:
        source = HttpDirectory(http)
        feed = FeedFollower(source, SystemClock(), wait_ms=200)
        follower = RegistryFollower(source, feed, held)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(feed.run()), group.create_task(follower.run())]
            await eventually(lambda: held.current.of(cell_name(CellId("eu-de"))).drain)
            await state(callers.operator, "cells/eu-de", 1, drain=False)
            await eventually(lambda: held.current.of(cell_name(CellId("eu-de"))).version == 2)
            assert not held.current.of(cell_name(CellId("eu-de"))).drain
            for task in tasks:
                task.cancel()

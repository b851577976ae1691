"""States, epochs, history, listing and roles through the API on a real database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.directory import Caller, Running, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def running(database: Secret[str], tmp_path: Path) -> AsyncIterator[Running]:
    async with running_directory(database, ServiceIssuer(tmp_path), workers=False) as one:
        assert (await one.callers.publisher.publish()).status_code == 201
        yield one


async def change(caller: Caller, placement: dict[str, Any], word: str, **headers: str) -> Any:
    path = f"/v1/subjects/{placement['subject_id']}/{word}"
    return await caller.post(path, {"epoch": placement["epoch"], "reason": "because"}, headers)


async def test_each_change_takes_a_newer_epoch_and_stands_in_feed_and_history(running: Running) -> None:
    calls = running.callers
    held = await calls.active("ada")
    epochs, states = [held["epoch"]], []
    for word in ("freeze", "epoch", "unfreeze", "epoch"):
        answer = await change(calls.operator, held, word)
        assert answer.status_code == 200, answer.text
        held = answer.json()["placement"]
        assert answer.headers["etag"] == f'"{held["epoch"]}"'
        epochs.append(held["epoch"])
        states.append(held["state"])
    assert states == ["frozen", "frozen", "active", "active"]
    assert epochs == sorted(set(epochs))

    page = await calls.resolver.feed(3)
    assert [event.placement.epoch for event in page.events] == epochs[1:]
    assert all(not event.keys_added and not event.keys_removed for event in page.events)

    history = (await calls.operator.get(f"/v1/subjects/{held['subject_id']}/history")).json()["entries"]
    assert [entry["number"] for entry in history] == [1, 2, 3, 4, 5, 6]
    assert [(entry["from"], entry["to"]) for entry in history[:3]] == [
        (None, "reserved"),
        ("reserved", "active"),
        ("active", "frozen"),
    ]
    assert [entry["actor"] for entry in history[:3]] == ["operator:ops", "cell:eu-de", "operator:ops"]
    assert history[2]["reason"] == "because"
    assert [entry["at"] for entry in history] == sorted(entry["at"] for entry in history)


async def test_a_change_under_an_epoch_that_moved_on_is_refused(running: Running) -> None:
    calls = running.callers
    held = await calls.active("ada")
    newer = (await change(calls.operator, held, "freeze")).json()["placement"]
    for word in ("freeze", "unfreeze", "epoch"):
        refused = await change(calls.operator, held, word)
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
        assert refused.json()["epoch"] == newer["epoch"]


async def test_if_match_is_honoured(running: Running) -> None:
    calls = running.callers
    held = await calls.active("ada")
    path = f"/v1/subjects/{held['subject_id']}/epoch"
    old = await calls.operator.post(path, {"reason": "r"}, {"if-match": f'"{held["epoch"] + 1}"'})
    assert old.status_code == 412
    differing = await change(calls.operator, held, "epoch", **{"if-match": f'"{held["epoch"] + 1}"'})
    assert differing.status_code == 400
    current = await calls.operator.post(path, {"reason": "r"}, {"if-match": f'"{held["epoch"]}"'})
    assert current.status_code == 200
    neither = await calls.operator.post(path, {"reason": "r"})
    assert neither.status_code == 400


async def test_of_many_changes_under_one_epoch_exactly_one_happens(running: Running) -> None:
    held = await running.callers.active("ada")
    answers = await asyncio.gather(*(change(running.callers.operator, held, "epoch") for _ in range(40)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 39}


async def test_a_state_that_does_not_allow_a_change_refuses_it(running: Running) -> None:
    calls = running.callers
    reserved = (await calls.operator.place("ada")).json()["placement"]
    active = await calls.active("bob")
    for held, word in ((reserved, "freeze"), (reserved, "epoch"), (active, "unfreeze")):
        refused = await change(calls.operator, held, word)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert refused.json()["state"] == held["state"]


async def test_pages_of_subjects_repeat_and_skip_nothing_while_others_are_placed(running: Running) -> None:
    calls = running.callers
    before = {(await calls.active(f"p{n}"))["subject_id"] for n in range(12)}
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await calls.operator.get("/v1/subjects", cell="eu-de", limit=5, **cursor)).json()
        seen += [one["subject_id"] for one in page["subjects"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
        await calls.operator.place(f"later{len(seen)}")
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


async def test_lists_are_filtered_by_cell_and_state(running: Running) -> None:
    calls = running.callers
    active = await calls.active("ada")
    reserved = (await calls.operator.place("bob")).json()["placement"]
    abroad = (await calls.operator.place("cid", residence="US")).json()["placement"]

    async def ids(**query: str) -> set[str]:
        answer = await calls.operator.get("/v1/subjects", **query)
        return {one["subject_id"] for one in answer.json()["subjects"]}

    assert await ids(cell="eu-de") == {active["subject_id"], reserved["subject_id"]}
    assert await ids(state="reserved") == {reserved["subject_id"], abroad["subject_id"]}
    assert await ids(state="active") == {active["subject_id"]}
    assert await ids(cell="us-va", state="reserved") == {abroad["subject_id"]}
    assert await ids(cell="us-va", state="active") == set()
    assert (await calls.operator.get("/v1/subjects", state="nowhere")).status_code == 400
    assert (await calls.operator.get("/v1/subjects", cursor="nonsense")).status_code == 400


async def test_history_is_paged(running: Running) -> None:
    calls = running.callers
    held = await calls.active("ada")
    for _ in range(3):
        held = (await change(calls.operator, held, "epoch")).json()["placement"]
    path = f"/v1/subjects/{held['subject_id']}/history"
    first = (await calls.operator.get(path, limit=3)).json()
    second = (await calls.operator.get(path, limit=3, cursor=first["next"])).json()
    assert [one["number"] for one in first["entries"] + second["entries"]] == [1, 2, 3, 4, 5]
    assert second["next"] is None
    assert (await calls.operator.get("/v1/subjects/00000000-0000-0000-0000-000000000000/history")).status_code == 404


async def test_a_thousand_keys_are_resolved_in_one_answer(running: Running) -> None:
    calls = running.callers
    keys = [lookup_key(f"k{n}") for n in range(1000)]
    placed = {name: (await calls.operator.place(name)).json()["placement"] for name in ("k3", "k500")}
    resolved = (await calls.resolver.post("/v1/resolve", {"keys": [*keys[:999], keys[3]]})).json()
    assert resolved["found"] == {lookup_key(name): placement for name, placement in placed.items()}
    assert sorted(resolved["absent"]) == sorted(set(keys[:999]) - {keys[3], keys[500]})
    too_many = await calls.resolver.post("/v1/resolve", {"keys": [*keys, lookup_key("more")]})
    assert too_many.status_code == 400


async def test_subject_ids_are_resolved_whatever_their_state(running: Running) -> None:
    calls = running.callers
    placement = (await calls.operator.place("ada")).json()["placement"]
    nobody = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"
    resolved = (
        await calls.resolver.post("/v1/resolve", {"subjects": [placement["subject_id"].upper(), nobody]})
    ).json()
    assert resolved["found"] == {placement["subject_id"]: placement}
    assert resolved["absent"] == [nobody]
    for body in (
        {},
        {"keys": []},
        {"keys": [lookup_key("a")], "subjects": [nobody]},
        {"keys": ["short"]},
        {"other": 1},
    ):
        assert (await calls.resolver.post("/v1/resolve", body)).status_code == 400, body


async def test_every_call_refuses_callers_without_its_role(running: Running) -> None:
    calls = running.callers
    held = await calls.active("ada")
    subject = f"/v1/subjects/{held['subject_id']}"
    place = {
        "residence": "DE",
        "services": ["orders"],
        "keys": [{"kind": "login", "key": lookup_key("x")}],
        "reason": "r",
    }
    change_body = {"epoch": held["epoch"], "reason": "r"}
    gets = {
        subject: {"resolver", "operator"},
        "/v1/subjects": {"operator"},
        "/v1/subjects?cell=eu-de": {"operator", "cell:eu-de"},
        f"{subject}/history": {"operator"},
        "/v1/feed": {"resolver", "operator"},
        "/v1/rules/current": {"resolver", "operator", "rules"},
        "/v1/rules/history": {"resolver", "operator", "rules"},
    }
    posts: dict[str, tuple[Any, set[str]]] = {
        "/v1/resolve": ({"keys": [lookup_key("ada")]}, {"resolver", "operator"}),
        "/v1/rules": ({"policy": "x", "reason": "r"}, {"rules"}),
        "/v1/rules/rollback": ({"digest": f"sha256:{'0' * 64}", "reason": "r"}, {"rules"}),
        "/v1/subjects?wait_ms=0": (place, {"operator", "signup:eu-de", "signup:us-va"}),
        f"{subject}/ack": ({"epoch": held["epoch"]}, {"cell:eu-de"}),
        f"{subject}/freeze": (change_body | {"epoch": 1}, {"operator"}),
        f"{subject}/unfreeze": (change_body | {"epoch": 1}, {"operator"}),
        f"{subject}/epoch": (change_body | {"epoch": 1}, {"operator"}),
        f"{subject}/services": (change_body | {"epoch": 1, "add": ["orders"]}, {"operator"}),
    }
    roles = ["resolver", "operator", "rules", "cell:eu-de", "cell:us-va", "cell:", "signup:eu-de", "signup:us-va", "x"]
    for role in roles:
        caller = calls.of("somebody", role)
        for path, may in gets.items():
            assert ((await caller.get(path)).status_code != 403) == (role in may), (role, path)
        for path, (body, may) in posts.items():
            assert ((await caller.post(path, body)).status_code != 403) == (role in may), (role, path)
    for path in (*gets, *posts):
        answer = await calls.http.request("GET" if path in gets else "POST", path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_every_change_is_recorded_in_the_outbox_once(running: Running, database: Secret[str]) -> None:
    calls = running.callers
    held = await calls.active("ada")
    await change(calls.operator, held, "freeze")
    await change(calls.operator, held, "freeze")
    async with connect(database) as db:
        rows = await db.fetch(
            "SELECT kind, actor, subject_id::text, details->>'to' AS \"to\" FROM directory.outbox "
            "WHERE kind <> 'sign_in' ORDER BY position"
        )
    assert [(row["kind"], row["actor"], row["to"]) for row in rows] == [
        ("rules", "operator:rules", None),
        ("placement", "operator:ops", "reserved"),
        ("placement", "cell:eu-de", "active"),
        ("placement", "operator:ops", "frozen"),
    ]
    assert {row["subject_id"] for row in rows[1:]} == {held["subject_id"]}

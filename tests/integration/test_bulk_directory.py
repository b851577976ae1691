"""Bulk jobs over the directory's API, on a real database: one transaction and one event a batch, refusals by row, repeats."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from directory.placement.core import BulkEvent, PlacementEvent
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.bulk import batch, job, row, rows
from tests.stands.directory import Callers, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def callers(database: Secret[str], tmp_path: Path) -> AsyncIterator[Callers]:
    async with running_directory(database, ServiceIssuer(tmp_path)) as running:
        assert (await running.callers.publisher.publish()).status_code == 201
        yield running.callers


async def test_a_batch_places_everybody_by_the_rules_under_one_event(callers: Callers) -> None:
    ops = callers.operator
    mixed = [*rows(30), *rows(10, first=30, residence="US")]
    told = await batch(ops, await job(ops), 0, mixed)
    assert (told["placed"], told["known"], told["refused"]) == (40, 0, [])
    assert told["cells"] == {"eu-de": 30, "us-va": 10}
    events = (await callers.resolver.feed(1)).events
    assert len(events) == 1
    event = events[0]
    assert isinstance(event, BulkEvent)
    assert event.state == "reserved"
    assert sum(part.count for part in event.parts) == 40
    assert {(part.cell, part.shard) for part in event.parts} == {("eu-de", "s1"), ("eu-de", "s2"), ("us-va", "s1")}
    found = (await callers.resolver.post("/v1/resolve", {"keys": [lookup_key("bulk-35"), lookup_key("bulk-3")]})).json()
    assert {one["cell"]: one["state"] for one in found["found"].values()} == {"us-va": "reserved", "eu-de": "reserved"}
    placement = found["found"][lookup_key("bulk-3")]
    assert placement["facts"]["residence"] == "DE"
    assert placement["services"] == ["orders", "records"]
    history = (await ops.get(f"/v1/subjects/{placement['subject_id']}/history")).json()["entries"]
    assert [(one["to"], one["reason"], one["actor"]) for one in history] == [("reserved", "moving in", "operator:ops")]
    assert history[0]["provenance"]["basis"] == "declared"


async def test_rows_that_cannot_be_placed_are_refused_by_name_and_stop_no_other(callers: Callers) -> None:
    ops = callers.operator
    assert (await ops.place("somebody")).status_code == 202
    given = [
        row(0),
        row(1, residence="BR"),
        row(2, services=["nothing"]),
        row(3, tags=["no such tag"]),
        row(4, keys=[{"kind": "login", "key": lookup_key("bulk-4")}, {"kind": "login", "key": lookup_key("somebody")}]),
        row(5, keys=[{"kind": "login", "key": lookup_key("x")}] * 2),
        row(6, name="somebody", residence="US"),
        row(7, name="bulk-0", residence="US"),
    ]
    told = await batch(ops, await job(ops), 0, given)
    assert told["placed"] == 1
    assert {one["row"]: one["code"] for one in told["refused"]} == {
        1: "no_cell_allowed",
        2: "no_cell_allowed",
        3: "bad_request",
        4: "key_taken",
        5: "bad_request",
        6: "conflict",
        7: "conflict",
    }
    assert all(one["detail"] for one in told["refused"])


async def test_a_repeat_has_one_effect_however_it_comes(callers: Callers) -> None:
    ops = callers.operator
    first = await job(ops)
    told = await batch(ops, first, 0, rows(20))
    assert await batch(ops, first, 0, rows(20)) == told
    head = (await callers.resolver.feed()).head
    # the same people in another batch, and in another job
    assert (await batch(ops, first, 1, rows(20)))["known"] == 20
    assert (await batch(ops, await job(ops), 0, rows(20)))["known"] == 20
    assert (await callers.resolver.feed()).head == head
    other = await ops.post(f"/v1/bulk/{first}/batches", {"number": 0, "rows": rows(21)})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def named(given: list[dict[str, Any]], kid: str) -> list[dict[str, Any]]:
    return [one | {"keys": [key | {"kid": kid} for key in one["keys"]]} for one in given]


async def test_a_batch_that_came_without_the_names_of_blinding_keys_is_the_same_with_them(callers: Callers) -> None:
    """As when a newer command line goes on with the job of an older one."""
    ops = callers.operator
    begun = await job(ops)
    told = await batch(ops, begun, 0, rows(20))
    assert await batch(ops, begun, 0, named(rows(20), "k1")) == told
    other = await ops.post(f"/v1/bulk/{begun}/batches", {"number": 0, "rows": named(rows(21), "k1")})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert (await ops.get("/v1/aliases/generations")).json()["generations"] == [
        {"kid": None, "keys": {"login": 20}, "alone": 20}
    ]


async def test_somebody_known_under_one_blinding_key_is_known_when_a_row_states_two(callers: Callers) -> None:
    ops = callers.operator
    await batch(ops, await job(ops), 0, named(rows(5), "k1"))

    def both(number: int, *, old: str) -> dict[str, Any]:
        new = {"kind": "login", "key": lookup_key(f"new-{number}"), "kid": "k2"}
        return row(number, keys=[new, {"kind": "login", "key": lookup_key(old), "kid": "k1"}])

    told = await batch(ops, await job(ops), 0, [both(number, old=f"bulk-{number}") for number in range(7)])
    assert (told["placed"], told["known"], told["refused"]) == (2, 5, [])
    second = {"kind": "email", "key": lookup_key("mail"), "kid": "k1"}
    mixed = row(0, keys=[*named([row(0)], "k1")[0]["keys"], second])
    assert (await batch(ops, await job(ops), 0, [mixed]))["refused"][0]["code"] == "key_taken"
    two = row(0, keys=[{"kind": "login", "key": lookup_key("bulk-0"), "kid": "k1"},
                       {"kind": "login", "key": lookup_key("bulk-1"), "kid": "k2"}])  # fmt: skip
    assert (await batch(ops, await job(ops), 0, [two]))["refused"][0]["code"] == "key_taken"


async def test_batches_at_the_same_time_never_place_a_person_twice(callers: Callers, database: Secret[str]) -> None:
    ops = callers.operator
    ids = [await job(ops) for _ in range(4)]
    told = await asyncio.gather(*(batch(ops, one, 0, rows(60)[:: 1 if at % 2 else -1]) for at, one in enumerate(ids)))
    assert sum(one["placed"] for one in told) == 60
    assert sum(one["known"] for one in told) == 180
    async with connect(database) as connection:
        assert await connection.fetchval("SELECT count(*) FROM directory.subject") == 60
        assert await connection.fetchval("SELECT count(*) FROM directory.lookup_key") == 60


async def test_a_check_stores_nothing_and_says_what_would_become_of_the_rows(
    callers: Callers, database: Secret[str]
) -> None:
    ops = callers.operator
    await batch(ops, await job(ops), 0, rows(5))
    head = (await callers.resolver.feed()).head
    answer = await ops.post("/v1/bulk/check", {"rows": [*rows(8), row(9, residence="US"), row(10, residence="BR")]})
    told = answer.json()
    assert (told["placed"], told["known"], told["cells"]) == (4, 5, {"eu-de": 3, "us-va": 1})
    assert [one["row"] for one in told["refused"]] == [10]
    assert (await callers.resolver.feed()).head == head
    async with connect(database) as connection:
        assert await connection.fetchval("SELECT count(*) FROM directory.subject") == 5


async def test_a_drained_shard_takes_no_imported_person(callers: Callers) -> None:
    ops = callers.operator
    drained = await ops.raw(
        "PUT", "/v1/registry/cells/eu-de/shards/s1", b'{"reason": "t", "drain": true}', {"if-match": '"0"'}
    )
    assert drained.status_code == 200
    await batch(ops, await job(ops), 0, rows(40))
    event = (await callers.resolver.feed(2)).events[0]
    assert isinstance(event, BulkEvent)
    assert [(part.shard, part.count) for part in event.parts] == [("s2", 40)]


async def test_a_part_is_acknowledged_by_its_own_cell_alone_and_once(callers: Callers) -> None:
    ops = callers.operator
    job_id = await job(ops)
    await batch(ops, job_id, 0, rows(25, residence="US"))
    assert (await ops.get(f"/v1/bulk/{job_id}")).json()["waiting"] == 25
    waiting = (await callers.cell_us.get("/v1/bulk/parts/waiting", cell="us-va", shard="s1")).json()
    assert waiting == {"parts": [1], "more": False}
    assert (await callers.cell.get("/v1/bulk/parts/waiting", cell="us-va", shard="s1")).status_code == 403
    assert (await callers.cell.get("/v1/bulk/parts/1")).status_code == 403
    assert (await callers.cell.post("/v1/bulk/parts/1/ack", None)).status_code == 403
    assert (await callers.cell_us.post("/v1/bulk/parts/9/ack", None)).status_code == 404
    assert (await callers.cell_us.post("/v1/bulk/parts/1/settled", None)).status_code == 404
    part = (await callers.cell_us.get("/v1/bulk/parts/1")).json()
    assert len(part["members"]) == 25
    changed, epoch, _ = part["members"][0]
    assert (await callers.cell_us.post(f"/v1/subjects/{changed}/ack", {"epoch": epoch})).status_code == 200
    frozen = await ops.post(f"/v1/subjects/{changed}/freeze", {"epoch": epoch, "reason": "t"})
    assert frozen.status_code == 200
    told = (await callers.cell_us.post("/v1/bulk/parts/1/ack", None)).json()
    assert (told["acknowledged"], told["missed"]) == (24, [changed])
    again = (await callers.cell_us.post("/v1/bulk/parts/1/ack", None)).json()
    assert (again["acknowledged"], again["missed"]) == (0, [changed])
    kinds = [type(event) for event in (await callers.resolver.feed(1)).events]
    assert kinds == [BulkEvent, PlacementEvent, PlacementEvent, BulkEvent]
    assert (await callers.cell_us.post("/v1/bulk/parts/1/settled", None)).status_code == 200
    assert (await callers.cell_us.get("/v1/bulk/parts/waiting", cell="us-va", shard="s1")).json()["parts"] == []
    status = (await ops.get(f"/v1/bulk/{job_id}")).json()
    assert (status["batches"], status["placed"], status["waiting"], status["next"]) == (1, 25, 0, 1)


async def history(callers: Callers, subject_id: str, **asked: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await callers.operator.get(f"/v1/subjects/{subject_id}/history", **asked)).json()[
        "entries"
    ]
    return found


def steps(entries: list[dict[str, Any]]) -> list[tuple[int, str | None, str, str]]:
    return [(one["number"], one["from"], one["to"], one["actor"].partition(":")[0]) for one in entries]


async def test_everybodys_history_begins_with_the_reason_of_their_own_row(callers: Callers) -> None:
    ops = callers.operator
    countries = ("DE", "US", "FR", "GB", "IN", "CH")
    given = [
        row(at, residence=country, verified_residence="FR" if at == 2 else None)
        for at, country in enumerate(countries * 3)
    ]
    told = await batch(ops, await job(ops), 0, given)
    placed = [one for at, one in enumerate(given) if at not in {refused["row"] for refused in told["refused"]}]
    assert len(placed) > 8
    answer = await callers.resolver.post("/v1/resolve", {"keys": [one["keys"][0]["key"] for one in placed]})
    found = answer.json()["found"]
    for one in placed:
        imported = found[one["keys"][0]["key"]]
        single = await ops.place(f"single {one['row']}", residence=one["residence"], services=one["services"],
                                 **({"verified_residence": "FR"} if one["verified_residence"] else {}))  # fmt: skip
        alike = single.json()["placement"]
        assert alike["facts"] == imported["facts"]
        (first,) = await history(callers, imported["subject_id"])
        (expected,) = await history(callers, alike["subject_id"])
        assert first["provenance"] == expected["provenance"]
        assert (first["epoch"], first["number"], first["from"]) == (imported["epoch"], 1, None)


async def test_a_members_history_is_what_happened_to_it_whatever_happened_to_its_part(callers: Callers) -> None:
    ops, cell = callers.operator, callers.cell_us
    await batch(ops, await job(ops), 0, rows(4, residence="US"))
    members = (await cell.get("/v1/bulk/parts/1")).json()["members"]
    (with_part, epoch, _), (alone, alone_epoch, _), *_ = members
    assert (await cell.post(f"/v1/subjects/{alone}/ack", {"epoch": alone_epoch})).status_code == 200
    assert steps(await history(callers, with_part)) == [(1, None, "reserved", "operator")]
    assert (await cell.post("/v1/bulk/parts/1/ack", None)).json()["acknowledged"] == 3
    assert (await cell.post("/v1/bulk/parts/1/ack", None)).json()["acknowledged"] == 0
    for subject, number in ((with_part, epoch), (alone, alone_epoch)):
        frozen = await ops.post(f"/v1/subjects/{subject}/freeze", {"epoch": number, "reason": "t"})
        assert frozen.status_code == 200
        entries = await history(callers, subject)
        assert steps(entries) == [
            (1, None, "reserved", "operator"), (2, "reserved", "active", "cell"), (3, "active", "frozen", "operator"),
        ]  # fmt: skip
        assert [one["epoch"] for one in entries] == [number, number, frozen.json()["placement"]["epoch"]]
        assert entries == sorted(entries, key=lambda one: one["at"])
    first = (await ops.get(f"/v1/subjects/{with_part}/history", limit="1")).json()
    rest = (await ops.get(f"/v1/subjects/{with_part}/history", limit="2", cursor=first["next"])).json()
    assert (first["entries"] + rest["entries"], rest["next"]) == (await history(callers, with_part), None)


async def test_whom_the_version_before_imported_keeps_a_history_of_their_own(
    callers: Callers, database: Secret[str]
) -> None:
    ops, cell = callers.operator, callers.cell_us
    await batch(ops, await job(ops), 0, rows(3, residence="US"))
    subject, *_ = (await cell.get("/v1/bulk/parts/1")).json()["members"][0]
    before = await history(callers, subject)
    async with connect(database) as connection:  # as that version wrote it
        await connection.execute("INSERT INTO directory.history SELECT * FROM directory.entry")
        await connection.execute(
            "UPDATE directory.subject SET part = NULL, state = 'reserved', expires_at = 'infinity'"
        )
        await connection.execute("UPDATE directory.bulk_part SET expires_at = NULL")
    assert await history(callers, subject) == before
    assert (await cell.post("/v1/bulk/parts/1/ack", None)).json()["acknowledged"] == 3
    assert steps(await history(callers, subject)) == [
        (1, None, "reserved", "operator"),
        (2, "reserved", "active", "cell"),
    ]


async def test_only_operators_hand_rows_over(callers: Callers) -> None:
    for caller in (callers.resolver, callers.cell, callers.publisher):
        assert (await caller.post("/v1/bulk", {"reason": "t"})).status_code == 403
        assert (await caller.post("/v1/bulk/check", {"rows": rows(1)})).status_code == 403
    ops = callers.operator
    assert (
        await ops.post(f"/v1/bulk/{'0' * 8}-0000-0000-0000-{'0' * 12}/batches", {"number": 0, "rows": rows(1)})
    ).status_code == 404
    assert (await ops.get("/v1/bulk/nonsense")).status_code == 400
    job_id = await job(ops)
    for bad in ({"number": 0, "rows": []}, {"number": -1, "rows": rows(1)}, {"number": 0, "rows": rows(5001)}):
        assert (await ops.post(f"/v1/bulk/{job_id}/batches", bad)).status_code == 400

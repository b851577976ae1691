"""A batch in columns has the effects of its rows one by one, on a real database: what is stored, refused, repeated, raced for, expired."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from directory.bulk import parts, store
from directory.bulk.kept import Kept
from directory.bulk.packed import PACKED, PACKED_PART, PackedBatch, PackedPart, pack, texts_of
from directory.placement.core import BulkEvent
from foundation.mute import Secret
from foundation.postgres import Connection, connect, pool
from tests.stands.bulk import batch, checked, job, packed, row, rows
from tests.stands.directory import Caller, Callers, lookup_key, running_directory
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually
from tests.unit.test_bulk_packed import mixed

pytestmark = pytest.mark.anyio


@pytest.fixture
async def callers(database: Secret[str], tmp_path: Path) -> AsyncIterator[Callers]:
    async with running_directory(database, ServiceIssuer(tmp_path), expiry_check_s=0.05) as running:
        assert (await running.callers.publisher.publish()).status_code == 201
        yield running.callers


def under(given: list[dict[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """The same people but for their names."""
    return [
        one | {"keys": [key | {"key": lookup_key(f"{prefix} {key['key']}")} for key in one["keys"]]} for one in given
    ]


def keys_of(given: list[dict[str, Any]]) -> list[str]:
    return [key["key"] for one in given for key in one["keys"]]


async def taken(caller: Caller, job_id: str, number: int, given: list[dict[str, Any]]) -> dict[str, Any]:
    answer = await packed(caller, job_id, number, given)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


_STORED = """
SELECT k.kind, k.kid, k.twin_of IS NOT NULL AS twin, k.unresolved, k.claim_id, k.imported,
    position(k.key IN s.keys) AS place, s.state, s.services, s.facts_id, s.changes, s.expires_at,
    s.part IS NOT NULL AS of_part, p.cell = s.cell AND p.shard = s.shard AND p.services = s.services AS fits, p.actor,
    s.epoch = p.epochs[array_position(p.subject_ids, s.subject_id)] AS same_epoch, e.number, e.reason, e.provenance::text AS why
FROM directory.lookup_key k JOIN directory.subject s USING (subject_id) JOIN directory.bulk_part p ON p.part = s.part
JOIN directory.entry e ON e.subject_id = s.subject_id WHERE k.key = ANY($1::text[]) ORDER BY array_position($1::text[], k.key), e.number
"""

# Imported keys that their subject's row does not name, rows that name others, and people whose row names any.
_NAMED = """
SELECT count(*) FILTER (WHERE k.key IS NULL OR s.subject_id IS NULL) AS wrong, count(DISTINCT s.subject_id) AS people
FROM (SELECT subject_id, substr(keys, place, 32) AS key FROM directory.subject, generate_series(1, length(keys), 32) AS place) s
FULL JOIN (SELECT subject_id, key FROM directory.lookup_key WHERE imported) k USING (subject_id, key)
"""

_TWINS = """
SELECT count(*) FROM directory.lookup_key k JOIN directory.lookup_key t ON t.key = k.twin_of
WHERE t.subject_id = k.subject_id AND t.kind = k.kind AND t.kid <> k.kid AND t.twin_of IS NULL
"""


async def test_what_is_stored_is_the_same_in_both_forms(callers: Callers, database: Secret[str]) -> None:
    ops = callers.operator
    given: list[dict[str, Any]] = msgspec.to_builtins(mixed(120))
    one, other = under(given, "one"), under(given, "other")
    by_row, in_columns = await batch(ops, await job(ops), 0, one), await taken(ops, await job(ops), 0, other)
    assert by_row["placed"] > 60
    assert by_row["refused"]
    assert in_columns | {"as_of": 0} == by_row | {"as_of": 0}
    async with connect(database) as connection:
        stored = [[tuple(found) for found in await connection.fetch(_STORED, keys_of(given))] for given in (one, other)]
        assert stored[0] == stored[1]
        assert len(stored[0]) > 100
        assert tuple(await connection.fetchrow(_NAMED) or ()) == (0, by_row["placed"] + in_columns["placed"])
        twins = sum(found[2] for found in stored[0] + stored[1])
        assert await connection.fetchval(_TWINS) == twins > 0
    first, second = (await callers.resolver.feed(1)).events
    assert isinstance(first, BulkEvent)
    assert isinstance(second, BulkEvent)
    assert {(part.cell, part.shard) for part in first.parts} == {(part.cell, part.shard) for part in second.parts}
    assert sum(part.count for part in second.parts) == in_columns["placed"]


async def test_rows_that_somebody_is_in_the_way_of_are_told_of_alike(callers: Callers) -> None:
    ops = callers.operator
    await batch(ops, await job(ops), 0, rows(6))
    two = [{"kind": "login", "key": lookup_key("bulk-1")}, {"kind": "login", "key": lookup_key("new")}]
    given = [
        *rows(12, first=3),  # three of them known
        row(20, name="bulk-2", residence="US"),
        row(21, keys=two),
        row(22, name="bulk-14"),  # a twin within the batch
        row(23, name="bulk-13", residence="US"),
        row(24, residence="BR"),
        row(25, name="fresh"),
        row(26, keys=[{"kind": "login", "key": lookup_key("x")}] * 2),
    ]
    expected = await checked(ops, given)
    assert (expected["placed"], expected["known"], len(expected["refused"])) == (10, 4, 5)
    told = await taken(ops, await job(ops), 0, given)
    assert told | {"number": None, "as_of": 0} == expected | {"as_of": 0}


async def test_one_key_that_is_held_costs_no_row_its_place(callers: Callers) -> None:
    """The batch is tried as if all keys were free; the one that is not is found by its claim alone."""
    ops = callers.operator
    assert (await ops.place("bulk-1077")).status_code == 202
    given = rows(1100)
    given[1077]["residence"] = "US"
    told = await taken(ops, await job(ops), 0, given)
    assert (told["placed"], told["known"], [one["row"] for one in told["refused"]]) == (1099, 0, [1077])


async def test_a_repeat_has_one_effect_in_whatever_form_it_comes(callers: Callers) -> None:
    ops = callers.operator
    named = [one | {"keys": [key | {"kid": "k1"} for key in one["keys"]]} for one in rows(20)]
    first, second, third = await job(ops), await job(ops), await job(ops)
    told = await batch(ops, first, 0, rows(20))
    assert await taken(ops, first, 0, rows(20)) == told
    assert await taken(ops, first, 0, named) == told  # as by a newer command line
    known = await taken(ops, second, 0, rows(20))
    assert known["known"] == 20
    assert await batch(ops, second, 0, rows(20)) == known
    assert await taken(ops, second, 0, rows(20)) == known
    free = await taken(ops, third, 0, rows(20, first=100))
    assert await batch(ops, third, 0, rows(20, first=100)) == free
    for other in (rows(21), rows(19), rows(20, residence="FR"), rows(20)[::-1]):
        for begun in (first, second):
            refused = await packed(ops, begun, 0, other)
            assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_mismatch")


async def test_of_all_who_race_for_a_key_one_has_it(callers: Callers, database: Secret[str]) -> None:
    ops = callers.operator
    jobs = [await job(ops) for _ in range(4)]
    batches = [packed(ops, one, 0, rows(60)[:: 1 if at % 2 else -1]) for at, one in enumerate(jobs)]
    singles = [ops.place(f"bulk-{number}") for number in range(0, 60, 3)]
    imported, _ = await asyncio.gather(asyncio.gather(*batches), asyncio.gather(*singles))
    assert {answer.status_code for answer in imported} == {200}
    async with connect(database) as connection:
        people = await connection.fetchval("SELECT count(*) FROM directory.subject WHERE state <> 'erased'")
        keys = await connection.fetchval("SELECT count(DISTINCT subject_id) FROM directory.lookup_key")
    assert people == keys == 60
    assert all(answer.json()["placed"] + answer.json()["known"] == 60 for answer in imported)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"{}", msgspec.msgpack.encode({"number": 0}), "short"])
async def test_columns_that_do_not_fit_are_refused(callers: Callers, body: bytes | str) -> None:
    ops = callers.operator
    good = pack(mixed(5))
    if isinstance(body, str):
        broken = msgspec.structs.replace(good, keys=good.keys[1:])
        body = msgspec.msgpack.encode(PackedBatch(number=0, rows=broken))
    answer = await ops.raw("POST", f"/v1/bulk/{await job(ops)}/batches", body, {"content-type": PACKED})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def states(callers: Callers, **asked: Any) -> set[str]:
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while more is not None:
        page = (await callers.operator.get("/v1/subjects", limit=7, **asked, **more)).json()
        found += page["subjects"]
        more = {"cursor": page["next"]} if page["next"] else None  # type: ignore[assignment]
    assert all(one["state"] == asked["state"] for one in found)
    return {one["subject_id"] for one in found}


async def test_people_are_reserved_until_their_part_is_acknowledged_wherever_one_looks(callers: Callers) -> None:
    ops, cell = callers.operator, callers.cell_us
    await taken(ops, await job(ops), 0, rows(20, residence="US"))
    part = (await cell.get("/v1/bulk/parts/1")).json()
    everybody = {subject for subject, _, _ in part["members"]}
    assert {state for _, _, state in part["members"]} == {"reserved"}
    (alone, epoch, _), (other, other_epoch, _), *_ = part["members"]
    assert await states(callers, state="reserved") == await states(callers, state="reserved", cell="us-va") == everybody
    assert await states(callers, state="active") == set()
    refused = await ops.post(f"/v1/subjects/{other}/freeze", {"epoch": other_epoch, "reason": "t"})
    assert (refused.status_code, refused.json()["state"]) == (409, "reserved")
    assert (await cell.post(f"/v1/subjects/{alone}/ack", {"epoch": epoch})).status_code == 200
    assert await states(callers, state="reserved") == everybody - {alone}
    assert await states(callers, state="active", cell="us-va") == {alone}
    seen = (await callers.resolver.post("/v1/resolve", {"subjects": [alone, other]})).json()["found"]
    assert (seen[alone]["state"], seen[other]["state"]) == ("active", "reserved")
    assert (await cell.post("/v1/bulk/parts/1/ack", None)).json()["acknowledged"] == 19
    assert await states(callers, state="active") == everybody
    assert await states(callers, state="reserved") == set()
    frozen = await ops.post(f"/v1/subjects/{other}/freeze", {"epoch": other_epoch, "reason": "t"})
    assert frozen.status_code == 200
    assert await states(callers, state="active") == everybody - {other}
    assert await states(callers, state="frozen") == {other}


async def test_a_part_in_columns_has_the_members_that_it_has_one_by_one(
    callers: Callers, database: Secret[str]
) -> None:
    """Whether the process that placed it is asked, another one, or one that knew another part by its number before a restore."""
    ops, cell = callers.operator, callers.cell_us
    restored = Kept()
    restored.put(1, [bytes(16)], [bytes(8)])
    await taken(ops, await job(ops), 0, rows(9, residence="US"))

    async def both() -> list[tuple[str, int]]:
        one_by_one = (await cell.get("/v1/bulk/parts/1")).json()
        answer = await cell.raw("GET", "/v1/bulk/parts/1", b"", {"accept": PACKED_PART})
        assert answer.headers["content-type"] == PACKED_PART
        found = msgspec.msgpack.decode(answer.content, type=PackedPart)
        epochs = [int.from_bytes(found.epochs[at : at + 8]) for at in range(0, len(found.epochs), 8)]
        members = list(zip(texts_of(found.subjects), epochs, strict=True))
        assert members == [(subject, epoch) for subject, epoch, _ in one_by_one["members"]]
        assert list(found.services) == one_by_one["services"]
        async with pool(database, size_max=1) as elsewhere:
            for kept in (Kept(), restored):
                assert await parts.packed(elsewhere, 1, kept) == found
        return [(str(subject), epoch) for subject, epoch in members]

    (first, epoch), (second, second_epoch), *_ = everybody = await both()
    assert len(everybody) == 9
    assert (await cell.post(f"/v1/subjects/{first}/ack", {"epoch": epoch})).status_code == 200
    assert await both() == everybody
    assert (await ops.post(f"/v1/subjects/{first}/freeze", {"epoch": epoch, "reason": "t"})).status_code == 200
    assert await both() == everybody[1:]
    assert (await cell.post("/v1/bulk/parts/1/ack", None)).json()["missed"] == [first]
    assert (await ops.post(f"/v1/subjects/{second}/freeze", {"epoch": second_epoch, "reason": "t"})).status_code == 200
    assert await both() == everybody[2:]
    assert sorted((await cell.post("/v1/bulk/parts/1/ack", None)).json()["missed"]) == sorted([first, second])
    assert (await cell.post("/v1/bulk/parts/1/settled", None)).status_code == 200
    assert await both() == everybody[2:]


async def test_who_is_changed_alone_while_a_part_is_acknowledged_is_one_or_the_other(
    callers: Callers, database: Secret[str]
) -> None:
    ops, cell = callers.operator, callers.cell_us
    await taken(ops, await job(ops), 0, rows(30, residence="US"))
    members = (await cell.get("/v1/bulk/parts/1")).json()["members"]
    alone = [cell.post(f"/v1/subjects/{subject}/ack", {"epoch": epoch}) for subject, epoch, _ in members[:20]]
    *singles, whole = await asyncio.gather(*alone[:10], *alone[10:], cell.post("/v1/bulk/parts/1/ack", None))
    assert {answer.status_code for answer in singles} == {200}
    assert await states(callers, state="active") == {subject for subject, _, _ in members}
    async with connect(database) as connection:
        entries = await connection.fetch("SELECT subject_id::text AS id, number FROM directory.entry ORDER BY 1, 2")
        own = await connection.fetchval("SELECT count(*) FROM directory.history")
    assert [(row["id"], row["number"]) for row in entries] == [
        (subject, nth) for subject, *_ in members for nth in (1, 2)
    ]
    assert own + whole.json()["acknowledged"] == 30


async def test_people_whose_cell_never_comes_expire_and_their_keys_are_free_again(
    callers: Callers, database: Secret[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ops, cell = callers.operator, callers.cell_us
    monkeypatch.setattr(store, "RESERVATION_S", 0.0)
    await taken(ops, await job(ops), 0, rows(12, residence="US"))
    part = (await cell.get("/v1/bulk/parts/waiting", cell="us-va", shard="s1")).json()["parts"][0]

    async def gone() -> bool:
        keys = [lookup_key(f"bulk-{number}") for number in range(12)]
        found = await callers.resolver.post("/v1/resolve", {"keys": keys})
        return len(found.json()["absent"]) == 12

    await eventually(gone)
    assert await states(callers, state="reserved") == set()
    erased = await states(callers, state="erased")
    assert len(erased) == 12
    async with connect(database) as connection:
        assert await connection.fetchval("SELECT count(*) FROM directory.lookup_key") == 0
        assert tuple(await connection.fetchrow(_NAMED) or ()) == (0, 0)
    told = (await cell.post(f"/v1/bulk/parts/{part}/ack", None)).json()
    assert (told["acknowledged"], sorted(told["missed"])) == (0, sorted(erased))
    assert len(await states(callers, state="erased")) == 12
    history = (await ops.get(f"/v1/subjects/{erased.pop()}/history")).json()["entries"]
    assert [(one["number"], one["to"]) for one in history] == [(1, "reserved"), (2, "erased")]
    monkeypatch.undo()
    assert (await taken(ops, await job(ops), 0, rows(12, residence="US")))["placed"] == 12


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM directory.subject",
        "TRUNCATE directory.subject CASCADE",
        "UPDATE directory.subject SET subject_id = gen_random_uuid()",
        "UPDATE directory.subject SET facts_id = 99",
        "UPDATE directory.lookup_key SET subject_id = gen_random_uuid()",
        "UPDATE directory.lookup_key SET claim_id = gen_random_uuid()",
        "INSERT INTO directory.lookup_key (key, kind, subject_id) VALUES (repeat('k', 32), 'login', gen_random_uuid())",
        "DELETE FROM directory.facts",
        "TRUNCATE directory.facts CASCADE",
    ],
)
async def test_nothing_refers_to_what_is_not_there(callers: Callers, database: Secret[str], statement: str) -> None:
    ops = callers.operator
    await taken(ops, await job(ops), 0, rows(3))
    async with connect(database) as connection:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(statement)


@pytest.mark.parametrize("table", ["bulk_part", "subject", "lookup_key"])
async def test_a_database_that_dies_between_two_steps_of_a_batch_keeps_nothing_of_it(
    callers: Callers, database: Secret[str], monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    ops, begun = callers.operator, await job(callers.operator)
    copy, ended = store._copy, 0

    async def ending(tx: Connection, into: str, columns: Sequence[str], given: Sequence[bytes]) -> None:
        nonlocal ended
        if into == table and not ended:
            ended = await tx.fetchval("SELECT pg_backend_pid()")
            async with connect(database) as other:
                await other.execute("SELECT pg_terminate_backend($1, 5000)", ended)
        await copy(tx, into, columns, given)

    monkeypatch.setattr(store, "_copy", ending)
    lost = await packed(ops, begun, 0, rows(30))
    assert ended
    assert (lost.status_code, lost.json()["code"]) == (503, "not_ready")
    async with connect(database) as connection:
        for left in ("bulk_batch", "bulk_part", "subject", "lookup_key"):
            assert await connection.fetchval(f"SELECT count(*) FROM directory.{left}") == 0
    assert (await taken(ops, begun, 0, rows(30)))["placed"] == 30

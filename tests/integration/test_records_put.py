"""`PUT` on real Postgres: one row, named by its key, made or replaced whole; never another's."""

from pathlib import Path
from typing import Any

import pytest

from cells.records.contracts import parse
from deploy.local.postgres import PostgresServer
from foundation.words import RECORDS, mint_subject_id
from tests.stands.records import RecordsStand, records_stand
from tests.stands.records_live import empty, live
from tests.stands.shard import TENANTS, TENANTS_DDL, home, place, rows

__all__ = ["empty", "live"]
pytestmark = pytest.mark.anyio

KEY = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
WHOLE: dict[str, Any] = {
    "id": KEY, "body": "new", "rank": 1, "total": None, "price": 1.5, "done": True, "due": None, "extra": {"n": 1},
    "span": "[1,5)", "stay": None, "card": None,
}  # fmt: skip
REPRESENTATION = "return=representation"


async def test_a_put_makes_its_row_and_then_replaces_it(live: RecordsStand) -> None:
    query = f"?id=eq.{KEY}&select=id,body,rank"
    made = await live.call("PUT", query, WHOLE, prefer=REPRESENTATION)
    assert (made.status_code, made.json()) == (201, [{"id": KEY, "body": "new", "rank": 1}]), made.text
    assert made.headers["preference-applied"] == REPRESENTATION
    changed = [WHOLE | {"body": "changed", "rank": 2, "subject_id": live.subject}]
    again = await live.call("PUT", f"{query}&subject_id=eq.{live.subject}", changed, prefer=REPRESENTATION)
    assert (again.status_code, again.json()) == (200, [{"id": KEY, "body": "changed", "rank": 2}]), again.text
    for prefer in ("", "return=minimal", "return=headers-only"):
        silent = await live.call("PUT", f"?id=eq.{KEY.upper()}", WHOLE, prefer=prefer)
        assert (silent.status_code, silent.text) == (204, "")
    assert (await live.call("PUT", f"?id=eq.{OTHER}", WHOLE | {"id": OTHER, "rank": 3})).status_code == 204
    found = await rows(live.dsns, "SELECT id::text, body, rank, shadow FROM product.notes ORDER BY rank")
    assert [tuple(row) for row in found] == [(KEY, "new", 1, "unseen"), (OTHER, "new", 3, "unseen")]


async def test_a_put_whose_body_lacks_columns_gives_them_their_defaults_where_that_is_asked(live: RecordsStand) -> None:
    await live.stored(WHOLE)
    short = {"id": KEY, "rank": 4}
    refused = await live.call("PUT", f"?id=eq.{KEY}", short)
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST102")
    assert refused.json()["details"] == "missing: body, card, done, due, extra, price, span, stay, total"
    answer = await live.call("PUT", f"?id=eq.{KEY}", short, prefer=f"missing=default, {REPRESENTATION}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["preference-applied"] == f"missing=default, {REPRESENTATION}"
    row = answer.json()[0]
    assert (row["rank"], row["done"], row["body"], row["extra"], row["span"]) == (4, False, None, None, None)


@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ("", WHOLE, 405, "PGRST105"),
        ("?rank=eq.1", WHOLE, 405, "PGRST105"),
        (f"?id=eq.{KEY}&rank=eq.1", WHOLE, 405, "PGRST105"),
        (f"?id=eq.{KEY}&id=eq.{KEY}", WHOLE, 405, "PGRST105"),
        (f"?id=in.({KEY})", WHOLE, 405, "PGRST105"),
        (f"?id=not.eq.{KEY}", WHOLE, 405, "PGRST105"),
        (f"?id=eq(any).{{{KEY}}}", WHOLE, 405, "PGRST105"),
        (f"?or=(id.eq.{KEY})", WHOLE, 405, "PGRST105"),
        (f"?id=eq.{KEY}&subject_id=eq.{OTHER}", WHOLE, 403, "42501"),
        (f"?subject_id=eq.{OTHER}", WHOLE, 405, "PGRST105"),
        (f"?id=eq.{KEY}&limit=1", WHOLE, 400, "PGRST114"),
        (f"?id=eq.{KEY}&offset=1", WHOLE, 400, "PGRST114"),
        (f"?id=eq.{KEY}&order=id", WHOLE, 400, "PGRST100"),
        (f"?id=eq.{KEY}&columns=id", WHOLE, 400, "PGRST100"),
        (f"?id=eq.{KEY}&on_conflict=rank", WHOLE, 400, "PGRST100"),
        ("?id=eq.one", WHOLE, 400, "22P02"),
        (f"?id=eq.{OTHER}", WHOLE, 400, "PGRST115"),
        (f"?id=eq.{KEY}", {"rank": 1}, 400, "PGRST115"),
        (f"?id=eq.{KEY}", WHOLE | {"id": None}, 400, "PGRST115"),
        (f"?id=eq.{KEY}", WHOLE | {"id": 7}, 400, "PGRST115"),
        (f"?id=eq.{KEY}", [WHOLE, WHOLE], 400, "PGRST102"),
        (f"?id=eq.{KEY}", [], 400, "PGRST102"),
        (f"?id=eq.{KEY}", WHOLE | {"shadow": "x"}, 403, "42501"),
        (f"?id=eq.{KEY}", WHOLE | {"nothing": "x"}, 400, "PGRST204"),
        (f"?id=eq.{KEY}", WHOLE | {"subject_id": OTHER}, 403, "42501"),
        (f"?id=eq.{KEY}&select=shadow", WHOLE, 403, "42501"),
        (f"?id=eq.{KEY}", WHOLE | {"rank": -1}, 400, "23514"),
    ],
)
async def test_a_put_that_cannot_be_writes_nothing(
    empty: RecordsStand, query: str, body: Any, status: int, code: str
) -> None:
    answer = await empty.call("PUT", query, body, prefer=REPRESENTATION)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await rows(empty.dsns, "SELECT 1 FROM product.notes") == []


async def test_a_caller_that_may_not_write_the_key_puts_nothing(empty: RecordsStand) -> None:
    body = {"id": KEY, "body": "mine", "done": True, "due": None}
    refused = await empty.call("PUT", f"?id=eq.{KEY}", body, service=RECORDS)
    assert (refused.status_code, refused.json()["code"]) == (403, "42501")


async def test_a_put_leaves_another_subjects_row_of_the_same_key_alone(live: RecordsStand) -> None:
    await live.stored(WHOLE | {"body": "mine"})
    stranger = mint_subject_id()
    await place(live.shard, stranger, 3)
    answer = await live.call("PUT", f"?id=eq.{KEY}", WHOLE, prefer=REPRESENTATION, subject=stranger, epoch=3)
    assert (answer.status_code, answer.json()[0]["subject_id"]) == (201, stranger)
    found = await rows(live.dsns, "SELECT subject_id::text, body FROM product.notes ORDER BY body")
    assert [tuple(row) for row in found] == [(live.subject, "mine"), (stranger, "new")]


@pytest.mark.parametrize("owned", ["owner", "all_of_subject"])
async def test_a_put_on_another_persons_row_of_a_tenant_is_a_conflict_unless_all_may_change_it(
    postgres_server: PostgresServer, tmp_path: Path, owned: str
) -> None:
    contract = parse(TENANTS.replace("rows: owner", f"rows: {owned}"), where="notes.yaml")
    async with records_stand(postgres_server, tmp_path, {"notes": contract}, TENANTS_DDL) as built:
        ann, bob = mint_subject_id(), mint_subject_id()
        await built.stored(WHOLE | {"body": "ann's"}, actor=ann)
        for prefer in ("", REPRESENTATION):
            answer = await built.call("PUT", f"?id=eq.{KEY}", WHOLE | {"body": "bob's"}, prefer=prefer, actor=bob)
            if owned == "owner":
                assert (answer.status_code, answer.json()["code"]) == (409, "23505"), answer.text
            else:
                assert answer.status_code == (200 if prefer else 204)
        found = (await rows(built.dsns, "SELECT body, person_id::text FROM product.notes"))[0]
        assert tuple(found) == ("ann's" if owned == "owner" else "bob's", ann)


async def test_a_put_under_an_older_epoch_writes_nothing(live: RecordsStand) -> None:
    answer = await live.call("PUT", f"?id=eq.{KEY}", WHOLE, epoch=4)
    assert (answer.status_code, answer.headers["domicile-refusal"]) == (409, "stale_epoch")
    await place(live.shard, live.subject, 6)
    live.context.homes.put(live.subject, home(5))
    raced = await live.call("PUT", f"?id=eq.{KEY}", WHOLE)
    assert (raced.status_code, raced.json()["code"]) == (409, "stale_epoch"), raced.text
    assert await rows(live.dsns, "SELECT 1 FROM product.notes") == []

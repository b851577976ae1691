"""The PostgREST dialect on real Postgres: operators, trees, paths into JSON, pages and counts, upserts, single objects."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cells.records.contracts import parse
from deploy.local.postgres import PostgresServer
from foundation.words import RECORDS, mint_subject_id
from tests.stands.records import RecordsStand, fill, records_stand
from tests.stands.records_live import empty, live
from tests.stands.shard import TENANTS, TENANTS_DDL, place, rows

__all__ = ["empty", "live"]
pytestmark = pytest.mark.anyio

OBJECT = "application/vnd.pgrst.object+json"


@pytest.fixture(scope="module")
async def library(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordsStand]:
    """A filled stand for tests that only read; rank 2 and 4 hold JSON."""
    async with records_stand(postgres_server, tmp_path_factory.mktemp("library")) as built:
        await fill(built)
        for rank, extra in (
            (2, {"a": {"b": [1, {"c": "x"}]}, "n": 10}),
            (4, {"a": {"b": [2]}, "n": 9, "with space": 1}),
        ):
            assert (await built.call("PATCH", f"?rank=eq.{rank}", {"extra": extra})).status_code == 204
        yield built


@pytest.mark.parametrize(
    ("query", "ranks"),
    [
        ("?body=like.one*", [1]),
        ("?body=ilike.*TWO*", [4]),
        ("?body=not.like.*o*", [5]),
        ("?body=like(any).{one*,tw*}", [1, 4]),
        ("?body=like(all).{*o*,*e*}", [1, 2]),
        ("?body=match.^t", [4]),
        ("?body=imatch.^T", [4]),
        ("?rank=eq(any).{1,3}", [1, 3]),
        ("?rank=gt(all).{1,3}", [4, 5]),
        ("?total=isdistinct.10", [2, 3, 4, 5]),
        ("?total=not.isdistinct.10", [1]),
        ("?or=(rank.eq.1,rank.eq.5)", [1, 5]),
        ("?rank=lt.4&or=(done.is.true,total.is.null)", [1, 3]),
        ("?or=(rank.eq.1,and(done.is.false,rank.gte.3))", [1, 3, 5]),
        ("?not.or=(rank.eq.1,rank.eq.5)", [2, 3, 4]),
        ("?and=(rank.gt.1,rank.lt.4,not.or(body.is.null,rank.eq.9))", [2]),
        ('?or=(body.eq."one, first",body.eq."")', [1, 5]),
        ("?or=(rank.in.(1,2),rank.not.lt.5)", [1, 2, 5]),
        ("?extra->a->b->0=eq.2", [4]),
        ("?extra->n=gt.9", [2]),
        ("?extra->>n=eq.9", [4]),
        ("?extra->a->b->-1->>c=like.x*", [2]),
        ('?extra->"with space"=eq.1', [4]),
        ("?extra->>nothing=is.null", [1, 2, 3, 4, 5]),
        ('?extra=cs.{"n":10}', [2]),
        ("?or=(extra->>n.eq.9,rank.eq.1)", [1, 4]),
        ("?extra=not.is.null&order=extra->n.asc", [4, 2]),
        ("?extra=not.is.null&order=extra->>n.desc.nullslast", [4, 2]),
        ("?or=(body.eq.secret,body.like.*secret*)", []),
        ("?or=(subject_id.not.is.null,rank.gt.0)&rank=gt.4", [5]),
    ],
)
async def test_filters_are_the_dialects(library: RecordsStand, query: str, ranks: list[int]) -> None:
    ordered = query if "order=" in query else f"{query}&order=rank"
    answer = await library.call("GET", ordered)
    assert answer.status_code == 200, answer.text
    assert [row["rank"] for row in answer.json()] == ranks


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("select=extra->a->b->1->>c&rank=eq.2", '{"c":"x"}'),
        ("select=first:extra->a->b->0,n:extra->>n&rank=eq.4", '{"first":2,"n":"9"}'),
        ("select=rank::text,total::numeric&rank=eq.1", '{"rank":"1","total":10}'),
        ("select=*,again:rank&rank=eq.3", None),
        ("select=missing:extra->zzz&rank=eq.4", '{"missing":null}'),
    ],
)
async def test_paths_casts_and_stars_are_selected(library: RecordsStand, query: str, row: str | None) -> None:
    answer = await library.call("GET", f"?{query}")
    assert answer.status_code == 200, answer.text
    if row is not None:
        assert answer.text == f"[{row}]"
    else:
        assert (answer.json()[0]["again"], "shadow" in answer.json()[0]) == (3, False)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?rank=like.1*", 400, "42883"),
        ("?extra->a=like.x", 400, "42883"),
        ("?body=cs.{a}", 400, "42883"),
        ("?rank=ov.{1}", 400, "42883"),
        ("?body->a=eq.1", 400, "PGRST100"),
        ("?body=match.(", 400, "2201B"),
        ("?rank=eq(any).1", 400, "22P02"),
        ("?extra->a=eq.x", 400, "22P02"),
        ("?select=done::date", 400, "42846"),
        ("?select=body::int&rank=eq.1", 400, "22P02"),
        ("?or=(shadow.eq.unseen,rank.eq.1)", 403, "42501"),
        ("?or=(rank.eq.1,card.like.4*)", 403, "42501"),
        ("?not.and=(rank.eq.1,nothing.eq.1)", 400, "42703"),
        ("?select=x:shadow", 403, "42501"),
        ("?select=card::int", 403, "42501"),
        ("?order=rank,shadow", 403, "42501"),
        ("?columns=rank", 400, "PGRST100"),
        ("?on_conflict=id", 400, "PGRST100"),
    ],
)
async def test_what_does_not_apply_is_refused_before_it_is_asked_of_rows(
    library: RecordsStand, query: str, status: int, code: str
) -> None:
    answer = await library.call("GET", query)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "SELECT" not in answer.text


@pytest.mark.parametrize(
    ("query", "headers", "status", "told", "number"),
    [
        ("?order=rank", {}, 200, "0-4/*", 5),
        ("?order=rank", {"prefer": "count=exact"}, 200, "0-4/5", 5),
        ("?order=rank&limit=2", {"prefer": "count=exact"}, 206, "0-1/5", 2),
        ("?order=rank", {"prefer": "count=planned", "range": "1-2"}, 206, "1-2/5", 2),
        ("?order=rank", {"range-unit": "items", "range": "3-"}, 200, "3-4/*", 2),
        ("?rank=gt.3", {"prefer": "count=estimated", "range": "0-0"}, 206, "0-0/2", 1),
        ("?limit=0", {"prefer": "count=exact"}, 206, "*/5", 0),
        ("?rank=gt.30", {"prefer": "count=exact"}, 200, "*/0", 0),
        ("?offset=6", {"prefer": "count=exact"}, 416, None, 0),
        ("?offset=6", {}, 200, "*/*", 0),
        ("", {"range": "4-1"}, 416, None, 0),
    ],
)
async def test_pages_say_which_rows_they_hold_and_counts_are_exact(
    library: RecordsStand, query: str, headers: dict[str, str], status: int, told: str | None, number: int
) -> None:
    answer = await library.http.get(f"/records/notes{query}", headers=library.headers() | headers)
    assert (answer.status_code, answer.headers.get("content-range")) == (status, told), answer.text
    head = await library.http.head(f"/records/notes{query}", headers=library.headers() | headers)
    if told is None:
        assert answer.json()["code"] == "PGRST103"
        assert head.status_code == 416
        return
    assert len(answer.json()) == number
    assert head.status_code == status
    assert head.headers["content-range"] == told
    assert answer.headers.get("preference-applied") == ("count=exact" if "prefer" in headers else None)


async def test_a_table_is_walked_by_its_order_without_gaps_or_repeats(live: RecordsStand) -> None:
    await live.stored(*({"rank": number, "total": number // 3} for number in range(20)))
    seen: list[int] = []
    after = ""
    while True:
        page = (await live.call("GET", f"?select=rank,total&order=total.desc,rank.asc&limit=6{after}")).json()
        if not page:
            break
        seen += [row["rank"] for row in page]
        total, rank = page[-1]["total"], page[-1]["rank"]
        after = f"&total=lte.{total}&or=(total.lt.{total},rank.gt.{rank})"
    assert seen == sorted(range(20), key=lambda rank: (-(rank // 3), rank))


async def test_an_upsert_merges_or_leaves_what_is_there(live: RecordsStand) -> None:
    first = (await live.stored({"rank": 1, "body": "old"}))[0]
    change = [{"id": first["id"], "body": "new"}, {"id": str(mint_subject_id()), "body": "other"}]
    answer = await live.call("POST", "?select=body", change, prefer="resolution=merge-duplicates,return=representation")
    assert (answer.status_code, answer.json()) == (201, [{"body": "new"}, {"body": "other"}])
    assert answer.headers["preference-applied"] == "resolution=merge-duplicates, return=representation"
    by_rank = [{"rank": 1, "body": "by rank"}, {"rank": 9, "body": "nine"}]
    kept = await live.call(
        "POST", "?on_conflict=rank&select=body", by_rank, prefer="resolution=ignore-duplicates,return=representation"
    )
    assert (kept.status_code, kept.json()) == (201, [{"body": "nine"}])
    merged = await live.call("POST", "?on_conflict=rank", by_rank, prefer="resolution=merge-duplicates,count=exact")
    assert (merged.status_code, merged.text, merged.headers["content-range"]) == (201, "", "*/2")
    found = (await live.call("GET", "?select=id,rank,body&rank=eq.1")).json()
    assert found == [{"id": first["id"], "rank": 1, "body": "by rank"}]


@pytest.mark.parametrize(
    ("query", "body", "prefer", "status", "code"),
    [
        ("?on_conflict=body", {"body": "x"}, "resolution=merge-duplicates", 400, "42P10"),
        ("?on_conflict=card", {"card": "x"}, "resolution=merge-duplicates", 403, "42501"),
        ("?on_conflict=shadow", {"body": "x"}, "resolution=ignore-duplicates", 403, "42501"),
        ("?on_conflict=nothing", {"body": "x"}, "resolution=ignore-duplicates", 400, "42703"),
        ("?on_conflict=rank", {"rank": 1}, "", 400, "PGRST100"),
        ("?on_conflict=rank", [{"rank": 7}, {"rank": 7}], "resolution=merge-duplicates", 400, "21000"),
        ("", {"rank": 1}, "tx=rollback", 400, "PGRST122"),
        ("?columns=rank,nothing", [{"rank": 1}], "", 400, "PGRST204"),
        ("?columns=rank,shadow", [{"rank": 1}], "", 403, "42501"),
    ],
)
async def test_upserts_that_cannot_be_write_nothing(
    empty: RecordsStand, query: str, body: Any, prefer: str, status: int, code: str
) -> None:
    answer = await empty.call("POST", query, body, prefer=prefer)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await rows(empty.dsns, "SELECT 1 FROM product.notes") == []


async def test_an_upsert_neither_changes_nor_tells_another_subjects_row(live: RecordsStand) -> None:
    theirs = (await live.stored({"rank": 1, "body": "mine"}))[0]["id"]
    stranger = mint_subject_id()
    await place(live.shard, stranger, 3)
    for resolution in ("merge", "ignore"):
        answer = await live.call(
            "POST",
            "?select=id,body",
            {"id": theirs, "rank": 1, "body": resolution},
            prefer=f"resolution={resolution}-duplicates,return=representation",
            subject=stranger,
            epoch=3,
        )
        assert answer.status_code == 201
    found = await rows(live.dsns, "SELECT subject_id::text, body FROM product.notes ORDER BY body")
    assert [tuple(row) for row in found] == [(stranger, "merge"), (live.subject, "mine")]


@pytest.mark.parametrize("owned", ["owner", "all_of_subject"])
async def test_an_upsert_of_a_tenants_person_leaves_other_peoples_rows_unless_all_may_change_them(
    postgres_server: PostgresServer, tmp_path: Path, owned: str
) -> None:
    contract = parse(TENANTS.replace("rows: owner", f"rows: {owned}"), where="notes.yaml")
    async with records_stand(postgres_server, tmp_path, {"notes": contract}, TENANTS_DDL) as built:
        ann, bob = mint_subject_id(), mint_subject_id()
        row = (await built.stored({"rank": 1, "body": "ann's"}, actor=ann))[0]["id"]
        prefer = "resolution=merge-duplicates,return=representation"
        answer = await built.call("POST", "", {"id": row, "body": "bob's"}, prefer=prefer, actor=bob)
        assert (answer.status_code, len(answer.json())) == (201, 0 if owned == "owner" else 1)
        found = (await rows(built.dsns, "SELECT body, person_id::text FROM product.notes"))[0]
        assert tuple(found) == ("ann's" if owned == "owner" else "bob's", ann)


async def test_bulk_rows_take_columns_and_their_defaults(live: RecordsStand) -> None:
    differing = [{"rank": 1, "done": True, "unknown": "left out"}, {"rank": 2}, {"body": "x", "rank": 3}]
    assert (await live.call("POST", "", differing)).json()["code"] in ("PGRST102", "PGRST204")
    refused = await live.call("POST", '?columns="rank","done"', differing)
    assert (refused.status_code, refused.json()["code"]) == (400, "23502")
    answer = await live.call(
        "POST", '?columns="rank","done","body"', differing, prefer="missing=default,return=representation"
    )
    assert answer.status_code == 201, answer.text
    told = [(row["rank"], row["done"], row["body"]) for row in answer.json()]
    assert told == [(1, True, None), (2, False, None), (3, False, "x")]
    assert answer.headers["preference-applied"] == "missing=default, return=representation"
    reset = await live.call(
        "PATCH", "?rank=eq.1&columns=done,body", {"body": "y"}, prefer="missing=default,return=representation"
    )
    assert [(row["done"], row["body"]) for row in reset.json()] == [(False, "y")]
    only = await live.call(
        "PATCH", "?rank=eq.1&columns=done&select=done", {}, prefer="missing=default,return=representation"
    )
    assert only.json() == [{"done": False}]


async def test_bulk_rows_that_merge_take_defaults_only_where_they_are_new(live: RecordsStand) -> None:
    await live.stored({"rank": 1, "done": True})
    answer = await live.call(
        "POST",
        "?columns=rank,done,body&on_conflict=rank&select=rank,done&order=rank".replace("&order=rank", ""),
        [{"rank": 1, "body": "merged"}, {"rank": 2, "body": "new"}],
        prefer="resolution=merge-duplicates,missing=default,return=representation",
    )
    assert answer.json() == [{"rank": 1, "done": True}, {"rank": 2, "done": False}]


async def test_one_object_is_given_and_any_other_number_refused(live: RecordsStand) -> None:
    await live.stored({"rank": 1}, {"rank": 2})
    single = {"accept": OBJECT}
    for query, status, number in (("?rank=eq.1&select=rank", 200, 1), ("?select=rank", 406, 2), ("?rank=eq.7", 406, 0)):
        answer = await live.http.get(f"/records/notes{query}", headers=live.headers() | single)
        assert answer.status_code == status, answer.text
        assert (await live.http.head(f"/records/notes{query}", headers=live.headers() | single)).status_code == status
        if status == 200:
            assert answer.text == '{"rank":1}'
            assert answer.headers["content-type"] == f"{OBJECT}; charset=utf-8"
        else:
            assert (answer.json()["code"], answer.json()["details"]) == (
                "PGRST116",
                f"The result contains {number} rows",
            )


async def test_a_write_that_touches_another_number_of_rows_than_allowed_leaves_nothing(live: RecordsStand) -> None:
    await live.stored({"rank": 1}, {"rank": 2})
    single = live.headers() | {"accept": OBJECT, "prefer": "return=representation"}
    refused = await live.http.patch("/records/notes", headers=single, json={"body": "x"})
    assert (refused.status_code, refused.json()["code"]) == (406, "PGRST116")
    most = live.headers() | {"prefer": "handling=strict,max-affected=1"}
    for method in ("PATCH", "DELETE"):
        answer = await live.http.request(method, "/records/notes", headers=most, json={"body": "x"})
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST124")
    many = await live.http.post("/records/notes", headers=single, json=[{"rank": 3}, {"rank": 4}])
    assert many.status_code == 406
    assert [tuple(row) for row in await rows(live.dsns, "SELECT rank, body FROM product.notes ORDER BY rank")] == [
        (1, None),
        (2, None),
    ]
    one = await live.http.patch("/records/notes?rank=eq.1&select=body", headers=single, json={"body": "x"})
    assert (one.status_code, one.text) == (200, '{"body":"x"}')
    fits = await live.http.delete("/records/notes?rank=eq.1", headers=most)
    assert (fits.status_code, fits.headers["preference-applied"]) == (204, "handling=strict, max-affected=1")


async def test_members_that_are_null_are_left_out_where_that_is_asked(library: RecordsStand) -> None:
    accept = {"accept": "application/vnd.pgrst.array+json;nulls=stripped"}
    answer = await library.http.get(
        "/records/notes?rank=eq.3&select=rank,body,total", headers=library.headers() | accept
    )
    assert answer.text == '[{"rank":3}]'
    assert answer.headers["content-type"].startswith("application/vnd.pgrst.array+json;nulls=stripped")


async def test_changes_are_counted(live: RecordsStand) -> None:
    await live.stored({"rank": 1}, {"rank": 2})
    changed = await live.call("PATCH", "", {"body": "x"}, prefer="count=exact")
    assert (changed.status_code, changed.headers["content-range"]) == (204, "0-1/2")
    deleted = await live.call("DELETE", "?rank=eq.1", prefer="count=exact")
    assert (deleted.status_code, deleted.headers["content-range"]) == (204, "*/1")


async def test_a_person_upserts_only_columns_that_persons_write(live: RecordsStand) -> None:
    row = (await live.stored({"rank": 1, "body": "old"}))[0]["id"]
    answer = await live.call(
        "POST", "", {"id": row, "body": "new"}, prefer="resolution=merge-duplicates", service=RECORDS
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "42501")

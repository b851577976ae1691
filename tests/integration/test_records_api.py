"""The records API on real Postgres: the dialect's core, whose rows and columns are touched, and tables that do not fit."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cells.records.contracts import parse
from deploy.local.postgres import PostgresServer
from foundation.decision import RootKey
from foundation.decision_header import Minter
from foundation.mute import Secret
from foundation.words import RECORDS, Verb, mint_subject_id
from tests.stands.records import RecordsStand, fill, records_stand
from tests.stands.records_live import empty, filled, live
from tests.stands.shard import NOTES, NOTES_DDL, TENANTS, TENANTS_DDL, notes, place, rows

__all__ = ["live", "empty", "filled"]
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def library(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordsStand]:
    """A filled stand for tests that only read."""
    async with records_stand(postgres_server, tmp_path_factory.mktemp("library")) as built:
        yield await fill(built)


@pytest.mark.parametrize(
    ("query", "ranks"),
    [
        ("?order=rank", [1, 2, 3, 4, 5]),
        ("?rank=eq.2", [2]),
        ("?rank=neq.2&order=rank.asc", [1, 3, 4, 5]),
        ("?rank=gt.3&order=rank", [4, 5]),
        ("?rank=gte.3&rank=lt.5&order=rank", [3, 4]),
        ("?rank=lte.2&order=rank.desc", [2, 1]),
        ("?rank=in.(1,4,99)&order=rank", [1, 4]),
        ("?rank=in.()", []),
        ('?body=in.("one, first","a \\"quoted\\" b")&order=rank', [1, 2]),
        ("?body=is.null", [3]),
        ("?body=not.is.null&order=rank", [1, 2, 4, 5]),
        ("?body=is.not_null&order=rank", [1, 2, 4, 5]),
        ("?body=eq.", [5]),
        ("?done=is.true&order=rank", [1, 4]),
        ("?done=is.false&rank=not.eq.3&order=rank", [2, 5]),
        ("?rank=not.in.(1,2)&order=rank.desc", [5, 4, 3]),
        ("?total=eq.9007199254740993", [4]),
        ("?due=gte.2026-02-15T00:00:00Z&order=due.desc", [5, 4]),
        ("?order=total.desc.nullslast", [4, 2, 1, 5, 3]),
        ("?order=total.asc.nullsfirst,rank.desc", [3, 5, 1, 2, 4]),
        ("?order=rank&limit=2", [1, 2]),
        ("?order=rank&limit=2&offset=3", [4, 5]),
        ("?limit=0", []),
        ("?body=eq.secret", []),
        ("?body=eq.' OR 1=1 --", []),
        ("?price=eq.2.5", [2]),
    ],
)
async def test_filters_order_and_pages_are_the_dialects(library: RecordsStand, query: str, ranks: list[int]) -> None:
    answer = await library.call("GET", query)
    assert answer.status_code == 200, answer.text
    assert [row["rank"] for row in answer.json()] == ranks


async def test_values_come_back_as_postgres_writes_them(live: RecordsStand) -> None:
    body = {
        "body": "ü\n", "rank": 7, "total": 9007199254740993, "price": 1.10, "done": True,
        "due": "2026-03-01T10:00:00.5+02:00", "extra": {"b": [1, None]}, "card": "4111",
    }  # fmt: skip
    raw = b'{"body":"\\u00fc\\n","rank":7,"total":9007199254740993,"price":1.10,"done":true,'
    raw += b'"due":"2026-03-01T10:00:00.5+02:00","extra":{"b":[1,null]},"card":"4111"}'
    answer = await live.call("POST", "", raw, prefer="return=representation")
    assert answer.status_code == 201, answer.text
    assert '"price":1.10' in answer.text
    assert '"total":9007199254740993' in answer.text
    assert '"due":"2026-03-01T08:00:00.5+00:00"' in answer.text
    row = answer.json()[0]
    assert row.keys() == notes().columns.keys() - {"shadow"}
    assert (row["body"], row["extra"], row["card"]) == (body["body"], body["extra"], body["card"])
    assert row["subject_id"] == live.subject
    assert answer.headers["preference-applied"] == "return=representation"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_select_names_and_renames_columns(filled: RecordsStand) -> None:
    answer = await filled.call("GET", "?select=place:rank,done&rank=eq.1")
    assert answer.text == '[{"place":1,"done":true}]'
    assert answer.headers["content-range"] == "0-0/*"
    head = await filled.call("HEAD", "?order=rank&offset=2")
    assert (head.status_code, head.headers["content-range"]) == (200, "2-4/*")


async def test_writes_answer_as_prefer_asks(live: RecordsStand) -> None:
    row = str(mint_subject_id())
    minimal = await live.call("POST", "", {"id": row, "rank": 1})
    assert (minimal.status_code, minimal.text) == (201, "")
    headers_only = await live.call("POST", "", {"rank": 2}, prefer="return=headers-only")
    location = headers_only.headers["location"]
    assert (headers_only.status_code, headers_only.text) == (201, "")
    found = await live.call("GET", location.removeprefix("/records/notes"))
    assert [one["rank"] for one in found.json()] == [2]
    changed = await live.call(
        "PATCH", f"?id=eq.{row}&select=rank,done", {"rank": 9, "done": True}, prefer="return=representation"
    )
    assert (changed.status_code, changed.text) == (200, '[{"rank":9,"done":true}]')
    silent = await live.call("PATCH", f"?id=eq.{row}", {"rank": 10})
    assert (silent.status_code, silent.text) == (204, "")
    nothing = await live.call("PATCH", "?rank=eq.77", {"done": True}, prefer="return=representation")
    assert (nothing.status_code, nothing.text) == (200, "[]")
    gone = await live.call("DELETE", f"?id=eq.{row}&select=rank", prefer="return=representation")
    assert (gone.status_code, gone.text) == (200, '[{"rank":10}]')
    assert (await live.call("DELETE")).status_code == 204
    assert (await live.call("GET")).text == "[]"


async def test_a_change_without_a_filter_touches_the_subjects_rows_only(filled: RecordsStand) -> None:
    assert (await filled.call("PATCH", "", {"done": True})).status_code == 204
    assert (await filled.call("DELETE")).status_code == 204
    left = await rows(filled.dsns, "SELECT body, done FROM product.notes")
    assert [tuple(row) for row in left] == [("secret", False)]


async def test_a_stranger_sees_and_changes_nothing_of_another(filled: RecordsStand) -> None:
    stranger = mint_subject_id()
    await place(filled.shard, stranger, 3)
    theirs = (await filled.call("GET", "?limit=1")).json()[0]["id"]
    who: dict[str, Any] = {"subject": stranger, "epoch": 3}
    assert (await filled.call("GET", f"?id=eq.{theirs}", **who)).text == "[]"
    assert (await filled.call("GET", f"?subject_id=eq.{filled.subject}", **who)).text == "[]"
    for method, body in (("PATCH", {"body": "mine"}), ("DELETE", None)):
        answer = await filled.call(method, f"?id=eq.{theirs}", body, prefer="return=representation", **who)
        assert answer.text == "[]"
    forged = await filled.call("POST", "", {"subject_id": filled.subject, "body": "mine"}, **who)
    assert (forged.status_code, forged.json()["code"]) == (403, "42501")
    assert len((await filled.call("GET")).json()) == 5


async def test_the_bound_columns_may_be_stated_as_they_are(live: RecordsStand) -> None:
    assert (await live.call("POST", "", {"subject_id": live.subject.upper(), "rank": 1})).status_code == 201
    assert (await live.call("PATCH", "", {"subject_id": live.subject, "rank": 2})).status_code == 204
    for body in ({"subject_id": str(mint_subject_id()), "rank": 3}, {"subject_id": None, "rank": 3}, {"subject_id": 7}):
        assert (await live.call("PATCH", "", body)).status_code == 403


@pytest.mark.parametrize(
    ("method", "query", "body", "status", "code"),
    [
        ("GET", "?select=shadow", None, 403, "42501"),
        ("GET", "?select=nothing", None, 400, "42703"),
        ("GET", "?shadow=eq.unseen", None, 403, "42501"),
        ("GET", "?order=shadow", None, 403, "42501"),
        ("GET", "?card=eq.4111", None, 403, "42501"),
        ("GET", "?order=card.desc", None, 403, "42501"),
        ("GET", "?select=*,tags(*)", None, 400, "PGRST100"),
        ("GET", "?select=rank,rank:total", None, 400, "PGRST100"),
        ("GET", "?body=fts.word", None, 400, "PGRST100"),
        ("GET", "?rank=2", None, 400, "PGRST100"),
        ("GET", "?rank=eq.two", None, 400, "22P02"),
        ("GET", "?rank=is.true", None, 400, "42804"),
        ("GET", "?limit=-1", None, 400, "PGRST100"),
        ("GET", "?limit=1&limit=2", None, 400, "PGRST100"),
        ("GET", f"?limit={'9' * 5000}", None, 400, "PGRST100"),
        ("GET", "?rank=in.1,2", None, 400, "PGRST100"),
        ("GET", "?a%22b=eq.1", None, 400, "PGRST100"),
        ("GET", "?body=eq.%00", None, 400, "PGRST100"),
        ("GET", "?body=eq.%ff", None, 400, "PGRST100"),
        ("POST", "", {"shadow": "seen"}, 403, "42501"),
        ("POST", "", {"nothing": 1}, 400, "PGRST204"),
        ("POST", "", [{"rank": 1}, {"total": 1}], 400, "PGRST102"),
        ("POST", "", [], 400, "PGRST102"),
        ("POST", "", [{}] * 1001, 413, "too_large"),
        ("POST", "", 7, 400, "PGRST102"),
        ("POST", "", b"{", 400, "PGRST102"),
        ("POST", "", b'{"body":"\xff"}', 400, "PGRST102"),
        ("POST", "", b'{"extra":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "PGRST102"),
        ("PATCH", "", b'{"body":"\xff"}', 400, "PGRST102"),
        ("PATCH", "", b'{"extra":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, 400, "PGRST102"),
        ("POST", "", {"rank": "x"}, 400, "22P02"),
        ("POST", "", {"rank": 2**40}, 400, "22003"),
        ("POST", "", {"rank": -1}, 400, "23514"),
        ("POST", "", {"body": "a\x00b"}, 400, "22P05"),
        ("POST", "", [{"rank": 1}, {"rank": 1}], 409, "23505"),
        ("POST", "?on_conflict=id", {"rank": 1}, 400, "PGRST100"),
        ("POST", "?limit=1", {"rank": 1}, 400, "PGRST100"),
        ("PATCH", "", {}, 400, "PGRST102"),
        ("PATCH", "", [{"rank": 1}], 400, "PGRST102"),
        ("PATCH", "?limit=1", {"rank": 1}, 400, "PGRST100"),
        ("DELETE", "?order=rank", None, 400, "PGRST100"),
    ],
)
async def test_what_cannot_be_is_refused_in_both_shapes(
    empty: RecordsStand, method: str, query: str, body: Any, status: int, code: str
) -> None:
    answer = await empty.call(method, query, body)
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code), answer.text
    assert {"message", "details", "hint", "type", "title", "status", "detail"} <= document.keys()
    assert answer.headers["content-type"] == "application/problem+json"
    assert "unseen" not in answer.text
    assert await rows(empty.dsns, "SELECT 1 FROM product.notes") == []


async def test_media_other_than_json_profiles_and_paths_that_are_not_there(live: RecordsStand) -> None:
    answer = await live.http.get("/records/notes", headers=live.headers() | {"accept": "text/csv"})
    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST107")
    csv = await live.http.post(
        "/records/notes", headers=live.headers() | {"content-type": "text/csv"}, content=b"rank\n1"
    )
    assert csv.status_code == 400
    for name in ("accept-profile", "content-profile"):
        assert (await live.http.get("/records/notes", headers=live.headers() | {name: "product"})).status_code == 200
    assert (await live.call("GET", table="secrets")).status_code == 404
    refused = await live.call("PUT", "", {})
    assert (refused.status_code, refused.json()["code"]) == (405, "PGRST105")
    assert "PUT" in refused.headers["allow"]
    function = await live.call("POST", "", {}, table="rpc/everything")
    assert (function.status_code, function.json()["code"]) == (400, "PGRST202")


async def test_rows_and_bodies_are_bounded(live: RecordsStand) -> None:
    many = [{"rank": number} for number in range(150)]
    answer = await live.call("POST", "", many, prefer="return=representation")
    assert (answer.status_code, len(answer.json())) == (201, 150)
    assert len((await live.call("GET", "?limit=5000")).json()) == 100
    assert len((await live.call("GET", "?limit=5000&offset=100")).json()) == 50
    large = await live.call("POST", "", {"body": "x" * (1 << 20)})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")


async def test_persons_touch_what_their_access_says(live: RecordsStand) -> None:
    person: dict[str, Any] = {"service": RECORDS}
    created = await live.call("POST", "", {"body": "mine", "done": False}, prefer="return=representation", **person)
    assert created.status_code == 201, created.text
    assert (await live.call("PATCH", "", {"rank": 3}, **person)).status_code == 403
    assert (await live.call("PATCH", "", {"body": "more"}, **person)).status_code == 204
    assert (await live.call("DELETE", "", **person)).status_code == 403
    assert [row["body"] for row in (await live.call("GET", "?select=body", **person)).json()] == ["more"]
    for actor in ("service:orders", mint_subject_id()):
        assert (await live.call("GET", "", actor=actor, **person)).status_code == 403


async def test_a_column_serves_its_purposes_only(filled: RecordsStand) -> None:
    analyst: dict[str, Any] = {"service": "analytics", "purpose": "analytics", "verb": Verb.READ}
    answer = await filled.call("GET", "?rank=eq.1", **analyst)
    assert [sorted(row) for row in answer.json()] == [["id", "rank", "subject_id"]]
    for query in ("?select=body", "?body=eq.two", "?order=body"):
        assert (await filled.call("GET", query, **analyst)).status_code == 403
    assert (await filled.call("GET", "?select=total", **analyst)).status_code == 403
    assert (await filled.call("GET", "", service="warehouse")).json()["code"] == "42501"
    assert (await filled.call("GET", "?select=id", service="warehouse")).status_code == 403
    assert (await filled.call("POST", "", {"rank": 9}, service="analytics")).status_code == 403


async def test_only_a_decision_for_this_caller_counts(live: RecordsStand) -> None:
    orders = live.headers("orders")
    token = live.tokens.headers("service:analytics", ["service:analytics@eu-de"])
    for headers, status in (
        ({}, 401),
        ({"authorization": orders["authorization"]}, 401),
        ({"domicile-decision": orders["domicile-decision"]}, 403),  # a service's decision without its credential
        (orders | token, 403),
        (live.headers(RECORDS) | token, 403),
        (orders | live.tokens.headers("service:orders", ["service:orders@us-va"]), 403),
        (orders | {"authorization": "Bearer nonsense"}, 401),
        (orders | {"domicile-decision": orders["domicile-decision"][:-2] + "xx"}, 403),
        (orders, 200),
    ):
        answer = await live.http.get("/records/notes", headers=headers)
        assert answer.status_code == status, answer.text
    live.minter = Minter(live.minter._cell, RootKey("k1", Secret(b"x" * 32)))
    assert (await live.call("GET")).status_code == 403


async def test_a_read_decision_does_not_write(live: RecordsStand) -> None:
    for method, body in (("POST", {"rank": 1}), ("PATCH", {"rank": 1}), ("DELETE", None)):
        assert (await live.call(method, "", body, verb=Verb.READ)).status_code == 403


@pytest.mark.parametrize(
    ("ddl", "reason"),
    [
        ("ALTER TABLE product.notes DROP COLUMN price", "has no column price"),
        ("ALTER TABLE product.notes ALTER COLUMN rank TYPE bigint", "rank is bigint, the contract says int"),
        (
            "ALTER TABLE product.notes DROP CONSTRAINT notes_pkey",
            "primary key of product.notes must be (subject_id, id)",
        ),
        ("CREATE UNIQUE INDEX bodies ON product.notes (body)", "bodies of product.notes must contain subject_id"),
        (
            "CREATE TABLE product.t (i uuid PRIMARY KEY); ALTER TABLE product.notes ADD FOREIGN KEY (id) REFERENCES product.t",
            "must contain subject_id",
        ),
        ("REVOKE DELETE ON product.notes FROM domicile_records", "lacks DELETE"),
        ("DROP TABLE product.notes", "there is no table product.notes"),
    ],
)
async def test_a_table_that_does_not_fit_its_contract_is_refused_alone_until_it_is_mended(
    postgres_server: PostgresServer, tmp_path: Path, ddl: str, reason: str
) -> None:
    other = parse(NOTES.replace("table: notes", "table: memos"), where="memos.yaml")
    memos = (
        NOTES_DDL.replace("notes", "memos")
        .replace("CREATE SCHEMA product;", "")
        .replace("GRANT USAGE ON SCHEMA product TO domicile_records;", "")
    )
    contracts = {"notes": notes(), "memos": other}
    async with records_stand(postgres_server, tmp_path, contracts, f"{NOTES_DDL};{memos};{ddl}") as built:
        answer = await built.call("GET")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert reason in answer.json()["detail"]
        assert (await built.call("GET", table="memos")).status_code == 200
        await rows(built.dsns, "DROP TABLE IF EXISTS product.notes")
        only_notes = NOTES_DDL.split("GRANT USAGE")[0].replace("CREATE SCHEMA product;", "")
        for statement in only_notes, "GRANT SELECT, INSERT, UPDATE, DELETE ON product.notes TO domicile_records":
            await execute(built, statement)
        await built.shard.look()
        assert (await built.call("GET")).status_code == 200


async def execute(built: RecordsStand, sql: str) -> None:
    await rows(built.dsns, f"DO $do$ BEGIN {sql.rstrip().rstrip(';')}; END $do$")


@pytest.mark.parametrize("owned", ["owner", "all_of_subject"])
async def test_where_tenants_are_placed_rows_are_bound_to_their_owner_too(
    postgres_server: PostgresServer, tmp_path: Path, owned: str
) -> None:
    contract = parse(TENANTS.replace("rows: owner", f"rows: {owned}"), where="notes.yaml")
    async with records_stand(postgres_server, tmp_path, {"notes": contract}, TENANTS_DDL) as built:
        ann, bob = mint_subject_id(), mint_subject_id()
        mine = (await built.stored({"rank": 1, "body": "ann's"}, actor=ann))[0]
        assert (mine["person_id"], mine["subject_id"]) == (ann, built.subject)
        seen = await built.call("GET", "", actor=bob)
        assert len(seen.json()) == (0 if owned == "owner" else 1)
        assert (await built.call("POST", "", {"rank": 2, "person_id": ann}, actor=bob)).status_code == 403
        assert (await built.call("PATCH", "", {"person_id": bob}, actor=ann)).status_code == 403
        await built.call("PATCH", "", {"body": "bob was here"}, actor=bob)
        kept = (await rows(built.dsns, "SELECT body, person_id::text FROM product.notes"))[0]
        assert tuple(kept) == ("ann's" if owned == "owner" else "bob was here", ann)
        job = await built.call("GET", "", actor="service:orders", verb=Verb.READ)
        assert job.status_code == (403 if owned == "owner" else 200)
        assert (await built.call("POST", "", {"rank": 3}, actor="service:orders")).status_code == 403

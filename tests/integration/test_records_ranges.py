"""Range types and their operators on real Postgres, as PostgREST has them."""

from collections.abc import AsyncIterator

import pytest

from cells.records.contracts import parse
from deploy.local.postgres import PostgresServer
from tests.stands.records import RecordsStand, records_stand

pytestmark = pytest.mark.anyio

TYPES = ("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange")
CONTRACT = """
table: stays
placed_by: subject_id
owner: subject_id
access: {services: {orders: {read: "*", write: "*"}}}
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  place:      {type: text, class: none}
""" + "".join(f"  c_{one}: {{type: {one}, class: none}}\n" for one in TYPES)
DDL = f"""
CREATE SCHEMA product;
CREATE TABLE product.stays (
    subject_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), place text,
    {", ".join(f"c_{one} {one}" for one in TYPES)}, PRIMARY KEY (subject_id, id)
);
GRANT USAGE ON SCHEMA product TO domicile_records;
GRANT SELECT, INSERT, UPDATE, DELETE ON product.stays TO domicile_records;
"""
ROWS = (
    {
        "place": "early", "c_int4range": "[1,5)", "c_int8range": "[1,5)", "c_numrange": "[1.0,5.0)",
        "c_tsrange": "[2026-01-01,2026-01-05)", "c_tstzrange": "[2026-01-01Z,2026-01-05Z)",
        "c_daterange": "[2026-01-01,2026-01-05)",
    },
    {
        "place": "late", "c_int4range": "[5,9)", "c_int8range": "[5,9)", "c_numrange": "[5.0,9.0)",
        "c_tsrange": "[2026-01-05,2026-01-09)", "c_tstzrange": "[2026-01-05Z,2026-01-09Z)",
        "c_daterange": "[2026-01-05,2026-01-09)",
    },
    {
        "place": "none", "c_int4range": "empty", "c_int8range": "empty", "c_numrange": "empty", "c_tsrange": "empty",
        "c_tstzrange": "empty", "c_daterange": "empty",
    },
)  # fmt: skip
FIRST = {
    "c_int4range": "[1,5)", "c_int8range": "[1,5)", "c_numrange": "[1,5)", "c_tsrange": "[2026-01-01,2026-01-05)",
    "c_tstzrange": "[2026-01-01T00:00:00Z,2026-01-05T00:00:00Z)", "c_daterange": "[2026-01-01,2026-01-05)",
}  # fmt: skip


@pytest.fixture(scope="module")
async def stays(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordsStand]:
    contracts = {"stays": parse(CONTRACT, where="stays.yaml")}
    async with records_stand(postgres_server, tmp_path_factory.mktemp("stays"), contracts, DDL) as built:
        answer = await built.call("POST", "", list(ROWS), table="stays", prefer="return=representation")
        assert answer.status_code == 201, answer.text
        assert answer.json()[0]["c_int4range"] == "[1,5)"
        yield built


async def _places(stays: RecordsStand, query: str) -> list[str]:
    answer = await stays.call("GET", f"?select=place&order=place&{query}", table="stays")
    assert answer.status_code == 200, answer.text
    return [row["place"] for row in answer.json()]


@pytest.mark.parametrize("column", FIRST)
async def test_every_range_type_knows_the_operators_of_ranges(stays: RecordsStand, column: str) -> None:
    first = FIRST[column]
    expected = {
        "sr": ["late"], "sl": [], "nxl": ["early", "late"], "nxr": ["early"], "adj": ["late"], "ov": ["early"],
        "cs": ["early"], "cd": ["early", "none"], "eq": ["early"], "neq": ["late", "none"], "gt": ["late"],
        "not.adj": ["early", "none"],
    }  # fmt: skip
    found = {operator: await _places(stays, f"{column}={operator}.{first}") for operator in expected}
    assert found == expected


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ('or=(c_int4range.adj."[5,9)",place.eq.none)', ["early", "none"]),
        ('not.or=(c_daterange.ov."[2026-01-02,2026-01-03]",c_int4range.sl."[100,)")', ["none"]),
        ('c_int4range=eq(any).{"[1,5)",empty}', ["early", "none"]),
        ('c_int4range=in.("[1,5)","[5,9)")', ["early", "late"]),
        ("c_int4range=cs.[2,2]", ["early"]),
        ("c_numrange=sl.(4.5,)", []),
        ("c_numrange=not.is.null", ["early", "late", "none"]),
    ],
)
async def test_ranges_stand_in_trees_lists_and_under_quantifiers(
    stays: RecordsStand, query: str, places: list[str]
) -> None:
    assert await _places(stays, query) == places


@pytest.mark.parametrize(
    ("query", "code"),
    [
        *((f"place={operator}.[1,5)", "42883") for operator in ("sl", "sr", "nxr", "nxl", "adj")),
        ("c_int4range=like.1*", "42883"),
        ("c_int4range=match.1", "42883"),
        ("c_int4range=adj(any).{1}", "PGRST100"),
        ("c_int4range->a=eq.1", "PGRST100"),
        ("c_int4range=is.true", "42804"),
        ("c_int4range=ov.1", "22P02"),
        ("c_int4range=ov.[5,1)", "22000"),
        ("c_tstzrange=ov.[1,5)", "22007"),
        ("select=place::int4range&place=eq.early", "22P02"),
        ("select=id::int4range", "42846"),
    ],
)
async def test_what_is_no_range_is_refused(stays: RecordsStand, query: str, code: str) -> None:
    answer = await stays.call("GET", f"?{query}", table="stays")
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


async def test_a_range_is_cast_to_text_and_ordered_by(stays: RecordsStand) -> None:
    answer = await stays.call("GET", "?select=c_int4range::text&order=c_int4range.desc", table="stays")
    assert [row["c_int4range"] for row in answer.json()] == ["[5,9)", "[1,5)", "empty"]

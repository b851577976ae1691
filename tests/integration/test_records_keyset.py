"""Walking a large table by its order: what docs/contracts.md teaches lets Postgres begin where the last page ended. Held to its plans."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from cells.records.contracts import parse
from cells.records.core import Bound, bind, grant
from cells.records.dialect import parse_query
from cells.records.ranges import page
from cells.records.statements import Builder
from deploy.local.postgres import PostgresServer
from foundation.postgres import connect
from foundation.words import ActorId, Epoch, ServiceId, mint_subject_id
from tests.stands.records import RecordsStand, records_stand
from tests.stands.shard import rows
from tests.unit.test_records_core import decision

pytestmark = pytest.mark.anyio

NUMBER = 200_000
VISITS = """
table: visits
placed_by: subject_id
owner: subject_id
access: {services: {orders: {read: "*", write: "*"}}}
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  placed_at:  {type: timestamptz, class: none}
  what:       {type: text, class: none}
"""
VISITS_DDL = """
CREATE SCHEMA product;
CREATE TABLE product.visits (
    subject_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), placed_at timestamptz NOT NULL, what text,
    PRIMARY KEY (subject_id, id)
);
CREATE INDEX visits_walked ON product.visits (subject_id, placed_at DESC, id DESC);
GRANT USAGE ON SCHEMA product TO domicile_records;
GRANT SELECT, INSERT, UPDATE, DELETE ON product.visits TO domicile_records;
"""
FILLED = """
INSERT INTO product.visits (subject_id, placed_at, what)
SELECT $1, timestamptz '2026-01-01Z' + (n / 3) * interval '1 second', 'visit ' || n FROM generate_series(1, $2::int) AS n
"""
CONTRACT = parse(VISITS, where="visits.yaml")
ORDER = "order=placed_at.desc,id.desc&limit=500"
PLANS = ("force_custom_plan", "force_generic_plan")
"""What Postgres makes of a statement's first executions, and of its later ones."""


@pytest.fixture(scope="module")
async def walked(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordsStand]:
    """One subject's many rows, three at each moment, among some of others."""
    folder = tmp_path_factory.mktemp("walked")
    async with records_stand(postgres_server, folder, {"visits": CONTRACT}, VISITS_DDL, rows_max=1000) as built:
        for subject, number in ((built.subject, NUMBER), (mint_subject_id(), NUMBER // 10)):
            await rows(built.dsns, FILLED, subject, number)
        await rows(built.dsns, "ANALYZE product.visits")
        yield built


async def _plan(stand: RecordsStand, query: str, plans: str) -> list[dict[str, Any]]:
    """The nodes of the plan of a read, as the records role carries it out."""
    asked = decision(subject=stand.subject, actor=ActorId(stand.subject), epoch=Epoch(stand.epoch))
    bound = bind(CONTRACT, asked)
    assert isinstance(bound, Bound)
    parsed = parse_query(query)
    builder = Builder(CONTRACT, grant(CONTRACT, ServiceId("orders"), "service"), bound)
    statement = builder.read(parsed, page(parsed, 1000))
    values = ", ".join(f"'{one}'" for one in statement.arguments)
    types = ", ".join(["uuid", "bigint", *["text"] * (len(statement.arguments) - 2)])
    async with connect(stand.dsns.records) as connection:
        await connection.execute(f"SET plan_cache_mode = {plans}")
        await connection.execute(f"PREPARE asked ({types}) AS {statement.sql}")
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE asked ({values})"
        return list(_nodes(json.loads(await connection.fetchval(explain))[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for one in node.get("Plans", []):
        yield from _nodes(one)


async def _after(stand: RecordsStand, rank: int) -> tuple[str, str]:
    """Moment and id of the row at a place of the order."""
    asked = await stand.call("GET", f"?select=placed_at,id&{ORDER.replace('500', '1')}&offset={rank}", table="visits")
    row = asked.json()[0]
    return row["placed_at"].replace("+", "%2B"), row["id"]


@pytest.mark.parametrize("plans", PLANS)
@pytest.mark.parametrize("rank", [0, NUMBER // 2, NUMBER * 3 // 4])
async def test_a_page_is_read_from_the_index_where_the_last_one_ended(
    walked: RecordsStand, rank: int, plans: str
) -> None:
    moment, key = await _after(walked, rank)
    query = f'{ORDER}&placed_at=lte.{moment}&or=(placed_at.lt."{moment}",id.lt.{key})'
    nodes = await _plan(walked, query, plans)
    scan = next(node for node in nodes if node.get("Relation Name") == "visits")
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "visits_walked"), scan
    assert "placed_at <=" in scan["Index Cond"]
    assert scan["Actual Rows"] == 500
    # Those that came before, at the same moment.
    assert scan.get("Rows Removed by Filter", 0) <= 3
    assert not [node for node in nodes if "Sort" in node["Node Type"] or "Gather" in node["Node Type"]]


async def test_the_last_page_reads_what_is_left(walked: RecordsStand) -> None:
    """Of few rows Postgres may take another plan; it reads no more of them."""
    moment, key = await _after(walked, NUMBER - 700)
    nodes = await _plan(walked, f'{ORDER}&placed_at=lte.{moment}&or=(placed_at.lt."{moment}",id.lt.{key})', PLANS[0])
    scan = next(node for node in nodes if node.get("Relation Name") == "visits")
    assert scan["Node Type"] in ("Index Scan", "Bitmap Heap Scan"), scan
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= 705


@pytest.mark.parametrize("plans", PLANS)
async def test_the_first_page_is_read_from_the_index(walked: RecordsStand, plans: str) -> None:
    nodes = await _plan(walked, ORDER, plans)
    scan = next(node for node in nodes if node.get("Relation Name") == "visits")
    assert (scan["Node Type"], scan["Actual Rows"]) == ("Index Scan", 500), scan


async def test_without_the_plain_condition_all_rows_before_the_page_are_read(walked: RecordsStand) -> None:
    """Why the guide states `placed_at=lte.T` beside the tree: under `or` alone there is no bound for the index."""
    moment, key = await _after(walked, NUMBER // 2)
    query = f'{ORDER}&or=(placed_at.lt."{moment}",and(placed_at.eq."{moment}",id.lt.{key}))'
    nodes = await _plan(walked, query, PLANS[0])
    scan = next(node for node in nodes if node.get("Relation Name") == "visits")
    assert scan["Rows Removed by Filter"] > NUMBER // 4


async def test_pages_follow_each_other_without_gaps_or_repeats(walked: RecordsStand) -> None:
    seen: list[str] = []
    after = ""
    for _ in range(4):
        answer = await walked.call("GET", f"?select=placed_at,id&{ORDER}{after}", table="visits")
        found = answer.json()
        seen += [row["id"] for row in found]
        moment, key = found[-1]["placed_at"].replace("+", "%2B"), found[-1]["id"]
        after = f'&placed_at=lte.{moment}&or=(placed_at.lt."{moment}",id.lt.{key})'
    told = "SELECT id::text FROM product.visits WHERE subject_id = $1 ORDER BY placed_at DESC, id DESC LIMIT 2000"
    assert seen == [row["id"] for row in await rows(walked.dsns, told, walked.subject)]

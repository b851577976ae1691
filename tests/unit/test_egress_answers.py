"""What a released table is still good for: DuckDB over the Parquet of three cells answers as the rows of those would who are in it."""

import datetime
import functools
import random
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.egress import release
from cells.egress.formats import Format
from cells.egress.sinks import sink_of
from cells.egress.verify import verify
from cells.records.contracts import parse
from foundation.mute import Secret
from foundation.words import CellId, ShardId
from routing_rules.release import Consent
from tests.stands.egress import SIGNER, MemoryWorld, journal_of, rules, run_of, treater

pytestmark = pytest.mark.anyio
STEPS = ("view", "cart", "order")
CELLS = {"eu-de": "DE", "us-va": "US", "in-mum": "IN"}
CLICKS = """
table: clicks
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token(lake)}}
  id:         {type: uuid, class: none}
  step:       {type: text, class: none, leaving: {default: keep}}
  seen:       {type: timestamptz, class: quasi, leaving: {default: month}}
"""


def clicks(chance: random.Random, people: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(people):
        subject = uuid.UUID(int=chance.getrandbits(128))
        for month in sorted(chance.sample(range(1, 7), chance.randint(1, 3))):
            for step in STEPS[: chance.randint(1, 3)]:
                seen = datetime.datetime(2026, month, chance.randint(1, 28), tzinfo=datetime.UTC)
                rows.append(
                    {"subject_id": subject, "id": uuid.UUID(int=chance.getrandbits(128)), "step": step, "seen": seen}
                )
    return rows


async def test_a_funnel_and_a_retention_over_three_cells_are_what_the_rows_say_of_everybody_who_did_not_say_no(
    folder: Path,
) -> None:
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    chance, held, contract = random.Random(8), rules(), parse(CLICKS, where="clicks.yaml")
    everything: list[dict[str, Any]] = []
    for number, (cell, home) in enumerate(CELLS.items()):
        rows = clicks(chance, 40)
        no = {str(one["subject_id"]) for one in rows[:: len(rows) // 5]}
        rows_left = [one for one in rows if str(one["subject_id"]) not in no]
        everything += rows_left
        made = treater("uk-lake", contract=contract, cell=CellId(cell), held=held, joins={"lake": Secret(b"l" * 32)})
        world = MemoryWorld({ShardId("s1"): rows}, homes={str(one["subject_id"]): home for one in rows}, held=held)
        # Some say no while it runs. The manifest says how many rows an answer lacks, and not whose.
        world.meanwhile = functools.partial(world.said.update, dict.fromkeys(no, Consent.WITHHELD))
        stated = run_of(folder, format_=Format.PARQUET, to="uk-lake", run_id=f"rel-{number}", held=held)
        stated = msgspec.structs.replace(stated, cell=CellId(cell), table="clicks")
        sink = sink_of(stated.out, {})
        path = Path(await release.run(journal_of(folder, stated), made, world.world(), sink, part_rows=100))
        found = verify(path, SIGNER.verifier)
        assert found.rows == len(rows_left)
        assert sum(found.document["rows"]["stayed"].values()) == len(rows) - len(rows_left)
    parts = f"read_parquet('{folder}/out/*/part-*.parquet')"
    funnel = dict(duckdb.sql(f"SELECT step, count(DISTINCT subject_id) FROM {parts} GROUP BY step").fetchall())
    assert funnel == {step: len({one["subject_id"] for one in everything if one["step"] == step}) for step in STEPS}
    same = f"FROM {parts} a JOIN {parts} b USING (subject_id, seen)"
    ordered = f"SELECT count(DISTINCT subject_id) {same} WHERE a.step = 'view' AND b.step = 'order'"
    bought = {(one["subject_id"], f"{one['seen']:%Y-%m}") for one in everything if one["step"] == "order"}
    assert duckdb.sql(ordered).fetchall() == [(len({subject for subject, _ in bought}),)]
    came = f"SELECT DISTINCT subject_id, seen FROM {parts}"
    both = f"FROM ({came}) a JOIN ({came}) b USING (subject_id) WHERE b.seen = '2026-06' AND a.seen < b.seen"
    again = f"SELECT a.seen, count(*) {both} GROUP BY 1"
    assert dict(duckdb.sql(again).fetchall()) == retained(everything)


def retained(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many of each earlier month came in June, by the rows themselves."""
    months: dict[uuid.UUID, set[str]] = defaultdict(set)
    for one in rows:
        months[one["subject_id"]].add(f"{one['seen']:%Y-%m}")
    found: dict[str, int] = defaultdict(int)
    for own in months.values():
        for month in own - {"2026-06"} if "2026-06" in own else ():
            found[month] += 1
    return dict(found)

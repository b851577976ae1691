"""A record batch large enough for tables of days, addresses of every length, and ids, become what their rows become."""

import datetime
import random
import uuid
from typing import Any

import pytest

from cells.egress.treating import Batch
from cells.egress.treatments import ADDRESS_CHARS_MAX
from tests.stands.egress import PEOPLE, people, person, treater

pa = pytest.importorskip("pyarrow")
from cells.egress import vectors  # noqa: E402 - needs pyarrow

CHANCE = random.Random(5)
YEARS = {
    "a life": (1930, 2020),
    "the future, too": (1990, 2060),
    "all of a calendar": (1, 9999),
    "one block": (1985, 1990),
}


def day(low: int, high: int) -> datetime.date | None:
    if CHANCE.random() < 0.1:
        return None
    return datetime.date(CHANCE.randint(low, high), CHANCE.randint(1, 12), CHANCE.randint(1, 28))


def both(
    columns: dict[str, list[Any]], types: dict[str, Any]
) -> tuple[dict[str, list[Any]], dict[str, list[Any]], Any, Any]:
    """The same rows, treated as rows and as a record batch: their columns, and what was counted."""
    made, count = treater("us-lake"), len(next(iter(columns.values())))
    absent = tuple(name for name in people().columns if name not in columns)
    rows = made.treat(Batch([person()] * count, columns, absent))
    fields = [pa.field(name, types.get(name, pa.string())) for name in columns]
    batch = pa.record_batch([pa.array(columns[one.name], type=one.type) for one in fields], schema=pa.schema(fields))
    found = vectors.treat(made, person(), batch)
    return (
        rows.columns,
        {name: found.batch.column(name).to_pylist() for name in columns},
        rows.counts,
        found.said.counts,
    )


@pytest.mark.parametrize("years", YEARS)
def test_days_of_a_large_batch_become_what_their_rows_become(years: str) -> None:
    columns = {"born": [day(*YEARS[years]) for _ in range(12_000)]}
    rows, batch, counted, of_batch = both(columns, {"born": pa.date32()})
    assert batch["born"] == rows["born"]
    assert of_batch["born"] == counted["born"]
    assert len(set(rows["born"])) > 1


def test_a_table_is_made_once_for_a_plan_and_only_where_it_pays() -> None:
    vectors._table.cache_clear()
    few = {"born": [datetime.date(1990, 1, 1), datetime.date(1950, 1, 1)]}
    both(few, {"born": pa.date32()})
    assert vectors._table.cache_info().currsize == 0
    made, many = treater("us-lake"), [day(1940, 1999) for _ in range(20_000)]
    batch = pa.record_batch([pa.array(many, type=pa.date32())], names=["born"])
    for _ in range(3):
        vectors.treat(made, person(), batch)
    assert (vectors._table.cache_info().currsize, vectors._table.cache_info().hits) == (1, 2)


def test_addresses_of_every_length_become_what_their_rows_become() -> None:
    tail = "@mail.example.com"
    sizes = (1, 64, 65, ADDRESS_CHARS_MAX - len(tail), ADDRESS_CHARS_MAX - len(tail) + 1, 400)
    addresses = [f"{'a' * size}{tail}" for size in sizes]
    addresses += [
        "",
        "a@",
        "@b.example",
        "a b@c.example",
        "a@b@c.example",
        "ä@c.example",
        "a@B.Example",
        "a@localhost",
        "x",
    ]
    rows, batch, counted, of_batch = both({"email": addresses}, {})
    assert batch["email"] == rows["email"]
    assert of_batch["email"] == counted["email"]


@pytest.mark.parametrize("odd", ["ID", "id\n", "", None, "g", "id-of-another-length", "-"])
@pytest.mark.parametrize("at", [0, 1_023, 1_024, 2_499])
def test_ids_of_a_large_batch_become_what_their_rows_become_wherever_the_batch_begins(odd: str | None, at: int) -> None:
    kept = people(
        PEOPLE.replace(
            "id:         {type: uuid, class: none}", "id: {type: uuid, class: none, leaving: {default: keep}}"
        )
    )
    ids: list[str | None] = [str(uuid.UUID(int=CHANCE.getrandbits(128))) for _ in range(2_500)]
    ids[at] = {"ID": str(ids[at]).upper(), "g": f"g{str(ids[at])[1:]}", "-": "-" * 36}.get(str(odd), odd)
    absent = tuple(name for name in kept.columns if name not in ("id", "subject_id"))
    rows = treater("uk-lake", contract=kept).treat(Batch([person()] * 2_500, {"id": ids, "subject_id": ids}, absent))
    held = pa.array(["before", *ids], type=pa.string()).slice(1)
    batch = pa.record_batch([held, held], names=["id", "subject_id"])
    found = vectors.treat(treater("uk-lake", contract=kept), person(), batch)
    assert found.batch.select(["id", "subject_id"]).to_pydict() == {
        name: rows.columns[name] for name in ("id", "subject_id")
    }
    assert found.said.counts == rows.counts

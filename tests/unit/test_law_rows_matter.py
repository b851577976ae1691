"""Every row of the pack changes an answer, or stands in tests/oracle/inert.csv with the reason why it does not.

Each row is taken away, and questions made of its own columns are asked with and without it: of the oracle all of them; of the engine the
one that tells. It must answer as the oracle does, with the row and without, so a row that the engine does not read, or reads otherwise, is
found.
"""

import csv
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from routing_rules.law import Law
from routing_rules.law.questions import TransferQuestion
from tests.oracle.aim import KEYS, aimed, label
from tests.oracle.ask import Case
from tests.oracle.compare import answers, bundled_tables, shown
from tests.oracle.crossing import transfer
from tests.oracle.engine import Changed, law_of
from tests.oracle.keeping import storage
from tests.oracle.naive import Oracle
from tests.oracle.tables import Row, Tables

TABLES = bundled_tables()
INERT = Path(__file__).parents[1] / "oracle" / "inert.csv"


@functools.cache
def inert() -> dict[tuple[str, str], str]:
    """(file, row) -> why it changes nothing."""
    with INERT.open(encoding="utf-8", newline="") as lines:
        return {(line["file"], line["row"]): line["reason"] for line in csv.DictReader(lines)}


def oracle_says(tables: Tables, case: Case) -> object:
    oracle = Oracle(tables, case.world, case.at)
    return (
        transfer(oracle, case.question)
        if isinstance(case.question, TransferQuestion)
        else storage(oracle, case.question)
    )


def misread(case: Case, without: Tables, law: Law, law_without: Law | None) -> list[str]:
    """Where the engine answers otherwise than the oracle, or alike with the row and without it. None: nothing reads such a pack."""
    expected, got = answers(TABLES, case, law)
    if law_without is None:
        return [shown(case, expected, got)] if expected != got else []
    expected_then, got_then = answers(without, case, law_without)
    sides = ((expected, got), (expected_then, got_then))
    wrong = [shown(case, says, does) for says, does in sides if says != does]
    return wrong or ([f"alike without the row{shown(case, expected_then, got)}"] if got == got_then else [])


def telling(file: str, row: Row) -> tuple[Case, Tables] | None:
    """A question that is answered otherwise without the row, and the tables without it."""
    without = TABLES.with_rows(file, [one for one in TABLES.rows[file] if one is not row])
    return next(
        (
            (case, without)
            for case in aimed(TABLES, file, row)
            if oracle_says(TABLES, case) != oracle_says(without, case)
        ),
        None,
    )


def shares() -> Iterator[tuple[str, int]]:
    """Files, the long ones in parts, so that no test takes long."""
    for file in KEYS:
        yield from ((file, part) for part in range(-(-len(TABLES.rows[file]) // 120)))


@pytest.mark.parametrize(("file", "part"), list(shares()))
def test_every_row_matters_or_is_listed_as_inert(file, part):
    changed, laws = Changed(TABLES), dict[str, Law]()
    silent, listed, wrong = [], [], []
    for row in TABLES.rows[file][part * 120 : (part + 1) * 120]:
        name, found = label(file, row), telling(file, row)
        if (found is None) != ((file, name) in inert()):
            (silent if found is None else listed).append(name)
        if found is not None:
            case, without = found
            world = repr(case.world)
            if world not in laws:
                laws[world] = law_of(case.world)
            wrong += [
                f"{name}: {one}" for one in misread(case, without, laws[world], changed.law_of(without, case.world))
            ]
    assert not silent, f"no question tells that these are gone; say why in {INERT.name}"
    assert not listed, f"these change an answer; take them out of {INERT.name}"
    assert not wrong, wrong[0]


def test_the_list_of_inert_rows_names_rows_that_are_there_each_once_with_a_reason():
    with INERT.open(encoding="utf-8", newline="") as lines:
        found = [(line["file"], line["row"]) for line in csv.DictReader(lines)]
    there = [(file, label(file, row)) for file in KEYS for row in TABLES.rows[file]]
    assert len(set(there)) == len(there)
    assert sorted(found) == sorted(set(found) & set(there))
    assert all(inert().values())

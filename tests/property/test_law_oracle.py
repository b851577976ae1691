"""The engine answers as docs/evaluation.md says: compared with a second implementation on many questions.

`make oracle` asks 200,000 with a seed of the day's own; here it is a share of them, the same each time, beside those that
tests/unit/test_law_rows_matter.py aims at each row.
"""

import datetime
import random

import pytest

from routing_rules.law import Law
from routing_rules.law.questions import Answer, Location, TransferQuestion
from routing_rules.pack import bundled
from routing_rules.policy import Instrument, Operator
from tests.oracle.ask import Asker, Case
from tests.oracle.compare import answers, bundled_tables, disagreements, regimes_disagreement
from tests.oracle.engine import law_of
from tests.oracle.naive import World

QUESTIONS, PARTS = 16_000, 2


@pytest.mark.parametrize("part", range(PARTS))
def test_the_engine_agrees_with_the_oracle(part):
    seed = 2026_1121 + part
    found, seen = disagreements(bundled_tables(), seed, QUESTIONS // PARTS)
    assert not found, f"python -m tests.oracle {QUESTIONS // PARTS} {seed}\n" + "".join(found)
    assert all(seen[f"TransferQuestion {answer}"] > QUESTIONS / PARTS / 100 for answer in Answer), seen
    assert all(
        seen[f"StorageQuestion {answer}"] > QUESTIONS / PARTS / 100 for answer in Answer if answer != "allow_with"
    ), seen


def test_the_engine_finds_the_regimes_that_the_oracle_finds():
    """Every country, every part of one that a row lists, one that none lists, and none; on the days on which that may differ."""
    tables = bundled_tables()
    asker = Asker(tables, random.Random(1))
    parts = [part for row in tables.rows["jurisdictions"] for part in row["subdivisions"].split(";") if part]
    places = [(country, part) for country in asker.countries for part in (None, f"{country}-QQ")]
    places += [(part[:2], part) for part in parts]
    days = sorted({datetime.date.fromisoformat(row["since"]) for row in tables.rows["jurisdictions"] if row["since"]})
    found = []
    for profile in ("cautious", "common"):
        for overlays in (None, (), ("ae-difc",), ("ae-difc", "ae-adgm")):
            world = World(profile, Operator(overlays=overlays), ())
            law = law_of(world)
            for number, (country, part) in enumerate(places):
                for day in (days[number % len(days)], days[-1], days[number % len(days)] - datetime.timedelta(days=1)):
                    told = regimes_disagreement(tables, law, Case(world, None, day), country, part)
                    found += [told] if told else []
    assert not found, found[0]


def test_a_planted_fault_is_seen():
    """The comparison can fail: an engine that knows of instruments that the oracle does not."""
    question = TransferQuestion(regimes=("uk",), to=Location("us", "US"), purpose="service", recipient_classes=())
    at, operator = datetime.date(2026, 11, 21), Operator(sectors=(), overlays=())
    clauses = tuple(
        Instrument(origin="uk", to="*", gateway=word, ref=word, since=at, until=at)
        for word in ("scc", "impact_assessment")
    )
    knowing = Law(bundled(), "cautious", operator, clauses)
    expected, got = answers(bundled_tables(), Case(World("cautious", operator, ()), question, at), knowing)
    assert (expected[0], got[0]) == ("deny", "allow_with")

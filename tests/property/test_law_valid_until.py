"""An answer holds on every day before its `valid_until`: asked again on days in between on which any row or instrument turns."""

import datetime
import random

import pytest

from foundation.words import Country
from routing_rules.facts import SubjectFacts
from routing_rules.law.questions import Finding
from tests.oracle.ask import Asker, Case
from tests.oracle.compare import bundled_tables, duties, lacks
from tests.oracle.engine import ask, law_of
from tests.oracle.tables import FILES, Tables

DAY = datetime.timedelta(days=1)


def turning_days(tables: Tables, case: Case) -> list[datetime.date]:
    """Every day from which something may be otherwise, of any row and instrument, whether it bears on the question or not."""
    rows = [row for file in FILES for row in tables.rows[file]]
    first = {datetime.date.fromisoformat(row["since"]) for row in rows if row["since"]}
    after = {datetime.date.fromisoformat(row["until"]) + DAY for row in rows if row["until"]}
    for one in case.world.instruments:
        first.add(one.since)
        after.add(one.until + DAY)
    return sorted(first | after)


def told(finding: Finding) -> tuple[object, ...]:
    return finding.answer, duties(finding), lacks(finding)


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_is_the_same_on_every_day_before_valid_until(seed):
    tables = bundled_tables()
    asker = Asker(tables, random.Random(seed))
    found: list[str] = []
    bounded = changed = 0
    for _ in range(20):
        focus = asker.focus()
        world = asker.world(focus)
        law = law_of(world)
        days = turning_days(tables, asker.case(world, focus))
        for _ in range(40):
            case = asker.case(world, focus)
            finding = ask(law, case)
            end = finding.valid_until
            bounded += end is not None
            inside = [day for day in days if case.at < day and (end is None or day < end)]
            asked = [*inside[:3], *asker.some_of(inside, 5), *([end - DAY] if end else [])]
            found += [f"{day} {case!r}" for day in asked if told(ask(law, case._replace(at=day))) != told(finding)]
            changed += end is not None and told(ask(law, case._replace(at=end))) != told(finding)
    assert not found, found[0]
    assert bounded > 100
    assert changed > 10


def test_regimes_are_the_same_on_every_day_before_their_valid_until():
    tables = bundled_tables()
    asker = Asker(tables, random.Random(1))
    for profile in ("cautious", "common"):
        world = asker.world(("us", "ae"))._replace(profile=profile)
        law = law_of(world)
        days = turning_days(tables, Case(world, None, datetime.date(2026, 1, 1)))
        for country, part in [
            *((one, None) for one in asker.countries),
            ("US", "US-OK"),
            ("US", "US-AL"),
            ("CA", "CA-NS"),
        ]:
            subject = SubjectFacts(residence=Country(country), subdivision=part)
            for at in asker.random.sample(days, 4):
                regimes = law.regimes_of(subject, at)
                end = regimes.valid_until
                for day in [day for day in days if at < day and (end is None or day < end)][:6]:
                    then = law.regimes_of(subject, day)
                    assert (then.ids, then.unknown is None) == (regimes.ids, regimes.unknown is None), (
                        country,
                        part,
                        at,
                        day,
                    )

"""No stricter row and no lost knowledge ever opens a route: what was refused stays refused.

The questions are drawn near the rows. Those that are refused are asked again after one tightening; those that are allowed are closed by a
first tightening and then tightened again, so that many stand right at the edge.
"""

import datetime
import itertools
import random

import msgspec
import pytest

from foundation.words import Country
from routing_rules.facts import SubjectFacts
from routing_rules.law.questions import Answer, Location, TransferQuestion
from routing_rules.policy import Instrument, Operator
from tests.oracle.ask import Asker, Case
from tests.oracle.compare import bundled_tables
from tests.oracle.engine import Changed, allows, ask, law_of
from tests.oracle.naive import World
from tests.oracle.tighten import ALWAYS_ON, Tightening, ignorant, tightened

SEEDS = range(4)
AT = datetime.date(2026, 11, 21)


def opened(changed: Changed, case: Case, steps: list[Tightening]) -> list[str]:
    """Which of these tightenings answer a refused case with yes."""
    return [f"{step.what}\n{case!r}" for step in steps if allows(changed.law_of(step.tables, case.world), case)]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_stricter_row_opens_a_route(seed):
    changed, draw = Changed(bundled_tables()), random.Random(seed)
    asker = Asker(changed.tables, draw)
    found: list[str] = []
    closed = 0
    for _ in range(20):
        focus = asker.focus()
        case = asker.case(asker.world(focus), focus)
        steps = list(tightened(changed.tables, case, draw))
        if not allows(law_of(case.world), case):
            found += opened(changed, case, steps)
            continue
        draw.shuffle(steps)
        closing = (one for one in steps if not allows(changed.law_of(one.tables, case.world), case))
        for step in itertools.islice(closing, 2):
            closed += 1
            found += [
                f"{step.what}, then {more}" for more in opened(changed, case, list(tightened(step.tables, case, draw)))
            ]
    assert not found, found[0]
    assert closed > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_no_fact_that_becomes_unknown_opens_a_route(seed):
    tables, draw = bundled_tables(), random.Random(seed)
    asker = Asker(tables, draw)
    found: list[str] = []
    for _ in range(12):
        focus = asker.focus()
        world = asker.world(focus)
        base, less = law_of(world), {}
        for _ in range(30):
            case = asker.case(world, focus)
            if allows(base, case):
                continue
            for what, poorer in ignorant(case):
                if poorer.world is not world and what not in less:
                    less[what] = law_of(poorer.world)
                law = base if poorer.world is world else less[what]
                found += [f"{what}\n{case!r}"] if allows(law, poorer) else []
    assert not found, found[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_not_knowing_the_part_of_a_country_opens_nothing_under_the_cautious_profile(seed):
    tables = bundled_tables()
    asker = Asker(tables, random.Random(seed))
    parts = [part for row in tables.rows["jurisdictions"] for part in row["subdivisions"].split(";") if part]
    found: list[str] = []
    for _ in range(25):
        part = asker.random.choice(parts)
        focus = [row["id"] for row in tables.rows["jurisdictions"] if part in row["subdivisions"].split(";")] + [
            part[:2].lower()
        ]
        world = asker.world(focus)._replace(profile="cautious")
        law = law_of(world)
        for _ in range(30):
            case = asker.case(world, focus)
            known, unknown = (
                law.regimes_of(SubjectFacts(residence=Country(part[:2]), subdivision=said), case.at).ids
                for said in (part, None)
            )
            assert set(known) <= set(unknown)
            asked = [
                case._replace(question=msgspec.structs.replace(case.question, regimes=ids)) for ids in (known, unknown)
            ]
            if not allows(law, asked[0]) and allows(law, asked[1]):
                found.append(repr(asked))
    assert not found, found[0]


# What opens after all, by the page's own logic


def evidence(origin: str, *words: str) -> tuple[Instrument, ...]:
    day = datetime.date
    return tuple(
        Instrument(origin=origin, to="*", gateway=word, ref=word, since=day(2000, 1, 1), until=day(2040, 1, 1))
        for word in words
    )


def transfer_of(*regimes: str) -> TransferQuestion:
    return TransferQuestion(regimes=regimes, to=Location("us", "US"), purpose="service", recipient_classes=())


def test_a_part_of_a_country_that_loses_its_last_row_is_silent_and_its_parent_decides():
    changed = Changed(bundled_tables())
    case = Case(
        World("cautious", Operator(sectors=(), overlays=()), evidence("ca", "accountability")),
        transfer_of("ca", "ca-qc"),
        AT,
    )
    assert ask(law_of(case.world), case).answer is Answer.DENY
    rest = [row for row in changed.tables.rows["gateways"] if row["from"] != "ca-qc"]
    silent = changed.tables.with_rows("gateways", rest)
    silent = silent.with_rows("edges", [row for row in silent.rows["edges"] if row["from"] != "ca-qc"])
    assert ask(changed.law_of(silent, case.world), case).answer is Answer.ALLOW_WITH


def test_an_enacted_part_of_a_country_is_left_out_until_it_starts():
    changed = Changed(bundled_tables())
    at = datetime.date(2027, 2, 1)
    case = Case(World("cautious", Operator(sectors=(), overlays=()), ()), transfer_of("us", "us-ok"), at)
    case = case._replace(question=msgspec.structs.replace(case.question, to=Location("br", "BR")))
    deny = {**changed.tables.rows["denies"][0], "from": "us-ok", "to": "*", "tag": "*", "threshold_id": "", **ALWAYS_ON}
    denied = changed.tables.with_rows("denies", [*changed.tables.rows["denies"], deny])
    assert ask(changed.law_of(denied, case.world), case).answer is Answer.DENY
    rows = [{**row, "since": "2028-01-01"} if row["id"] == "us-ok" else row for row in denied.rows["jurisdictions"]]
    assert ask(changed.law_of(denied.with_rows("jurisdictions", rows), case.world), case).answer.allows


def test_a_condition_that_is_removed_is_seen_to_open():
    """The check can fail: one row of an alternative is a condition, and without it less evidence is enough."""
    changed = Changed(bundled_tables())
    case = Case(World("cautious", Operator(sectors=(), overlays=()), evidence("uk", "scc")), transfer_of("uk"), AT)
    rest = [
        row
        for row in changed.tables.rows["gateways"]
        if (row["from"], row["alternative"], row["requirement"]) != ("uk", "1", "impact_assessment")
    ]
    step = Tightening("a condition removed", "gateways", changed.tables.with_rows("gateways", rest))
    assert not allows(law_of(case.world), case)
    assert opened(changed, case, [step])

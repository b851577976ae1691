"""The law, section 4 of its page: what has to be shown for a transfer, and what serves as that."""

from typing import Any

import pytest

from routing_rules.law.questions import Answer, Lack
from tests.stands.law import TODAY, Rows, crossing, day, law, shown
from tests.stands.law_made_up import ALLOW, DENY, UNKNOWN, WITH, asked, gateways, pack


def test_requirements_of_one_alternative_are_all_needed() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "impact_assessment"})
    scc, assessed = shown("aa", "bb", "scc"), shown("aa", "bb", "impact_assessment")
    assert crossing(law(of, scc), "aa", "bb").answer is DENY
    found = crossing(law(of, scc, assessed), "aa", "bb")
    assert found.answer is WITH
    assert [reason.instruments for reason in found.reasons] == [("aa-bb-scc",), ("aa-bb-impact_assessment",)]


def test_any_alternative_will_do() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "consent", "alternative": "2"})
    assert crossing(law(of, shown("aa", "bb", "consent")), "aa", "bb").answer is WITH


def test_rows_of_an_alternative_that_do_not_count_on_the_day_are_not_asked_for() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "consent", "since": "2030-01-01"})
    held = law(of, shown("aa", "bb", "scc"))
    assert crossing(held, "aa", "bb").answer is WITH
    assert crossing(held, "aa", "bb", at=day("2030-01-01")).answer is DENY
    assert crossing(held, "aa", "bb").valid_until == day("2030-01-01")


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({}, WITH),
        ({"to": "*"}, WITH),
        ({"to": "bb"}, WITH),
        ({"to": "cc"}, DENY),
        ({"to": "bb-s"}, DENY),
        ({"origin": "cc"}, DENY),
        ({"gateway": "bcr"}, DENY),
        ({"since": day("2026-11-22")}, DENY),
        ({"until": day("2026-11-20")}, DENY),
        ({"until": TODAY, "since": TODAY}, WITH),
        ({"detail": "filed"}, WITH),
        ({"detail": "signed"}, DENY),
    ],
)
def test_evidence_is_from_the_sender_to_the_place_for_the_requirement_on_the_day(more: Any, answer: Answer) -> None:
    of = gateways({"requirement": "scc", "detail_tag": "filed"})
    instrument = shown(**({"origin": "aa", "to": "bb-p", "gateway": "scc"} | more))
    assert crossing(law(of, instrument), "aa", "bb-p").answer is answer


def test_a_stated_detail_serves_no_row_that_asks_for_none() -> None:
    held = shown("aa", "bb", "scc", detail="filed")
    assert crossing(law(gateways({"requirement": "scc"}), held), "aa", "bb").answer is DENY


@pytest.mark.parametrize(("covered", "answer"), [((), DENY), (("health",), WITH), (("*",), WITH), (("number",), DENY)])
def test_an_instrument_covers_the_data_as_such_and_the_tags_that_it_lists(covered: Any, answer: Answer) -> None:
    of = law(gateways({"requirement": "scc"}), shown("aa", "bb", "scc", *covered))
    assert crossing(of, "aa", "bb").answer is WITH
    assert crossing(of, "aa", "bb", "health").answer is answer


def test_different_instruments_may_cover_different_items() -> None:
    of = law(gateways({"requirement": "scc"}), shown("aa", "bb", "scc"), shown("aa", "*", "scc", "health"))
    assert crossing(of, "aa", "bb", "health").answer is WITH


RANGES: Rows = [
    {"id": "few", "jurisdiction": "aa", "tag": "health", "min": "0", "max": "10"},
    {"id": "some", "jurisdiction": "aa", "tag": "health", "min": "10", "max": "100"},
    {"id": "poor", "jurisdiction": "aa", "tag": "money", "min": "0", "max": "5"},
]


@pytest.mark.parametrize(
    ("counts", "answer"),
    [
        ({"aa/health": 9, "aa/money": 4}, ALLOW),
        ({"aa/health": 10, "aa/money": 4}, ALLOW),
        ({"aa/health": 99, "aa/money": 0}, ALLOW),
        ({"aa/health": 100, "aa/money": 4}, UNKNOWN),
        ({"aa/health": 9, "aa/money": 5}, UNKNOWN),
        ({"aa/health": 9}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_ranges_of_one_tag_are_alternatives_and_of_different_tags_all_needed(counts: Any, answer: Answer) -> None:
    of = gateways({"requirement": "none", "threshold_id": "few;some;poor"}, thresholds=RANGES)
    assert crossing(law(of, counts=counts), "aa", "bb").answer is answer


def test_a_range_whose_row_does_not_count_fits_nobody_but_leaves_its_neighbours() -> None:
    ranges = [RANGES[0], RANGES[1] | {"profile": "common"}]
    of = gateways({"requirement": "none", "threshold_id": "few;some"}, thresholds=ranges)
    answers = [crossing(law(of, counts={"aa/health": n}), "aa", "bb").answer for n in (9, 50)]
    assert answers == [ALLOW, UNKNOWN]


def test_an_open_way_is_preferred_to_evidence() -> None:
    of = pack(
        edges=[{"from": "aa", "to": "bb"}],
        gateways=[{"from": "aa", "to": "*", "requirement": "scc"}],
        obligations=[{"jurisdiction": "aa", "trigger": "standard_contract_signed"}],
    )
    found = crossing(law(of, shown("aa", "bb", "scc")), "aa", "bb")
    assert (found.answer, found.duties) == (ALLOW, ())


def test_a_denial_for_want_of_evidence_says_what_each_alternative_lacks() -> None:
    of = gateways(
        {"requirement": "scc"},
        {"requirement": "impact_assessment"},
        {"requirement": "consent", "alternative": "2", "tags_only": "health"},
    )
    found = crossing(law(of, shown("aa", "bb", "scc")), "aa", "bb", "health")
    assert found.answer is DENY
    assert [(one.requirements, one.items, one.row.name) for one in found.lacks] == [
        (("scc", "impact_assessment"), ("health",), "aa -> * #1 scc"),
        (("consent",), ("health",), "aa -> * #2 consent"),
    ]
    assert {(one.regime, one.to) for one in found.lacks} == {("aa", "bb")}


def test_what_the_lacks_name_would_allow_it() -> None:
    of = gateways({"requirement": "scc"}, {"requirement": "impact_assessment"})
    lack: Lack = crossing(law(of), "aa", "bb", "health").lacks[0]
    filed = [shown(lack.regime, lack.to, one, *lack.items) for one in lack.requirements]
    assert crossing(law(of, *filed), "aa", "bb", "health").answer is WITH


def test_what_no_alternative_could_cover_is_unknown_and_not_for_want_of_evidence() -> None:
    of = gateways({"requirement": "scc", "tags_except": "health"})
    found = crossing(law(of), "aa", "bb", "health")
    assert (found.answer, found.lacks) == (UNKNOWN, ())


def test_alternatives_that_are_closed_otherwise_do_not_count_as_lacking_evidence() -> None:
    assert asked(gateways({"requirement": "scc", "recipient_class": "sworn"})) is UNKNOWN
    assert asked(gateways({"requirement": "scc", "since": "2030-01-01"})) is UNKNOWN
    assert asked(gateways({"requirement": "scc", "threshold_id": "few"}, thresholds=RANGES[:1])) is UNKNOWN

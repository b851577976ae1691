"""Explanations name the rows they rest on, with source, month and confidence, and say what would make the answer another."""

import datetime

import pytest

from foundation.words import CellId, Country, JurisdictionId, RegionId, ServiceId
from routing_rules.explain import NOT_LEGAL_ADVICE, Explanation, explain_decide, explain_place, explain_transfer, row_at
from routing_rules.facts import SubjectFacts
from routing_rules.law.questions import RowRef, TransferQuestion
from routing_rules.rules import load
from tests.stands.rules import TODAY, person, policy_with, request, rules


def rows(explained: Explanation) -> list[str]:
    return [step.row for step in explained.steps if step.row is not None]


def answers(explained: Explanation) -> dict[str, str]:
    return {step.asked.strip(): step.answer for step in explained.steps}


def test_a_placement_is_explained_by_regime_cells_and_the_rows_that_allow_it() -> None:
    explained = explain_place(person("GB"), rules(), TODAY)
    regime = explained.steps[0]
    assert regime.row is not None
    assert regime.row.startswith("jurisdictions.csv:")
    assert regime.row.endswith(" uk")
    assert (regime.as_of, regime.confidence, regime.status) == ("2026-02", "high", "in_force")
    assert regime.source is not None
    assert "UK GDPR Art 12(3)" in regime.source
    edge = next(step for step in explained.steps if step.row is not None and step.row.startswith("edges.csv:"))
    assert edge.row is not None
    assert edge.row.endswith(" uk -> eu")
    assert edge.source is not None
    assert "DPA 2018 Sch 21" in edge.source
    assert (explained.outcome, explained.notice) == ("allowed", NOT_LEGAL_ADVICE)


def test_every_regime_has_a_step_with_its_law() -> None:
    explained = explain_place(person("US", subdivision="US-TX"), rules(), TODAY)
    laws = [step.law for step in explained.steps if step.law]
    assert len(laws) == 2
    assert "TDPSA" in laws[1]


def test_a_law_that_does_not_count_yet_says_from_which_day() -> None:
    explained = explain_place(person("CL"), rules(), TODAY)
    assert explained.outcome == "no_cell"
    assert explained.steps[0].holds_from == datetime.date(2026, 12, 1)
    assert any("2026-12-01" in one for one in explained.would_change)


def test_an_unknown_country_is_explained_by_what_is_missing() -> None:
    explained = explain_place(person("XX"), rules(), TODAY)
    assert (explained.outcome, explained.steps[0].answer[:8]) == ("no_cell", "unknown:")


def test_what_stayed_open_names_its_line_of_the_unresolved() -> None:
    served = load(policy_with(('serves = ["in"]', 'serves = ["in", "kw"]')))
    explained = explain_place(person("KW"), served, TODAY)
    open_steps = [step for step in explained.steps if step.row is not None and step.row.startswith("unresolved.csv:")]
    assert open_steps
    assert any(step.note and "storage outside the telecom sector" in step.note for step in open_steps)


def test_a_hairpin_names_the_instruments_it_rests_on() -> None:
    explained = explain_decide(request(ingress=RegionId("us")), rules(), TODAY)
    assert explained.outcome == "hairpin"
    assert {one for step in explained.steps for one in step.instruments} == {"DEMO-SCC-EU-US", "DEMO-TIA-EU-US"}
    assert answers(explained)["What does policy say of people of eu who are in region us?"].startswith("hairpin")


def test_a_refused_hairpin_says_which_instruments_would_allow_it() -> None:
    explained = explain_decide(request(ingress=RegionId("in")), rules(), TODAY)
    assert explained.outcome == "elsewhere"
    assert any(
        one.startswith(
            "scc + impact_assessment or bcr + impact_assessment from eu to in, on file as instruments (gateways.csv:"
        )
        for one in explained.would_change
    )


@pytest.mark.parametrize(
    ("changes", "outcome", "asked", "answer"),
    [
        ({}, "serve", "Is the placement made for service 'orders'?", "yes"),
        ({"services": (ServiceId("x"),)}, "refuse", "Is the placement made for service 'orders'?", "no"),
        ({"cell": CellId("us-va")}, "refuse", "Does policy let cell us-va serve eu?", "no"),
        ({"cell": CellId("nowhere")}, "refuse", "Does 'orders' run in cell 'nowhere'?", "no"),
        (
            {"service": ServiceId("x")},
            "refuse",
            "Does 'x' run in cell 'eu-de'?",
            "unknown: policy declares no such service",
        ),
        ({"actor": ServiceId("support-desk")}, "serve", "May 'support-desk' act for this person here?", "yes"),
    ],
)
def test_each_step_of_a_decision_is_answered(changes: dict[str, object], outcome: str, asked: str, answer: str) -> None:
    explained = explain_decide(request(**changes), rules(), TODAY)
    assert explained.outcome == outcome
    assert answers(explained)[asked] == answer


def test_a_storage_rule_that_keeps_data_is_shown_with_its_article() -> None:
    served = load(policy_with(('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "uk", "ch", "in"]')))
    paying = SubjectFacts(residence=Country("IN"), tags=("payments",))
    explained = explain_decide(request(subject=paying), served, TODAY)
    assert explained.outcome == "refuse"
    kept = next(step for step in explained.steps if step.row is not None and step.row.startswith("storage.csv:"))
    assert kept.source is not None
    assert "RBI circular" in kept.source


def test_a_transfer_is_explained_with_its_duties() -> None:
    question = TransferQuestion(
        regimes=(JurisdictionId("eu"),), to=rules().law.location(Country("US")), purpose="service", recipient_classes=()
    )
    explained = explain_transfer(question, rules(), TODAY)
    assert explained.outcome == "allow_with"
    assert [duty.action for duty in explained.duties] == ["complete_transfer_impact_assessment"]


def test_rows_of_another_pack_are_not_found() -> None:
    with pytest.raises(LookupError, match="no row"):
        row_at(RowRef("edges", 1, "the header"), rules())

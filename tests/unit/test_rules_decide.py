"""`decide`: served at home, carried, sent or refused away from home, refused whenever something is not known or not allowed."""

import datetime

import pytest

from foundation.problems import Code
from foundation.words import CellId, Country, RegionId, ServiceId, Verb
from routing_rules.decide import decide
from routing_rules.facts import RequestFacts, SubjectFacts
from routing_rules.pack import Pack
from routing_rules.rules import load
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse, Serve, Verdict
from tests.stands.rules import POLICY, TODAY, policy_with, request, rules, small_pack

EU_TO_US = '"eu->us" = "hairpin"'
"""The stack's travellers, as its policy states them."""


def verdict(
    facts: RequestFacts, *, pack: Pack | None = None, policy: str = POLICY, at: datetime.date = TODAY
) -> Verdict:
    return decide(facts, load(policy, pack), at)


def refused(facts: RequestFacts, code: Code = Code.RESIDENCY_REFUSED, **more: object) -> Refuse:
    answer = verdict(facts, **more)  # type: ignore[arg-type]
    assert isinstance(answer, Refuse), answer
    assert answer.code is code
    return answer


def of(country: str, **facts: object) -> SubjectFacts:
    return SubjectFacts(residence=Country(country), **facts)  # type: ignore[arg-type]


def indian(**changes: object) -> RequestFacts:
    return request(**({"subject": of("IN"), "cell": CellId("in-mum"), "ingress": RegionId("in")} | changes))


# At home


def test_a_request_at_its_home_region_is_served_with_the_purpose_of_the_service() -> None:
    answer = verdict(request())
    assert isinstance(answer, Serve)
    assert (answer.cell, answer.region, answer.purpose) == ("eu-de", "eu", "service")
    assert answer.digest == rules().digest


def test_reads_and_writes_are_both_served() -> None:
    assert isinstance(verdict(request(verb=Verb.WRITE)), Serve)


def test_a_person_whose_law_allows_the_transfer_is_served_abroad_and_the_ground_names_the_edge() -> None:
    answer = verdict(request(subject=of("GB")))
    assert isinstance(answer, Serve)
    assert "uk -> eu" in answer.ground


def test_a_person_is_refused_where_policy_serves_but_the_law_lets_nothing_go() -> None:
    policy = policy_with(('serves = ["us"]', 'serves = ["us", "eu"]'), ("[[instruments]]", "[[instruments]]"))
    answer = refused(
        request(cell=CellId("us-va"), ingress=RegionId("us"), subject=of("FR", tags=("health",))), policy=policy
    )
    assert "eu" in answer.ground


def test_a_cell_that_policy_does_not_let_serve_the_regime_is_refused_from_every_ingress() -> None:
    for ingress in ("eu", "us", "in"):
        answer = refused(request(cell=CellId("us-va"), ingress=RegionId(ingress)))
        assert answer.ground == "policy: cells.us-va.serves does not name eu"


@pytest.mark.parametrize("country", ["AQ", "IR", "XX", "CL"])
def test_a_residence_whose_law_is_not_known_on_that_day_is_refused(country: str) -> None:
    assert refused(request(subject=of(country))).ground.startswith("unknown: ")


def test_a_cell_that_serves_the_whole_serves_its_parts_and_not_the_other_way_round() -> None:
    part_only = policy_with(
        ('serves = ["eu", "uk", "ch"]', 'serves = ["eu-de"]'), ('uk = "home"\n', ""), (EU_TO_US, "")
    )
    assert isinstance(verdict(request(), policy=part_only), Serve)
    refused(request(subject=of("FR")), policy=part_only)


def test_payments_of_an_indian_are_served_in_india() -> None:
    assert isinstance(verdict(indian(subject=of("IN", tags=("payments",)))), Serve)


def test_payments_of_an_indian_are_refused_in_another_cell() -> None:
    policy = policy_with(('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "uk", "ch", "in"]'))
    plain = verdict(request(subject=of("IN")), policy=policy)
    assert isinstance(plain, Serve), plain
    assert "payments" in refused(request(subject=of("IN", tags=("payments",))), policy=policy).ground


def test_tags_and_terms_that_nothing_declares_are_refused() -> None:
    assert "no tag 'helth'; did you mean health?" in refused(request(subject=of("DE", tags=("helth",)))).ground
    assert "no terms 'gold'" in refused(request(subject=of("DE", terms="gold"))).ground


def test_terms_narrow_the_cells() -> None:
    policy = POLICY + '\n[terms.gold]\ncells = ["us-va"]\n'
    answer = refused(request(subject=of("DE", terms="gold")), policy=policy)
    assert answer.ground == "policy: terms.gold.cells does not name eu-de"


def test_an_undeclared_citizenship_is_unknown_unless_policy_takes_the_residence_for_it() -> None:
    asked = policy_with(('citizenship = "residence"', 'citizenship = "asked"'))
    assert "ru" in refused(request(), policy=asked).ground
    assert isinstance(verdict(request(subject=of("DE", citizenships=(Country("DE"),))), policy=asked), Serve)


def test_a_russian_citizen_is_refused_outside_russia() -> None:
    assert "ru" in refused(request(subject=of("DE", citizenships=(Country("DE"), Country("RU"))))).ground


# What policy itself lacks


def test_records_belongs_to_every_placement_but_not_to_an_empty_one() -> None:
    assert isinstance(verdict(request(service=ServiceId("records"))), Serve)
    refused(request(service=ServiceId("records"), services=()), Code.NOT_PLACED_FOR_SERVICE)


def test_an_unknown_service_is_refused() -> None:
    assert refused(request(service=ServiceId("billing")), Code.UNKNOWN_SERVICE).valid_until is None


def test_a_service_that_the_placement_was_not_made_for_is_refused() -> None:
    assert "'other'" in refused(request(services=(ServiceId("other"),)), Code.NOT_PLACED_FOR_SERVICE).ground


def test_an_unknown_cell_or_ingress_region_is_refused() -> None:
    assert "no cell 'eu-fr'" in refused(request(cell=CellId("eu-fr"))).ground
    assert "no region 'moon'" in refused(request(ingress=RegionId("moon"))).ground


def test_a_service_without_addresses_in_the_home_is_refused() -> None:
    policy = policy_with(('eu-de = ["127.0.0.1:7000"]', "eu-de = []"))
    assert "has no address in cell eu-de" in refused(request(), policy=policy).ground


def test_sign_up_needs_no_placement_but_a_service_that_signs_people_up() -> None:
    assert isinstance(verdict(request(verb=Verb.SIGNUP, services=())), Serve)
    assert "no signup route" in refused(request(verb=Verb.SIGNUP, service=ServiceId("records"))).ground


# Away from home


def test_a_traveller_is_carried_home_where_policy_says_so_and_the_law_allows_the_processing() -> None:
    answer = verdict(request(ingress=RegionId("us")))
    assert isinstance(answer, Hairpin)
    assert (answer.cell, answer.region, answer.home) == ("eu-de", "eu", "http://127.0.0.1:7100")
    assert "travellers.eu->us = hairpin" in answer.ground
    assert "eu" in answer.basis


def test_without_the_evidence_that_the_law_asks_for_a_traveller_is_sent_home_instead() -> None:
    text = POLICY
    while "[[instruments]]" in text:
        start = text.index("[[instruments]]")
        end = text.find("\n[", start + 3)
        text = text[:start] + (text[end + 1 :] if end >= 0 else "")
    answer = verdict(request(ingress=RegionId("us")), policy=text)
    assert isinstance(answer, Elsewhere)
    assert "not carried there" in answer.ground


def test_a_traveller_is_sent_home_where_policy_says_so() -> None:
    answer = verdict(request(ingress=RegionId("us")), policy=policy_with((EU_TO_US, '"eu->us" = "home"')))
    assert isinstance(answer, Elsewhere)
    assert (answer.home, answer.region) == ("http://127.0.0.1:7100", "eu")


def test_a_traveller_is_refused_where_policy_says_so() -> None:
    answer = refused(request(ingress=RegionId("us")), policy=policy_with((EU_TO_US, '"eu->us" = "refuse"')))
    assert "travellers.eu->us = refuse" in answer.ground


def test_the_part_is_asked_before_the_whole_and_the_direction_before_both() -> None:
    policy = policy_with((EU_TO_US, '"eu->us" = "refuse"\neu-de = "home"\n"eu-de->in" = "refuse"'))
    assert isinstance(verdict(request(ingress=RegionId("us")), policy=policy), Elsewhere)
    refused(request(ingress=RegionId("us"), subject=of("FR")), policy=policy)
    refused(request(ingress=RegionId("in")), policy=policy)


def test_terms_say_what_becomes_of_their_travellers() -> None:
    policy = POLICY + '\n[terms.gold]\ncells = ["eu-de"]\ntravellers = "refuse"\n'
    assert (
        "terms.gold = refuse"
        in refused(request(ingress=RegionId("us"), subject=of("DE", terms="gold")), policy=policy).ground
    )


def test_without_travellers_in_policy_everybody_is_sent_home() -> None:
    text = POLICY
    start = text.index("[travellers]")
    end = text.find("\n[", start + 3)
    text = text[:start] + (text[end + 1 :] if end >= 0 else "")
    assert isinstance(verdict(request(ingress=RegionId("us")), policy=text), Elsewhere)


def test_nobody_is_signed_up_by_a_hairpin() -> None:
    answer = verdict(request(ingress=RegionId("us"), verb=Verb.SIGNUP, services=()))
    assert isinstance(answer, Elsewhere)


# Services that act for somebody


def acting(**changes: object) -> RequestFacts:
    return request(**({"actor": ServiceId("support-desk")} | changes))


def test_a_service_of_the_same_jurisdiction_is_served_for_the_person() -> None:
    answer = verdict(acting())
    assert isinstance(answer, Serve)
    assert answer.ground.startswith("actors.support-desk acts from the same jurisdiction")


def test_a_service_across_a_border_is_refused_even_where_a_transfer_would_be_allowed() -> None:
    start = POLICY.index("[actors.support-desk]")
    abroad = POLICY[:start] + POLICY[start:].replace('country = "DE"', 'country = "GB"', 1)
    assert "only by egress" in refused(acting(), policy=abroad).ground


def test_a_service_is_bounded_by_its_entry_and_never_carried() -> None:
    assert "actors.'nobody'" in refused(acting(actor=ServiceId("nobody"))).ground
    assert "verbs does not name" in refused(acting(verb=Verb.WRITE)).ground
    assert "services does not name" in refused(acting(service=ServiceId("records"))).ground
    assert "jurisdictions does not name uk" in refused(acting(subject=of("GB"))).ground
    assert "nobody is carried for somebody else" in refused(acting(ingress=RegionId("us"))).ground


# Days


def test_a_row_counts_on_its_last_day_and_the_answer_says_when_it_ends() -> None:
    pack = small_pack({"id": "eu", "kind": "bloc", "countries": "DE", "until": "2026-12-31"})
    last = verdict(request(), pack=pack, at=datetime.date(2026, 12, 31))
    assert isinstance(last, Serve)
    assert last.valid_until == datetime.date(2027, 1, 1)
    assert refused(request(), pack=pack, at=datetime.date(2027, 1, 1)).ground.startswith("unknown: ")


def test_the_united_kingdoms_people_are_carried_no_further_than_their_own_edge_reaches() -> None:
    answer = verdict(request(subject=of("GB"), ingress=RegionId("us")))
    assert not isinstance(answer, Hairpin | Serve)


def test_the_last_day_of_the_calendar_does_not_overflow() -> None:
    assert isinstance(verdict(request(), at=datetime.date.max), Serve | Refuse)

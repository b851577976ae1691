"""`decide`: served at home, sent home from elsewhere, refused whenever something is not known."""

import datetime

import pytest

from foundation.problems import Code
from foundation.words import Verb
from routing_rules.decide import Elsewhere, Refuse, RequestFacts, Serve, decide
from routing_rules.pack import Pack
from routing_rules.rules import load
from tests.stands.rules import POLICY, TODAY, policy_with, request, rules, small_pack


def verdict(
    facts: RequestFacts, *, pack: Pack | None = None, policy: str = POLICY, at: datetime.date = TODAY
) -> Serve | Elsewhere | Refuse:
    return decide(facts, load(policy, pack), at)


def refused(facts: RequestFacts, code: Code = Code.RESIDENCY_REFUSED, **more: object) -> Refuse:
    answer = verdict(facts, **more)  # type: ignore[arg-type]
    assert isinstance(answer, Refuse), answer
    assert answer.code is code
    return answer


def test_a_request_at_its_home_region_is_served_with_the_purpose_of_the_service() -> None:
    answer = verdict(request())
    assert isinstance(answer, Serve)
    assert (answer.cell, answer.region, answer.purpose, answer.valid_until) == ("eu-de", "eu", "service", None)
    assert answer.ground == "row eu (as of 2026-02): served by cell eu-de"
    assert answer.digest == rules().digest


def test_a_request_in_another_region_is_sent_to_the_origin_of_its_home() -> None:
    answer = verdict(request(ingress="us"))
    assert isinstance(answer, Elsewhere)
    assert (answer.home, answer.region) == ("http://127.0.0.1:7100", "eu")


def test_reads_and_writes_are_both_served() -> None:
    assert isinstance(verdict(request(verb=Verb.WRITE)), Serve)


def test_records_belongs_to_every_placement_but_not_to_an_empty_one() -> None:
    assert isinstance(verdict(request(service="records")), Serve)
    refused(request(service="records", services=()), Code.NOT_PLACED_FOR_SERVICE)


def test_an_unknown_service_is_refused() -> None:
    assert refused(request(service="billing"), Code.UNKNOWN_SERVICE).valid_until is None


def test_a_service_that_the_placement_was_not_made_for_is_refused() -> None:
    answer = refused(request(services=("other",)), Code.NOT_PLACED_FOR_SERVICE)
    assert "'other'" in answer.ground


def test_an_unknown_cell_is_refused() -> None:
    assert "no cell 'eu-fr'" in refused(request(cell="eu-fr")).ground


def test_an_unknown_ingress_region_is_refused() -> None:
    assert "no region 'moon'" in refused(request(ingress="moon")).ground


def test_a_service_without_addresses_in_the_home_is_refused() -> None:
    policy = policy_with(('eu-de = ["127.0.0.1:7000"]', "eu-de = []"))
    assert "has no address in cell eu-de" in refused(request(), policy=policy).ground


def test_a_cell_that_does_not_serve_the_regime_is_refused_from_every_ingress() -> None:
    for ingress in ("eu", "us", "in"):
        answer = refused(request(cell="us-va", ingress=ingress))
        assert answer.ground == "row eu (as of 2026-02): cell us-va does not serve eu"


def test_every_regime_must_be_served() -> None:
    assert isinstance(verdict(request(regimes=("eu", "uk"))), Serve)
    assert "does not serve us" in refused(request(regimes=("eu", "us"))).ground


@pytest.mark.parametrize("regime", ["nowhere", "default", "ir", "us-dpf", "ae-difc", ""])
def test_a_regime_that_is_not_known_is_refused(regime: str) -> None:
    assert refused(request(regimes=("eu", regime))).ground.startswith("unknown: ")


def test_a_placement_without_a_regime_is_refused() -> None:
    assert refused(request(regimes=())).ground == "unknown: the placement names no regime"


def test_a_cell_that_serves_the_whole_serves_its_subdivisions_and_not_the_other_way_round() -> None:
    assert isinstance(verdict(request(regimes=("eu-de",))), Serve)
    part_only = policy_with(('serves = ["eu", "uk", "ch"]', 'serves = ["eu-de"]'))
    assert isinstance(verdict(request(regimes=("eu-de",)), policy=part_only), Serve)
    refused(request(regimes=("eu",)), policy=part_only)


def test_tags_and_terms_that_no_rule_reads_are_refused() -> None:
    assert "'health'" in refused(request(tags=("health",))).ground
    assert "terms 'gold'" in refused(request(terms="gold")).ground
    tagged = policy_with(('purpose = "service"\nanonymous', 'purpose = "service"\ntags = ["health"]\nanonymous'))
    assert "'health'" in refused(request(), policy=tagged).ground


def test_sign_up_needs_no_placement_but_a_service_that_signs_people_up() -> None:
    assert isinstance(verdict(request(verb=Verb.SIGNUP, services=())), Serve)
    assert "no signup route" in refused(request(verb=Verb.SIGNUP, service="records")).ground


PART = {"id": "de-x", "kind": "subdivision", "parent": "eu", "status": "enacted", "since": "2026-06-01"}


def test_an_enacted_subdivision_leaves_its_parent_to_decide_until_it_starts() -> None:
    pack = small_pack(PART)
    before = verdict(request(regimes=("de-x",)), pack=pack, at=datetime.date(2026, 5, 31))
    assert isinstance(before, Serve)
    assert before.ground.startswith("row eu ")
    assert before.valid_until == datetime.date(2026, 6, 1)
    after = verdict(request(regimes=("de-x",)), pack=pack, at=datetime.date(2026, 6, 1))
    assert isinstance(after, Serve)
    assert after.ground.startswith("row de-x ")
    assert after.valid_until is None


def test_a_subdivision_in_force_before_its_evidence_starts_is_unknown() -> None:
    pack = small_pack(PART | {"status": "in_force"})
    answer = refused(request(regimes=("de-x",)), pack=pack, at=datetime.date(2026, 5, 31))
    assert answer.valid_until == datetime.date(2026, 6, 1)


def test_a_row_counts_on_its_last_day_and_the_answer_says_when_it_ends() -> None:
    pack = small_pack({"id": "eu", "kind": "bloc", "countries": "DE", "until": "2026-12-31"})
    last = verdict(request(), pack=pack, at=datetime.date(2026, 12, 31))
    assert isinstance(last, Serve)
    assert last.valid_until == datetime.date(2027, 1, 1)
    assert "counted until 2026-12-31" in refused(request(), pack=pack, at=datetime.date(2027, 1, 1)).ground


def test_the_earliest_change_of_all_regimes_is_named() -> None:
    pack = small_pack(
        {"id": "eu", "kind": "bloc", "countries": "DE", "until": "2028-12-31"},
        {"id": "uk", "countries": "GB", "until": "2027-12-27"},
    )
    assert verdict(request(regimes=("eu", "uk")), pack=pack).valid_until == datetime.date(2027, 12, 28)


def test_the_last_day_of_the_calendar_does_not_overflow() -> None:
    pack = small_pack({"id": "eu", "kind": "bloc", "countries": "DE", "until": "9999-12-31"})
    assert verdict(request(), pack=pack, at=datetime.date.max).valid_until is None


def test_what_a_ground_quotes_of_facts_is_bounded() -> None:
    answer = refused(request(services=tuple("x" * 5_000 + str(n) for n in range(500))), Code.NOT_PLACED_FOR_SERVICE)
    assert len(answer.ground) < 1_000

"""What callers state of a subject, in the words of the rules; deciding a placement and one for further services. Pure."""

import datetime
from typing import Any

import pytest

from directory.placement import anew
from directory.placement.answers import ClaimedKey, PlaceRequest
from directory.placement.asked import facts_of, refused
from directory.placement.core import Placement, State
from directory.placement.outcomes import Anew, NewSubject
from directory.placement.placing import decide
from directory.placement.provenance import Basis
from foundation.problems import Code, Problem
from foundation.words import CellId, Country, Epoch, JurisdictionId, RulesDigest, ServiceId, SubjectId
from routing_rules.law.questions import Lack, RowRef
from routing_rules.rules import Rules, load
from routing_rules.verdicts import NoCell
from tests.stands.directory import POLICY, lookup_key

ADA = SubjectId("0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77")
TODAY = datetime.date(2026, 11, 21)
TERMS = '[terms.acme-eu]\ncells = ["eu-de"]\n[terms.acme-us]\ncells = ["us-va"]\n'
RULES = load(POLICY + TERMS)


def request(**stated: Any) -> PlaceRequest:
    body = {"residence": "DE", "services": ("orders", "records"), "reason": "test"}
    return PlaceRequest(keys=(ClaimedKey(kind="login", key=lookup_key("ada")),), **(body | stated))


def decided(rules: Rules = RULES, among: frozenset[CellId] | None = None, **stated: Any) -> NewSubject | Problem:
    return decide(request(**stated), ADA, rules, TODAY, actor="operator:ops", among=among)


def placed(**stated: Any) -> NewSubject:
    found = decided(**stated)
    assert isinstance(found, NewSubject), found
    return found


def held(**stated: Any) -> Placement:
    new = placed(**stated)
    return Placement(
        subject_id=ADA,
        cell=new.cell,
        shard=new.shard,
        epoch=Epoch(7),
        state=State.ACTIVE,
        services=new.services,
        facts=new.facts,
    )


def test_aliases_of_tags_become_the_tags_that_they_name_and_nothing_stands_twice() -> None:
    alias, tag = next((name, tag) for name, tag in sorted(RULES.pack.tag_names.items()) if name != tag)
    facts = facts_of(request(tags=(tag, alias, "health"), services=("records", "orders", "records")), RULES)
    assert not isinstance(facts, Problem)
    assert facts.subject.tags == tuple(sorted({tag, "health"}))
    assert facts.services == ("orders", "records")


def test_every_spelling_of_the_pack_gets_through_the_door() -> None:
    for name in RULES.pack.tag_names:
        assert not isinstance(facts_of(request(tags=(name,)), RULES), Problem)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"tags": ("helth",)}, "health"),
        ({"tags": ("health", "")}, "no tag"),
        ({"terms": "acme-e"}, "acme-eu"),
        ({"subdivision": "US-TX"}, "no part"),
        ({"subdivision": "FR-75", "verified_residence": "US"}, "no part"),
    ],
)
def test_words_that_nobody_knows_are_refused_with_the_nearest(stated: dict[str, Any], told: str) -> None:
    wrong = facts_of(request(**stated), RULES)
    assert isinstance(wrong, Problem)
    assert wrong.code is Code.BAD_REQUEST
    assert told in wrong.detail


def test_a_part_counts_only_for_the_country_that_is_placed_by() -> None:
    for verified, part, kept in (
        (None, "DE-BY", "DE-BY"),
        ("US", "US-TX", "US-TX"),
        ("US", "DE-BY", None),
        ("DE", "DE-BY", "DE-BY"),
    ):
        facts = facts_of(request(verified_residence=verified, subdivision=part), RULES)
        assert not isinstance(facts, Problem)
        assert facts.subject.subdivision == kept


def test_what_is_verified_decides_and_says_so() -> None:
    new = placed(verified_residence="US")
    assert (new.cell, new.facts.residence, new.provenance.basis, new.provenance.declared) == (
        "us-va",
        "US",
        Basis.VERIFIED,
        "DE",
    )
    assert "residence_verified_otherwise" in new.provenance.questions


def test_the_observed_country_asks_and_changes_nothing_else() -> None:
    plain = placed()
    assert placed(observed="DE").provenance.questions == ()
    for observed in ("FR", "US", "KP"):
        seen = placed(observed=observed)
        assert seen.provenance.questions == ("residence_observed_elsewhere",)
        assert (seen.cell, seen.shard, seen.facts) == (plain.cell, plain.shard, plain.facts)


def test_a_tenants_terms_narrow_the_cells() -> None:
    assert placed(terms="acme-eu").cell == "eu-de"
    refusal = decided(terms="acme-us")
    assert isinstance(refusal, Problem)
    assert refusal.code is Code.NO_CELL_ALLOWED
    assert "terms.acme-us" in refusal.extra["ground"]


def test_citizenship_is_a_fact_of_its_own() -> None:
    refusal = decided(citizenships=("DE", "RU"))
    assert isinstance(refusal, Problem)
    assert "ru" in refusal.extra["ground"]
    assert placed(citizenships=("DE",)).facts.citizenships == ("DE",)


def test_each_regime_is_kept_with_its_row_and_what_speaks_for_it() -> None:
    new = placed(residence="US", subdivision="US-TX")
    assert [row.regime for row in new.provenance.law] == list(new.facts.regimes)
    assert "us-tx" in new.facts.regimes
    for row in new.provenance.law:
        file, _, line = row.row.partition(":")
        assert (file, int(line) > 1) == ("jurisdictions.csv", True)
        assert row.source
        assert row.confidence in ("high", "medium", "low")


def test_a_refusal_names_the_instruments_that_would_allow_a_cell() -> None:
    lack = Lack(
        regime=JurisdictionId("uk"),
        to=JurisdictionId("us"),
        requirements=("scc",),
        items=("health",),
        row=RowRef("gateways", 12, "uk -> us #1 scc"),
    )
    answer = NoCell(
        code=Code.NO_CELL_ALLOWED,
        detail="d",
        ground="g",
        valid_until=None,
        digest=RulesDigest("sha256:"),
        lacks=((CellId("us-va"), lack),),
    )
    assert refused(answer).extra == {
        "ground": "g",
        "lacks": [
            {
                "cell": "us-va",
                "from": "uk",
                "to": "us",
                "gateways": ["scc"],
                "tags": ["health"],
                "row": "gateways.csv:12",
            }
        ],
    }


def added(current: Placement, *services: str, rules: Rules = RULES) -> Anew | Problem:
    return anew.decide(current, frozenset(ServiceId(one) for one in services), None, rules, TODAY)


def test_placing_anew_asks_for_all_services_and_keeps_what_is_known_of_the_subject() -> None:
    current = held(services=("orders",), tags=("health",), terms="acme-eu", citizenships=("DE",), subdivision="DE-BY")
    found = added(current, "records")
    assert isinstance(found, Anew)
    assert found.services == ("orders", "records")
    assert found.facts == current.facts
    assert (found.under, found.provenance.basis) == (RULES.digest, Basis.DECLARED)


def test_placing_anew_remembers_on_what_the_residence_rests() -> None:
    new = placed(verified_residence="US", services=("orders",))
    current = held(verified_residence="US", services=("orders",))
    found = anew.decide(current, frozenset({ServiceId("records")}), new.provenance, RULES, TODAY)
    assert isinstance(found, Anew)
    assert (found.provenance.basis, found.provenance.declared) == (Basis.VERIFIED, Country("DE"))


def test_rules_that_no_longer_allow_the_cell_add_nothing() -> None:
    current = held(services=("orders",))
    closed = load(POLICY.replace('serves = ["eu"]', 'serves = ["uk"]'))
    refusal = added(current, "records", rules=closed)
    assert isinstance(refusal, Problem)
    assert refusal.code is Code.NO_CELL_ALLOWED
    assert refusal.extra["ground"]

"""The verdict on gathered facts: every case has its refusal, and nothing is served by default."""

from typing import Any

import pytest

from directory.placement.core import Placement, State
from foundation.blinding import EMAIL, LOGIN
from foundation.decision import ProvenKey
from foundation.mute import Secret
from foundation.problems import Code
from foundation.words import Country, Epoch, FeedSeq, LookupKey, RegionId, ServiceId, Verb
from gateway.edge.book import Book
from gateway.edge.core import judge
from gateway.edge.desk import _agreed
from gateway.edge.outcome import Admitted, Gathered, Refused
from gateway.edge.ports import Homeless
from gateway.edge.target import Route, Target
from gateway.edge.unidentified import challenge, unidentified
from gateway.identity.actors import NOT_HERE
from gateway.identity.identity import Identity
from gateway.identity.tokens import Unidentified
from routing_rules.facts import SubjectFacts
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, placement, policy_text, service_verifier

ADDRESSES = {"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:2"}
BOOK = Book(
    load(policy_text(ADDRESSES, ADDRESSES)),
    FeedSeq(1),
    region=RegionId("eu"),
    root=("r1", Secret(REGION_ROOT)),
    clock=CLOCK,
)
ANN = Identity(login=(LookupKey("a" * 32),), email=(LookupKey("e" * 32),), kids=("b1",), until=2e9)


def outcome(service: str = "orders", route: Route = Route.ORDINARY, **facts: Any) -> Admitted | Refused:
    gathered = {"verb": Verb.READ, "who": ANN, "home": placement(), "residence": None} | facts
    return judge(Gathered(target=Target(ServiceId(service), route), **gathered), BOOK, RegionId("eu"))


def code(**facts: Any) -> Code:
    found = outcome(**facts)
    assert isinstance(found, Refused)
    return found.problem.code


def test_a_person_at_home_is_served_in_the_home_cell() -> None:
    home = placement(epoch=7)
    found = outcome(home=home, verb=Verb.WRITE)
    assert isinstance(found, Admitted)
    assert (found.cell, found.epoch, found.subject, found.verb) == ("eu-de", 7, home.subject_id, Verb.WRITE)


def test_a_person_of_another_region_is_told_where() -> None:
    home = placement("us-va")
    found = outcome(home=home)
    assert isinstance(found, Refused)
    assert found.problem.code is Code.HOME_ELSEWHERE
    assert found.problem.extra["home"] == "https://us.example.com"
    assert found.recorded
    assert found.subject == home.subject_id


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"home": Homeless.NONE}, Code.NO_HOME),
        ({"home": Homeless.UNKNOWN}, Code.HOME_UNKNOWN),
        ({"home": None}, Code.HOME_UNKNOWN),
        ({"acting": NOT_HERE}, Code.FORBIDDEN),
        ({"who": Unidentified.NO_TOKEN, "home": None}, Code.UNAUTHENTICATED),
        ({"who": Unidentified.MALFORMED, "home": None}, Code.MALFORMED_TOKEN),
        ({"who": Unidentified.REFUSED, "home": None}, Code.UNAUTHENTICATED),
        ({"who": Unidentified.KEYS_UNAVAILABLE, "home": None}, Code.NOT_READY),
        ({"home": placement(services=("records",))}, Code.NOT_PLACED_FOR_SERVICE),
        ({"home": placement(state=State.RESERVED)}, Code.CELL_BEHIND),
        ({"home": placement(state=State.MOVING_IN)}, Code.SUBJECT_MOVING),
        ({"home": placement(state=State.MOVED)}, Code.SUBJECT_GONE),
        ({"home": placement(state=State.ERASED)}, Code.SUBJECT_GONE),
        ({"home": placement(state=State.FROZEN), "verb": Verb.WRITE}, Code.SUBJECT_FROZEN),
    ],
)
def test_every_other_case_has_its_refusal(facts: dict[str, Any], expected: Code) -> None:
    assert code(**facts) is expected


def test_a_frozen_person_may_read() -> None:
    assert isinstance(outcome(home=placement(state=State.FROZEN)), Admitted)


def test_a_cell_that_policy_does_not_know_is_refused_not_defaulted() -> None:
    strange = placement()
    found = outcome(home=Placement(**{f: getattr(strange, f) for f in strange.__struct_fields__} | {"cell": "xx"}))
    assert isinstance(found, Refused)


def test_anonymous_routes_get_no_decision_and_no_identity() -> None:
    found = outcome(route=Route.ANONYMOUS, who=Unidentified.NO_TOKEN, home=None)
    assert isinstance(found, Admitted)
    assert found.subject is None
    assert found.digest is None


def test_acting_for_somebody_is_refused_on_anonymous_routes_too() -> None:
    assert code(route=Route.ANONYMOUS, acting=NOT_HERE) is Code.FORBIDDEN


def test_a_sign_up_states_its_residence_first() -> None:
    assert code(route=Route.SIGNUP, home=Homeless.NONE) is Code.RESIDENCE_REQUIRED
    assert code(route=Route.SIGNUP, home=Homeless.NONE, residence="Germany") is Code.BAD_REQUEST
    assert code(route=Route.SIGNUP, home=Homeless.NONE, residence="US") is Code.HOME_ELSEWHERE
    assert code(route=Route.SIGNUP, home=Homeless.NONE, residence="IN") is Code.NO_CELL_ALLOWED
    assert code(route=Route.SIGNUP, home=Homeless.UNKNOWN, residence="DE") is Code.HOME_UNKNOWN


def test_a_sign_up_carries_the_keys_that_the_token_proves() -> None:
    found = outcome(route=Route.SIGNUP, verb=Verb.WRITE, home=Homeless.NONE, residence="de")
    assert isinstance(found, Admitted)
    assert (found.verb, found.subject, found.epoch) == (Verb.SIGNUP, None, None)
    assert found.declared == SubjectFacts(residence=Country("DE"))
    decision = service_verifier("eu-de", "orders").verify(BOOK.mint(found).decode(), CLOCK.unix_s())
    assert decision.keys == (ProvenKey(LOGIN, "a" * 32, "b1"), ProvenKey(EMAIL, "e" * 32, "b1"))
    assert (decision.residence, decision.subdivision, decision.citizenships, decision.observed) == (
        "DE",
        None,
        None,
        None,
    )


def test_what_a_person_declares_and_where_they_are_observed_go_to_the_cell() -> None:
    declared = {"residence": "de", "subdivision": "de-by", "citizenship": "us, DE,us", "observed": Country("FR")}
    found = outcome(route=Route.SIGNUP, verb=Verb.WRITE, home=Homeless.NONE, **declared)
    assert isinstance(found, Admitted)
    decision = service_verifier("eu-de", "orders").verify(BOOK.mint(found).decode(), CLOCK.unix_s())
    assert (decision.residence, decision.subdivision) == ("DE", "DE-BY")
    assert (decision.citizenships, decision.observed) == (("DE", "US"), "FR")


@pytest.mark.parametrize(
    "wrong",
    [
        {"subdivision": "US-TX"},
        {"subdivision": "BY"},
        {"subdivision": "DE-BY, DE-BE"},
        {"citizenship": ""},
        {"citizenship": "Germany"},
        {"citizenship": "DE,"},
        {"citizenship": ",".join(["DE"] * 9)},
    ],
)
def test_what_is_declared_in_no_known_form_is_refused(wrong: dict[str, str]) -> None:
    assert code(route=Route.SIGNUP, home=Homeless.NONE, residence="DE", **wrong) is Code.BAD_REQUEST


def test_the_observed_country_does_not_decide_where_a_sign_up_goes() -> None:
    for observed in (None, Country("DE"), Country("US"), Country("KP")):
        found = outcome(route=Route.SIGNUP, verb=Verb.WRITE, home=Homeless.NONE, residence="DE", observed=observed)
        assert isinstance(found, Admitted)
        assert found.cell == "eu-de"


def test_a_repeated_sign_up_is_an_ordinary_write() -> None:
    found = outcome(route=Route.SIGNUP, verb=Verb.WRITE, residence=None)
    assert isinstance(found, Admitted)
    assert found.verb is Verb.WRITE
    assert found.subject is not None
    assert code(route=Route.SIGNUP, verb=Verb.WRITE, home=placement("us-va"), residence="DE") is Code.HOME_ELSEWHERE


def test_two_homes_of_one_person_contradict_each_other() -> None:
    one, other = placement(), placement()
    assert _agreed([one, other]) is Homeless.UNKNOWN
    assert _agreed([one, Homeless.NONE]) is one
    assert _agreed([Homeless.NONE, Homeless.NONE]) is Homeless.NONE
    assert _agreed([Homeless.NONE, Homeless.UNKNOWN]) is Homeless.UNKNOWN
    assert _agreed([]) is Homeless.UNKNOWN


def test_challenges_follow_rfc_6750() -> None:
    assert challenge(Unidentified.NO_TOKEN) == "Bearer"
    assert challenge(Unidentified.REFUSED) == 'Bearer error="invalid_token"'
    assert all(unidentified(why) for why in Unidentified)


def test_decisions_live_as_long_as_policy_says() -> None:
    found = outcome()
    assert isinstance(found, Admitted)
    decision = service_verifier("eu-de", "orders").verify(BOOK.mint(found).decode(), CLOCK.unix_s())
    assert decision.expires <= CLOCK.unix_s() + BOOK.policy.product.decision_s
    assert decision.actor == decision.subject
    assert Epoch(1) == decision.epoch

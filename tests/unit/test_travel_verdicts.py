"""The verdict on people away from home and on services that act for them: pure, with the embedded stack's own policy of three regions."""

from typing import Any

import pytest

from directory.placement.core import Facts, Placement, State
from foundation.mute import Secret
from foundation.problems import Code
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    LookupKey,
    RegionId,
    ServiceId,
    ShardId,
    Verb,
    mint_subject_id,
)
from gateway.edge.book import Book
from gateway.edge.core import judge
from gateway.edge.outcome import Admitted, Carried, Gathered, Outcome, Refused
from gateway.edge.ports import Homeless
from gateway.edge.target import Route, Target
from gateway.identity.actors import Actor, Narrowed
from gateway.identity.identity import Identity
from gateway.identity.tokens import Unidentified
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT
from tests.stands.rules import policy_with

EU, US, IN = RegionId("eu"), RegionId("us"), RegionId("in")
ORDERS, RECORDS = ServiceId("orders"), ServiceId("records")
# For the test of a third region: people of the US may be carried anywhere, those of the EU to the US.
RULES = load(policy_with(('jurisdictions = ["eu"]', 'jurisdictions = ["eu", "us"]')))
BOOKS = {
    region: Book(RULES, FeedSeq(1), region=region, root=("r1", Secret(REGION_ROOT)), clock=CLOCK)
    for region in (EU, US, IN)
}
ANN = Identity(login=(LookupKey("a" * 32),), email=(), kids=("b1",), until=2e9)


def home(residence: str = "DE", state: State = State.ACTIVE) -> Placement:
    cell, regime = {"DE": ("eu-de", "eu"), "US": ("us-va", "us")}[residence]
    return Placement(
        subject_id=mint_subject_id(),
        cell=CellId(cell),
        shard=ShardId("s1"),
        epoch=Epoch(3),
        state=state,
        services=(ORDERS,),
        facts=Facts(facts_id=0, regimes=(JurisdictionId(regime),), residence=Country(residence)),
    )


def verdict(
    region: RegionId,
    *,
    service: ServiceId = ORDERS,
    route: Route = Route.ORDINARY,
    verb: Verb = Verb.READ,
    **facts: Any,
) -> Outcome:
    gathered = {"who": ANN, "home": home(), "residence": None} | facts
    return judge(Gathered(target=Target(service, route), verb=verb, **gathered), BOOKS[region], region)


def refused(outcome: Outcome) -> Refused:
    assert isinstance(outcome, Refused)
    return outcome


# --- travellers --------------------------------------------------------------------------------------------------------------


def test_a_person_away_is_carried_to_the_home_region_and_admitted_there_as_crossing() -> None:
    placement = home()
    away = verdict(US, home=placement)
    assert isinstance(away, Carried)
    assert (away.verdict.region, away.verdict.cell, away.subject) == (EU, "eu-de", placement.subject_id)
    at_home = verdict(EU, home=placement, ingress=US)
    assert isinstance(at_home, Admitted)
    assert at_home.crosses == away.verdict
    assert (at_home.cell, at_home.epoch, at_home.subject) == ("eu-de", 3, placement.subject_id)


def test_who_asks_at_home_crosses_nothing() -> None:
    found = verdict(EU)
    assert isinstance(found, Admitted)
    assert found.crosses is None


def test_a_hop_that_came_to_a_third_region_goes_no_further() -> None:
    """India's gateways took an American in, believed in a home in the EU and sent them there; the EU knows better."""
    found = refused(verdict(EU, home=home("US"), ingress=IN))
    assert found.problem.code is Code.HOME_ELSEWHERE
    assert found.problem.extra["home"].endswith(":7101")
    assert found.recorded


def test_a_hop_from_the_region_that_is_home_itself_is_a_contradiction() -> None:
    assert refused(verdict(EU, home=home("US"), ingress=US)).problem.code is Code.HOME_UNKNOWN


def test_a_hop_never_ends_where_it_began_or_from_a_region_that_policy_does_not_know() -> None:
    assert refused(verdict(EU, ingress=EU)).problem.code is Code.HOME_UNKNOWN
    assert refused(verdict(EU, ingress=RegionId("xx"))).problem.code is Code.RESIDENCY_REFUSED


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.RESERVED, Code.CELL_BEHIND),
        (State.MOVING_IN, Code.SUBJECT_MOVING),
        (State.MOVED, Code.SUBJECT_GONE),
        (State.ERASED, Code.SUBJECT_GONE),
    ],
)
def test_a_placements_state_holds_for_travellers_too(state: State, code: Code) -> None:
    assert refused(verdict(EU, home=home(state=state), ingress=US)).problem.code is code


def test_a_traveller_without_a_home_is_not_signed_up_by_a_hop() -> None:
    found = verdict(EU, route=Route.SIGNUP, home=Homeless.NONE, residence="DE", ingress=US)
    assert refused(found).problem.code is Code.NO_HOME


# --- services that act for somebody ------------------------------------------------------------------------------------------


def actor(name: str = "support-desk", **narrowed: Any) -> Actor:
    limits = {key: frozenset(value) for key, value in narrowed.items()}
    return Actor(name=ServiceId(name), narrowed=Narrowed(**limits), until=2e9)


def acting(region: RegionId = EU, by: Actor | None = None, **facts: Any) -> Outcome:
    return verdict(region, who=Unidentified.NO_TOKEN, acting=by or actor(), **facts)


def test_a_service_acts_for_a_subject_of_its_own_jurisdiction() -> None:
    placement = home()
    found = acting(home=placement)
    assert isinstance(found, Admitted)
    assert (found.actor, found.subject, found.crosses) == ("service:support-desk", placement.subject_id, None)


@pytest.mark.parametrize(
    ("by", "facts"),
    [
        (actor("another"), {}),
        (actor(), {"service": RECORDS}),
        (actor(), {"verb": Verb.WRITE}),
        (actor(), {"route": Route.SIGNUP}),
        (actor(), {"route": Route.ANONYMOUS}),
        (actor(services=["records"]), {}),
        (actor(verbs=[Verb.WRITE]), {}),
        (actor(jurisdictions=["us"]), {}),
        (actor(services=[]), {}),
    ],
)
def test_beyond_its_bounds_or_its_tokens_it_does_nothing(by: Actor, facts: dict[str, Any]) -> None:
    found = refused(acting(by=by, **facts))
    assert found.problem.code is Code.FORBIDDEN
    assert found.recorded
    assert found.actor == by.id


def test_a_token_never_widens_what_policy_allows() -> None:
    wide = actor(services=["orders", "records"], verbs=[Verb.READ, Verb.WRITE], jurisdictions=["eu", "us", "in"])
    assert isinstance(acting(by=wide), Admitted)
    assert refused(acting(by=wide, verb=Verb.WRITE)).problem.code is Code.FORBIDDEN
    assert refused(acting(by=wide, service=RECORDS)).problem.code is Code.FORBIDDEN


def test_a_service_is_never_a_traveller() -> None:
    """Neither carried nor sent anywhere: from another region, or for a subject across a border, it is refused."""
    elsewhere = refused(acting(US))
    assert elsewhere.problem.code is Code.RESIDENCY_REFUSED
    across = refused(acting(US, home=home("US")))
    assert across.problem.code is Code.RESIDENCY_REFUSED
    assert across.recorded
    assert across.actor == "service:support-desk"


def test_nobodys_id_is_refused_as_a_strangers_is_and_a_dark_directory_says_neither() -> None:
    by = actor(jurisdictions=["us"])
    stranger, nobody = (refused(acting(by=by, home=known)) for known in (home(), Homeless.NONE))
    assert stranger.problem == nobody.problem
    assert (stranger.problem.code, nobody.recorded) == (Code.FORBIDDEN, True)
    assert refused(acting(home=Homeless.UNKNOWN)).problem.code is Code.HOME_UNKNOWN
    assert refused(acting(home=None)).problem.code is Code.HOME_UNKNOWN


def test_the_decision_names_the_service_as_actor_and_the_person_as_subject() -> None:
    from tests.stands.edge import service_verifier

    found = acting()
    assert isinstance(found, Admitted)
    decision = service_verifier("eu-de", "orders").verify(BOOKS[EU].mint(found).decode(), CLOCK.unix_s())
    assert (decision.actor, decision.subject) == ("service:support-desk", found.subject)

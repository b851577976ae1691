"""Who may ask for what somebody of another cell shows: at home, by the law of the reader, where policy lets a cell's people read at all."""

import pytest

from foundation.problems import Code
from foundation.words import RECORDS, CellId, Country, RegionId
from routing_rules.facts import SubjectFacts, ViewFacts
from routing_rules.policy.reading import PolicyError
from routing_rules.release import ReleaseFacts, may_transfer
from routing_rules.rules import load
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse, Serve, Verdict
from routing_rules.views import reads_as, view
from tests.stands.rules import POLICY, TODAY, policy_with, request, rules

DE, US, IN = "DE", "US", "IN"
HOMES = {DE: ("eu-de", "eu"), US: ("us-va", "us"), IN: ("in-mum", "in")}
READERS = 'readers = ["us-va"]'
ELSEWHERE = """readers = []
[destinations.more]
country = "DE"
purposes = ["public_view"]
readers = ["in-mum"]"""


def asked(reader: str, to: str, *, ingress: str | None = None, policy: str = POLICY) -> Verdict:
    cell, region = HOMES[reader]
    facts = request(
        service=RECORDS,
        ingress=RegionId(ingress or region),
        cell=CellId(cell),
        subject=SubjectFacts(residence=Country(reader)),
    )
    return view(ViewFacts(reader=facts, to=CellId(to)), load(policy), TODAY)


def test_within_a_region_the_readers_own_gateway_asks_the_cell() -> None:
    found = asked(US, "us-va")
    assert isinstance(found, Serve)
    assert (found.cell, found.region, found.purpose) == ("us-va", "us", "public_view")


def test_across_a_border_the_request_goes_there_on_the_law_of_the_reader() -> None:
    found = asked(DE, "us-va")
    assert isinstance(found, Hairpin)
    assert (found.cell, found.region, found.purpose) == ("us-va", "us", "public_view")
    assert "scc" in found.basis


def test_a_reader_whose_law_lets_nothing_be_handled_there_does_not_ask() -> None:
    found = asked(DE, "in-mum")
    assert isinstance(found, Refuse)
    assert found.code is Code.RESIDENCY_REFUSED
    assert found.ground.startswith("eu -> ")


def test_a_reader_away_from_home_asks_there() -> None:
    found = asked(DE, "us-va", ingress="us")
    assert isinstance(found, Elsewhere)
    assert found.region == "eu"


@pytest.mark.parametrize(
    ("policy", "ground"),
    [
        (policy_with((READERS, "readers = []")), "no destination has readers of us-va"),
        (POLICY.replace("[services.views]", "[services.showings]").replace("services.views.", "services.showings."), "no service views"),
    ],
)  # fmt: skip
def test_what_policy_does_not_name_nobody_reads(policy: str, ground: str) -> None:
    found = asked(US, "eu-de", policy=policy)
    assert isinstance(found, Refuse)
    assert ground in found.ground


def test_an_unknown_cell_is_refused() -> None:
    found = asked(US, "eu-fr")
    assert isinstance(found, Refuse)
    assert found.ground.startswith("unknown: ")


def test_the_readers_cell_names_the_destination_that_the_law_is_asked_about() -> None:
    to = reads_as(CellId("us-va"), rules().policy)
    assert to == "us-readers"
    facts = ReleaseFacts(
        subject=SubjectFacts(residence=Country(DE)), cell=CellId("eu-de"), destination=to, purpose="public_view"
    )
    assert may_transfer(facts, rules(), TODAY).answer.allows
    assert reads_as(CellId("eu-fr"), rules().policy) is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (READERS, 'readers = ["us-vb"]', "destinations.us-readers.readers[1]: no cell 'us-vb'"),
        (READERS, 'readers = ["us-va", "eu-de"]', "people of eu-de read at eu-readers already"),
        ('readers = ["in-mum"]', ELSEWHERE,
         "people of in-mum read where its region is: IN"),
        ("[services.views.hosts]\neu-de = [\"", "[services.views.hosts]\neu-de = [\"192.0.2.1:1\", \"",
         "services.views.hosts.eu-de: must be those of records"),
        ('purpose = "public_view"\n[services.views.hosts]', 'purpose = "public_view"\nanonymous = ["/views/x"]\n[services.views.hosts]',
         "services.views.anonymous: what people show"),
    ],
)  # fmt: skip
def test_a_policy_that_says_it_wrongly_is_a_mistake_by_name(old: str, new: str, says: str) -> None:
    with pytest.raises(PolicyError) as told:
        load(policy_with((old, new)))
    assert any(says in one for one in told.value.mistakes), told.value.mistakes

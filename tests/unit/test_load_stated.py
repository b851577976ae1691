"""What the rules state of a load's people: homes, and the grounds on which they are carried there."""

from load_tests.conductor.stated import stated
from load_tests.oracle.crossings import key
from tests.stands.rules import POLICY, TODAY, rules

PEOPLE = ("DE", "GB", "US", "IN", "BR")
DOCUMENT = {"policy": POLICY, "digest": rules().digest}


def test_homes_are_those_that_the_rules_allow() -> None:
    assert stated(DOCUMENT, PEOPLE, TODAY).allowed == {
        "DE": {"eu-de"}, "GB": {"eu-de"}, "US": {"us-va"}, "IN": {"in-mum"}, "BR": frozenset(),
    }  # fmt: skip


def test_grounds_are_stated_where_somebody_is_carried_and_nowhere_else() -> None:
    grounds = stated(DOCUMENT, PEOPLE, TODAY).grounds
    assert set(grounds) == {key("DE", "eu-de", "us"), key("US", "us-va", "eu"), key("US", "us-va", "in")}
    assert grounds["DE eu-de us"].startswith("policy: travellers.eu->us = hairpin; home is region eu; ")


def test_of_rules_that_are_not_these_no_ground_is_known() -> None:
    found = stated({"policy": POLICY, "digest": "sha256:of another pack"}, PEOPLE, TODAY)
    assert found.grounds == {}
    assert found.allowed["DE"] == {"eu-de"}

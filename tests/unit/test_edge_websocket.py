"""The handshake of a websocket and the verdict on one: every case has its refusal, and nothing else is taken for one."""

from typing import Any

import pytest

from directory.placement.core import State
from foundation.mute import Secret
from foundation.problems import Code, Problem
from foundation.wire.head import Fields, StatusHead
from foundation.words import FeedSeq, LookupKey, RegionId, ServiceId, Verb
from gateway.edge.book import Book
from gateway.edge.core import judge
from gateway.edge.handshake import Handshake, accepted, handshake_of
from gateway.edge.outcome import Admitted, Carried, Gathered, Outcome, Refused
from gateway.edge.target import Route, Target
from gateway.edge.upgraded import judge_upgrade
from gateway.identity.actors import Actor, Narrowed
from gateway.identity.identity import Identity
from gateway.identity.tokens import Unidentified
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, placement, policy_text

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASKED: dict[bytes, list[bytes]] = {
    b"connection": [b"keep-alive, Upgrade"],
    b"upgrade": [b"WebSocket"],
    b"sec-websocket-key": [KEY],
    b"sec-websocket-version": [b"13"],
}


def fields(changed: dict[bytes, list[bytes]], of: dict[bytes, list[bytes]] = ASKED) -> Fields:
    return [(name, value) for name, values in (of | changed).items() for value in values]


def test_a_handshake_knows_its_answer() -> None:
    assert handshake_of("GET", fields({})) == Handshake(ACCEPT)
    assert handshake_of("GET", fields({b"upgrade": [b"h2c, websocket"]})) == Handshake(ACCEPT)


@pytest.mark.parametrize(
    "changed",
    [{b"connection": []}, {b"connection": [b"close"]}, {b"upgrade": [b"h2c"]}, {b"upgrade": [b"websocket/13"]}, {b"upgrade": []}],
)  # fmt: skip
def test_what_asks_for_no_websocket_is_an_ordinary_request(changed: dict[bytes, list[bytes]]) -> None:
    for method in ("GET", "POST"):
        assert handshake_of(method, fields(changed)) is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({b"sec-websocket-key": []}, Code.BAD_REQUEST),
        ({b"sec-websocket-key": [KEY, KEY]}, Code.BAD_REQUEST),
        ({b"sec-websocket-key": [KEY + b", " + KEY]}, Code.BAD_REQUEST),
        ({b"sec-websocket-key": [b"c2hvcnQ="]}, Code.BAD_REQUEST),
        ({b"sec-websocket-version": []}, Code.BAD_REQUEST),
        ({b"sec-websocket-version": [b"13", b"13"]}, Code.BAD_REQUEST),
        ({b"sec-websocket-version": [b"8"]}, Code.UPGRADE_REQUIRED),
        ({b"sec-websocket-version": [b"13, 8"]}, Code.UPGRADE_REQUIRED),
    ],
)
def test_a_malformed_handshake_is_refused(changed: dict[bytes, list[bytes]], expected: Code) -> None:
    found = handshake_of("GET", fields(changed))
    assert isinstance(found, Problem)
    assert found.code is expected


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get"])
def test_a_websocket_is_asked_for_by_get(method: str) -> None:
    found = handshake_of(method, fields({}))
    assert isinstance(found, Problem)
    assert found.code is Code.BAD_REQUEST


ANSWERED: dict[bytes, list[bytes]] = {
    b"connection": [b"upgrade"],
    b"upgrade": [b"websocket"],
    b"sec-websocket-accept": [ACCEPT],
}


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({}, True),
        ({b"sec-websocket-protocol": [b"chat"], b"sec-websocket-extensions": [b"permessage-deflate"]}, True),
        ({b"connection": []}, False),
        ({b"upgrade": []}, False),
        ({b"upgrade": [b"websocket, h2c"]}, False),
        ({b"sec-websocket-accept": []}, False),
        ({b"sec-websocket-accept": [ACCEPT, ACCEPT]}, False),
        ({b"sec-websocket-accept": [ACCEPT.lower()]}, False),
        ({b"content-length": [b"0"]}, False),
        ({b"transfer-encoding": [b"chunked"]}, False),
    ],
)
def test_a_101_answers_this_handshake_or_none(changed: dict[bytes, list[bytes]], good: bool) -> None:
    assert accepted(Handshake(ACCEPT), StatusHead(101, 1, fields(changed, ANSWERED))) is good
    assert not accepted(Handshake(ACCEPT), StatusHead(101, 0, fields(changed, ANSWERED)))


# --- the verdict -----------------------------------------------------------------------------------------------------------------


EU, US = RegionId("eu"), RegionId("us")
ADDRESSES = {"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:2"}
GROUNDS = """
[actors.desk]
country = "DE"
services = ["orders"]
jurisdictions = ["eu"]
verbs = ["read", "write"]
[[instruments]]
from = "eu"
to = "us"
gateway = "scc"
ref = "TEST-SCC"
since = 2026-03-01
until = 2129-02-28
[[instruments]]
from = "eu"
to = "us"
gateway = "impact_assessment"
ref = "TEST-TIA"
since = 2026-03-01
until = 2129-02-28
[travellers]
default = "hairpin"
"""
RULES = load(policy_text(ADDRESSES, ADDRESSES) + GROUNDS)
BOOKS = {
    region: Book(RULES, FeedSeq(1), region=region, root=("r1", Secret(REGION_ROOT)), clock=CLOCK) for region in (EU, US)
}
ANN = Identity(login=(LookupKey("a" * 32),), email=(), kids=("b1",), until=2e9)


def verdict(region: RegionId = EU, *, upgrade: bool = True, **facts: Any) -> Outcome:
    gathered = {"who": ANN, "home": placement(), "residence": None, "verb": Verb.WRITE} | facts
    target = Target(ServiceId("orders"), Route.ORDINARY)
    judged = judge_upgrade if upgrade else judge
    return judged(Gathered(target=target, upgrade=upgrade, **gathered), BOOKS[region], region)


def code(outcome: Outcome) -> Code:
    assert isinstance(outcome, Refused)
    return outcome.problem.code


def test_at_home_it_is_opened_under_a_decision_to_write() -> None:
    home = placement(epoch=7)
    found = verdict(home=home)
    assert isinstance(found, Admitted)
    assert (found.verb, found.subject, found.epoch) == (Verb.WRITE, home.subject_id, 7)


def test_away_from_home_it_is_told_where_home_is_and_never_carried() -> None:
    assert isinstance(verdict(US, upgrade=False), Carried), "an ordinary request is"
    found = verdict(US)
    assert isinstance(found, Refused)
    assert (found.problem.code, found.recorded) == (Code.HOME_ELSEWHERE, True)
    assert found.problem.extra["home"] == "https://eu.example.com"
    assert code(verdict(EU, ingress=US)) is Code.FORBIDDEN


@pytest.mark.parametrize(
    ("state", "expected"),
    [(State.FROZEN, Code.SUBJECT_FROZEN), (State.MOVING_IN, Code.SUBJECT_MOVING), (State.ERASED, Code.SUBJECT_GONE)],
)
def test_who_may_not_write_opens_none(state: State, expected: Code) -> None:
    assert code(verdict(home=placement(state=state))) is expected


def test_nobody_and_strangers_open_none() -> None:
    assert code(verdict(who=Unidentified.NO_TOKEN, home=None)) is Code.UNAUTHENTICATED
    assert code(verdict(home=None)) is Code.HOME_UNKNOWN


def test_a_service_that_may_only_read_or_only_write_for_people_opens_none() -> None:
    def opened_by(*verbs: Verb) -> Outcome:
        acting = Actor(name=ServiceId("desk"), until=2e9, narrowed=Narrowed(verbs=frozenset(verbs)))
        return verdict(acting=acting, who=Unidentified.NO_TOKEN)

    assert isinstance(opened_by(Verb.READ, Verb.WRITE), Admitted)
    for verb in (Verb.READ, Verb.WRITE):
        assert code(opened_by(verb)) is Code.FORBIDDEN

"""An admission that is given again is the one that would be given anew, whatever has changed since: placement, day, what the registry
chose; and so is what its decision states."""

from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.placement.core import Placement, State
from directory.registry.client import HeldRegistry
from directory.registry.core import Stated, service_name
from foundation.clock import ManualClock
from foundation.mute import Secret
from foundation.tokens import TokenVerifier
from foundation.words import CellId, Epoch, FeedSeq, LookupKey, RegionId, ServiceId, Verb
from gateway.edge import book as books
from gateway.edge.answers import stated
from gateway.edge.book import Book
from gateway.edge.core import judge
from gateway.edge.desk import Desk
from gateway.edge.outcome import Admitted, Gathered, Outcome
from gateway.edge.target import Route, Target
from gateway.identity.identity import Identity
from gateway.identity.tokens import Identities
from routing_rules.rules import Rules, load
from tests.stands.edge import REGION_ROOT, cell_verifier, placement, policy_text, service_verifier
from tests.stands.edge_in_memory import BLINDER

ADDRESSES = {"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:2"}
RULES = load(policy_text(ADDRESSES, ADDRESSES).replace('"127.0.0.1:1"', '"127.0.0.1:1", "127.0.0.1:11"'))
EU, EU_DE = RegionId("eu"), CellId("eu-de")
SERVICES = [ServiceId("orders"), ServiceId("records")]
ANN = Identity(login=(LookupKey("a" * 32),), email=(), kids=("b1",), until=2e9)
PEOPLE = [placement(), placement("us-va"), placement(services=("records",))]
DAY_S = 86_400.0

Step = tuple[str, Any]
placements = st.builds(
    lambda one, epoch, state: msgspec.structs.replace(one, epoch=Epoch(epoch), state=state),
    st.sampled_from(PEOPLE),
    st.integers(1, 2),
    st.sampled_from(State),
)
asked = st.tuples(placements, st.sampled_from(SERVICES), st.sampled_from([Verb.READ, Verb.WRITE]))
steps = st.one_of(
    asked.map(lambda one: ("ask", one)),
    asked.map(lambda one: ("ask", one)),
    st.sampled_from([0.0, 1.0, DAY_S, -DAY_S]).map(lambda seconds: ("wait", seconds)),
    st.sampled_from([None, ("127.0.0.1:11",), ()]).map(lambda chosen: ("choose", chosen)),
)


class Turn:
    """A desk that remembers beside a book that was never asked before."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.clock = ManualClock()
        self.held = HeldRegistry()
        self._rules = rules
        self.book = self._book()
        self.desk = Desk(EU, Identities(TokenVerifier({}, self.clock), BLINDER, self.clock), cast("Any", _Nobody()))
        self._version = 0

    def _book(self) -> Book:
        root = ("r1", Secret(REGION_ROOT))
        return Book(self._rules, FeedSeq(1), region=EU, root=root, clock=self.clock, registry=self.held)

    def choose(self, addresses: tuple[str, ...] | None) -> None:
        self._version += 1
        name = service_name(SERVICES[0], EU_DE).text
        self.held.take(Stated(entry=name, version=self._version, addresses=addresses), FeedSeq(self._version))

    def ask(self, home: Placement, service: ServiceId, verb: Verb) -> tuple[Outcome, Outcome]:
        facts = Gathered(target=Target(service, Route.ORDINARY), verb=verb, who=ANN, home=home, residence=None)
        return self.desk.judge(facts, self.book), judge(facts, self._book(), EU)

    def stated(self, admitted: Admitted) -> dict[str, Any]:
        """The decision, which both verifiers take, without its id."""
        header = self.book.mint(admitted).decode()
        decision = service_verifier(admitted.cell, admitted.service).verify(header, self.clock.unix_s())
        assert cell_verifier(admitted.cell).verify(header, self.clock.unix_s(), service=admitted.service) == decision
        found: dict[str, Any] = msgspec.to_builtins(decision)
        return found | {"id": "-"}


class _Nobody:
    def held(self, _subject: object) -> None:
        return None


def bare(outcome: Outcome) -> Outcome:
    """Without what is only written out."""
    return (
        msgspec.structs.replace(outcome, claims=b"", told=(), told_lines=b"")
        if isinstance(outcome, Admitted)
        else outcome
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, min_size=2, max_size=12))
def test_what_is_given_again_is_what_would_be_given_anew(script: list[Step]) -> None:
    turn = Turn()
    for what, value in script:
        if what == "wait":
            turn.clock.advance(value)
        elif what == "choose":
            turn.choose(value)
        else:
            again, anew = turn.ask(*value)
            assert bare(again) == anew
            if isinstance(again, Admitted) and isinstance(anew, Admitted):
                assert turn.stated(again) == turn.stated(anew)
                assert list(stated(again)) == list(stated(anew))


def test_a_second_request_is_not_judged_again() -> None:
    """Else nothing above would be given again."""
    turn = Turn()
    first, _ = turn.ask(PEOPLE[0], SERVICES[0], Verb.READ)
    again, _ = turn.ask(PEOPLE[0], SERVICES[0], Verb.READ)
    assert again is first
    turn.clock.advance(DAY_S)
    assert turn.ask(PEOPLE[0], SERVICES[0], Verb.READ)[0] is not first


def test_a_decision_that_lives_for_a_moment_has_all_of_it() -> None:
    """What is written out for a tenth of a second is cut; what lives no longer must not be."""
    brief = load(policy_text(ADDRESSES, ADDRESSES).replace("[product]\n", "[product]\ndecision_s = 0.05\n"))
    turn = Turn(brief)
    for _ in range(20):
        for _ in range(2):
            again, _anew = turn.ask(PEOPLE[0], SERVICES[0], Verb.READ)
            assert isinstance(again, Admitted)
            assert turn.stated(again)["expires"] == pytest.approx(turn.clock.unix_s() + 0.05, rel=0, abs=1e-3)
        turn.clock.advance(0.013)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "KEPT_MAX", 10)
    turn = Turn()
    for _ in range(50):
        turn.ask(placement(), SERVICES[0], Verb.READ)
        assert len(turn.book._kept) <= 10

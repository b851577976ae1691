"""The verdict on asking for what somebody else shows: each region judges its own, and a reader learns nothing of the other's home."""

import uuid
from typing import Any

import pytest

from directory.placement.core import State
from foundation.mute import Secret
from foundation.problems import Code, Problem
from foundation.words import CellId, FeedSeq, RegionId, ServiceId, Verb, mint_subject_id
from gateway.edge.answers import stated
from gateway.edge.book import Book
from gateway.edge.core import judge
from gateway.edge.outcome import Admitted, Carried, Gathered, Outcome, Refused
from gateway.edge.ports import Home, Homeless
from gateway.edge.target import Route, Target, target_of
from gateway.edge.upgraded import judge_upgrade
from gateway.identity.identity import Identity
from gateway.identity.tokens import Unidentified
from routing_rules.policy import Service
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, cell_verifier, placement
from tests.stands.rules import POLICY

EU, US = RegionId("eu"), RegionId("us")
WHO = Identity(login=(), email=(), kids=(), until=2e9)
SHOWN = mint_subject_id()
SERVICES = {
    ServiceId(name): Service(purpose="service", hosts={CellId("eu-de"): ("127.0.0.1:1",)})
    for name in ("views", "orders")
}


def book(region: RegionId) -> Book:
    return Book(load(POLICY), FeedSeq(1), region=region, root=("r1", Secret(REGION_ROOT)), clock=CLOCK)


def asked(reader: Home | None, viewed: Home | None, *, region: RegionId, **more: Any) -> Outcome:
    facts = {"who": WHO, "ingress": None, "verb": Verb.READ} | more
    target = Target(ServiceId("views"), Route.VIEW, SHOWN)
    return judge(Gathered(target=target, home=reader, viewed=viewed, residence=None, **facts), book(region), region)


def test_within_a_region_the_cell_is_asked_with_the_reader_as_the_decisions_actor() -> None:
    reader, viewed = placement(), placement(epoch=7)
    found = asked(reader, viewed, region=EU)
    assert isinstance(found, Admitted)
    assert (found.cell, found.subject, found.epoch, found.viewer) == ("eu-de", viewed.subject_id, 7, reader.subject_id)
    decision = cell_verifier("eu-de").verify(book(EU).mint(found).decode(), CLOCK.unix_s(), service=ServiceId("views"))
    assert (decision.subject, decision.actor) == (viewed.subject_id, reader.subject_id)
    assert (decision.verb, decision.purpose) == (Verb.READ, "public_view")


def test_a_reader_is_told_neither_the_others_cell_nor_epoch() -> None:
    found = asked(placement(), placement(epoch=7), region=EU)
    assert isinstance(found, Admitted)
    assert stated(found) == [(b"domicile-verdict", b"serve")]


def test_across_a_border_it_is_carried_and_decided_again_there() -> None:
    reader, viewed = placement("us-va"), placement("eu-de")
    found = asked(reader, viewed, region=US)
    assert isinstance(found, Carried)
    assert (found.verdict.region, found.subject) == (EU, reader.subject_id)
    there = asked(reader, viewed, region=EU, ingress=US)
    assert isinstance(there, Admitted)
    assert (there.cell, there.viewer, there.crosses) == ("eu-de", reader.subject_id, None)


def test_a_region_that_is_not_the_others_home_passes_nobody_on() -> None:
    found = asked(placement("us-va"), placement("us-va"), region=EU, ingress=US)
    assert isinstance(found, Refused)
    assert found.problem.code is Code.HOME_UNKNOWN


def test_a_reader_away_from_home_is_sent_home_and_nothing_of_them_is_kept_where_they_were_carried() -> None:
    reader, viewed = placement("us-va"), placement("eu-de")
    found = asked(reader, viewed, region=EU)
    assert isinstance(found, Refused)
    assert (found.problem.code, found.recorded) == (Code.HOME_ELSEWHERE, True)
    carried = asked(reader, viewed, region=EU, ingress=RegionId("in"))
    assert isinstance(carried, Refused)
    assert not carried.recorded


@pytest.mark.parametrize(
    ("reader", "viewed", "code"),
    [
        (Homeless.NONE, placement(), Code.NO_HOME),
        (Homeless.UNKNOWN, placement(), Code.HOME_UNKNOWN),
        (placement(state=State.ERASED), placement(), Code.SUBJECT_GONE),
        (placement(), Homeless.NONE, Code.NOT_FOUND),
        (placement(), Homeless.UNKNOWN, Code.HOME_UNKNOWN),
        (placement(), None, Code.HOME_UNKNOWN),
        (placement(), placement(state=State.ERASED), Code.NOT_FOUND),
        (placement(), placement(state=State.MOVED), Code.NOT_FOUND),
        (placement(), placement(state=State.RESERVED), Code.CELL_BEHIND),
    ],
)
def test_without_two_homes_there_is_nothing_to_read(reader: Home, viewed: Home | None, code: Code) -> None:
    found = asked(reader, viewed, region=EU)
    assert isinstance(found, Refused)
    assert found.problem.code is code


def test_nobody_reads_without_being_known() -> None:
    found = asked(None, placement(), region=EU, who=Unidentified.NO_TOKEN)
    assert isinstance(found, Refused)
    assert found.problem.status == 401


def test_whom_their_own_home_could_not_serve_shows_nothing_and_no_ground_is_told() -> None:
    viewed = placement("eu-de", services=())
    found = asked(placement(), viewed, region=EU)
    assert isinstance(found, Refused)
    assert (found.problem.code, found.problem.extra) == (Code.RESIDENCY_REFUSED, {})
    assert (found.recorded, found.subject) == (True, viewed.subject_id)
    assert found.ground is not None


def test_no_websocket_and_no_write_is_made_of_a_view() -> None:
    target = Target(ServiceId("views"), Route.VIEW, SHOWN)
    facts = Gathered(
        target=target, verb=Verb.WRITE, upgrade=True, who=WHO, home=placement(), viewed=placement(), residence=None
    )
    for found in (judge_upgrade(facts, book(EU), EU), judge(facts, book(EU), EU)):
        assert isinstance(found, Refused)
        assert found.problem.code is Code.METHOD_NOT_ALLOWED


def test_a_view_is_named_byte_for_byte() -> None:
    path = f"/views/profiles/{SHOWN}".encode()
    assert target_of("GET", path, SERVICES) == Target(ServiceId("views"), Route.VIEW, SHOWN)
    wrong = [
        b"/views",
        b"/views/profiles",
        b"/views/profiles/",
        path + b"/",
        path.replace(b"p", b"%70", 1),
        b"/views/Profiles/" + path[-36:],
    ]
    wrong += [b"/views/profiles/" + path[-36:].replace(b"-", b"0"), b"/views/profiles/" + b"-" * 36]
    for one in wrong:
        found = target_of("GET", one, SERVICES)
        assert isinstance(found, Problem), one
        assert found.code is Code.BAD_REQUEST
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        found = target_of(method, path, SERVICES)
        assert isinstance(found, Problem)
        assert found.code is Code.METHOD_NOT_ALLOWED
    upper = f"/views/profiles/{str(uuid.UUID(SHOWN)).upper()}".encode()
    assert isinstance(target_of("GET", upper, SERVICES), Problem)


def test_only_views_name_somebody_else() -> None:
    assert target_of("GET", f"/orders/profiles/{SHOWN}".encode(), SERVICES) == Target(
        ServiceId("orders"), Route.ORDINARY
    )

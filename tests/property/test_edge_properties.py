"""Whatever arrives, the edge's cores answer, and never more than the facts allow."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.placement.core import Facts, Placement, State
from foundation.mute import Secret
from foundation.problems import Problem
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
from gateway.edge.headers import read_request, read_response
from gateway.edge.outcome import Admitted, Gathered
from gateway.edge.ports import Homeless
from gateway.edge.target import Route, Target, target_of
from gateway.identity.actors import NOT_HERE, Actor, Narrowed
from gateway.identity.address import client_address, networks
from gateway.identity.identity import Identity
from gateway.identity.tokens import Unidentified
from routing_rules.policy import Actor as Entry
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, policy_text

ADDRESSES = {"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:2"}
EU = RegionId("eu")
DESK = Actor(name=ServiceId("support-desk"), narrowed=Narrowed(), until=2e9)
ENTRY = Entry(
    country=Country("DE"), services=(ServiceId("orders"),), jurisdictions=(JurisdictionId("eu"),), verbs=(Verb.READ,)
)
LOADED = load(policy_text(ADDRESSES, ADDRESSES))
POLICY = msgspec.structs.replace(LOADED.policy, actors={DESK.name: ENTRY}, travellers={"default": "hairpin"})
RULES = msgspec.structs.replace(LOADED, policy=POLICY)
BOOK = Book(RULES, FeedSeq(1), region=EU, root=("r1", Secret(REGION_ROOT)), clock=CLOCK)
ANN = Identity(login=(LookupKey("a" * 32),), email=(), kids=("b1",), until=2e9)

placements = st.builds(
    Placement,
    subject_id=st.builds(mint_subject_id),
    cell=st.sampled_from(["eu-de", "us-va", "nowhere"]).map(CellId),
    shard=st.just(ShardId("s1")),
    epoch=st.integers(1, 2**63 - 1).map(Epoch),
    state=st.sampled_from(State),
    services=st.lists(st.sampled_from(["orders", "records", "other"]).map(ServiceId), max_size=3).map(tuple),
    facts=st.builds(
        Facts,
        facts_id=st.just(0),
        regimes=st.lists(st.sampled_from(["eu", "us", "uk", "??"]).map(JurisdictionId), max_size=2).map(tuple),
        residence=st.just(Country("DE")),
        tags=st.lists(st.sampled_from(["health"]), max_size=1).map(tuple),
    ),
)
gatherings = st.builds(
    Gathered,
    target=st.builds(Target, st.sampled_from(["orders", "records"]).map(ServiceId), st.sampled_from(Route)),
    verb=st.sampled_from([Verb.READ, Verb.WRITE]),
    acting=st.sampled_from([None, NOT_HERE, DESK]),
    ingress=st.sampled_from([None, None, RegionId("us"), RegionId("??")]),
    who=st.one_of(st.just(ANN), st.sampled_from(Unidentified)),
    home=st.one_of(st.none(), st.sampled_from(Homeless), placements),
    residence=st.one_of(st.none(), st.sampled_from(["DE", "US", "IN", "zz", "Germany", ""])),
    subdivision=st.one_of(st.none(), st.sampled_from(["DE-BY", "US-TX", "de", ""])),
    citizenship=st.one_of(st.none(), st.sampled_from(["DE", "IN,US", ",", "x"])),
    observed=st.one_of(st.none(), st.sampled_from(["DE", "KP"]).map(Country)),
)


@given(gatherings)
@settings(max_examples=400)
def test_the_verdict_is_total_and_admits_only_what_the_facts_allow(facts: Gathered) -> None:
    outcome = judge(facts, BOOK, EU)
    assert outcome == judge(facts, BOOK, EU)
    if not isinstance(outcome, Admitted):
        return
    assert (facts.ingress is None) == (outcome.crosses is None)
    assert outcome.actor == (None if facts.acting is None else "service:support-desk")
    assert BOOK.policy.cells[outcome.cell].region == EU
    assert outcome.hosts == BOOK.policy.services[outcome.service].hosts[outcome.cell]
    if facts.target.route is Route.ANONYMOUS:
        assert outcome.subject is None
        assert outcome.digest is None
        return
    assert isinstance(facts.who, Identity) or outcome.actor is not None
    if outcome.verb is Verb.SIGNUP:
        assert facts.home is Homeless.NONE
        assert facts.target.route is Route.SIGNUP
        assert tuple(proven.key for proven in outcome.keys) == facts.who.login
        return
    assert isinstance(facts.home, Placement)
    assert (outcome.subject, outcome.epoch, outcome.cell) == (
        facts.home.subject_id,
        facts.home.epoch,
        facts.home.cell,
    )
    assert facts.home.state in (State.ACTIVE, State.FROZEN)
    assert facts.home.state is State.ACTIVE or outcome.verb is Verb.READ
    BOOK.mint(outcome)


tokens = st.sampled_from(
    [
        b"connection", b"te", b"authorization", b"content-length", b"transfer-encoding", b"domicile-decision", b"domicile_for",
        b"x-a", b"x-b", b"accept", b"via", b"upgrade", b"keep-alive", b"domicile-cell", b"domicile-epoch",
    ]
)  # fmt: skip
values = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"chunked", b"close", b"X-A", b"x-a, x-b", b"1", b"0", b"authorization"]),
)
header_lists = st.lists(st.tuples(tokens, values), max_size=12)
FORBIDDEN = {b"connection", b"te", b"authorization", b"transfer-encoding", b"upgrade", b"keep-alive", b"content-length"}


@given(header_lists)
def test_nothing_of_this_hop_or_of_the_house_goes_on(headers: list[tuple[bytes, bytes]]) -> None:
    fields = read_request([(b"host", b"x"), *headers])
    if isinstance(fields, Problem):
        return
    names = {line.partition(b":")[0] for line in fields.kept}
    assert not names & FORBIDDEN
    assert not any(name.startswith(b"domicile") for name in names)
    named = {t.strip().lower() for n, v in headers if n == b"connection" for t in v.split(b",")}
    assert not names & named
    assert not (fields.chunked and fields.content_length is not None)


@given(header_lists, st.sampled_from([200, 204, 304, 404]), st.booleans())
def test_no_answer_speaks_for_the_house(headers: list[tuple[bytes, bytes]], status: int, head_only: bool) -> None:
    names = {name for name, _ in read_response(headers, status=status, head_only=head_only)}
    assert not any(name.startswith(b"domicile") for name in names)
    assert not names & {b"connection", b"te", b"transfer-encoding", b"upgrade", b"keep-alive"}


@given(
    st.lists(st.sampled_from([b"orders", b"records", b"..", b".", b"%2e%2e", b"%2F", b"%252e", b"a", b"", b"\\", b";"]), max_size=6),
    st.sampled_from(["GET", "POST"]),
)  # fmt: skip
def test_a_path_leads_to_the_service_that_it_names_first_or_nowhere(segments: list[bytes], method: str) -> None:
    path = b"/" + b"/".join(segments)
    found = target_of(method, path, BOOK.policy.services)
    if isinstance(found, Target):
        assert path.startswith(b"/" + found.service.encode())
        assert b"/../" not in path + b"/"


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_an_untrusted_peer_is_its_own_address_whatever_it_claims(claims: list[bytes]) -> None:
    assert str(client_address("203.0.113.9", claims, networks(["10.0.0.0/8"]))) == "203.0.113.9"
    client_address("10.0.0.1", claims, networks(["10.0.0.0/8"]))

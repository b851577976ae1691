"""Properties of the rules: total, deterministic, never outside what is allowed, and true until `valid_until`."""

import csv
import datetime
import io
import tomllib
from importlib import resources
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from foundation.words import RECORDS, Country, JurisdictionId, RegionId, ServiceId, Verb
from routing_rules.checks import check
from routing_rules.decide import Elsewhere, Refuse, RequestFacts, Serve, decide
from routing_rules.explain import explain_decide, explain_place
from routing_rules.mistakes import Mistakes
from routing_rules.pack import bundled, parse
from routing_rules.place import Allowed, NoCell, PlaceFacts, choose, place
from routing_rules.rules import PolicyError, Rules, _draft, digest_of, load
from tests.stands.rules import EU, IN, POLICY, US, pack_text, rules, small_pack

RULES = rules()
MOVING = load(
    POLICY,
    small_pack(
        {"id": "eu", "kind": "bloc", "countries": "DE;FR", "since": "2025-03-01", "until": "2028-02-28"},
        {"id": "us", "countries": "US", "status": "repealed", "since": "2024-05-05", "until": "2026-01-01"},
        {"id": "in", "countries": "IN", "status": "enacted", "since": "2027-05-13"},
        {"id": "de-x", "kind": "subdivision", "parent": "eu", "status": "enacted", "since": "2026-06-01"},
        {"id": "us-x", "kind": "subdivision", "parent": "us", "since": "2025-06-01", "until": "2027-06-01"},
        {"id": "lk", "countries": "LK", "status": "enacted", "since": ""},
        {"id": "zz", "kind": "default", "countries": "AQ", "since": ""},
    ),
)
"""Rules whose rows start and end inside the dates drawn below."""


def ids(*known: str) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(known), st.text(max_size=12))


regimes = ids(
    "eu",
    "us",
    "in",
    "uk",
    "ch",
    "jp",
    "eu-de",
    "us-ok",
    "default",
    "ir",
    "us-dpf",
    "ae-difc",
    "de-x",
    "us-x",
    "lk",
    "zz",
)
services = st.lists(ids("orders", "records"), max_size=3).map(tuple)
tags = st.one_of(st.just(()), st.lists(ids("health", "payments"), max_size=2).map(tuple))
terms = st.one_of(st.none(), st.text(max_size=5))
any_date = st.one_of(st.dates(), st.dates(datetime.date(2023, 1, 1), datetime.date(2029, 1, 1)))
some_rules = st.sampled_from([RULES, MOVING])
requests = st.builds(
    RequestFacts,
    service=ids("orders", "records"),
    verb=st.sampled_from(Verb),
    ingress=ids("eu", "us", "in"),
    cell=ids("eu-de", "us-va", "in-mum"),
    regimes=st.lists(regimes, max_size=3).map(tuple),
    tags=tags,
    services=services,
    terms=terms,
)
persons = st.builds(
    PlaceFacts,
    residence=st.one_of(st.sampled_from(sorted(bundled().owners)), st.text(max_size=4)),
    services=services,
    tags=tags,
    terms=terms,
)


@given(requests, some_rules, any_date)
def test_decide_answers_everything_the_same_way_and_never_serves_what_no_rule_allows(
    facts: RequestFacts, found: Rules, at: datetime.date
) -> None:
    answer = decide(facts, found, at)
    assert answer == decide(facts, found, at)
    assert answer.digest == found.digest
    assert answer.ground
    assert answer.valid_until is None or answer.valid_until > at
    if isinstance(answer, Refuse):
        return
    cell = found.policy.cells[facts.cell]
    assert facts.regimes
    for regime in facts.regimes:
        row = found.pack.rows[regime]
        assert row.id in cell.serves or row.parent in cell.serves
    assert not facts.tags
    assert facts.terms is None
    assert facts.verb is Verb.SIGNUP or facts.service in (*facts.services, RECORDS)
    assert found.policy.services[facts.service].hosts[facts.cell]
    match answer:
        case Serve():
            assert (answer.cell, answer.region) == (facts.cell, facts.ingress)
            assert cell.region == facts.ingress
        case Elsewhere():
            assert answer.region == cell.region != facts.ingress
            assert answer.home == found.policy.regions[cell.region].origin


@given(persons, some_rules, any_date)
def test_place_answers_everything_and_only_with_cells_that_serve(
    facts: PlaceFacts, found: Rules, at: datetime.date
) -> None:
    answer = place(facts, found, at)
    assert answer == place(facts, found, at)
    assert answer.digest == found.digest
    assert answer.valid_until is None or answer.valid_until > at
    if isinstance(answer, NoCell):
        return
    assert answer.cells
    assert list(answer.cells) == sorted(set(answer.cells))
    assert answer.regimes == (found.pack.owners[facts.residence],)
    assert all(answer.regimes[0] in found.policy.cells[cell].serves for cell in answer.cells)


@given(
    persons, some_rules, any_date, st.uuids(), st.sampled_from(["eu", "us", "in"]), st.frozensets(ids("eu-de", "us-va"))
)
def test_whoever_is_placed_is_served_at_home_and_sent_home_from_elsewhere(
    facts: PlaceFacts, found: Rules, at: datetime.date, subject: object, ingress: str, among: frozenset[str]
) -> None:
    answer = place(facts, found, at)
    if isinstance(answer, NoCell):
        return
    chosen = choose(str(subject), answer, found, among=among)  # type: ignore[arg-type]
    assert (chosen is None) == (not among & set(answer.cells))
    if chosen is None:
        return
    assert chosen[0] in answer.cells
    request = RequestFacts(
        service=facts.services[0],
        verb=Verb.READ,
        ingress=RegionId(ingress),
        cell=chosen[0],
        regimes=answer.regimes,
        tags=facts.tags,
        services=facts.services,
        terms=facts.terms,
    )
    verdict = decide(request, found, at)
    assert isinstance(verdict, Serve if found.policy.cells[chosen[0]].region == ingress else Elsewhere)


@given(requests, any_date, st.data())
def test_a_decision_holds_until_the_day_that_it_names(
    facts: RequestFacts, at: datetime.date, data: st.DataObject
) -> None:
    answer = decide(facts, MOVING, at)
    last = datetime.date.max if answer.valid_until is None else answer.valid_until - datetime.timedelta(days=1)
    assert decide(facts, MOVING, data.draw(st.dates(at, last))) == answer


@given(persons, any_date, st.data())
def test_a_placement_answer_holds_until_the_day_that_it_names(
    facts: PlaceFacts, at: datetime.date, data: st.DataObject
) -> None:
    answer = place(facts, MOVING, at)
    last = datetime.date.max if answer.valid_until is None else answer.valid_until - datetime.timedelta(days=1)
    assert place(facts, MOVING, data.draw(st.dates(at, last))) == answer


@given(requests, some_rules, any_date)
def test_the_explanation_of_a_decision_answers_as_decide_does(
    facts: RequestFacts, found: Rules, at: datetime.date
) -> None:
    explained = explain_decide(facts, found, at)
    assert explained.answer == decide(facts, found, at)
    assert explained.steps


@given(persons, some_rules, any_date)
def test_the_explanation_of_a_placement_answers_as_place_does(
    facts: PlaceFacts, found: Rules, at: datetime.date
) -> None:
    explained = explain_place(facts, found, at)
    assert explained.answer == place(facts, found, at)
    for step in explained.steps:
        if step.row is not None:
            row = found.pack.rows[JurisdictionId(step.row)]
            assert (step.as_of, step.confidence) == (row.as_of, row.confidence)


@given(requests, any_date, st.sampled_from([("eu-de", '["eu", "uk", "ch"]', '["eu"]'), ("us-va", '["us"]', '["jp"]')]))
def test_serving_less_never_opens_a_route(facts: RequestFacts, at: datetime.date, change: tuple[str, str, str]) -> None:
    _, old, new = change
    fewer = TIGHTER[new] if new in TIGHTER else TIGHTER.setdefault(new, load(POLICY.replace(old, new)))
    if isinstance(decide(facts, RULES, at), Refuse) and "jp" not in facts.regimes:
        assert isinstance(decide(facts, fewer, at), Refuse)


TIGHTER: dict[str, Rules] = {}


@given(requests, any_date, st.sampled_from(["eu", "us", "in", "eu-de"]))
def test_a_pack_that_knows_less_never_opens_a_route(facts: RequestFacts, at: datetime.date, forgotten: str) -> None:
    if isinstance(decide(facts, RULES, at), Refuse):
        row = bundled().rows[JurisdictionId(forgotten)]
        rest = {name: one for name, one in bundled().rows.items() if name != row.id}
        owners = {country: owner for country, owner in bundled().owners.items() if owner != row.id}
        known = type(bundled())(rows=rest, owners=owners, sources={}, digest="less")
        assert isinstance(decide(facts, Rules(policy=RULES.policy, pack=known, digest=RULES.digest), at), Refuse)


@settings(max_examples=40)
@given(st.dates(datetime.date(2019, 1, 1), datetime.date(2030, 1, 1)))
@example(datetime.date(2026, 11, 21))
@example(datetime.date(2026, 12, 1))
def test_each_of_the_249_countries_is_answered_as_a_naive_reading_of_the_file_says(at: datetime.date) -> None:
    text = (resources.files("routing_rules.pack") / "jurisdictions.csv").read_text("utf-8")
    serving = {"eu": "eu-de", "uk": "eu-de", "ch": "eu-de", "us": "us-va", "in": "in-mum"}
    expected: dict[str, tuple[str, ...]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        if row["kind"] not in ("state", "bloc", "default"):
            continue
        counts = row["kind"] != "default" and row["status"] in ("in_force", "enacted") and row["since"] != ""
        counts = counts and row["since"] <= at.isoformat() <= (row["until"] or "9999-12-31")
        for country in filter(None, row["countries"].split(";")):
            expected[country] = (serving[row["id"]],) if counts and row["id"] in serving else ()
    assert len(expected) == 249
    for country, cells in expected.items():
        answer = place(PlaceFacts(residence=Country(country), services=(ServiceId("orders"),)), RULES, at)
        assert (answer.cells if isinstance(answer, Allowed) else ()) == cells, country


@given(st.text(), st.text())
def test_the_digest_differs_whenever_the_policy_text_does(one: str, other: str) -> None:
    assert (digest_of(one, bundled()) == digest_of(other, bundled())) == (one == other)


@given(st.data())
def test_the_digest_changes_with_any_byte_of_the_policy(data: st.DataObject) -> None:
    place_ = data.draw(st.integers(0, len(POLICY) - 1))
    letter = data.draw(st.characters(exclude_characters=POLICY[place_], exclude_categories=["Cs"]))
    changed = POLICY[:place_] + letter + POLICY[place_ + 1 :]
    assert digest_of(changed, bundled()) != RULES.digest


@given(
    st.text(alphabet=st.characters(exclude_characters='",\r\n\0', exclude_categories=["Cs"])),
    st.sampled_from(["note", "law", "name"]),
)
def test_the_digest_changes_with_any_text_of_the_pack(text: str, column: str) -> None:
    plain, changed = parse(pack_text(EU, US, IN)), parse(pack_text(EU, {**US, column: text + "x"}, IN))
    assert digest_of(POLICY, plain) != digest_of(POLICY, changed)


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_policy_loads_or_says_what_is_wrong_and_never_crashes(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(POLICY) - 1))
    stop = data.draw(st.integers(start, min(len(POLICY), start + 40)))
    middle = data.draw(st.text(alphabet="[]{}=\".,'\n #abAB10-_/:", max_size=6))
    wrong = mistakes_of(POLICY[:start] + middle + POLICY[stop:])
    assert wrong is None or (wrong and all(wrong))


def mistakes_of(text: str) -> tuple[str, ...] | None:
    try:
        load(text)
    except PolicyError as exc:
        return exc.mistakes
    return None


toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(ids("eu", "eu-de", "orders", "s1", "hosts"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.data(), toml_values)
def test_any_value_at_any_key_is_accepted_or_a_mistake_and_never_a_crash(data: st.DataObject, value: object) -> None:
    document = tomllib.loads(POLICY)
    table: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(table)))
        if not isinstance(table[key], dict) or data.draw(st.booleans()):
            break
        table = table[key]
    table[key] = value
    mistakes = Mistakes(POLICY)
    check(_draft(document, mistakes), bundled(), mistakes)
    assert all(mistakes.lines())

"""Properties of the rules: total, deterministic, never outside what is allowed, and true until `valid_until`."""

import datetime
import tomllib
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.words import RECORDS, Country, RegionId, Verb
from routing_rules.choose import choose
from routing_rules.decide import decide
from routing_rules.explain import explain_decide, explain_place
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.pack import bundled, parse
from routing_rules.place import place
from routing_rules.policy.checks import check
from routing_rules.policy.draft import draft_of
from routing_rules.policy.mistakes import Mistakes
from routing_rules.rules import PolicyError, Rules, digest_of, load
from routing_rules.verdicts import Allowed, Elsewhere, Hairpin, NoCell, Refuse, Serve
from tests.stands.rules import EU, IN, POLICY, US, pack_files, policy_with, rules, small_pack

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

SERVES_EU = ('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "uk", "ch", "in", "us", "ru", "ae", "fr-oct"]')
_TERMS = '\n[terms.frankfurt]\ncells = ["eu-de"]\ntravellers = "hairpin"\n'
_WIDE = policy_with(SERVES_EU) + _TERMS
WIDE = load(_WIDE)
"""Rules under which one cell serves many regimes, so that the law decides."""

TIGHTER = [
    load(_WIDE.replace(old, new))
    for old, new in (
        (', "in", "us", "ru", "ae", "fr-oct"]', "]"),
        ('gateway = "scc"', 'gateway = "bcr"'),
        ("sectors = []\n", ""),
        ("overlays = []\n", ""),
        ("recipient_classes = []\n", ""),
        ('citizenship = "residence"', 'citizenship = "asked"'),
        ('travellers = "hairpin"', 'travellers = "home"'),
        ('cells = ["eu-de"]\ntravellers', 'cells = ["us-va"]\ntravellers'),
        ('verbs = ["read"]', 'verbs = ["write"]'),
    )
]
"""The same with less allowed or less stated."""


def ids(*known: str) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(known), st.text(max_size=12))


countries = st.one_of(
    st.sampled_from(["DE", "FR", "GB", "CH", "US", "IN", "RU", "AE", "LK", "AQ"]),
    st.sampled_from(sorted(bundled().owners)),
    st.text(max_size=4),
)
parts = st.one_of(st.none(), st.sampled_from(["US-TX", "US-CA", "US-AK", "CA-QC", "DE-BE"]), st.text(max_size=6))
subjects = st.builds(
    SubjectFacts,
    residence=countries,
    subdivision=parts,
    citizenships=st.one_of(st.none(), st.lists(countries, max_size=2).map(tuple)),
    tags=st.one_of(st.just(()), st.lists(ids("health", "payments", "ehr", "medical"), max_size=2).map(tuple)),
    terms=st.one_of(st.none(), st.none(), ids("frankfurt")),
)
services = st.lists(ids("orders", "records"), max_size=3).map(tuple)
any_date = st.one_of(st.dates(), st.dates(datetime.date(2023, 1, 1), datetime.date(2029, 1, 1)))
some_rules = st.sampled_from([RULES, MOVING, WIDE])
requests = st.builds(
    RequestFacts,
    service=ids("orders", "records"),
    verb=st.sampled_from(Verb),
    ingress=ids("eu", "us", "in"),
    cell=ids("eu-de", "us-va", "in-mum"),
    subject=subjects,
    services=services,
    actor=st.one_of(st.none(), st.none(), ids("support-desk")),
)
persons = st.builds(
    PlaceFacts,
    subject=subjects,
    services=services,
    declared=st.one_of(st.none(), countries),
    observed=st.one_of(st.none(), countries),
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
    under = found.law.regimes_of(facts.subject, at)
    assert under.unknown is None
    assert set(cell.serves) & {under.owner, *under.stated}
    assert facts.verb is Verb.SIGNUP or facts.service in (*facts.services, RECORDS)
    assert found.policy.services[facts.service].hosts[facts.cell]
    away = cell.region != facts.ingress
    match answer:
        case Serve():
            assert (answer.cell, answer.region, away) == (facts.cell, facts.ingress, False)
        case Hairpin():
            assert (answer.cell, answer.region, away) == (facts.cell, cell.region, True)
            assert facts.verb is not Verb.SIGNUP
            assert facts.actor is None
        case Elsewhere():
            assert (answer.region, away) == (cell.region, True)
            assert answer.home == found.policy.regions[cell.region].origin
            assert facts.actor is None


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
    assert answer.regimes[0] == found.pack.owners[facts.subject.residence]
    for cell in answer.cells:
        assert set(found.policy.cells[cell].serves) & set(answer.regimes)


@given(
    persons, some_rules, any_date, st.uuids(), st.sampled_from(["eu", "us", "in"]), st.frozensets(ids("eu-de", "us-va"))
)
def test_whoever_is_placed_is_served_at_home_and_nowhere_else(
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
        subject=facts.subject,
        services=facts.services,
    )
    verdict = decide(request, found, at)
    assert isinstance(verdict, Serve) == (found.policy.cells[chosen[0]].region == ingress)


@given(persons, some_rules, any_date, st.one_of(st.none(), countries), st.one_of(st.none(), countries))
def test_what_is_observed_or_was_declared_before_never_decides(
    facts: PlaceFacts, found: Rules, at: datetime.date, declared: Country | None, observed: Country | None
) -> None:
    other = msgspec.structs.replace(facts, declared=declared, observed=observed)
    one, two = place(facts, found, at), place(other, found, at)
    if isinstance(one, Allowed) and isinstance(two, Allowed):
        assert msgspec.structs.replace(one, questions=()) == msgspec.structs.replace(two, questions=())
    else:
        assert one == two


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
    assert explained.steps
    for step in explained.steps:
        if step.row is not None and not step.row.startswith("unresolved"):
            assert step.source
            assert step.as_of
            assert step.confidence in ("high", "medium", "low")


@given(requests, any_date, st.sampled_from(range(len(TIGHTER))))
def test_a_policy_that_allows_less_never_opens_a_route(facts: RequestFacts, at: datetime.date, which: int) -> None:
    before, after = decide(facts, WIDE, at), decide(facts, TIGHTER[which], at)
    if isinstance(before, Refuse):
        assert isinstance(after, Refuse)
    if isinstance(after, Hairpin):
        assert isinstance(before, Hairpin)


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
    plain, changed = parse(pack_files(EU, US, IN)), parse(pack_files(EU, {**US, column: text + "x"}, IN))
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
        if not isinstance(table[key], dict) or not table[key] or data.draw(st.booleans()):
            break
        table = table[key]
    table[key] = value
    mistakes = Mistakes(POLICY)
    check(draft_of(document, mistakes), bundled(), mistakes)
    assert all(mistakes.lines())

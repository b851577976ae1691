"""The law answers every question: whatever the words and days, a finding comes back, and words that it does not know allow nothing."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing_rules.facts import SubjectFacts
from routing_rules.law.questions import Answer, Finding, Location, Regimes, StorageQuestion, TransferQuestion
from routing_rules.policy import Instrument, Operator
from tests.oracle.compare import bundled_tables
from tests.oracle.engine import law_of
from tests.oracle.naive import World

TABLES = bundled_tables()
IDS = [row["id"] for row in TABLES.rows["jurisdictions"]]
PLAIN = law_of(World("common", Operator(sectors=(), overlays=()), ()))
TAGS = [row["tag"] for row in TABLES.rows["tags"]]

words = st.text(max_size=12)
ids = st.one_of(st.sampled_from(IDS), words)
tags = st.lists(st.one_of(st.sampled_from([*TAGS, "*", "group:eea"]), words), max_size=4).map(tuple)
countries = st.one_of(st.none(), st.sampled_from(["DE", "US", "LI", "ZZ"]), words)
days = st.one_of(st.dates(), st.sampled_from([datetime.date.min, datetime.date.max, datetime.date(2026, 11, 21)]))
places = st.builds(Location, ids, countries)
regimes = st.lists(ids, max_size=4).map(tuple)
several = st.lists(places, max_size=3).map(tuple)
operators = st.builds(
    Operator,
    country=countries,
    sectors=st.one_of(st.none(), tags),
    overlays=st.one_of(st.none(), regimes),
    counts=st.dictionaries(
        st.one_of(st.sampled_from(["cn/special_category", "us/health"]), words), st.integers(), max_size=4
    ),
)
instruments = st.lists(
    st.builds(
        Instrument,
        origin=ids,
        to=st.one_of(ids, st.just("*")),
        gateway=st.one_of(st.sampled_from(["scc", "consent"]), words),
        ref=words,
        detail=st.one_of(st.none(), words),
        tags=tags,
        since=days,
        until=days,
    ),
    max_size=4,
).map(tuple)
worlds = st.builds(World, st.sampled_from(["cautious", "common"]), operators, instruments)
transfers = st.builds(
    TransferQuestion,
    regimes=regimes,
    to=places,
    purpose=words,
    tags=tags,
    recipient_classes=st.one_of(st.none(), st.lists(words, max_size=3).map(tuple)),
)
keepings = st.builds(
    StorageQuestion,
    regimes=regimes,
    citizenships=st.one_of(st.none(), regimes),
    tags=tags,
    primary=places,
    stores=several,
    processes=several,
    accesses=several,
    copies=several,
    hours_abroad=st.one_of(st.none(), st.integers()),
)


@given(worlds, transfers, keepings, days)
@settings(max_examples=300, deadline=None)
def test_every_question_is_answered(world, transfer, keeping, at):
    law = law_of(world)
    for finding in (law.transfer(transfer, at), law.storage(keeping, at)):
        assert isinstance(finding, Finding)
        assert isinstance(finding.answer, Answer)
        assert finding.ground
        assert finding.valid_until is None or finding.valid_until > at
        assert finding.answer.allows or finding.reasons


@given(worlds, countries.filter(bool), st.one_of(st.none(), st.sampled_from(["US-TX", "CA-QC"]), words), days)
@settings(max_examples=200, deadline=None)
def test_everybody_has_regimes_or_a_reason_why_not(world, country, part, at):
    found = law_of(world).regimes_of(SubjectFacts(residence=country, subdivision=part), at)
    assert isinstance(found, Regimes)
    assert found.unknown is not None or found.ids
    assert found.valid_until is None or found.valid_until > at


@pytest.mark.parametrize("regime", ["atlantis", "default", "EU", "eu ", ""])
def test_a_regime_that_is_not_known_allows_nothing(regime):
    at, place = datetime.date(2026, 11, 21), Location("eu", "DE")
    for regimes_ in ((regime,), ("us", regime)):
        asked = TransferQuestion(regimes=regimes_, to=place, purpose="service", recipient_classes=())
        assert PLAIN.transfer(asked, at).answer is Answer.UNKNOWN
        kept = StorageQuestion(
            regimes=regimes_, citizenships=(), tags=(), primary=place, stores=(place,), processes=(), accesses=()
        )
        assert PLAIN.storage(kept, at).answer is Answer.UNKNOWN


@given(words.filter(lambda word: word not in set(TABLES.tag_of)))
@settings(max_examples=50, deadline=None)
def test_a_word_that_is_no_tag_allows_nothing(word):
    at, place = datetime.date(2026, 11, 21), Location("us", "US")
    asked = TransferQuestion(regimes=("us",), to=place, purpose="service", tags=(word,), recipient_classes=())
    assert not PLAIN.transfer(asked, at).answer.allows

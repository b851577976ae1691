"""Crossings as values: what is bookable, what is kept, and in which order a subject's records are shown."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cells.crossings.core import (
    AGE_S_MAX,
    AT_US_MAX,
    NEWEST,
    POSITION_MAX,
    Crossing,
    Place,
    Recorded,
    Source,
    cursor_of,
    event_of,
    page,
    place_of,
    problem_of,
)
from foundation.clock import SKEW_S_MAX
from foundation.ledger.port import Event, Kind
from foundation.problems import Code, ProblemError
from foundation.words import ActorId, CellId
from routing_rules.policy import Policy

NOW = 1_800_000_000.0
CELL = CellId("eu-de")
GIVEN = {
    "id": "abcdefghijklmnop",
    "at": NOW,
    "subject_id": "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77",
    "kind": "hairpin",
    "from_region": "us",
    "from_country": "US",
    "home_cell": CELL,
    "service": "orders",
    "verb": "read",
    "purpose": "service",
    "ground": "away from home",
    "basis": "scc",
    "rules": "sha256:" + "0" * 64,
    "observed_country": "US",
    "trace_id": "0" * 32,
}


def crossing(**changes: Any) -> Crossing:
    return msgspec.convert(GIVEN | changes, Crossing)


def problem(policy: Policy, **changes: Any) -> Code | None:
    found = problem_of(crossing(**changes), cell=CELL, policy=policy, now_s=NOW)
    return None if found is None else found.code


@pytest.fixture(scope="module")
def policy() -> Policy:
    from routing_rules.rules import load
    from tests.stands.crossings import TWO_REGIONS

    return load(TWO_REGIONS).policy


def test_a_hairpin_of_another_region_is_bookable(policy: Policy) -> None:
    assert problem(policy) is None
    assert problem(policy, verb="write", observed_country=None) is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOW + SKEW_S_MAX, None),
        (NOW + SKEW_S_MAX + 0.001, Code.BAD_REQUEST),
        (NOW - AGE_S_MAX, None),
        (NOW - AGE_S_MAX - 0.001, Code.BAD_REQUEST),
    ],
)
def test_a_crossing_is_as_old_as_a_decision_may_be_and_ahead_by_the_skew(
    policy: Policy, at: float, expected: Code | None
) -> None:
    assert problem(policy, at=at) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "egress"}, Code.BAD_REQUEST),
        ({"verb": "signup"}, Code.BAD_REQUEST),
        ({"home_cell": "us-va"}, Code.CONFLICT),
        ({"from_region": "eu", "from_country": "DE"}, Code.CONFLICT),
        ({"from_region": "mars"}, Code.CONFLICT),
        ({"from_country": "DE"}, Code.CONFLICT),
    ],
    ids=str,
)
def test_what_is_no_crossing_into_this_cell_is_not_bookable(
    policy: Policy, changes: dict[str, Any], expected: Code
) -> None:
    assert problem(policy, **changes) == expected


def test_a_cell_that_policy_does_not_declare_books_nothing(policy: Policy) -> None:
    found = problem_of(crossing(home_cell="eu-fr"), cell=CellId("eu-fr"), policy=policy, now_s=NOW)
    assert found is not None
    assert found.code is Code.CONFLICT


@pytest.mark.parametrize("name", ["client_address", "address", "path", "token", "email", "user_agent"])
def test_a_crossing_has_no_room_for_personal_data(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(msgspec.json.encode(GIVEN | {name: "x"}), type=Crossing)


@pytest.mark.parametrize("name", sorted(set(GIVEN) - {"observed_country"}))
def test_every_field_but_the_observed_country_is_asked_for(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        msgspec.convert({key: value for key, value in GIVEN.items() if key != name}, Crossing)


@pytest.mark.parametrize("name", sorted(name for name, value in GIVEN.items() if isinstance(value, str)))
@pytest.mark.parametrize("tail", ["\n", "\x00", "\x7f", "x" * 2_000], ids=repr)
def test_no_text_of_a_crossing_ends_in_a_control_character_or_is_boundless(name: str, tail: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(GIVEN | {name: GIVEN[name] + tail}), type=Crossing)


def test_the_ledger_hears_all_that_a_crossing_holds() -> None:
    event = event_of(crossing(), ActorId("gateway:eu"))
    assert (event.id, event.at, event.kind) == ("crossing:abcdefghijklmnop", NOW, Kind.CROSSING)
    assert (event.actor, event.subject_id) == ("gateway:eu", GIVEN["subject_id"])
    assert event.details == {name: value for name, value in GIVEN.items() if name not in ("id", "at", "subject_id")}


@given(st.floats(min_value=0.001, max_value=4e9))
def test_the_time_of_a_crossing_is_as_fine_as_a_database_keeps_it(at: float) -> None:
    once = crossing(at=at)
    assert once.at == pytest.approx(at, abs=1e-6)
    assert crossing(at=once.at) == once
    assert once.at == once.at_us / 1_000_000


places = st.builds(Place, st.integers(0, AT_US_MAX), st.sampled_from(Source), st.integers(1, POSITION_MAX - 1))
close = st.builds(Place, st.integers(0, 2), st.sampled_from(Source), st.integers(1, 6))


@given(places)
def test_a_cursor_is_read_as_it_was_written(place: Place) -> None:
    assert place_of(cursor_of(place)) == place


@given(st.text(max_size=120))
def test_any_other_text_is_refused_as_a_cursor(text: str) -> None:
    with pytest.raises(ProblemError) as refused:
        place_of(text)
    assert refused.value.problem.code is Code.BAD_REQUEST


@pytest.mark.parametrize(
    "value", ["1.2.1", "1.0.-1", "1.0", f"{AT_US_MAX + 1}.0.1", f"1.0.{POSITION_MAX + 1}", "1.0.1.1", "\u0661.0.1"]
)
def test_a_cursor_of_no_place_is_refused(value: str) -> None:
    with pytest.raises(ProblemError):
        place_of(base64.urlsafe_b64encode(f"record:{value}".encode()).decode().rstrip("="))


@given(places | close, places | close)
def test_what_a_source_is_asked_for_is_what_stands_under_the_place(under: Place, other: Place) -> None:
    assert ((other.at_us, other.position) < under.bound_in(other.source)) == (other < under)


@given(st.sets(close), st.integers(1, 5))
def test_pages_of_two_sources_show_each_record_once_and_newest_first(held: set[Place], limit: int) -> None:
    def ask(source: Source, under: Place) -> list[Recorded]:
        at_us, position = under.bound_in(source)
        found = [one for one in held if one.source is source and (one.at_us, one.position) < (at_us, position)]
        return [Recorded(one, event(one)) for one in sorted(found, reverse=True)[: limit + 1]]

    shown: list[str] = []
    under = NEWEST
    for _ in range(len(held) + 1):
        entries, cursor = page([one for source in Source for one in ask(source, under)], limit)
        shown += [one.id for one in entries]
        if cursor is None:
            break
        under = place_of(cursor)
    assert shown == [event(one).id for one in sorted(held, reverse=True)]


def event(place: Place) -> Event:
    return Event(id=repr(place), at=place.at_us / 1e6, kind=Kind.REFUSAL, actor="gateway:eu")

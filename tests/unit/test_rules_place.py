"""`place` and `choose`: only cells that serve a known law, spread by weight, moved as little as possible."""

import collections
import datetime
import random
import uuid

import pytest

from foundation.problems import Code
from foundation.words import CellId, SubjectId
from routing_rules.place import Allowed, NoCell, choose, heaviest, place
from routing_rules.rules import Rules, load
from tests.stands.rules import POLICY, TODAY, person, policy_with, rules, small_pack


def allowed(country: str, found: Rules | None = None) -> Allowed:
    answer = place(person(country), found or rules(), TODAY)
    assert isinstance(answer, Allowed), answer
    return answer


def no_cell(country: str, found: Rules | None = None, at: datetime.date = TODAY, **more: object) -> NoCell:
    answer = place(person(country, **more), found or rules(), at)  # type: ignore[arg-type]
    assert isinstance(answer, NoCell), answer
    assert answer.code is Code.NO_CELL_ALLOWED
    return answer


def subjects(count: int, seed: int = 1) -> list[SubjectId]:
    source = random.Random(seed)
    return [SubjectId(str(uuid.UUID(bytes=source.randbytes(16)))) for _ in range(count)]


@pytest.mark.parametrize(
    ("country", "regime", "cell"),
    [
        ("DE", "eu", "eu-de"),
        ("FR", "eu", "eu-de"),
        ("NO", "eu", "eu-de"),
        ("GP", "eu", "eu-de"),
        ("GB", "uk", "eu-de"),
        ("CH", "ch", "eu-de"),
        ("US", "us", "us-va"),
        ("PR", "us", "us-va"),
        ("IN", "in", "in-mum"),
    ],
)
def test_a_person_is_placed_where_their_law_is_served(country: str, regime: str, cell: str) -> None:
    answer = allowed(country)
    assert (answer.regimes, answer.cells, answer.digest) == ((regime,), (cell,), rules().digest)
    assert f"row {regime} (as of 20" in answer.ground


def test_a_known_law_that_no_cell_serves_has_no_cell() -> None:
    assert no_cell("JP").ground == "row jp (as of 2026-05): no cell serves jp"


@pytest.mark.parametrize("country", ["AQ", "IR", "KP", "XX", "de", "", "D\x00", "\ud800"])
def test_a_country_of_which_nothing_is_known_has_no_cell(country: str) -> None:
    assert no_cell(country).ground.startswith("unknown: ")


def test_a_law_that_is_enacted_counts_from_its_start() -> None:
    served = load(policy_with(('serves = ["us"]', 'serves = ["us", "cl"]')))
    before = no_cell("CL", served)
    assert before.valid_until == datetime.date(2026, 12, 1)
    assert "counts from 2026-12-01 only" in before.ground
    assert isinstance(place(person("CL"), served, datetime.date(2026, 12, 1)), Allowed)


def test_a_law_that_is_enacted_without_a_start_never_counts() -> None:
    served = load(policy_with(('serves = ["in"]', 'serves = ["in", "lk"]')))
    assert "no date from which it counts" in no_cell("LK", served, datetime.date(2999, 1, 1)).ground


@pytest.mark.parametrize("status", ["promised", "disputed"])
def test_promised_and_disputed_rows_never_count(status: str) -> None:
    assert (
        f"is {status}"
        in no_cell("IN", load(POLICY, small_pack({"id": "in", "countries": "IN", "status": status}))).ground
    )


def test_a_repealed_row_counts_inside_its_dates_only() -> None:
    row = {"id": "in", "countries": "IN", "status": "repealed", "until": "2026-01-31"}
    found = load(POLICY, small_pack(row))
    inside = place(person("IN"), found, datetime.date(2026, 1, 31))
    assert isinstance(inside, Allowed)
    assert inside.valid_until == datetime.date(2026, 2, 1)
    no_cell("IN", found, datetime.date(2026, 2, 1))


def test_a_row_of_the_other_profile_does_not_count() -> None:
    pack = small_pack({"id": "in", "countries": "IN", "profile": "common"})
    assert "profile common only" in no_cell("IN", load(POLICY, pack)).ground
    allowed("IN", load(policy_with(('profile = "cautious"', 'profile = "common"')), pack))


def test_services_that_policy_does_not_declare_have_no_cell() -> None:
    assert "no service 'billing'" in no_cell("DE", services=("orders", "billing")).ground
    assert "for no service" in no_cell("DE", services=()).ground


def test_every_service_of_the_placement_must_run_in_the_cell() -> None:
    found = load(policy_with(('eu-de = ["127.0.0.1:7000"]', "eu-de = []")))
    assert "none of eu-de runs all of records, orders" in no_cell("DE", found, services=("records", "orders")).ground
    assert isinstance(place(person("DE", ("records",)), found, TODAY), Allowed)


def test_tags_and_terms_that_no_rule_reads_have_no_cell() -> None:
    assert "'payments'" in no_cell("IN", tags=("payments",)).ground
    assert "terms 'gold'" in no_cell("IN", terms="gold").ground
    tagged = load(policy_with(('purpose = "service"\nanonymous', 'purpose = "service"\ntags = ["health"]\nanonymous')))
    assert "'health'" in no_cell("DE", tagged).ground


EU_FR = """[cells.eu-fr]
region = "eu"
jurisdiction = "eu"
serves = ["eu"]
weight = 3
[cells.eu-fr.shards]
s1 = { dsn_env = "EU_FR_S1", country = "FR", weight = 2 }
s2 = { dsn_env = "EU_FR_S2", country = "FR" }

"""
TWO_IN_EU = policy_with(
    ("[cells.us-va]\n", f"{EU_FR}[cells.us-va]\n"),
    ('eu-de = ["127.0.0.1:7000"]', 'eu-de = ["127.0.0.1:7000"]\neu-fr = ["127.0.0.1:7003"]'),
    ('eu-de = ["127.0.0.1:7010"]', 'eu-de = ["127.0.0.1:7010"]\neu-fr = ["127.0.0.1:7013"]'),
)


def test_all_cells_that_may_are_allowed_in_order() -> None:
    assert allowed("DE", load(TWO_IN_EU)).cells == ("eu-de", "eu-fr")
    assert allowed("GB", load(TWO_IN_EU)).cells == ("eu-de",)


def test_choice_is_the_same_each_time_and_among_the_allowed() -> None:
    found = load(TWO_IN_EU)
    can = allowed("DE", found)
    for subject in subjects(200):
        chosen = choose(subject, can, found)
        assert chosen == choose(subject, can, found)
        assert chosen is not None
        assert chosen[0] in can.cells
        assert chosen[1] in found.policy.cells[chosen[0]].shards


def test_choice_does_not_change_from_release_to_release() -> None:
    """Pinned: a changed hash would scatter those whom a retried placement places again."""
    found = load(TWO_IN_EU)
    chosen = [choose(subject, allowed("DE", found), found) for subject in subjects(6, seed=7)]
    assert chosen == [
        ("eu-fr", "s2"),
        ("eu-fr", "s2"),
        ("eu-fr", "s2"),
        ("eu-de", "s1"),
        ("eu-fr", "s2"),
        ("eu-fr", "s2"),
    ]


def test_choice_spreads_by_weight_over_cells_and_shards() -> None:
    found = load(TWO_IN_EU)
    can = allowed("DE", found)
    counts = collections.Counter(choose(subject, can, found) for subject in subjects(20_000))
    # weights: eu-de 1 (s1 1, s2 1), eu-fr 3 (s1 2, s2 1); three standard deviations of 20,000 draws are at most 1.1 points
    for place_, share in {
        ("eu-de", "s1"): 1 / 8,
        ("eu-de", "s2"): 1 / 8,
        ("eu-fr", "s1"): 1 / 2,
        ("eu-fr", "s2"): 1 / 4,
    }.items():
        assert abs(counts[place_] / 20_000 - share) < 0.011, counts  # type: ignore[index]


def test_a_new_cell_takes_only_its_share_and_moves_nobody_between_the_old() -> None:
    old = {"a": 1.0, "b": 2.0, "c": 1.0}
    new = old | {"d": 1.0}
    took = 0
    for subject in subjects(20_000, seed=2):
        before, after = heaviest(subject, old), heaviest(subject, new)
        assert after in (before, "d")
        took += after == "d"
    assert abs(took / 20_000 - 1 / 5) < 0.009


def test_a_cell_that_goes_moves_only_its_own() -> None:
    all_of = {"a": 1.0, "b": 2.0, "c": 1.0}
    for subject in subjects(2_000, seed=3):
        before = heaviest(subject, all_of)
        after = heaviest(subject, {name: weight for name, weight in all_of.items() if name != "b"})
        assert after == before or before == "b"


def test_cells_that_take_nobody_are_passed_over_and_none_left_is_none() -> None:
    found = load(TWO_IN_EU)
    can = allowed("DE", found)
    for subject in subjects(50):
        chosen = choose(subject, can, found, among=frozenset({CellId("eu-de")}))
        assert chosen is not None
        assert chosen[0] == "eu-de"
        assert choose(subject, can, found, among=frozenset()) is None
        assert choose(subject, can, found, among=frozenset({CellId("us-va")})) is None


def test_cells_that_newer_rules_have_dropped_are_passed_over() -> None:
    can = allowed("DE", load(TWO_IN_EU))
    assert {choose(subject, can, rules())[0] for subject in subjects(50)} == {"eu-de"}  # type: ignore[index]

"""`choose`: spread by weight over allowed cells and shards, moved as little as possible."""

import collections
import random
import uuid

from foundation.words import CellId, SubjectId
from routing_rules.choose import choose, heaviest
from routing_rules.place import place
from routing_rules.rules import Rules, load
from routing_rules.verdicts import Allowed
from tests.stands.rules import TODAY, person, policy_with, rules


def allowed(country: str, found: Rules | None = None) -> Allowed:
    answer = place(person(country), found or rules(), TODAY)
    assert isinstance(answer, Allowed), answer
    return answer


def subjects(count: int, seed: int = 1) -> list[SubjectId]:
    source = random.Random(seed)
    return [SubjectId(str(uuid.UUID(bytes=source.randbytes(16)))) for _ in range(count)]


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

"""What the edge's benches ask of a gateway, and what they make of its answers."""

import pytest

from directory.placement.core import Placement
from load_tests.bench import flat, idle, latency, workers
from load_tests.bench.bulkhead import rules_of
from load_tests.bench.edge import BLINDER, ISSUER, crowded
from load_tests.bench.flat import Pair, Size
from load_tests.bench.idle import FILES_BESIDE, Level, possible
from load_tests.bench.latency import Turn
from load_tests.bench.workers import Round
from routing_rules.rules import load

# --- idle connections --------------------------------------------------------------------------------------------------------


def test_no_more_connections_are_opened_than_files_and_ports_allow() -> None:
    assert possible([8_000, 1_000, 4_000], files=20_000, ports=28_232) == ([1_000, 4_000, 8_000], 14_116)
    assert possible([1_000, 4_000, 8_000], files=4_096, ports=28_232) == ([1_000], 4_096 - FILES_BESIDE)
    assert possible([1_000, 8_000], files=20_000, ports=10_000) == ([1_000], 5_000)
    assert possible([1_000], files=256, ports=28_232) == ([], 0)


def test_growth_is_told_for_a_connection() -> None:
    kept = idle.figure(
        {"domicile": [Level(1_000, 4_096_000), Level(4_000, 16_384_000)], "nginx": [Level(1_000, 512_000)]}
    )
    assert {one.name: one.median for one in kept.rows} == {
        "domicile, 1,000": 4.0,
        "domicile, 4,000": 4.0,
        "nginx, 1,000": 0.5,
    }
    assert kept.ours == ("domicile, 1,000", "domicile, 4,000")


# --- flat --------------------------------------------------------------------------------------------------------------------


def test_each_size_is_larger_than_the_least_in_one_thing() -> None:
    assert flat.sizes([1_000_000, 1_000], [3, 300, 30]) == [
        Size(1_000, 3),
        Size(1_000_000, 3),
        Size(1_000, 30),
        Size(1_000, 300),
    ]


def test_people_live_in_every_cell_of_a_policy_that_holds() -> None:
    homes = flat.settled([str(number) for number in range(1_000)], 300)
    rules = load(rules_of({name: 20_000 + number for number, name in enumerate(flat.names(300))}))
    assert set(homes.values()) == set(map(str, rules.policy.cells))


@pytest.mark.parametrize("others", [0, 1, 7, 1_000])
def test_those_who_ask_are_known_among_as_many_others_as_asked_for(others: int) -> None:
    people = dict.fromkeys(["a", "b", "c"], "eu-000")
    homes = crowded(people, others)
    assert homes.table.entries == 3 + others
    for sub in people:
        assert isinstance(homes.lookup(BLINDER.login(ISSUER, sub)[0]), Placement)
    assert homes.lookup(BLINDER.login(ISSUER, "d")[0]) is None


def test_a_ratio_is_of_the_pair_that_took_turns() -> None:
    least = Size(1_000, 3)
    taken = {
        Size(1_000_000, 3): Pair(base=[100.0, 200.0], larger=[110.0, 220.0], cold=(1.0, 1.0)),
        Size(1_000, 300): Pair(base=[300.0, 300.0], larger=[360.0, 360.0], cold=(1.0, 1.0)),
    }
    subjects, cells = flat.figures(least, taken)
    assert [one.ratio for one in subjects.rows] == [None, 1.1]
    assert [one.ratio for one in cells.rows] == [None, 1.2]
    assert [one.median for one in cells.rows] == [300.0, 360.0]
    assert [one.name for one in cells.rows] == ["1,000 subjects, 3 cells", "1,000 subjects, 300 cells"]


# --- latency and workers -----------------------------------------------------------------------------------------------------


def test_added_is_what_a_turn_differs_by() -> None:
    direct, through = [1.0] * 50 + [2.0] * 49 + [9.0], [1.5] * 50 + [2.5] * 49 + [30.0]
    turns = {"domicile": [Turn(direct, through), Turn(direct, direct), Turn(through, direct)]}
    p50, p99 = latency.figures(turns, {"domicile": 3_000.0})
    assert (p50.rows[0].low, p50.rows[0].median, p50.rows[0].high) == (-0.5, 0.0, 0.5)
    assert (p99.rows[0].low, p99.rows[0].median, p99.rows[0].high) == (-21.0, 0.0, 21.0)
    assert p50.rows[0].name == "domicile at 3,000/s"
    assert {one.name: one.rows[0].median for one in latency.beside(turns)} == {
        "direct-p50": 2.0,
        "direct-p99": 9.0,
        "through-p50": 2.0,
        "through-p99": 9.0,
    }


def test_workers_double_up_to_the_cores_at_hand() -> None:
    assert workers.counts([], 1) == [1, 2]  # two share a core then: what they cost each other shows all the same
    assert workers.counts([], 2) == [1, 2]
    assert workers.counts([], 12) == [1, 2, 4, 8]
    assert workers.counts([3], 2) == [1, 3]


def test_workers_are_set_beside_one() -> None:
    per_s, cpu_us, busy = workers.figures(
        {1: [Round(5_000, 200, 0.5), Round(4_000, 210, 0.6)], 2: [Round(9_000, 202, 0.9), Round(8_000, 210, 1.0)]}
    )
    assert [one.ratio for one in per_s.rows] == [1.0, 1.9]
    assert [one.ratio for one in cpu_us.rows] == [1.0, 1.005]
    assert [one.median for one in busy.rows] == [0.55, 0.95]
    assert per_s.base == "1 worker"

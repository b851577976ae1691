"""The registry chooses within policy and never widens it: weights, drains, addresses. Pure."""

import pytest

from directory.registry.client import HeldRegistry
from directory.registry.core import (
    EMPTY,
    Name,
    Registry,
    Stated,
    addresses,
    cell_name,
    names,
    region_name,
    service_name,
    shard_name,
    shares,
    takes,
    undeclared,
    unfit,
)
from foundation.problems import Code
from foundation.words import CellId, FeedSeq, RegionId, ServiceId, ShardId, mint_subject_id
from routing_rules.choose import choose
from routing_rules.place import place
from routing_rules.rules import load
from routing_rules.verdicts import Allowed
from tests.stands.rules import TODAY, person, policy_with, rules

RULES = rules()
POLICY = RULES.policy
EU_DE, US_VA = CellId("eu-de"), CellId("us-va")
S1, S2 = ShardId("s1"), ShardId("s2")
ORDERS = ServiceId("orders")


def saying(name: Name, **stated: object) -> Registry:
    entry = Stated(entry=name.text, version=1, **stated)  # type: ignore[arg-type]
    return Registry(seq=FeedSeq(7), entries={entry.entry: entry})


def chosen(registry: Registry, count: int = 200, country: str = "DE") -> set[tuple[str, str] | None]:
    allowed = place(person(country), RULES, TODAY)
    assert isinstance(allowed, Allowed)
    weights = shares(registry, POLICY, [ORDERS])
    return {choose(mint_subject_id(), allowed, RULES, shares=weights) for _ in range(count)}


def test_what_nobody_stated_leaves_policy_as_it_is() -> None:
    assert shares(EMPTY, POLICY, [ORDERS]) == {}
    assert chosen(EMPTY) == {(EU_DE, S1), (EU_DE, S2)}


def test_a_drained_shard_takes_nobody_and_its_neighbour_everybody() -> None:
    assert chosen(saying(shard_name(EU_DE, S1), drain=True)) == {(EU_DE, S2)}


@pytest.mark.parametrize(
    "name", [cell_name(EU_DE), region_name(RegionId("eu")), service_name(ORDERS, EU_DE)], ids=lambda one: one.text
)
def test_a_drained_cell_region_or_service_takes_nobody(name: Name) -> None:
    registry = saying(name, drain=True)
    assert chosen(registry) == {None}
    assert not takes(registry, POLICY, EU_DE, [ORDERS])
    assert takes(registry, POLICY, US_VA, [ORDERS])


def test_the_drain_of_one_service_does_not_hold_for_another() -> None:
    registry = saying(service_name(ORDERS, EU_DE), drain=True)
    assert takes(registry, POLICY, EU_DE, [ServiceId("records")])


def test_a_cell_whose_shards_are_all_drained_takes_nobody() -> None:
    both = {
        one.entry: one
        for one in (Stated(entry=shard_name(EU_DE, shard).text, version=1, drain=True) for shard in (S1, S2))
    }
    registry = Registry(seq=FeedSeq(7), entries=both)
    assert chosen(registry) == {None}
    assert not takes(registry, POLICY, EU_DE, [ORDERS])


def test_a_weight_of_the_registry_holds_instead_of_policys() -> None:
    registry = saying(shard_name(EU_DE, S1), weight=1e-6)
    assert chosen(registry, count=100) == {(EU_DE, S2)}


def test_addresses_are_chosen_among_policys_and_never_beside_them() -> None:
    text = policy_with(('eu-de = ["127.0.0.1:7000"]', 'eu-de = ["127.0.0.1:7000", "127.0.0.1:7777"]'))
    policy = load(text).policy
    name = service_name(ORDERS, EU_DE)
    assert addresses(EMPTY, policy, ORDERS, EU_DE) == ("127.0.0.1:7000", "127.0.0.1:7777")
    assert addresses(saying(name, addresses=("127.0.0.1:7777",)), policy, ORDERS, EU_DE) == ("127.0.0.1:7777",)
    gone = saying(name, addresses=("127.0.0.1:7777", "10.0.0.1:1"))
    assert addresses(gone, POLICY, ORDERS, EU_DE) == ("127.0.0.1:7000",)
    assert addresses(gone, POLICY, ORDERS, CellId("elsewhere")) == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (region_name(RegionId("euu")), "did you mean eu?"),
        (cell_name(CellId("eu-dee")), "did you mean eu-de?"),
        (shard_name(EU_DE, ShardId("s9")), "'s9'"),
        (shard_name(CellId("xx"), S1), "no cell 'xx'"),
        (service_name(ServiceId("ordres"), EU_DE), "did you mean orders?"),
        (service_name(ORDERS, CellId("nowhere")), "'nowhere'"),
    ],
    ids=lambda one: one.text if isinstance(one, Name) else "",
)
def test_what_policy_does_not_declare_is_refused_by_name(name: Name, told: str) -> None:
    problem = undeclared(name, POLICY)
    assert problem is not None
    assert problem.code is Code.NOT_FOUND
    assert told in problem.detail


def test_everything_that_policy_declares_may_be_stated() -> None:
    assert [name.text for name in names(POLICY) if undeclared(name, POLICY) is not None] == []
    assert len({name.text for name in names(POLICY)}) == len(names(POLICY))


@pytest.mark.parametrize(
    ("name", "weight", "stated"),
    [
        (region_name(RegionId("eu")), 1.0, None),
        (service_name(ORDERS, EU_DE), 1.0, None),
        (cell_name(EU_DE), None, ("127.0.0.1:7000",)),
        (service_name(ORDERS, EU_DE), None, ("127.0.0.1:9999",)),
        (service_name(ORDERS, EU_DE), None, ("127.0.0.1:7000", "127.0.0.1:7000")),
    ],
)
def test_weights_and_addresses_stand_only_where_they_mean_something(
    name: Name, weight: float | None, stated: tuple[str, ...] | None
) -> None:
    problem = unfit(name, weight, stated, POLICY)
    assert problem is not None
    assert problem.code is Code.UNPROCESSABLE


def test_a_holder_never_goes_back_to_an_older_version_of_an_entry() -> None:
    held = HeldRegistry()
    name = cell_name(EU_DE)
    held.take(Stated(entry=name.text, version=2, drain=True), FeedSeq(9))
    held.take(Stated(entry=name.text, version=1, drain=False), FeedSeq(5))
    assert held.current.of(name).drain
    assert held.current.seq == FeedSeq(9)

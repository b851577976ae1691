"""Every way in which a fence may differ from the directory has its name, and is mended by raising it or not at all. Pure."""

import itertools

import pytest

from cells.fences.core import Differs, differences
from cells.shards.core import Home
from directory.placement.core import Facts, Placement, State
from foundation.words import CellId, Country, Epoch, ServiceId, ShardId, mint_subject_id

CELL, S1, S2 = CellId("eu-de"), ShardId("s1"), ShardId("s2")
SUBJECT = mint_subject_id()


def placed(epoch: int = 5, state: State = State.ACTIVE, *, cell: str = "eu-de", shard: str = "s1") -> Placement:
    return Placement(
        subject_id=SUBJECT,
        cell=CellId(cell),
        shard=ShardId(shard),
        epoch=Epoch(epoch),
        state=state,
        services=(ServiceId("orders"),),
        facts=Facts(facts_id=1, regimes=(), residence=Country("DE")),
    )


def fence(epoch: int = 5, state: State = State.ACTIVE) -> Home:
    return Home(S1, Epoch(epoch), state, (ServiceId("orders"),))


@pytest.mark.parametrize(
    ("placement", "held", "name", "raised_to"),
    [
        (placed(), None, Differs.MISSING, (5, State.ACTIVE)),
        (placed(), fence(4), Differs.STALE_EPOCH, (5, State.ACTIVE)),
        (placed(state=State.FROZEN), fence(4), Differs.STALE_EPOCH, (5, State.FROZEN)),
        (placed(), fence(6), Differs.AHEAD, None),
        (placed(), fence(5, State.RESERVED), Differs.STATE, (5, State.ACTIVE)),
        (placed(), fence(5, State.FROZEN), Differs.STATE, None),
        (placed(cell="us-va"), fence(4), Differs.MISPLACED, (5, State.MOVED)),
        (placed(shard="s2"), fence(5), Differs.MISPLACED, (5, State.MOVED)),
        (placed(state=State.ERASED, cell="us-va"), fence(4), Differs.MISPLACED, (5, State.ERASED)),
        (placed(cell="us-va"), fence(6, State.MOVED), Differs.AHEAD, None),
        (None, fence(), Differs.UNKNOWN_SUBJECT, None),
    ],
)
def test_each_difference_has_its_name_and_what_mends_it(
    placement: Placement | None, held: Home | None, name: Differs, raised_to: tuple[int, State] | None
) -> None:
    (found,) = differences(SUBJECT, placement, {S1: held}, CELL)
    assert found.differs is name
    assert (None if found.repair is None else (found.repair.epoch, found.repair.state)) == raised_to


@pytest.mark.parametrize(
    ("placement", "held"),
    [
        (placed(), fence()),
        (placed(state=State.RESERVED), None),
        (placed(state=State.RESERVED), fence(5, State.RESERVED)),
        (placed(state=State.ERASED), None),
        (placed(cell="us-va"), None),
        (placed(cell="us-va"), fence(4, State.MOVED)),
        (None, None),
    ],
)
def test_what_is_as_it_should_be_or_under_way_is_no_difference(placement: Placement | None, held: Home | None) -> None:
    assert differences(SUBJECT, placement, {S1: held}, CELL) == []


def test_whatever_is_repaired_goes_up_and_differs_no_more() -> None:
    for state, was, epoch, shard in itertools.product(State, State, (4, 5, 6), ("s1", "s2")):
        placement, held = placed(5, state, shard=shard), fence(epoch, was)
        for found in differences(SUBJECT, placement, {S1: held, S2: None}, CELL):
            if found.repair is not None:
                assert found.shard != S1 or found.repair.epoch >= held.epoch
                assert differences(SUBJECT, placement, {found.shard: found.repair}, CELL) == []

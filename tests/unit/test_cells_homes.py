"""What a cell knows of homes, and when it lets a statement through: pure parts, and the numbered log of changes."""

import asyncio

import pytest

from cells.shards.core import Home, check, fence_for, latest_by_subject, supersedes
from cells.shards.homes import Homes
from directory.placement.core import Facts, Placement, PlacementEvent, State
from foundation.problems import Code
from foundation.words import CellId, Country, Epoch, FeedSeq, ShardId, Verb, mint_subject_id
from tests.stands.shard import CELL, S1, home

pytestmark = pytest.mark.anyio


def event(cell: str, shard: str, epoch: int, state: State) -> PlacementEvent:
    facts = Facts(facts_id=1, regimes=(), residence=Country("DE"))
    placement = Placement(
        subject_id=mint_subject_id(), cell=CellId(cell), shard=ShardId(shard), epoch=Epoch(epoch), state=state,
        services=(), facts=facts,
    )  # fmt: skip
    return PlacementEvent(seq=FeedSeq(1), at=0.0, placement=placement)


@pytest.mark.parametrize(
    ("cell", "shard", "state", "held", "expected"),
    [
        ("eu-de", "s1", State.ACTIVE, False, State.ACTIVE),
        ("eu-de", "s1", State.RESERVED, False, State.RESERVED),
        ("eu-de", "s2", State.ACTIVE, True, State.MOVED),
        ("us-va", "s1", State.MOVING_IN, True, State.MOVED),
        ("us-va", "s1", State.ERASED, True, State.ERASED),
        ("us-va", "s1", State.ACTIVE, False, None),
    ],
)
async def test_every_event_about_a_subject_that_a_shard_holds_raises_its_fence(
    cell: str, shard: str, state: State, held: bool, expected: State | None
) -> None:
    found = fence_for(event(cell, shard, 9, state), CELL, S1, held=held)
    assert (None if found is None else (found.state, found.epoch)) == (None if expected is None else (expected, 9))


async def test_of_one_page_only_the_last_event_of_a_subject_counts() -> None:
    first = event("eu-de", "s1", 1, State.RESERVED)
    later = PlacementEvent(seq=FeedSeq(2), at=0.0, placement=first.placement)
    assert latest_by_subject([first, later]) == {first.placement.subject_id: later}


S2 = ShardId("s2")


@pytest.mark.parametrize(
    ("new", "old", "wins"),
    [
        (home(1), None, True),
        (home(2), home(1), True),
        (home(1), home(2), False),
        (home(1), home(1), False),
        (home(1, State.ACTIVE), home(1, State.RESERVED), True),
        (home(1, State.RESERVED), home(1, State.ACTIVE), False),
        (home(1, State.ACTIVE, S2), home(1, State.MOVED), True),
        (home(1, State.MOVED), home(1, State.ACTIVE, S2), False),
        (home(1, State.MOVED), home(1, State.RESERVED, S2), False),
        (home(1, State.ACTIVE), home(1, State.FROZEN), False),
    ],
)
async def test_newer_knowledge_is_never_replaced_by_older(new: Home, old: Home | None, wins: bool) -> None:
    assert supersedes(new, old) is wins


async def test_changes_are_numbered_densely_paged_and_forgotten_in_the_open() -> None:
    homes = Homes(started_unix_s=1.0, kept_max=3)
    start = homes.newest
    subjects = [mint_subject_id() for _ in range(4)]
    for subject in subjects[:3]:
        assert homes.put(subject, home(1))
    assert homes.after(start).next == start + 3
    assert [one for one, _ in homes.after(start + 1).changes] == subjects[1:3]
    assert not homes.after(start + 3).changes
    homes.put(subjects[3], home(1))
    assert homes.after(start).reset
    assert not homes.after(start + 1).reset
    assert homes.after(start + 5).reset
    later = Homes(started_unix_s=1.5)
    assert later.after(homes.newest).reset


async def test_whoever_waits_for_changes_is_woken() -> None:
    homes = Homes(started_unix_s=1.0)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(homes.changes(homes.newest, wait_s=5))
        await asyncio.sleep(0)
        homes.put(mint_subject_id(), home(1))
    assert len(waiting.result().changes) == 1
    assert not (await homes.changes(homes.newest, wait_s=0)).changes


async def test_what_is_taken_in_without_a_word_is_found_by_whoever_is_woken() -> None:
    homes, subject = Homes(started_unix_s=1.0), mint_subject_id()
    start = homes.newest
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(homes.wait_until(lambda: homes.get(subject) is not None, wait_s=5))
        await asyncio.sleep(0)
        homes.put_new(subject, home(1))
        homes.wake()
    assert waiting.result()
    assert (homes.newest, homes.after(start).changes) == (start, [])
    homes.put_new(subject, home(2))  # known by now, so guards are told
    assert homes.after(start).changes == [(subject, home(2))]


@pytest.mark.parametrize("verb", [Verb.READ, Verb.WRITE])
@pytest.mark.parametrize("state", list(State))
def test_nothing_passes_but_under_the_current_epoch_in_a_state_that_allows_it(state: State, verb: Verb) -> None:
    for epoch in (4, 5, 6):
        passes = check(home(5, state), Epoch(epoch), verb) is None
        assert passes == (epoch == 5 and (state is State.ACTIVE or (state is State.FROZEN and verb is Verb.READ)))
    stale = check(home(5, state), Epoch(4), verb)
    assert stale is not None
    assert (stale.code, stale.epoch) == (Code.STALE_EPOCH, 5)
    unknown = check(None, Epoch(5), verb)
    assert unknown is not None
    assert unknown.code is Code.CELL_BEHIND

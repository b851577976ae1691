"""What outlives its verdict ends when its subject's home changes, and nothing else does."""

import asyncio

import anyio
import pytest

from directory.placement.core import KeysChange, KeysEvent, Placement, PlacementEvent
from foundation.words import Epoch, FeedSeq, SubjectId
from gateway.edge.lasting import Entry, Lasting, Why
from tests.stands.edge import placement

pytestmark = pytest.mark.anyio


class Known:
    """What a process knows of epochs; and what was ended, and why."""

    def __init__(self) -> None:
        self.epochs: dict[SubjectId, Epoch] = {}
        self.lasting = Lasting(self.epochs.get)
        self.ended: list[tuple[str, Why]] = []

    def enter(self, name: str, home: Placement, *, moment_s: float = 0.0) -> Entry:
        self.epochs.setdefault(home.subject_id, home.epoch)
        return self.lasting.enter(
            home.subject_id, home.epoch, lambda why: self.ended.append((name, why)), moment_s=moment_s
        )

    def hear(self, home: Placement, epoch: int) -> None:
        self.epochs[home.subject_id] = Epoch(epoch)
        changed = Placement(**{name: getattr(home, name) for name in home.__struct_fields__} | {"epoch": epoch})
        self.lasting.heard(PlacementEvent(seq=FeedSeq(1), at=0.0, placement=changed))

    async def all_ended(self) -> list[tuple[str, Why]]:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.ended


@pytest.fixture
def known() -> Known:
    return Known()


async def test_a_newer_epoch_ends_all_of_its_subject_and_of_nobody_else(known: Known) -> None:
    ann, bea = placement(epoch=3), placement(epoch=3)
    known.enter("one", ann)
    known.enter("two", ann)
    known.enter("other", bea)
    known.hear(ann, 4)
    assert sorted(await known.all_ended()) == [("one", Why.EPOCH), ("two", Why.EPOCH)]
    assert len(known.lasting) == 1
    known.hear(ann, 5)
    assert len(await known.all_ended()) == 2, "each ends once"


async def test_news_that_are_none_end_nothing(known: Known) -> None:
    ann = placement(epoch=3)
    known.enter("one", ann)
    known.hear(ann, 3)
    known.hear(ann, 2)
    known.lasting.heard(KeysEvent(seq=FeedSeq(2), at=0.0, change=KeysChange.UNRESOLVED, keys=()))
    assert await known.all_ended() == []


async def test_who_has_left_is_not_ended(known: Known) -> None:
    ann = placement(epoch=3)
    left, leaves = known.enter("left", ann), known.enter("leaves", ann)
    known.lasting.leave(left)
    known.hear(ann, 4)
    known.lasting.leave(leaves)
    assert await known.all_ended() == []
    assert len(known.lasting) == 0


async def test_an_epoch_that_changed_before_it_was_entered_ends_it_too(known: Known) -> None:
    ann = placement(epoch=3)
    known.epochs[ann.subject_id] = Epoch(4)
    known.enter("late", ann)
    assert await known.all_ended() == [("late", Why.EPOCH)]


async def test_of_whom_nothing_is_known_any_more_everything_ends(known: Known) -> None:
    ann = placement(epoch=3)
    known.enter("before", ann)
    known.epochs.clear()
    known.lasting.enter(ann.subject_id, ann.epoch, lambda why: known.ended.append(("after", why)), moment_s=0.0)
    assert await known.all_ended() == [("after", Why.STALE)]


async def test_what_is_nearly_through_has_a_moment(known: Known) -> None:
    ann = placement(epoch=3)
    known.enter("brief", ann, moment_s=3600.0)
    known.enter("long", ann)
    known.hear(ann, 4)
    assert await known.all_ended() == [("long", Why.EPOCH)]
    assert len(known.lasting) == 1


async def test_a_feed_that_was_begun_anew_ends_all(known: Known) -> None:
    known.enter("one", placement())
    known.enter("two", placement())
    known.lasting.begun_anew(FeedSeq(9))
    assert sorted(await known.all_ended()) == [("one", Why.STALE), ("two", Why.STALE)]


async def test_all_end_while_nothing_may_be_decided(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.lasting.LOOK_S", 0.0)
    looked, stale, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def is_stale() -> bool:
        looked.set()
        return stale.is_set()

    home = placement()
    known.epochs[home.subject_id] = home.epoch
    why: list[Why] = []

    def end(reason: Why) -> None:
        why.append(reason)
        ended.set()

    known.lasting.enter(home.subject_id, home.epoch, end, moment_s=0.0)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(known.lasting.watch(is_stale))
        with anyio.fail_after(5):
            await looked.wait()
            await asyncio.sleep(0)
            assert not why
            stale.set()
            await ended.wait()
        watching.cancel()
    assert why == [Why.STALE]

"""Homes as a cell knows them, and what may be done under which epoch. Pure.

The fence row in the shard decides; what is held here is a copy that answers early and finds the shard.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from directory.placement.core import PlacementEvent, State, refusal
from foundation.problems import Code
from foundation.words import CellId, Epoch, ServiceId, ShardId, SubjectId, Verb

_UNSETTLED = (State.RESERVED, State.MOVING_IN)


# One for each subject of the cell, and it holds no cycle: the garbage collector need not walk them.
class Home(msgspec.Struct, frozen=True, gc=False):
    """A fence row: the subject's epoch and state on one shard, and the services it was placed for."""

    shard: ShardId
    epoch: Epoch
    state: State
    services: tuple[ServiceId, ...]


class Refused(NamedTuple):
    """Why the fence does not let a statement through. `epoch` is the current one where the asker's is older."""

    code: Code
    detail: str
    epoch: Epoch | None = None


def check(home: Home | None, epoch: Epoch, verb: Verb) -> Refused | None:
    """None when a statement decided under `epoch` may run, else why not. Total."""
    if home is None:
        return Refused(Code.CELL_BEHIND, "this cell does not know the subject yet")
    if epoch > home.epoch:
        return Refused(Code.CELL_BEHIND, "this cell has not seen that epoch yet")
    if epoch < home.epoch:
        return Refused(Code.STALE_EPOCH, "decide anew under the current epoch", home.epoch)
    code = refusal(home.state, verb)
    return None if code is None else Refused(code, f"the subject is {home.state.value}")


def supersedes(new: Home, old: Home | None) -> bool:
    """Whether `new` replaces what is known: a later epoch, or the same one settled (a reservation that became active).

    Two shards of a cell may hold one epoch after a move between them: there the one that is not `moved` counts.
    """
    if old is None or new.epoch > old.epoch:
        return True
    if new.epoch < old.epoch or new.state is old.state:
        return False
    if old.state is State.MOVED:
        return new.shard != old.shard
    return old.state in _UNSETTLED and new.state not in _UNSETTLED and new.state is not State.MOVED


def fence_for(event: PlacementEvent, cell: CellId, shard: ShardId, *, held: bool) -> Home | None:
    """What the shard's fence becomes after `event`, or None when it does not concern this shard.

    `held`: whether the shard has a fence row of the subject. A subject placed elsewhere is `moved` here, under the new epoch.
    """
    placement = event.placement
    if placement.cell == cell and placement.shard == shard:
        return Home(shard, placement.epoch, placement.state, placement.services)
    if not held:
        return None
    state = State.ERASED if placement.state is State.ERASED else State.MOVED
    return Home(shard, placement.epoch, state, placement.services)


def latest_by_subject(events: Iterable[PlacementEvent]) -> dict[SubjectId, PlacementEvent]:
    """The last event of each subject: fences only go up, so the earlier ones of a page need not be lived through."""
    return {event.placement.subject_id: event for event in events}

"""What differs between a subject's placement and its fence rows on the shards of one cell, and what mends it. Pure.

The rule: the directory says what holds, and fences only go up. So a fence below the directory's epoch is raised to it. One above it, or
one of somebody whom the directory does not know, is named and left: the directory was restored from an older state, and has to be
brought above the fences first (a new epoch, docs/operating.md). A reservation is under way, and what is under way is no difference.
"""

import enum
from collections.abc import Mapping

import msgspec

from cells.shards.core import Home
from directory.placement.core import Placement, State
from foundation.words import CellId, Epoch, ShardId, SubjectId

_GONE = (State.MOVED, State.ERASED)


class Differs(enum.StrEnum):
    """The name of a difference."""

    MISSING = "missing"
    """The directory has the subject on this shard, and there is no fence."""
    STALE_EPOCH = "stale_epoch"
    """The fence stands under an older epoch than the directory's."""
    STATE = "state"
    """Same epoch, another state."""
    MISPLACED = "misplaced"
    """The fence lets requests in, and the directory has the subject elsewhere."""
    AHEAD = "ahead"
    """The fence stands under a newer epoch than the directory's."""
    UNKNOWN_SUBJECT = "unknown_subject"
    """There is a fence, and the directory never heard of the subject."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One fence row, or its absence, that is not as the directory says. `repair`: what the fence has to become; None: no fence mends it."""

    subject_id: SubjectId
    shard: ShardId
    differs: Differs
    directory: tuple[Epoch, State] | None
    fence: tuple[Epoch, State] | None
    repair: Home | None


def differences(
    subject: SubjectId, placement: Placement | None, fences: Mapping[ShardId, Home | None], cell: CellId
) -> list[Difference]:
    """`fences`: the subject's row on each shard of the cell that could be read, None where it has none."""
    found = []
    for shard, fence in fences.items():
        named = _one(placement, fence, cell, shard)
        if named is None:
            continue
        differs, repair = named
        found.append(
            Difference(
                subject_id=subject,
                shard=shard,
                differs=differs,
                directory=None if placement is None else (placement.epoch, placement.state),
                fence=None if fence is None else (fence.epoch, fence.state),
                repair=repair,
            )
        )
    return found


def _one(
    placement: Placement | None, fence: Home | None, cell: CellId, shard: ShardId
) -> tuple[Differs, Home | None] | None:
    if placement is None:
        return None if fence is None else (Differs.UNKNOWN_SUBJECT, None)
    if (placement.cell, placement.shard) == (cell, shard):
        return _at_home(placement, fence, shard)
    if fence is None:
        return None
    if fence.epoch > placement.epoch:
        return Differs.AHEAD, None
    if fence.state in _GONE:
        return None
    state = State.ERASED if placement.state is State.ERASED else State.MOVED
    return Differs.MISPLACED, Home(shard, placement.epoch, state, placement.services)


def _at_home(placement: Placement, fence: Home | None, shard: ShardId) -> tuple[Differs, Home | None] | None:
    wanted = Home(shard, placement.epoch, placement.state, placement.services)
    if fence is None:
        return None if placement.state in (State.RESERVED, State.ERASED) else (Differs.MISSING, wanted)
    if fence.epoch > placement.epoch:
        return Differs.AHEAD, None
    if placement.state is State.RESERVED:
        return None
    if fence.epoch < placement.epoch:
        return Differs.STALE_EPOCH, wanted
    if fence.state is placement.state:
        return None
    settles = fence.state in (State.RESERVED, State.MOVING_IN) and placement.state is not State.MOVED
    return Differs.STATE, wanted if settles else None

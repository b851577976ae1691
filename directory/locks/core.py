"""What cells tell of locks, as values, and whether a telling holds. Pure; cells and the directory speak of the same.

A cell tells all of its locks at once, each time, and names the number of what the directory held of it before. So whatever comes twice,
late, out of order or from before a restoration is refused, and nothing has to be put together from parts.

It also says by which steps it came to that, as the digest of a chain, and what the chain's digest was when it told last. A cell that was
restored has another history, however many steps it has made since: what it told by the one that it lost stays in force beside what it tells
now (it is *kept*), until the cell names it as lifted by a step made since. What is kept the cell tells, too, each time, so that a directory
which was restored in its turn knows of it again.
"""

import enum
import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from foundation.words import CellId

LOCKS_MAX = 2_000
"""Of one cell; as many are kept of histories that it lost. A telling of so many fits the bound on bodies."""
WAIT_MS_MAX = 5_000
NUMBER_MAX = 1 << 53
STATE_CHARS = 32

Person = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class LockCode(enum.StrEnum):
    """What stands against somebody. `locked`: everything; `review_overdue`: their next emergency."""

    LOCKED = "locked"
    REVIEW_OVERDUE = "review_overdue"


class LockStands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One lock. `person`: SHA-256 over the engineer's issuer and sub, which stay at home. `event`: the entry of the cell's own ledger by
    which it stands. `since_us`: microseconds since 1970."""

    person: Person
    code: LockCode
    since_us: Number
    event: Annotated[str, Meta(max_length=64, pattern=r"^(lock:[0-9]+|grant:[0-9a-f]{32}:[0-9]+)$(?!\n)")]


Locks = Annotated[tuple[LockStands, ...], Meta(max_length=LOCKS_MAX)]


class LockHistory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which steps a cell's locks stand and fell: how many there were, and the digest of all of them, one after the other."""

    steps: Number
    digest: Digest


class TellRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that stands in a cell. `after`: the number of what it told last, 0 for nothing. `locking`: how often somebody was locked
    or unlocked there. `history`: by which steps it came to that; `before`: the digest of as many first ones of these as it told last, null
    where it has fewer. `lifted`: what is held of this cell and was lifted by a step made since; `kept`: what it knows to stand of histories
    that it lost. Cells of the version before tell no history: they are judged by `locking` alone."""

    after: Number
    locking: Number
    locks: Locks
    history: LockHistory | None = None
    before: Digest | None = None
    lifted: Locks = ()
    kept: Locks = ()


class ToldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Under which number it stands now. `parted`: what was told before is kept, since it was told by another history."""

    number: int
    parted: bool = False


class CellLocks(msgspec.Struct, frozen=True, kw_only=True):
    """All that is held of a cell. Numbers only grow, over a restoration of the directory too: they are times. `locks`: all that stand;
    `kept`: those of them that the cell told by a history that it does not have any more. `steps`, `digest`: by which history it told last;
    null where it told none."""

    cell: CellId
    number: int
    locks: tuple[LockStands, ...]
    kept: tuple[LockStands, ...] = ()
    steps: int = 0
    digest: str | None = None

    @property
    def told(self) -> tuple[LockStands, ...]:
        """What the cell told last."""
        kept = set(self.kept)
        return tuple(one for one in self.locks if one not in kept)


class LockPage(msgspec.Struct, frozen=True, kw_only=True):
    """What all cells have told; None where the asker's `state` stands still."""

    state: str
    cells: tuple[CellLocks, ...] | None


class Held(NamedTuple):
    """What the directory holds of a cell: its number, what it told with it, and what is kept beside that."""

    number: int = 0
    locking: int = 0
    history: LockHistory | None = None
    told: tuple[LockStands, ...] = ()
    kept: tuple[LockStands, ...] = ()

    @property
    def steps(self) -> int:
        return 0 if self.history is None else self.history.steps


class Verdict(enum.Enum):
    """What a telling comes to."""

    TAKEN = "taken"
    PARTED = "parted"
    """Taken, and more is kept than before: the cell's history is not the one that it told by. It was restored, or then the directory."""
    OTHERWISE = "otherwise"
    """The directory holds another number: a repetition, or somebody was faster. Look at the locks again, then tell anew."""
    OVERFULL = "overfull"
    """More would have to be kept than may be. What was told before stands until an operator forgets it."""


class Judged(NamedTuple):
    """`kept`: what stands from now on beside what is told; means something where the telling is taken."""

    verdict: Verdict
    kept: tuple[LockStands, ...] = ()


def judge(held: Held, told: TellRequest) -> Judged:
    """Total."""
    if told.after != held.number:
        return Judged(Verdict.OTHERWISE)
    goes = goes_on(held, told)
    lost = () if goes else held.told
    kept = {*held.kept, *lost, *told.kept} - {*told.locks} - {*told.lifted}
    if len(kept) > LOCKS_MAX:
        return Judged(Verdict.OVERFULL)
    parted = not (goes and kept <= {*held.kept})
    return Judged(Verdict.PARTED if parted else Verdict.TAKEN, tuple(sorted(kept, key=whole)))


def goes_on(held: Held, told: TellRequest) -> bool:
    """Whether a cell's history begins with the one by which it told before; by numbers alone where one of the two is not known."""
    if held.history is None or told.history is None:
        return told.locking >= held.locking
    return told.history.steps >= held.history.steps and told.before == held.history.digest


def held_after(held: Held, told: TellRequest, judged: Judged, now_us: int) -> Held:
    """What is held once a telling was taken."""
    return Held(number_after(held, now_us), told.locking, told.history, told.locks, judged.kept)


def number_after(held: Held, now_us: int) -> int:
    """Above the last, and above all that was given out before a restoration."""
    return max(held.number + 1, now_us)


class Changed(NamedTuple):
    stands: tuple[LockStands, ...]
    lifted: tuple[LockStands, ...]


def changes(before: Iterable[LockStands], after: Iterable[LockStands]) -> Changed:
    """What stands newly and what does no more. A lock that was lifted and made again is both."""
    was, is_ = set(before), set(after)
    return Changed(tuple(sorted(is_ - was, key=whole)), tuple(sorted(was - is_, key=whole)))


def whole(lock: LockStands) -> tuple[str, str, int, str]:
    """Their order."""
    return lock.person, lock.code.value, lock.since_us, lock.event


def twice(locks: Iterable[LockStands]) -> bool:
    """Whether a person is locked twice there, or by one overdue review."""
    named = [(one.person, one.event if one.code is LockCode.REVIEW_OVERDUE else "") for one in locks]
    return len(set(named)) != len(named)


def state_of(numbers: Mapping[CellId, int]) -> str:
    """One name for all that is held: a number stands for one telling of its cell, and for no other. Directories of before 0013, which know
    numbers without what is kept, name it otherwise."""
    text = ",".join(f"{cell}={numbers[cell]}" for cell in sorted(numbers))
    return hashlib.blake2b(text.encode(), digest_size=STATE_CHARS // 2, person=b"domicile-locks2").hexdigest()

"""What cells tell of locks, as values, and whether a telling holds. Pure; cells and the directory speak of the same.

A cell tells all of its locks at once, each time, and names the number of what the directory held of it before. So whatever comes twice,
late, out of order or from before a restoration is refused, and nothing has to be put together from parts.
"""

import enum
import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from foundation.words import CellId

LOCKS_MAX = 2_000
"""Of one cell. A telling of so many fits the bound on bodies."""
WAIT_MS_MAX = 5_000
NUMBER_MAX = 1 << 53
STATE_CHARS = 32

Person = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
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


class TellRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that stands in a cell. `after`: the number of what it told last, 0 for nothing. `locking`: how often somebody was locked
    or unlocked there; a cell whose database was restored knows of fewer than it told."""

    after: Number
    locking: Number
    locks: Annotated[tuple[LockStands, ...], Meta(max_length=LOCKS_MAX)]


class ToldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Under which number it stands now."""

    number: int


class CellLocks(msgspec.Struct, frozen=True, kw_only=True):
    """All that a cell has told last. Numbers only grow, over a restoration of the directory too: they are times."""

    cell: CellId
    number: int
    locks: tuple[LockStands, ...]


class LockPage(msgspec.Struct, frozen=True, kw_only=True):
    """What all cells have told; None where the asker's `state` stands still."""

    state: str
    cells: tuple[CellLocks, ...] | None


class Held(NamedTuple):
    """What the directory holds of a cell: its number and the `locking` that it told with it."""

    number: int = 0
    locking: int = 0


class Verdict(enum.Enum):
    """What a telling comes to."""

    TAKEN = "taken"
    OTHERWISE = "otherwise"
    """The directory holds another number: a repetition, or somebody was faster. Look at the locks again, then tell anew."""
    SHORTER = "shorter"
    """The cell knows less than it told before: restored from an older backup. What it told stands until an operator forgets it."""


def judge(held: Held, told: TellRequest) -> Verdict:
    """Total."""
    if told.after != held.number:
        return Verdict.OTHERWISE
    return Verdict.SHORTER if told.locking < held.locking else Verdict.TAKEN


def number_after(held: Held, now_us: int) -> int:
    """Above the last, and above all that was given out before a restoration."""
    return max(held.number + 1, now_us)


class Changed(NamedTuple):
    stands: tuple[LockStands, ...]
    lifted: tuple[LockStands, ...]


def changes(before: Iterable[LockStands], after: Iterable[LockStands]) -> Changed:
    """What stands newly and what does no more. A lock that was lifted and made again is both."""
    was, is_ = set(before), set(after)
    return Changed(tuple(sorted(is_ - was, key=order)), tuple(sorted(was - is_, key=order)))


def order(lock: LockStands) -> tuple[str, str]:
    """At most one of a code stands against one person in one cell."""
    return lock.person, lock.code.value


def twice(locks: Iterable[LockStands]) -> bool:
    """Whether one of a code stands there twice for one person."""
    named = [order(one) for one in locks]
    return len(set(named)) != len(named)


def state_of(numbers: Mapping[CellId, int]) -> str:
    """One name for all that is held: a number stands for one telling of its cell, and for no other."""
    text = ",".join(f"{cell}={numbers[cell]}" for cell in sorted(numbers))
    return hashlib.blake2b(text.encode(), digest_size=STATE_CHARS // 2, person=b"domicile-locks").hexdigest()

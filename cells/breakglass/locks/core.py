"""What of a book other cells are told, and what they are taken to have said. Pure."""

import enum
import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from cells.breakglass.book import Book
from cells.breakglass.replay import grant_event, lock_event
from directory.locks.core import LOCKS_MAX, CellLocks, LockCode, LockHistory, LockStands, TellRequest, order
from foundation.ledger.canonical import canonical
from foundation.words import CellId

STALE_S_MAX = 5.0
"""So old may be what was heard of other cells' locks. Beyond it nothing is granted and no session goes on, but of emergencies."""


class Barred(enum.Enum):
    """Why another cell's word, or its silence, stops somebody here."""

    LOCKED = "locked"
    STALE = "stale"


@lru_cache(maxsize=4_096)
def person_of(issuer: str, engineer: str) -> str:
    """What crosses borders instead of an engineer: SHA-256 over the issuer that they sign in at and their id. Whoever knows both knows whom
    it means; nobody else has a name to read."""
    return hashlib.sha256(canonical([issuer, engineer])).hexdigest()


def standing(book: Book, at_us: int, issuer: str) -> tuple[LockStands, ...]:
    """Every lock of this cell's own at a time, in order: of persons, and for their next emergency where a review is overdue."""
    found = [
        LockStands(
            person=person_of(issuer, person),
            code=LockCode.LOCKED,
            since_us=lock.at_us,
            event=lock_event(lock.number),
        )
        for person, lock in book.locks.items()
    ]
    dues: dict[str, tuple[int, str]] = {}
    for grant in book.grants.values():
        due_us = grant.review_due_us()
        if due_us is not None and at_us >= due_us and grant.approval is not None:
            one = due_us, grant_event(grant.id, grant.approval)
            dues[grant.engineer] = min(one, dues.get(grant.engineer, one))
    found += (
        LockStands(person=person_of(issuer, person), code=LockCode.REVIEW_OVERDUE, since_us=due_us, event=event)
        for person, (due_us, event) in dues.items()
    )
    return tuple(sorted(found, key=order))


def lifted(book: Book, held: Iterable[LockStands], issuer: str) -> tuple[LockStands, ...]:
    """Of what the directory holds of this cell, what a step of the cell has lifted that was made since: the person was unlocked later, or
    the emergency was reviewed."""
    unlocked = {person_of(issuer, person): at_us for person, at_us in book.unlocked.items()}
    reviewed = {
        grant_event(grant.id, grant.approval)
        for grant in book.grants.values()
        if grant.review is not None and grant.approval is not None
    }
    return tuple(one for one in held if one.since_us < unlocked.get(one.person, 0) or one.event in reviewed)


def telling(book: Book, at_us: int, issuer: str, *, number: int, steps: int, held: Iterable[LockStands]) -> TellRequest:
    """What is told of a book at a time. `number`, `steps`: of what the directory holds; `held`: what that was, as heard last."""
    locks = standing(book, at_us, issuer)
    stands = set(locks)
    gone = lifted(book, (one for one in held if one not in stands), issuer)
    return TellRequest(
        after=number,
        locking=book.locking,
        locks=locks,
        history=LockHistory(steps=len(book.chain), digest=book.head),
        before=book.begins(steps),
        lifted=gone[:LOCKS_MAX],
    )


class Newer(NamedTuple):
    """`cells`: of each the newest that was ever heard. `whole`: nothing that was told is older than that."""

    cells: dict[CellId, CellLocks]
    whole: bool


def newer(held: Mapping[CellId, CellLocks], told: Iterable[CellLocks]) -> Newer:
    """A directory that was restored may tell what is older than what it told before, or leave it out. It is not believed in that until the
    cell has told anew, which makes the number greater than it ever was."""
    heard = {one.cell: one for one in told}
    behind = {cell for cell, known in held.items() if cell not in heard or heard[cell].number < known.number}
    return Newer({**heard, **{cell: held[cell] for cell in behind}}, not behind)

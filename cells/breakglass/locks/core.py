"""What of a book other cells are told, what of an earlier telling it does not know, and what others are taken to have said. Pure."""

import enum
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from cells.breakglass.book import Book
from cells.breakglass.replay import grant_event, lock_event
from cells.breakglass.words import LOCKED_MAX
from directory.locks.core import LOCKS_MAX, CellLocks, LockCode, LockHistory, LockStands, TellRequest, whole
from foundation.ledger.canonical import canonical
from foundation.words import CellId

STALE_S_MAX = 5.0
"""So old may be what was heard of other cells' locks. Beyond it nothing is granted and no session goes on, but of emergencies."""
OVERDUE_MAX = LOCKS_MAX - LOCKED_MAX
"""So many overdue reviews are told of a cell, of each person the earliest first: no number of them keeps a lock from being told."""
LIFTED_MIN = LOCKS_MAX // 2
"""So many liftings at least are told at once, however much is kept; the rest by the next tellings. All three fit the bound on bodies."""


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
    """Every lock of this cell's own at a time, in order: of persons, and for their next emergency each review that is overdue."""
    found = [
        LockStands(
            person=person_of(issuer, person),
            code=LockCode.LOCKED,
            since_us=lock.at_us,
            event=lock_event(lock.number),
        )
        for person, lock in book.locks.items()
    ]
    found += (
        LockStands(person=person_of(issuer, person), code=LockCode.REVIEW_OVERDUE, since_us=due_us, event=event)
        for person, due_us, event in _overdue(book, at_us)
    )
    return tuple(sorted(found, key=whole))


def _overdue(book: Book, at_us: int) -> Iterator[tuple[str, int, str]]:
    """Whose review, since when, and the entry of its emergency."""
    dues: dict[str, list[tuple[int, str]]] = {}
    for grant in book.grants.values():
        due_us = grant.review_due_us()
        if due_us is not None and at_us >= due_us and grant.approval is not None:
            dues.setdefault(grant.engineer, []).append((due_us, grant_event(grant.id, grant.approval)))
    ranked = [(rank, person, *one) for person, those in dues.items() for rank, one in enumerate(sorted(those))]
    return ((person, due_us, event) for _, person, due_us, event in sorted(ranked)[:OVERDUE_MAX])


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


def lost(book: Book, known: CellLocks) -> tuple[LockStands, ...]:
    """Of a telling of this cell what its book may not know of: what was kept by then, and all of it where the book does not begin with the
    steps that it was told by. What a step has lifted since may be among it."""
    goes_on = known.digest is None or book.begins(known.steps) == known.digest
    return known.kept if goes_on else known.locks


def kept(book: Book, known: CellLocks, stands: Iterable[LockStands], issuer: str) -> tuple[LockStands, ...]:
    """The same without what stands by the book, and without what a step has lifted since. As the directory judges a telling."""
    known_here = {*stands}
    return unlifted(book, [one for one in lost(book, known) if one not in known_here], issuer)


def unlifted(book: Book, held: Collection[LockStands], issuer: str) -> tuple[LockStands, ...]:
    """Without what a step has lifted since."""
    gone = {*lifted(book, held, issuer)} if held else set[LockStands]()
    return tuple(one for one in held if one not in gone)


def telling(
    book: Book,
    at_us: int,
    issuer: str,
    *,
    number: int,
    steps: int,
    held: Iterable[LockStands],
    known: CellLocks | None = None,
) -> TellRequest:
    """What is told of a book at a time. `number`, `steps`: of what the directory holds; `held`: what that was, as heard last; `known`: the
    newest telling of this cell that was ever heard, or taken; the directory holds none that is newer."""
    locks = standing(book, at_us, issuer)
    stands = set(locks)
    gone = lifted(book, (one for one in held if one not in stands), issuer)
    keep = () if known is None else kept(book, known, stands, issuer)
    return TellRequest(
        after=number,
        locking=book.locking,
        locks=locks,
        history=LockHistory(steps=len(book.chain), digest=book.head),
        before=book.begins(steps),
        lifted=gone[: max(LOCKS_MAX - len(keep), LIFTED_MIN)],
        kept=keep,
    )


class Newer(NamedTuple):
    """`cells`: of each the newest that was ever heard. `whole`: nothing that was told is older than that."""

    cells: dict[CellId, CellLocks]
    whole: bool


def newer(held: Mapping[CellId, CellLocks], told: Iterable[CellLocks]) -> Newer:
    """A directory that was restored may tell what is older than what it told before, or leave it out. It is not believed in that until the
    cell has told anew, which makes the number greater than it ever was."""
    heard = {one.cell: one for one in told}
    behind = any(cell not in heard or heard[cell].number < known.number for cell, known in held.items())
    return Newer({**heard, **{cell: believed(known, heard.get(cell)) for cell, known in held.items()}}, not behind)


def believed(known: CellLocks, heard: CellLocks | None) -> CellLocks:
    """Of two tellings of a cell the newer one. A number stands for one telling: what is left out under the same number is not lifted, but
    told by a directory of before 0013, which knows nothing of what is kept, nor of the history that it was told by."""
    if heard is None or heard.number < known.number:
        return known
    less = not {*known.locks} <= {*heard.locks} or (known.digest is not None and heard.digest is None)
    return known if less and heard.number == known.number else heard

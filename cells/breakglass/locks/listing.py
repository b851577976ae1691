"""Locks as they are shown: this cell's own, other cells', and how the feed between them stands. Pure but for the clock's age."""

from cells.breakglass.book import Book
from cells.breakglass.locks.assembly import Locks
from cells.breakglass.locks.core import person_of
from cells.breakglass.shapes import LockElsewhere, LockFeed, LockList, LockTold
from cells.breakglass.words import SECOND_US


def listed(locks: Locks, book: Book, at_us: int) -> LockList:
    """People of other cells by name where this cell's own book knows them."""
    heard = locks.elsewhere
    named = {person_of(heard.issuer, one): one for one in _known(book)}
    return LockList(
        locks=tuple(
            LockTold(person=person, by=lock.by, at=lock.at_us / SECOND_US, reason=lock.reason)
            for person, lock in sorted(book.locks.items())
        ),
        elsewhere=tuple(
            LockElsewhere(
                cell=cell,
                person=named.get(lock.person),
                digest=lock.person,
                code=lock.code,
                at=lock.since_us / SECOND_US,
                event=lock.event,
            )
            for cell, lock in heard.locks()
        ),
        feed=LockFeed(
            age_s=round(heard.age_s(), 3) if heard.state else None,
            fresh=heard.fresh,
            told=locks.telling.told(book, at_us),
            kept=len(heard.kept()),
        ),
    )


def _known(book: Book) -> set[str]:
    voters = {vote.by for grant in book.grants.values() for vote in grant.votes}
    return {*book.own, *book.locks, *voters}

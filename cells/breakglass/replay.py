"""The fold: what a book says after a history, and what is told of it. Pure; the ledger and the outbox go through it alike."""

from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from cells.breakglass.book import Book, Grant
from cells.breakglass.core import take
from cells.breakglass.statements.history import History, Scope
from cells.breakglass.statements.telling import SessionTold, of_grant, session_told
from cells.breakglass.steps import Exempted, Locked, Taken, Unlocked, Withdrawn
from cells.breakglass.words import GrantId, Phase


class Unfit(Exception):
    """A history in which a step does not hold: it is not one that this code wrote, or not all of it."""


def fold(history: Iterable[Taken], book: Book | None = None) -> Book:
    """Raises Unfit."""
    held = Book() if book is None else book
    for number, taken in enumerate(history):
        refused = take(held, taken)
        if refused is not None:
            raise Unfit(f"step {number} of those told ({type(taken.step).__name__}) does not hold: {refused.why.value}")
    return held


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What so many `steps` of the ledger come to, and what the cell's own say after as many (`cell`); `recorded`: how many these are.
    `same`: both digests are one, and the cell has lost none of the ledger's steps. The log takes in what is recorded a moment later."""

    steps: int
    digest: str
    recorded: int
    cell: str
    same: bool


def held_against(logged: Sequence[Taken], recorded: Sequence[Taken]) -> Replayed:
    """`logged`: the steps of the ledger; `recorded`: those of the cell. Raises Unfit."""
    ledger, cell = fold(logged).digest(), fold(recorded[: len(logged)]).digest()
    same = ledger == cell and len(logged) <= len(recorded)
    return Replayed(steps=len(logged), digest=ledger, recorded=len(recorded), cell=cell, same=same)


def event_id(taken: Taken, book: Book) -> str:
    """What a step will be called in the ledger: by the number it has in its grant's life, or among the locks, or by its exception."""
    match taken.step:
        case Locked() | Unlocked():
            return lock_event(book.locking)
        case Exempted(exception=exception):
            return f"exception:{exception}"
        case Withdrawn(exception=exception):
            return f"exception:{exception}:withdrawn"
        case step:
            held = book.grants.get(step.grant)
            return grant_event(step.grant, 0 if held is None else held.steps)


def lock_event(number: int) -> str:
    """The event of a step that locks or unlocks."""
    return f"lock:{number}"


def grant_event(grant: GrantId, number: int) -> str:
    """The event of a grant's step."""
    return f"grant:{grant}:{number}"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is about: None for everything. `until_us`: nothing that was recorded later. `size`: of the door's entries those among
    so many first ones of the log; `steps`: so many first ones, since a later one may bear the same time. `statements`: whether each
    statement is told."""

    until_us: int
    size: int
    steps: int
    since_us: int = 0
    subject: str | None = None
    engineer: str | None = None
    statements: bool = False

    @property
    def scope(self) -> Scope:
        """Of sessions at the door: none of a grant that was asked for later began earlier."""
        return Scope(subject=self.subject, engineer=self.engineer, since_us=self.since_us, texts=self.statements)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One grant in a report, with its phase at the report's time, and what was done under it at the door."""

    grant: Grant
    phase: Phase
    review_overdue: bool
    sessions: tuple[SessionTold, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for whose data, why, where from, on whose approval, under which certificates, and saw which columns of it. The same
    question and the same history give the same bytes. `erased`: entries of the door that cannot be told any more; `strays`: those, and
    sessions, whose beginning is not here."""

    asked: Asked
    steps: int
    grants: tuple[Told, ...]
    erased: int
    strays: int


def steps_until(history: Sequence[Taken], until_us: int) -> int:
    """How many had been taken by then, as a history stands now."""
    return sum(taken.at_us <= until_us for taken in history)


def report(history: Iterable[Taken], door: History, asked: Asked) -> Report:
    """`door`: what was done there, up to the same time and size, as far as the scope goes. Raises Unfit."""
    counted = [taken for taken in islice(history, asked.steps) if taken.at_us <= asked.until_us]
    book = fold(counted)
    told = tuple(
        Told(
            grant=grant,
            phase=grant.phase(asked.until_us),
            review_overdue=(grant.review_due_us() or asked.until_us + 1) <= asked.until_us,
            sessions=tuple(
                session_told(sat, statements=asked.statements)
                for sat in of_grant(door.sessions, grant.id, asked.subject)
            ),
        )
        for grant in sorted(book.grants.values(), key=lambda one: (one.requested_at_us, one.id))
        if _concerns(grant, asked)
    )
    strays = door.strays + sum(sat.opened.grant not in book.grants for sat in door.sessions)
    return Report(asked=asked, steps=len(counted), grants=told, erased=door.erased, strays=strays)


def _concerns(grant: Grant, asked: Asked) -> bool:
    if asked.engineer is not None and grant.engineer != asked.engineer:
        return False
    if asked.subject is not None and asked.subject not in grant.terms.subjects:
        return False
    return grant.requested_at_us >= asked.since_us

"""What a process finds in the ledger of those before it: sessions that nobody ended, and what grants have had that may still be used. Pure.

An entry of a session is after the one that opens it, a result after its statement. A result that was written twice counts once. Notices of
an end are not read: they count as written, also where there is no end, since its process may have come so far.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from cells.breakglass.door.ports import Column, Session, Spent
from cells.breakglass.statements.entries import Closed, Ended, Intended, Opened, Result, notices, session_of
from cells.breakglass.statements.history import Kept
from cells.breakglass.statements.spending import size_of
from cells.breakglass.words import APART_S_MAX, SECOND_US

_APART_US = APART_S_MAX * SECOND_US


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A session without an end: what its end would tell. `numbered`: its last statement; `untold`: how many have no result."""

    session: Session
    numbered: int
    untold: int
    columns: tuple[Column, ...]


class Before(NamedTuple):
    """`spent`: by grant."""

    left: list[Left]
    spent: dict[str, Spent]


NOTHING = Before([], {})


class _Sitting:
    """A session while its entries are read."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.numbered = self.rows = self.bytes = self.recorded = 0
        self.columns: dict[Column, None] = {}
        self.waits: set[int] = set()

    def intended(self, number: int) -> None:
        self.numbered = max(self.numbered, number)
        self.waits.add(number)

    def ended(self, result: Result) -> None:
        self.columns |= dict.fromkeys(result.columns)
        if result.number in self.waits:
            self.waits.discard(result.number)
            self.rows += result.rows
            self.bytes += result.bytes

    def noticed(self, at_us: int) -> int:
        """What the notices of its end take up."""
        told = notices(self.session, self.numbered, self.columns, at_us / SECOND_US, untold=len(self.waits))
        return sum(map(size_of, told[:1])) * len(told) if self.numbered else 0

    def left(self) -> Left:
        return Left(
            session=self.session,
            numbered=self.numbered,
            untold=len(self.waits),
            columns=tuple(self.columns),
        )


def beginning(kept: Iterable[Kept], at_us: int) -> int | None:
    """Where the first session begins that has no end, or whose grant may still be used by then; None where there is none. Asks for
    sessions' ends and beginnings alone, so that what was run in others need not be read."""
    last, running = dict[str, int](), list[int]()
    for one in kept:
        match one.said:
            case Opened(session=session, until_us=until_us):
                last.setdefault(session, one.index)
                running += [one.index] if until_us + _APART_US > at_us else []
            case Closed(session=session):
                last.pop(session, None)
            case _:
                pass
    return min((*running, *last.values()), default=None)


def before(kept: Iterable[Kept], at_us: int) -> Before:
    """As of a time: grants of which no certificate holds any more by then have nothing more to spend. What is in memory is sessions without
    an end."""
    sitting, spent = dict[str, _Sitting](), dict[str, Spent]()
    for one in kept:
        said = one.said
        if isinstance(said, Opened):
            sitting.setdefault(said.session, _Sitting(session_of(said, one.actor)))
        held = None if said is None else sitting.get(said.session)
        if said is None or held is None:
            continue
        held.recorded += one.size
        match said:
            case Intended(number=number):
                held.intended(number)
            case Ended(results=results):
                for result in results:
                    held.ended(result)
            case Closed():
                sitting.pop(said.session)
                _add(spent, held, at_us, ended_us=one.at_us)
            case _:
                pass
    for held in sitting.values():
        _add(spent, held, at_us, at_us)
    return Before([held.left() for held in sitting.values()], spent)


def _add(spent: dict[str, Spent], held: _Sitting, at_us: int, ended_us: int) -> None:
    if held.session.expires_at * SECOND_US + _APART_US <= at_us:
        return
    so_far = spent.get(held.session.grant, Spent())
    spent[held.session.grant] = Spent(
        rows=so_far.rows + held.rows,
        bytes=so_far.bytes + held.bytes,
        recorded=so_far.recorded + held.recorded + held.noticed(ended_us),
        told=so_far.told and not held.waits,
    )

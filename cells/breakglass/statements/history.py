"""Sessions of the door as the ledger tells them: put together from its entries. Pure.

A result that was written twice counts once; one whose statement was erased stands without its text.
"""

from collections.abc import Iterable

import msgspec

from cells.breakglass.door.ports import Column
from cells.breakglass.statements.entries import AnySaid, Closed, Ended, Intended, Opened, Result, Value


class Kept(msgspec.Struct, frozen=True):
    """An entry of the door at its place in the log. `said` is None where its payload was erased; `size`: bytes of what it says."""

    index: int
    at_us: int
    actor: str
    said: AnySaid | None
    size: int = 0


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A statement. `index`: of its entry. `result` is None where none was recorded."""

    number: int
    index: int
    at_us: int
    kind: str
    text: str
    parameters: tuple[Value | None, ...]
    result: Result | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    at_us: int
    why: str


class Sat(msgspec.Struct, frozen=True, kw_only=True):
    """One session. `results`: of statements whose own entry is not here, too. `end` is None where none was recorded: it runs, or its
    process was killed."""

    opened: Opened
    engineer: str
    index: int
    at_us: int
    statements: tuple[Ran, ...]
    results: tuple[Result, ...]
    end: End | None = None

    def columns(self) -> tuple[Column, ...]:
        """What the session was shown, each once, in the order of names."""
        shown = {column for result in self.results for column in result.columns}
        return tuple(sorted(shown, key=lambda one: (one.source, one.name, one.table, one.attribute, one.masked)))


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions are told: None for all. `since_us`: begun no earlier. `texts`: with what their statements say."""

    subject: str | None = None
    engineer: str | None = None
    since_us: int = 0
    texts: bool = True

    def has(self, kept: Kept, opened: Opened) -> bool:
        return (
            (self.subject is None or self.subject in opened.subjects)
            and (self.engineer is None or self.engineer == kept.actor)
            and kept.at_us >= self.since_us
        )


class History(msgspec.Struct, frozen=True, kw_only=True):
    """`erased`: entries whose payload is not here; `strays`: of sessions that were never opened, or whose beginning was erased."""

    sessions: tuple[Sat, ...]
    erased: int
    strays: int


class _Telling:
    """A session while it is put together."""

    def __init__(self, kept: Kept, opened: Opened) -> None:
        self.kept = kept
        self.opened = opened
        self.ran: dict[int, Ran] = {}
        self.results: dict[int, Result] = {}
        self.end: End | None = None

    def told(self) -> Sat:
        return Sat(
            opened=self.opened,
            engineer=self.kept.actor,
            index=self.kept.index,
            at_us=self.kept.at_us,
            statements=tuple(
                msgspec.structs.replace(ran, result=self.results.get(number))
                for number, ran in sorted(self.ran.items())
            ),
            results=tuple(result for _, result in sorted(self.results.items())),
            end=self.end,
        )


def history(kept: Iterable[Kept], scope: Scope | None = None) -> History:
    """`kept`: the door's entries in the log's order. What is in memory is what the scope has."""
    within = scope or Scope()
    telling, others, erased, strays = dict[str, _Telling](), set[str](), 0, 0
    for one in kept:
        said = one.said
        if said is None:
            erased += 1
        elif isinstance(said, Opened):
            if within.has(one, said):
                telling.setdefault(said.session, _Telling(one, said))
            else:
                others.add(said.session)
        elif said.session in telling:
            _take(telling[said.session], one, said, texts=within.texts)
        else:
            strays += said.session not in others
    return History(sessions=tuple(held.told() for held in telling.values()), erased=erased, strays=strays)


def _take(held: _Telling, one: Kept, said: Intended | Ended | Closed, *, texts: bool) -> None:
    match said:
        case Intended():
            ran = Ran(
                number=said.number,
                index=one.index,
                at_us=one.at_us,
                kind=said.kind,
                text=said.text if texts else "",
                parameters=said.parameters if texts else (),
            )
            held.ran.setdefault(said.number, ran)
        case Ended():
            held.results |= {result.number: result for result in said.results}
        case Closed():
            held.end = held.end or End(index=one.index, at_us=one.at_us, why=said.why)

"""What one session of the wire holds: names, what went out and is not answered, what is to be told of runs. Pure."""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from cells.breakglass.door import naming
from cells.breakglass.door.frames import Error
from cells.breakglass.door.ports import Outcome
from cells.breakglass.door.runs import BOUND, Portal, Prepared, Run

BOUNDARIES = (b"Q", b"S", b"F")
"""Messages behind which nothing goes out before they are answered."""


class Lost(Exception):
    """Postgres answered what was not asked: nothing can be told apart any more."""


class Unsure:
    """What a name means hangs on a command that is not answered."""


UNSURE = Unsure()


class Op(msgspec.Struct):
    """A message that went out and is not answered. `of`: `S` or `P`, as Describe and Close have it. `instead`: what the client is told of
    the error that it brings; `hidden`: it is the door's own, and the client hears nothing of its answer."""

    kind: bytes
    name: str = ""
    of: str = ""
    prepared: Prepared | None = None
    portal: Portal | None = None
    run: Run | None = None
    instead: Error | None = None
    hidden: bool = False


@dataclass(slots=True)
class State:
    """`skipping`: Postgres skips everything up to the next Sync. `flushed`: it was asked for every answer that it owes. `status`: of the
    last ReadyForQuery. `fatal`: it said that this was its last word. `recoded`: what went out since the last ReadyForQuery, which tells of
    it, may have changed how texts are read. `turns`: how many messages that may change what names mean went out."""

    statements: dict[str, Prepared] = field(default_factory=dict)
    portals: dict[str, Portal] = field(default_factory=dict)
    pending: deque[Op] = field(default_factory=deque)
    skipping: bool = False
    flushed: bool = False
    status: bytes = b"I"
    fatal: bool = False
    recoded: bool = False
    turns: int = 0
    told: list[Outcome] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        """Whether Postgres owes answers."""
        return bool(self.pending)

    # --- what names mean -----------------------------------------------------------------------------------------------------

    def statement(self, name: str) -> Prepared | Unsure | None:
        for op in reversed(self.pending):
            if op.kind == b"P" and op.name == name:
                return op.prepared
            if op.kind == b"C" and op.of == "S" and op.name == name:
                return None
            if name and _may_rename(op):
                return UNSURE
        return self.statements.get(name)

    def portal(self, name: str) -> Portal | Unsure | None:
        for op in reversed(self.pending):
            if op.kind == b"B" and op.name == name:
                return op.portal
            if op.kind == b"C" and op.of == "P" and op.name == name:
                return None
            if name and _may_rename(op):
                return UNSURE
        return self.portals.get(name)

    def texts(self) -> int:
        """Characters of all prepared statements, those included that are not confirmed."""
        waiting = (op.prepared for op in self.pending if op.kind == b"P" and op.prepared is not None)
        return sum(len(one.text) for one in (*self.statements.values(), *waiting))

    def awaits_columns(self, portal: Portal) -> bool:
        """Whether an answer is under way that tells them."""
        asked = (op for op in self.pending if op.kind == b"D")
        told = None if portal.prepared.follows else portal.prepared
        return any(op.portal is portal or (told is not None and op.prepared is told) for op in asked)

    # --- what comes of runs --------------------------------------------------------------------------------------------------

    def outcomes(self) -> list[Outcome]:
        """Those that came since it was asked last."""
        told, self.told = self.told, []
        return told

    def finish(self, run: Run | None, *, tag: str = "", error: str = "", withheld: str = "") -> None:
        """Once a run: what comes later is of another."""
        if run is None or run.told:
            return
        run.told = True
        if tag:
            run.tags.append(tag)
        run.error = error or run.error
        run.withheld = withheld
        self.told.append(run.outcome())

    def drop(self, portal: Portal | None) -> None:
        if portal is not None and not portal.executed:
            self.finish(portal.run, withheld=BOUND)

    def abandon(self, error: str) -> None:
        """The session is over: what came to no end, ended so."""
        for op in self.pending:
            self.finish(op.run, error=error)
        self.drop_portals(with_unnamed=True)
        self.pending.clear()

    def drop_portals(self, *, with_unnamed: bool) -> None:
        for name in [one for one in self.portals if one or with_unnamed]:
            self.drop(self.portals.pop(name))

    def failed(self, run: Run) -> None:
        """Commands before the one that failed may have been done, and their tags were not told."""
        if naming.may_drop_statements(run.statement.text):
            self._drop_statements()

    def _drop_statements(self) -> None:
        self.statements = {name: held for name, held in self.statements.items() if not name}

    def completed(self, tag: str, text: str) -> None:
        """A command of `text` ended with `tag`: names that it may have changed mean nothing any more."""
        dropped = naming.dropped_statements(tag, text)
        if dropped:
            self.statements.pop(dropped, None)
        elif dropped is not None:
            self._drop_statements()
        if naming.drops_portals(tag):
            self.drop_portals(with_unnamed=False)


def _may_rename(op: Op) -> bool:
    return op.kind == b"E" and op.run is not None and not op.run.keeps

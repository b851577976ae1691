"""Which statement text, with which parameters, will a message run? One session's messages, in order. Pure.

Rules that it keeps, with `answering`:
- Nothing that runs a statement goes out before `Intend` was met by `recorded`. A Bind counts: FETCH runs what it bound without a message.
- A name means what an answer confirmed. What still waits for one counts where a failure would skip everything up to the next Sync; nothing
  goes out behind a Sync, a Query or a command that may change names before that is answered.
- A name that no message made, Postgres hears as one that cannot exist: a PREPARE or DECLARE of SQL made it, and who knows of what.
- What runs what a name means by then (EXECUTE, FETCH) has no name itself, and runs right behind its Bind: Postgres would read its rows by
  columns that the name had before, and tell what stands in its memory.
- Texts are read by Postgres as they are recorded: behind what may have set another encoding only ASCII goes out, up to the ReadyForQuery
  before which Postgres would tell of it.
- What is refused goes out as a message that Postgres itself refuses, so that both sides know where they stand, and comes back in our words.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from cells.breakglass.door import frames
from cells.breakglass.door.frames import Error, violation
from cells.breakglass.door.ports import Statement
from cells.breakglass.door.refusing import CALL_REFUSED, FOLLOWS, MISREAD, refusal, too_many
from cells.breakglass.door.runs import SKIPPED, Portal, Prepared, Run
from cells.breakglass.door.state import BOUNDARIES, Lost, Op, State, Unsure

_COPY_MESSAGES = (b"d", b"c", b"f")
"""Data of a COPY, its end, its failing: Postgres passes over them where none is under way, and none ever is. Clients send them before they
have heard of the refusal."""
_TELLING = (b"D", b"S")
"""Messages that neither run anything nor make or take a name."""
_NO_COMMAND = "refused"
"""Begins no command of SQL, so that it is a syntax error in every state of a session."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one session may hold at once. `texts_max`: characters of all its prepared statements. `pending_max`: messages that went out and
    are not answered."""

    statements_max: int = 512
    texts_max: int = 8_388_608
    portals_max: int = 16
    pending_max: int = 1_024


class Wait(msgspec.Struct, frozen=True):
    """Take the same message again after the next answer. `flush`: that answer has to be asked for."""

    flush: bool


class Nothing(msgspec.Struct, frozen=True):
    """Postgres would skip it."""


class Send(msgspec.Struct, frozen=True):
    data: bytes


class Intend(msgspec.Struct, frozen=True):
    """To be recorded; then `recorded`, or `refused`."""

    statement: Statement


class Leave(msgspec.Struct, frozen=True):
    """The client says goodbye."""


Step: TypeAlias = Wait | Nothing | Send | Intend | Leave
NOTHING, WAIT, LEAVE = Nothing(), Wait(flush=False), Leave()


class Asking:
    """One session. `nobody`: a name that no client can know."""

    def __init__(self, session: str, state: State, limits: Limits, nobody: str) -> None:
        self._session = session
        self._state = state
        self._limits = limits
        self._nobody = nobody
        self._binds = frames.BindReader()
        self._held: tuple[bytes, Op] | None = None
        self._number = 0
        self._handlers: dict[bytes, Callable[[bytes], Step]] = {
            b"Q": self._query,
            b"P": self._parse,
            b"B": self._bind,
            b"E": self._execute,
            b"D": self._named,
            b"C": self._named,
            b"H": self._flush,
            b"S": self._sync,
            b"F": lambda _raw: self._poisoned(b"F", CALL_REFUSED),
        }

    def take(self, raw: bytes) -> Step:
        """What is to be done with the next message. Raises Malformed."""
        kind, state = raw[:1], self._state
        if kind == b"X":
            return self._unsure() if state.pending else LEAVE
        if state.skipping and kind != b"S":
            return NOTHING
        handler = self._handlers.get(kind)
        if handler is None and kind in _COPY_MESSAGES:
            return NOTHING
        pending = state.pending
        if pending:
            if pending[-1].kind in BOUNDARIES:
                return WAIT
            if len(pending) >= self._limits.pending_max:
                return self._unsure()
        if handler is None:
            raise violation("this message has no place here")
        return handler(raw)

    def recorded(self) -> Step:
        """What `Intend` named is on the record."""
        raw, op = self._taken()
        if self._state.skipping:
            self._state.finish(op.run, withheld=SKIPPED)
            return NOTHING
        return self._out(raw, op)

    def refused(self, why: Error) -> Step:
        """It is not, and must not run."""
        raw, _ = self._taken()
        return NOTHING if self._state.skipping else self._poisoned(raw[:1], why)

    def _taken(self) -> tuple[bytes, Op]:
        if self._held is None:
            raise Lost("nothing was to be recorded")
        held, self._held = self._held, None
        return held

    def _out(self, raw: bytes, op: Op) -> Send:
        state, kind = self._state, op.kind
        state.pending.append(op)
        state.flushed = False
        if kind not in _TELLING:
            state.turns += 1
            if op.portal is not None:
                op.portal.at = state.turns
                if kind == b"E" and op.portal.prepared.recodes:
                    state.recoded = True
        return Send(raw)

    def _unsure(self) -> Wait:
        flush, self._state.flushed = not self._state.flushed, True
        return Wait(flush)

    def _misread(self, *said: str | bytes | None) -> bool:
        """Whether Postgres may read something else than what is recorded."""
        return self._state.recoded and not all(one.isascii() for one in said if one is not None)

    def _intend(self, raw: bytes, op: Op, run: Run) -> Intend:
        op.run = run
        self._held = (raw, op)
        return Intend(run.statement)

    def _flush(self, raw: bytes) -> Step:
        self._state.flushed = True
        return Send(raw)

    def _sync(self, raw: bytes) -> Step:
        self._state.skipping = False
        return self._out(raw, Op(b"S"))

    def _query(self, raw: bytes) -> Step:
        said = frames.query(raw)
        why = MISREAD if self._misread(said) else refusal(said)
        if why is not None:
            return self._poisoned(b"Q", why)
        self._number += 1
        stated = Statement(session=self._session, number=self._number, text=said, kind="simple")
        return self._intend(raw, Op(b"Q"), Run(stated))

    def _parse(self, raw: bytes) -> Step:
        said = frames.parse(raw)
        why = MISREAD if self._misread(said.name, said.text) else refusal(said.text)
        if why is not None:
            return self._poisoned(b"P", why)
        if said.name and self._full(b"P", len(self._state.statements), self._limits.statements_max):
            return self._poisoned(b"P", too_many("prepared statements", self._limits.statements_max))
        if self._state.texts() + len(said.text) > self._limits.texts_max:
            return self._poisoned(b"P", too_many("characters in prepared statements", self._limits.texts_max))
        op = Op(b"P", said.name, prepared=Prepared(said.text))
        if not said.name:
            return self._out(raw, op)
        if op.prepared is not None and op.prepared.follows:
            return self._poisoned(b"P", FOLLOWS)
        # SQL's EXECUTE runs it by its name alone, so its text is on the record before it has one.
        self._number += 1
        stated = Statement(session=self._session, number=self._number, text=said.text, kind="prepared")
        return self._intend(raw, op, Run(stated))

    def _bind(self, raw: bytes) -> Step:
        said = self._binds.read(raw)
        if self._state.recoded and self._misread(said.portal, said.statement, *said.parameters):
            return self._poisoned(b"B", MISREAD)
        prepared = self._state.statement(said.statement)
        if isinstance(prepared, Unsure):
            return self._unsure()
        if prepared is None:
            return self._poisoned(b"B", Error("26000", f'prepared statement "{said.statement}" does not exist'))
        if said.portal and self._full(b"B", len(self._state.portals), self._limits.portals_max):
            return self._poisoned(b"B", too_many("portals", self._limits.portals_max))
        if said.portal and prepared.follows:
            return self._poisoned(b"B", FOLLOWS)
        run = self._run(prepared, said.parameters, said.formats)
        return self._intend(raw, Op(b"B", said.portal, portal=Portal(run, prepared)), run)

    def _execute(self, raw: bytes) -> Step:
        name = frames.executed(raw)
        if self._state.recoded and self._misread(name):
            return self._poisoned(b"E", MISREAD)
        portal = self._state.portal(name)
        if isinstance(portal, Unsure):
            return self._unsure()
        if portal is None:
            return self._poisoned(b"E", Error("34000", f'portal "{name}" does not exist'))
        if portal.prepared.follows and portal.at != self._state.turns:
            return self._poisoned(b"E", FOLLOWS)
        if not portal.executed:
            portal.executed = True
            return self._out(self._with_columns(raw, name, portal), Op(b"E", name, portal=portal, run=portal.run))
        before = portal.run.statement
        again = self._run(portal.prepared, before.parameters, before.formats)
        return self._intend(raw, Op(b"E", name, portal=portal), again)

    def _with_columns(self, raw: bytes, name: str, portal: Portal) -> bytes:
        """Who saw which columns is told also where the client asks for none."""
        if portal.described is not None or self._state.awaits_columns(portal):
            return raw
        self._state.pending.append(Op(b"D", name, of="P", portal=portal, hidden=True))
        return frames.message(b"D", b"P" + frames.text(name)) + raw

    def _named(self, raw: bytes) -> Step:
        said = frames.named(raw)
        if self._misread(said.name):
            return self._poisoned(b"D", MISREAD)
        op = Op(raw[:1], said.name, of=said.of)
        if op.kind == b"D":
            found = self._state.statement(said.name) if said.of == "S" else self._state.portal(said.name)
            if isinstance(found, Unsure):
                return self._unsure()
            op.prepared = found if isinstance(found, Prepared) else None
            op.portal = found if isinstance(found, Portal) else None
        return self._out(raw, op)

    def _run(self, prepared: Prepared, parameters: tuple[bytes | None, ...], formats: tuple[int, ...]) -> Run:
        self._number += 1
        stated = Statement(
            session=self._session,
            number=self._number,
            text=prepared.text,
            parameters=parameters,
            formats=formats,
            kind="extended",
        )
        return Run(stated, keeps=prepared.keeps)

    def _full(self, kind: bytes, held: int, most: int) -> bool:
        return held + sum(op.kind == kind for op in self._state.pending) >= most

    def _poisoned(self, kind: bytes, why: Error) -> Send:
        """Something of the same kind that Postgres cannot but refuse."""
        nobody = frames.text(self._nobody)
        body = {
            b"Q": frames.text(_NO_COMMAND),
            b"P": nobody + frames.text(_NO_COMMAND) + b"\0\0",
            b"B": b"\0" + nobody + b"\0\0" * 3,
            b"E": nobody + b"\0" * 4,
            b"D": b"P" + nobody,
            b"F": b"\0" * 4 + b"\0\0" * 3,
        }[kind]
        return self._out(frames.message(kind, body), Op(kind, self._nobody, instead=why))

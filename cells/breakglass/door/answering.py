"""What Postgres answers, told apart by what went out: names that hold from now on, what came of runs, what the client gets. Pure.

An answer that does not fit what waits for one is `Lost`, a COPY that began is `Malformed`: both end the session.
"""

from collections.abc import Callable
from typing import TypeAlias

from cells.breakglass.door import frames, naming, runs
from cells.breakglass.door.frames import Error, Malformed
from cells.breakglass.door.ports import Column
from cells.breakglass.door.refusing import COPY_REFUSED
from cells.breakglass.door.runs import PREPARED, SKIPPED, SUSPENDED
from cells.breakglass.door.state import BOUNDARIES, Lost, Op, State

Answer: TypeAlias = bytes | None
"""What the client gets instead; None where it gets the answer itself."""
PASS, DROP = None, b""
_COPY_BEGINS = (b"G", b"H", b"W")
_ENCODING = b"client_encoding\0"
_UTF8 = _ENCODING + b"UTF8\0"
SETTING_BYTES_MAX = 256
"""Of a setting, its name and value. What is longer the client is not told: which columns it came of stands nowhere."""
_NO_COLUMNS = b"\0\0"
_ABOUT_TO_END = ("FATAL", "PANIC")


class Answering:
    """One session."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._said: dict[bytes, Callable[[bytes], Answer]] = {
            b"E": self._failed,
            b"N": lambda _body: PASS,
            b"A": lambda _body: DROP,  # what other sessions send by NOTIFY is nobody's answer here
            b"S": _setting,
            b"Z": self._ready,
        }
        # By the answer's kind and then the kind of what it answers.
        self._confirms: dict[bytes, Callable[[Op, bytes], None]] = {
            b"1P": self._parsed,
            b"2B": self._bound,
            b"3C": self._closed,
            b"tD": _nothing,
            b"IQ": _nothing,
            b"TD": self._described,
            b"nD": lambda head, _body: self._described(head, _NO_COLUMNS),
            b"TQ": lambda head, body: _run(head).shows(_columns(body)),
            b"CQ": self._completed,
            b"CE": self._ended,
            b"IE": lambda head, _body: self._executed(head),
            b"sE": lambda head, _body: self._executed(head, SUSPENDED),
        }

    def rows(self, count: int, size: int) -> None:
        """Rows of the run under way. Raises Lost."""
        head = self._head()
        if head.run is None or head.kind not in (b"E", b"Q"):
            raise Lost("rows of nothing that was to run")
        if not head.run.columns and head.portal is not None:  # told also if the run comes to a bad end
            head.run.shows(head.portal.described or ())
        head.run.rows += count
        head.run.bytes += size

    def said(self, size: int) -> None:
        """An error, notice or setting: of the run under way, if there is one."""
        pending = self._state.pending
        if pending and pending[0].run is not None:
            pending[0].run.bytes += size

    def answered(self, kind: bytes, body: bytes) -> Answer:
        """Any message but a row. Raises Lost, Malformed."""
        said = self._said.get(kind)
        if said is not None:
            return said(body)
        pending = self._state.pending
        if pending:
            head = pending[0]
            confirmed = self._confirms.get(kind + head.kind)
            if confirmed is not None and head.instead is None:
                confirmed(head, body)
                return DROP if head.hidden else PASS
        raise self._unfit(kind)

    def _unfit(self, kind: bytes) -> Malformed | Lost:
        """Why what waits for an answer does not get this one."""
        if kind in _COPY_BEGINS:
            return Malformed(COPY_REFUSED)
        head = self._head()
        if head.instead is not None:
            return Lost("what was to be refused was not")
        return Lost(f"{kind!r} answers no {head.kind!r}")

    # --- names ---------------------------------------------------------------------------------------------------------------

    def _parsed(self, head: Op, _body: bytes) -> None:
        if head.prepared is None:
            raise Lost("nothing was prepared")
        self._state.statements[head.name] = head.prepared
        self._state.pending.popleft()
        self._state.finish(head.run, withheld=PREPARED)

    def _bound(self, head: Op, _body: bytes) -> None:
        if head.portal is None:
            raise Lost("nothing was bound")
        state = self._state
        if state.portals:
            state.drop(state.portals.pop(head.name, None))
        state.portals[head.name] = head.portal
        state.pending.popleft()

    def _closed(self, head: Op, _body: bytes) -> None:
        if head.of == "S":
            self._state.statements.pop(head.name, None)
        else:
            self._state.drop(self._state.portals.pop(head.name, None))
        self._state.pending.popleft()

    def _described(self, head: Op, body: bytes) -> None:
        found = _columns(body)
        if head.portal is not None:
            head.portal.columns = found
        elif head.prepared is not None:
            head.prepared.columns = found
        self._state.pending.popleft()

    # --- what comes of runs --------------------------------------------------------------------------------------------------

    def _completed(self, head: Op, body: bytes) -> None:
        run, tag = _run(head), runs.tag(body)
        run.tags.append(tag)
        if tag.startswith(naming.CHANGING):
            self._state.completed(tag, run.statement.text)

    def _ended(self, head: Op, body: bytes) -> None:
        self._completed(head, body)
        self._executed(head)

    def _executed(self, head: Op, tag: str = "") -> None:
        run, state = _run(head), self._state
        if not run.columns and head.portal is not None:
            run.shows(head.portal.described or ())
        state.pending.popleft()
        state.finish(run, tag=tag)

    def _failed(self, body: bytes) -> Answer:
        said = runs.fields(body)
        self._state.fatal = said.get("V") in _ABOUT_TO_END
        if not self._state.pending or self._state.fatal:
            return PASS
        head = self._state.pending[0]
        told = PASS if head.instead is None else frames.error("ERROR", head.instead)
        if head.run is not None:
            head.run.error = said.get("C", "XX000")
            self._state.failed(head.run)
        if head.kind in BOUNDARIES:
            head.instead = None  # its ReadyForQuery is still to come
            return told
        if head.kind == b"P" and not head.name:
            self._state.statements.pop("", None)
        self._state.finish(head.run)
        self._skip()
        return told

    def _skip(self) -> None:
        """Postgres skips everything up to the next Sync, whether that went out already or not."""
        pending = self._state.pending
        while pending and pending[0].kind != b"S":
            self._state.finish(pending.popleft().run, withheld=SKIPPED)
        self._state.skipping = not pending

    def _ready(self, body: bytes) -> Answer:
        head, state = self._head(), self._state
        if head.kind not in BOUNDARIES or head.instead is not None:
            raise Lost("ready before its time")
        state.pending.popleft()
        if head.kind == b"Q":
            state.finish(head.run)
            state.statements.pop("", None)
            state.drop(state.portals.pop("", None))
        state.status, state.recoded = body, False
        if body == b"I" and state.portals:
            state.drop_portals(with_unnamed=True)
        return PASS

    def _head(self) -> Op:
        if not self._state.pending:
            raise Lost("an answer to nothing")
        return self._state.pending[0]


def _nothing(_head: Op, _body: bytes) -> None:
    """More of the answer is still to come."""


def _run(head: Op) -> runs.Run:
    if head.run is None:
        raise Lost("nothing was to run")
    return head.run


def _columns(body: bytes) -> tuple[Column, ...]:
    try:
        return runs.columns(body)
    except ValueError as exc:
        raise Lost("columns that cannot be read") from exc


def _setting(body: bytes) -> Answer:
    """What is recorded is read as UTF-8. Raises Malformed."""
    if body.startswith(_ENCODING) and body != _UTF8:
        raise Malformed(Error("22023", "client_encoding is UTF8 here"))
    return PASS if len(body) <= SETTING_BYTES_MAX else DROP

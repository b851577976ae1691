"""What Postgres answers, told apart by what went out: names that hold from now on, what came of runs, what the client gets. Pure.

An answer that does not fit what waits for one is `Lost`, a COPY that began is `Malformed`: both end the session.
"""

from typing import TypeAlias

from cells.breakglass.door import frames, runs
from cells.breakglass.door.asking import COPY_REFUSED
from cells.breakglass.door.frames import Error, Malformed
from cells.breakglass.door.ports import Column
from cells.breakglass.door.runs import PREPARED, SKIPPED, SUSPENDED
from cells.breakglass.door.state import BOUNDARIES, Lost, Op, State

Answer: TypeAlias = bytes | None
"""What the client gets instead; None where it gets the answer itself."""
PASS, DROP = None, b""
_COPY_BEGINS = (b"G", b"H", b"W")
_ENCODING = b"client_encoding\0"
_UTF8 = _ENCODING + b"UTF8\0"
_ABOUT_TO_END = ("FATAL", "PANIC")


class Answering:
    """One session."""

    def __init__(self, state: State) -> None:
        self._state = state

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
        """An error or notice: of the run under way, if there is one."""
        pending = self._state.pending
        if pending and pending[0].run is not None:
            pending[0].run.bytes += size

    def answered(self, kind: bytes, body: bytes) -> Answer:
        """Any message but a row. Raises Lost, Malformed."""
        match kind:
            case b"E":
                return self._failed(body)
            case b"N":
                return PASS
            case b"A":
                return DROP  # what other sessions send by NOTIFY is nobody's answer here
            case b"S":
                return _setting(body)
            case b"Z":
                return self._ready(body)
            case _:
                pass
        if kind in _COPY_BEGINS:
            raise Malformed(COPY_REFUSED)
        head = self._head()
        if head.instead is not None:
            raise Lost("what was to be refused was not")
        self._confirmed(kind, head, body)
        return DROP if head.hidden else PASS

    def _confirmed(self, kind: bytes, head: Op, body: bytes) -> None:
        match kind, head.kind:
            case b"1", b"P":
                self._parsed(head)
            case b"2", b"B":
                self._bound(head)
            case b"3", b"C":
                self._closed(head)
            case (b"t", b"D") | (b"I", b"Q"):
                pass
            case ((b"T" | b"n"), b"D"):
                self._described(head, body if kind == b"T" else b"\0\0")
            case b"T", b"Q":
                _run(head).shows(_columns(body))
            case b"C", b"Q":
                self._completed(head, body)
            case ((b"C" | b"I" | b"s"), b"E"):
                self._executed(kind, head, body)
            case _:
                raise Lost(f"{kind!r} answers no {head.kind!r}")

    # --- names ---------------------------------------------------------------------------------------------------------------

    def _parsed(self, head: Op) -> None:
        if head.prepared is None:
            raise Lost("nothing was prepared")
        self._state.statements[head.name] = head.prepared
        self._state.pending.popleft()
        self._state.finish(head.run, withheld=PREPARED)

    def _bound(self, head: Op) -> None:
        if head.portal is None:
            raise Lost("nothing was bound")
        self._state.drop(self._state.portals.pop(head.name, None))
        self._state.portals[head.name] = head.portal
        self._state.pending.popleft()

    def _closed(self, head: Op) -> None:
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

    def _completed(self, head: Op, body: bytes) -> str:
        run, tag = _run(head), runs.tag(body)
        run.tags.append(tag)
        self._state.completed(tag, run.statement.text)
        return tag

    def _executed(self, kind: bytes, head: Op, body: bytes) -> None:
        run = _run(head)
        if head.portal is not None:
            run.shows(head.portal.described or ())
        self._state.pending.popleft()
        if kind == b"C":
            self._completed(head, body)
        self._state.finish(run, tag=SUSPENDED if kind == b"s" else "")

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
        head = self._head()
        if head.kind not in BOUNDARIES or head.instead is not None:
            raise Lost("ready before its time")
        self._state.pending.popleft()
        self._state.finish(head.run)
        if head.kind == b"Q":
            self._state.statements.pop("", None)
            self._state.drop(self._state.portals.pop("", None))
        self._state.status = body
        if body == b"I":
            self._state.drop_portals(with_unnamed=True)
        return PASS

    def _head(self) -> Op:
        if not self._state.pending:
            raise Lost("an answer to nothing")
        return self._state.pending[0]


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
    return PASS

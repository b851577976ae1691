"""Sessions, statements and outcomes as entries of the cell's ledger. Pure.

Each names the session; the one that opens it names the grant, and statements name the subjects besides, so that whatever may speak of
somebody is found, and erased, by their id. At a session's end each subject has an entry of their own, which says of nobody else: it can be
given to them, or to their tenant, with its proof.
"""

from collections.abc import Iterable
from typing import TypeAlias
from uuid import UUID

import msgspec

from cells.breakglass.door.ports import Column, Outcome, Session, Statement
from cells.breakglass.words import SECOND_US
from foundation.ledger.port import Kind, Spelled

KINDS = (Kind.SESSION, Kind.STATEMENT, Kind.OUTCOME)
UUID_BYTES = 16
NOTICED_COLUMNS_MAX = 1_000
"""Named in a notice, of which a session has as many as subjects."""


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parameter: as text, or binary in hex; 16 bytes also as the UUID that they may be, by which erasing finds them."""

    text: str | None = None
    binary: str | None = None
    uuid: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="of", tag=str.lower, forbid_unknown_fields=True):
    """One of those below. `session`: its id."""

    session: str


class Opened(Said, frozen=True, kw_only=True):
    """`backend`: the session as Postgres' log names it."""

    grant: str
    certificate: str
    purpose: str
    ticket: str
    shard: str
    inside: bool
    subjects: tuple[str, ...]
    until_us: int
    backend: str


class Intended(Said, frozen=True, kw_only=True):
    """A statement is about to run. A parameter that is NULL is None."""

    number: int
    kind: str
    text: str
    parameters: tuple[Value | None, ...]
    subjects: tuple[str, ...]


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a statement. `withheld`: why it was not run after all."""

    number: int
    tag: str = ""
    error: str = ""
    rows: int = 0
    bytes: int = 0
    columns: tuple[Column, ...] = ()
    withheld: str = ""


class Ended(Said, frozen=True, kw_only=True):
    """Results of statements, in the order in which they came."""

    results: tuple[Result, ...]


class Closed(Said, frozen=True, kw_only=True):
    """`statements`: how many were recorded."""

    why: str
    statements: int


AnySaid: TypeAlias = Opened | Intended | Ended | Closed


_decode = msgspec.json.Decoder(AnySaid).decode
_encode = msgspec.json.Encoder().encode


class Noticed(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject is told: who could see them is the entry's actor. `columns`: what of tables the session was shown, of whichever of
    its subjects, by the tables' own names; `others`: how many columns besides, of which the names are the engineer's. `untold`: of how many
    statements nobody knows what came, since the session's process ended."""

    session: str
    grant: str
    purpose: str
    ticket: str
    shard: str
    inside: bool
    until_us: int
    statements: int
    untold: int = 0
    columns: tuple[Column, ...]
    others: int = 0


class MalformedSaid(Exception):
    """Details of an entry are none of these."""


def read(details: bytes) -> AnySaid:
    """Raises MalformedSaid."""
    try:
        said: AnySaid = _decode(details)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise MalformedSaid(f"no entry of the door: {exc}") from exc
    return said


def opened(session: Session, backend: str, at: float) -> Spelled:
    said = Opened(
        session=session.id,
        grant=session.grant,
        certificate=session.certificate,
        purpose=session.purpose,
        ticket=session.ticket,
        shard=session.shard,
        inside=session.inside,
        subjects=session.subjects,
        until_us=round(session.expires_at * SECOND_US),
        backend=backend,
    )
    return _event(f"session:{session.id}:opened", Kind.SESSION, session, said, at)


def session_of(said: Opened, engineer: str) -> Session:
    return Session(
        id=said.session,
        grant=said.grant,
        engineer=engineer,
        certificate=said.certificate,
        purpose=said.purpose,
        ticket=said.ticket,
        shard=said.shard,
        inside=said.inside,
        subjects=said.subjects,
        expires_at=said.until_us / SECOND_US,
    )


def intended(session: Session, statement: Statement, at: float) -> Spelled:
    """Raises ValueError for formats that Bind cannot have, and for text that has no UTF-8."""
    said = Intended(
        session=session.id,
        number=statement.number,
        kind=statement.kind,
        text=statement.text,
        parameters=values(statement),
        subjects=session.subjects,
    )
    return _event(f"statement:{session.id}:{statement.number}", Kind.STATEMENT, session, said, at)


def ended(session: Session, number: int, results: tuple[Result, ...], at: float) -> Spelled:
    """`number`: of this entry among those of its session."""
    said = Ended(session=session.id, results=results)
    return _event(f"outcome:{session.id}:{number}", Kind.OUTCOME, session, said, at)


def closed(session: Session, why: str, statements: int, at: float) -> Spelled:
    said = Closed(session=session.id, why=why, statements=statements)
    return _event(f"session:{session.id}:closed", Kind.SESSION, session, said, at)


def notices(
    session: Session, statements: int, columns: Iterable[Column], at: float, *, untold: int = 0
) -> list[Spelled]:
    """One for each subject."""
    shown, others = _of_tables(columns)
    noticed = Noticed(
        session=session.id,
        grant=session.grant,
        purpose=session.purpose,
        ticket=session.ticket,
        shard=session.shard,
        inside=session.inside,
        until_us=round(at * SECOND_US),
        statements=statements,
        untold=untold,
        columns=shown[:NOTICED_COLUMNS_MAX],
        others=others + len(shown[NOTICED_COLUMNS_MAX:]),
    )
    details = msgspec.Raw(_encode(noticed))
    return [
        Spelled(
            id=notice_event(session.id, subject),
            at=at,
            kind=Kind.NOTICE,
            actor=session.engineer,
            subject_id=subject,
            details=details,
        )
        for subject in session.subjects
    ]


def _of_tables(columns: Iterable[Column]) -> tuple[tuple[Column, ...], int]:
    """Each once, by where it comes from, and how many come from nowhere: an alias is text, in which anything may stand."""
    each = list(columns)
    shown = {(one.source, one.masked) for one in each if one.source}
    told = (Column(name=source.rpartition(".")[2], source=source, masked=masked) for source, masked in sorted(shown))
    return tuple(told), sum(not one.source for one in each)


def notice_event(session: str, subject: str) -> str:
    return f"notice:{session}:{subject}"


def result_of(outcome: Outcome) -> Result:
    return Result(
        number=outcome.number,
        tag=outcome.tag,
        error=outcome.error,
        rows=outcome.rows,
        bytes=outcome.bytes,
        columns=outcome.columns,
        withheld=outcome.withheld,
    )


def values(statement: Statement) -> tuple[Value | None, ...]:
    """Raises ValueError."""
    formats, given = statement.formats, statement.parameters
    if len(formats) not in (0, 1, len(given)):
        raise ValueError("formats are none, one for all parameters, or one for each")
    if len(formats) > 1:
        return tuple(map(_value, given, formats))
    alike = formats[0] if formats else 0
    return tuple([_value(raw, alike) for raw in given])


def _value(raw: bytes | None, given: int) -> Value | None:
    if raw is None:
        return None
    if given == 0:
        try:
            return Value(text=raw.decode())
        except UnicodeDecodeError:
            return Value(binary=raw.hex())
    return Value(binary=raw.hex(), uuid=str(UUID(bytes=raw)) if len(raw) == UUID_BYTES else None)


def _event(name: str, kind: Kind, session: Session, said: AnySaid, at: float) -> Spelled:
    return Spelled(id=name, at=at, kind=kind, actor=session.engineer, details=msgspec.Raw(_encode(said)))

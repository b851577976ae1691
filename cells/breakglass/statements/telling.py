"""What a report says of sessions at the door: who was shown which columns, masked or not, by which statements. Pure."""

from collections.abc import Sequence

import msgspec

from cells.breakglass.door.ports import Column
from cells.breakglass.statements.entries import Value
from cells.breakglass.statements.history import End, Ran, Sat


class StatementTold(msgspec.Struct, frozen=True, kw_only=True):
    """`index`: of its entry in the log. `tag` and `error` are empty where nothing was recorded of what came of it; `withheld`: why it was
    not run after all."""

    number: int
    index: int
    at_us: int
    kind: str
    text: str
    parameters: tuple[Value | None, ...]
    tag: str
    error: str
    rows: int
    bytes: int
    withheld: str


class SessionTold(msgspec.Struct, frozen=True, kw_only=True):
    """`subjects`: whose data it could see. `columns`: what it was shown. `rows`, `bytes`: of all results. `ran`: statement by statement,
    where that was asked for. `end` is None where none is recorded."""

    session: str
    certificate: str
    shard: str
    inside: bool
    subjects: tuple[str, ...]
    index: int
    at_us: int
    end: End | None
    statements: int
    rows: int
    bytes: int
    columns: tuple[Column, ...]
    ran: tuple[StatementTold, ...]


def session_told(sat: Sat, *, statements: bool) -> SessionTold:
    opened = sat.opened
    return SessionTold(
        session=opened.session,
        certificate=opened.certificate,
        shard=opened.shard,
        inside=opened.inside,
        subjects=opened.subjects,
        index=sat.index,
        at_us=sat.at_us,
        end=sat.end,
        statements=len(sat.statements),
        rows=sum(result.rows for result in sat.results),
        bytes=sum(result.bytes for result in sat.results),
        columns=sat.columns(),
        ran=tuple(_statement_told(ran) for ran in sat.statements) if statements else (),
    )


def of_grant(sessions: Sequence[Sat], grant: str, subject: str | None) -> list[Sat]:
    """Those under a grant that could see a subject, the first first."""
    found = [one for one in sessions if one.opened.grant == grant]
    return sorted(
        (one for one in found if subject is None or subject in one.opened.subjects), key=lambda one: one.index
    )


def _statement_told(ran: Ran) -> StatementTold:
    result = ran.result
    return StatementTold(
        number=ran.number,
        index=ran.index,
        at_us=ran.at_us,
        kind=ran.kind,
        text=ran.text,
        parameters=ran.parameters,
        tag="" if result is None else result.tag,
        error="" if result is None else result.error,
        rows=0 if result is None else result.rows,
        bytes=0 if result is None else result.bytes,
        withheld="" if result is None else result.withheld,
    )

"""Bodies of writes: JSON rows, their keys read and their values left as they are for Postgres to parse. Pure."""

from collections.abc import Collection, Mapping

import msgspec

from cells.records import errors
from cells.records.contracts import Contract
from cells.records.core import Bound, Grant
from foundation.problems import Code
from foundation.words import SubjectId

ROWS_MAX = 1_000

_rows_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_row_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Values are kept raw, so the decoder does not look at their bytes: those are decoded as UTF-8 beside it."""


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """`json`: an array of objects (insert) or one object (change), to be typed by the contract. `columns`: what to take from it."""

    json: str
    columns: tuple[str, ...]
    count: int


def inserted(raw: bytes, contract: Contract, granted: Grant, bound: Bound) -> Rows:
    """The rows of a POST: one object or an array of objects with the same keys. Raises ProblemError."""
    single = raw.lstrip()[:1] == b"{"
    try:
        text = raw.decode()
        rows = [_row_decoder.decode(raw)] if single else _rows_decoder.decode(raw)
    except _UNREADABLE as exc:
        raise errors.dialect(errors.BODY, "the body is a JSON object or an array of them") from exc
    if not 1 <= len(rows) <= ROWS_MAX:
        raise errors.dialect(errors.BODY, f"from 1 to {ROWS_MAX} rows at a time")
    keys = rows[0].keys()
    if any(row.keys() != keys for row in rows):
        raise errors.dialect(errors.BODY, "All object keys must match")
    if bound.owner is None:
        raise errors.dialect(errors.NO_RIGHT, "this actor owns no rows and makes none", code=Code.FORBIDDEN)
    for row in rows:
        _check_bound(row, contract, bound)
    return Rows(json=f"[{text}]" if single else text, columns=_columns(keys, contract, granted), count=len(rows))


def changed(raw: bytes, contract: Contract, granted: Grant, bound: Bound) -> Rows:
    """The changes of a PATCH: one object. Raises ProblemError."""
    try:
        text = raw.decode()
        row = _row_decoder.decode(raw)
    except _UNREADABLE as exc:
        raise errors.dialect(errors.BODY, "the body is a JSON object") from exc
    _check_bound(row, contract, bound)
    columns = _columns(row.keys(), contract, granted)
    if not columns:
        raise errors.dialect(errors.BODY, "the body changes no column")
    return Rows(json=text, columns=columns, count=1)


def _columns(keys: Collection[str], contract: Contract, granted: Grant) -> tuple[str, ...]:
    """What to take from the body. placed_by and owner are left out: the statement sets them itself."""
    names = [key for key in keys if key not in (contract.placed_by, contract.owner)]
    for name in names:
        if name not in contract.columns:
            message = f"Could not find the '{name}' column of '{contract.table}' in the schema cache"
            raise errors.dialect(errors.NO_COLUMN_IN_BODY, message)
        if name not in granted.write:
            message = f"column {name} of {contract.table} may not be written by this caller for this purpose"
            raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)
    return tuple(sorted(names))


def _check_bound(row: Mapping[str, msgspec.Raw], contract: Contract, bound: Bound) -> None:
    """A body may state placed_by and owner only as they will be set anyway."""
    expected: dict[str, SubjectId | None] = {contract.owner: bound.owner, contract.placed_by: bound.subject}
    for column, value in expected.items():
        if column not in row:
            continue
        try:
            stated = msgspec.json.decode(row[column], type=str)
        except msgspec.MsgspecError:
            stated = None
        if stated is None or value is None or stated.lower() != value:
            message = f"column {column} of {contract.table} is set from the decision and cannot be another"
            raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)

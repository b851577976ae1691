"""Bodies of writes: JSON rows, their keys read and their values left as they are for Postgres to parse. Pure."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from cells.records import errors, single
from cells.records.contracts import Contract
from cells.records.core import Bound, Grant
from foundation.problems import Code, refuse
from foundation.words import SubjectId

ROWS_MAX = 1_000
BATCHES_MAX = 16
"""Sets of keys that rows of one insert may have under missing=default: each takes a part of the statement."""

_rows_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_row_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Values are kept raw, so the decoder does not look at their bytes: those are decoded as UTF-8 beside it."""
_Row = dict[str, msgspec.Raw]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """`json`: an array of objects (insert) or one object (change), to be typed by the contract. `columns`: what to take from it."""

    json: str
    columns: tuple[str, ...]


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What an insert inserts. Several batches only where rows differ in what takes the column's default."""

    batches: tuple[Batch, ...]
    count: int


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What an update sets, and the columns that it sets to their defaults."""

    batch: Batch
    defaults: tuple[str, ...] = ()


def inserted(
    raw: bytes,
    contract: Contract,
    granted: Grant,
    bound: Bound,
    *,
    columns: tuple[str, ...] | None = None,
    defaults: bool = False,
) -> Rows:
    """The rows of a POST: one object or an array of objects. Raises ProblemError.

    All have the same keys, unless `columns` says what to take; what a row lacks is then null, or the column's default with `defaults`.
    """
    single = raw.lstrip()[:1] == b"{"
    try:
        text = raw.decode()
        rows = [_row_decoder.decode(raw)] if single else _rows_decoder.decode(raw)
    except _UNREADABLE as exc:
        raise errors.dialect(errors.BODY, "the body is a JSON object or an array of them") from exc
    if not rows:
        raise errors.dialect(errors.BODY, "the body holds no row")
    if len(rows) > ROWS_MAX:
        raise refuse(Code.TOO_LARGE, f"at most {ROWS_MAX} rows at a time", rows_max=ROWS_MAX)
    keys = rows[0].keys()
    if columns is None and any(row.keys() != keys for row in rows):
        raise errors.dialect(errors.BODY, "All object keys must match", hint="columns=a,b says which to take")
    if bound.owner is None:
        raise errors.dialect(errors.NO_RIGHT, "this actor owns no rows and makes none", code=Code.FORBIDDEN)
    for row in rows:
        _check_bound(row, contract, bound)
    taken = _columns(keys if columns is None else columns, contract, granted)
    if columns is not None and defaults:
        return Rows(batches=_by_keys(rows, taken), count=len(rows))
    return Rows(batches=(Batch(json=f"[{text}]" if single else text, columns=taken),), count=len(rows))


def changed(
    raw: bytes,
    contract: Contract,
    granted: Grant,
    bound: Bound,
    *,
    columns: tuple[str, ...] | None = None,
    defaults: bool = False,
) -> Changes:
    """The changes of a PATCH: one object. Raises ProblemError."""
    try:
        text = raw.decode()
        row = _row_decoder.decode(raw)
    except _UNREADABLE as exc:
        raise errors.dialect(errors.BODY, "the body is a JSON object") from exc
    _check_bound(row, contract, bound)
    taken = _columns(row.keys() if columns is None else columns, contract, granted)
    if not taken:
        raise errors.dialect(errors.BODY, "the body changes no column")
    left_out = tuple(name for name in taken if defaults and name not in row)
    return Changes(batch=Batch(json=text, columns=_without(taken, left_out)), defaults=left_out)


def replaced(raw: bytes, contract: Contract, granted: Grant, bound: Bound, *, key: str, defaults: bool) -> Batch:
    """The row of a PUT: every column that the caller may write, its id that of the URL. Raises ProblemError.

    With `defaults`, columns that it lacks take theirs.
    """
    taken = inserted(raw, contract, granted, bound).batches[0]
    rows = _rows_decoder.decode(taken.json)
    if len(rows) != 1:
        raise errors.dialect(errors.BODY, "the body of a PUT holds one row")
    try:
        stated = msgspec.json.decode(rows[0].get("id", msgspec.Raw(b"null")), type=str | None)
    except msgspec.MsgspecError:
        stated = None
    single.check_key(stated, key)
    missing = sorted(granted.write - set(taken.columns))
    if missing and not defaults:
        message = "a PUT replaces a row: its body holds every column that this caller may write"
        hint = "Prefer: missing=default gives those that are left out their defaults"
        raise errors.dialect(errors.BODY, message, details=f"missing: {', '.join(missing)}", hint=hint)
    return taken


def _by_keys(rows: Sequence[_Row], taken: tuple[str, ...]) -> tuple[Batch, ...]:
    """Rows that lack the same columns together. Raises ProblemError."""
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        groups.setdefault(tuple(name for name in taken if name in row), []).append(row)
    if len(groups) > BATCHES_MAX:
        raise errors.dialect(errors.BODY, f"rows of one insert lack columns in at most {BATCHES_MAX} different ways")
    return tuple(Batch(json=msgspec.json.encode(group).decode(), columns=names) for names, group in groups.items())


def _without(names: tuple[str, ...], left_out: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in left_out)


def _columns(keys: Collection[str], contract: Contract, granted: Grant) -> tuple[str, ...]:
    """What to take from the body. placed_by and owner are left out: the statement sets them itself."""
    names = [key for key in keys if key not in (contract.placed_by, contract.owner)]
    for name in names:
        if name not in contract.columns:
            # Only what could be a column is repeated: a key may be anything, a person's data too.
            named = (
                f"'{name}' column" if name.isidentifier() and name.isascii() and len(name) < 64 else "column of a key"
            )
            message = f"Could not find the {named} of '{contract.table}' in the schema cache"
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

"""Values by their contract's type: what a database or a JSON document gave, as the one value that treatments take, or UNFIT. Pure."""

import datetime
import decimal
import enum
import math
import operator
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Literal, TypeAlias

import msgspec


class Unfit(enum.Enum):
    """A value is not of its type, or cannot be treated as stated. It never leaves; a null is no such value."""

    UNFIT = "unfit"


UNFIT: Final = Unfit.UNFIT
NoValue: TypeAlias = Literal[Unfit.UNFIT]
Reader: TypeAlias = Callable[[Any], Any]
"""Of a value that is not null."""

TEXT_CHARS_MAX = 1 << 20
LIST_MAX = 10_000
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z")
BITS = {"smallint": 15, "int": 31, "integer": 31, "bigint": 63}
_NUMBER = re.compile(r"-?[0-9]{1,200}(?:\.[0-9]{1,200})?\Z")


class Kind(enum.StrEnum):
    """What a treated column holds, for the formats that must know."""

    TEXT = "text"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    TEXTS = "texts"
    JSON = "json"


KINDS: Mapping[str, Kind] = {
    "uuid": Kind.TEXT, "text": Kind.TEXT, "boolean": Kind.BOOL, "bool": Kind.BOOL,
    "smallint": Kind.INT, "int": Kind.INT, "integer": Kind.INT, "bigint": Kind.INT,
    "numeric": Kind.TEXT, "real": Kind.FLOAT, "double precision": Kind.FLOAT,
    "date": Kind.DATE, "time": Kind.TEXT, "timestamp": Kind.TIMESTAMP, "timestamptz": Kind.TIMESTAMPTZ,
    "json": Kind.JSON, "jsonb": Kind.JSON, "text[]": Kind.TEXTS, "uuid[]": Kind.TEXTS,
}  # fmt: skip
"""Contract type → what it holds when kept. Ranges are not among them: they never leave."""


def _text(value: Any) -> str | NoValue:
    return value if type(value) is str and len(value) <= TEXT_CHARS_MAX else UNFIT


def _boolean(value: Any) -> bool | NoValue:
    return value if type(value) is bool else UNFIT


def _whole(bits: int) -> Reader:
    low, high = -(1 << bits), (1 << bits) - 1

    def read(value: Any) -> int | NoValue:
        return value if type(value) is int and low <= value <= high else UNFIT

    return read


def _real(value: Any) -> float | NoValue:
    if type(value) is int:
        value = float(value) if abs(value) < 1 << 53 else UNFIT
    return value if type(value) is float and math.isfinite(value) else UNFIT


def _numeric(value: Any) -> str | NoValue:
    """As text, so that no digit is lost."""
    if type(value) is decimal.Decimal:
        return format(value, "f") if value.is_finite() else UNFIT
    if type(value) is int:
        return str(value) if abs(value) < 10**200 else UNFIT
    return value if type(value) is str and _NUMBER.match(value) else UNFIT


def _uuid_value(value: Any) -> str | NoValue:
    if isinstance(value, uuid.UUID):
        return str(value)
    return value.lower() if type(value) is str and _UUID.match(value) else UNFIT


def _of_iso(value: Any, shape: type[Any]) -> Any:
    try:
        return msgspec.convert(value, shape, strict=True)
    except (msgspec.ValidationError, ValueError):
        return UNFIT


def _date(value: Any) -> datetime.date | NoValue:
    if type(value) is datetime.date:
        return value
    return _of_iso(value, datetime.date) if type(value) is str else UNFIT


def _time(value: Any) -> str | NoValue:
    found = _of_iso(value, datetime.time) if type(value) is str else value
    return found.isoformat() if type(found) is datetime.time else UNFIT


def _moment(*, aware: bool) -> Reader:
    def read(value: Any) -> datetime.datetime | NoValue:
        found = _of_iso(value, datetime.datetime) if type(value) is str else value
        if not isinstance(found, datetime.datetime) or (found.tzinfo is not None) != aware:
            return UNFIT
        try:
            return found.astimezone(datetime.UTC) if aware else found
        except OverflowError:  # the first or last day of the calendar
            return UNFIT

    return read


def _list(element: Reader) -> Reader:
    def read(value: Any) -> list[Any] | NoValue:
        if type(value) is not list or len(value) > LIST_MAX:
            return UNFIT
        found = [None if one is None else element(one) for one in value]
        return UNFIT if any(one is UNFIT for one in found) else found

    return read


def _json_text(value: Any) -> Any:
    """Of a database: text."""
    if type(value) is not str or len(value) > TEXT_CHARS_MAX:
        return UNFIT
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UNFIT


def _json_value(value: Any) -> Any:
    return value


_ONE: Mapping[str, Reader] = {
    "uuid": _uuid_value, "text": _text, "boolean": _boolean, "bool": _boolean,
    **{name: _whole(bits) for name, bits in BITS.items()},
    "numeric": _numeric, "real": _real, "double precision": _real,
    "date": _date, "time": _time, "timestamp": _moment(aware=False), "timestamptz": _moment(aware=True),
    "text[]": _list(_text), "uuid[]": _list(_uuid_value),
}  # fmt: skip

OF_DATABASE: Mapping[str, Reader] = {**_ONE, "json": _json_text, "jsonb": _json_text}
"""Contract type → reader of what asyncpg gives."""
OF_JSON: Mapping[str, Reader] = {**_ONE, "json": _json_value, "jsonb": _json_value}
"""Contract type → reader of a member of a JSON document."""

Kinds: TypeAlias = AbstractSet[type[Any]]
"""Which types the values of a column have."""
Quick: TypeAlias = Callable[[Sequence[Any], Kinds], Sequence[Any] | None]
"""Of a whole column: what the reader gives for each value (nulls as they are), or None where some value is not plainly of its type."""
NULL: Final = type(None)


def _typed(*types: type[Any]) -> Quick:
    allowed = frozenset((*types, NULL))
    return lambda values, kinds: values if kinds <= allowed else None


def _quick_text(values: Sequence[Any], kinds: Kinds) -> Sequence[Any] | None:
    if not kinds <= _TEXT_OR_NULL:
        return None
    return None if max(map(len, _present(values, kinds)), default=0) > TEXT_CHARS_MAX else values


def _quick_whole(bits: int) -> Quick:
    low, high, allowed = -(1 << bits), (1 << bits) - 1, frozenset((int, NULL))

    def read(values: Sequence[Any], kinds: Kinds) -> Sequence[Any] | None:
        if not kinds <= allowed:
            return None
        held = _present(values, kinds)
        return values if not held or (low <= min(held) and max(held) <= high) else None

    return read


def _quick_real(values: Sequence[Any], kinds: Kinds) -> Sequence[Any] | None:
    """By their sum: one that is not finite makes it so. Nor need the sum be where all are; then each is looked at."""
    return values if kinds <= _REAL_OR_NULL and math.isfinite(sum(_present(values, kinds))) else None


def _quick_uuid(values: Sequence[Any], kinds: Kinds) -> Sequence[Any] | None:
    """All of them texts in lower case, or all of them UUIDs."""
    if kinds == {str}:
        # A value with a line's end in it would make one more line than there are values.
        shape = "\n".join(values).encode("utf-8", "replace").translate(HEX_AS_ONE)
        return values if shape == (_UUID_LINE * len(values))[:-1] else None
    return list(map(str, values)) if kinds and all(issubclass(one, uuid.UUID) for one in kinds) else None


def _converted(shape: Any, kind: type[Any]) -> Quick:
    allowed = frozenset((kind, NULL))

    def read(values: Sequence[Any], kinds: Kinds) -> Sequence[Any] | None:
        if not kinds <= _TEXT_OR_NULL:
            return values if kinds <= allowed else None
        try:
            return msgspec.convert(values, shape, strict=True)  # type: ignore[no-any-return]
        except (msgspec.ValidationError, ValueError):
            return None

    return read


def _quick_moment(values: Sequence[Any], kinds: Kinds) -> Sequence[Any] | None:
    found = _MOMENTS(values, kinds)
    if found is None:
        return None
    zones = list(map(_ZONE, _present(found, kinds)))
    return found if zones.count(datetime.UTC) == len(zones) else None


def _present(values: Sequence[Any], kinds: Kinds) -> Sequence[Any]:
    return [one for one in values if one is not None] if NULL in kinds else values


HEX_AS_ONE = bytes(ord("0") if chr(byte) in "0123456789abcdef" else byte for byte in range(256))
"""Every lower-case hex digit becomes 0, all else stays."""
UUID_SHAPE = b"00000000-0000-0000-0000-000000000000"
_UUID_LINE = UUID_SHAPE + b"\n"
_TEXT_OR_NULL, _REAL_OR_NULL = frozenset((str, NULL)), frozenset((float, NULL))
_ZONE = operator.attrgetter("tzinfo")
_MOMENTS = _converted(list[datetime.datetime | None], datetime.datetime)

QUICK: Mapping[str, Quick] = {
    "uuid": _quick_uuid, "text": _quick_text, "boolean": _typed(bool), "bool": _typed(bool),
    **{name: _quick_whole(bits) for name, bits in BITS.items()},
    "real": _quick_real, "double precision": _quick_real,
    "date": _converted(list[datetime.date | None], datetime.date), "timestamptz": _quick_moment,
}  # fmt: skip
"""Contract type → the quick way; it gives what the reader gives for each, or nothing."""

"""Events of product services, JSON objects as they hand them over, made columns by the contract. Pure.

Lines whose members are all the contract's are read into rows of its own, with days and moments in them; where one line does not fit, all of
the piece become dictionaries. Either way readers (`values`) make the same of a value.
"""

import contextlib
import datetime
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from cells.egress.treating import Batch, Whose
from cells.egress.values import BITS, NULL, QUICK, TEXT_CHARS_MAX
from cells.records.contracts import Contract

Given: TypeAlias = Any
"""A dictionary, or a row of the contract that it is given with."""
Read: TypeAlias = Callable[[bytes], list[Given]]
"""Of lines of NDJSON. Raises MalformedEvents."""

_READ_AS: Mapping[str, Any] = {
    "date": datetime.date | None,
    "timestamp": datetime.datetime | None,
    "timestamptz": datetime.datetime | None,
}
"""Contract type -> what a row holds at once; of other types, what JSON states."""
_PLAIN: Mapping[str, Any] = {
    "text": str,
    "boolean": bool,
    "bool": bool,
    "date": datetime.date,
    **{name: Annotated[int, Meta(ge=-(1 << bits), le=(1 << bits) - 1)] for name, bits in BITS.items()},
}
"""The same of a column that no event is without, and that is of its type in all of them: then nobody has to look."""
_decoder = msgspec.json.Decoder(dict[str, Any])
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class MalformedEvents(ValueError):
    """The bytes are no array, or no lines, of JSON objects."""


def of_lines(raw: bytes) -> list[dict[str, Any]]:
    """Objects of NDJSON. Raises MalformedEvents."""
    try:
        return _decoder.decode_lines(raw)
    except _BROKEN as exc:
        raise MalformedEvents("each line is one JSON object") from exc


class RowReader:
    """`of_lines`, but for rows where it can be: half of the time.

    Columns are taken for `plain` until an event is without a value of their type; they are looked at from then on.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._loose = msgspec.json.Decoder(_row(contract, frozenset()))
        self._plain = frozenset(name for name, column in contract.columns.items() if column.type in _PLAIN)
        self._decoder = msgspec.json.Decoder(_row(contract, self._plain))

    def __call__(self, raw: bytes) -> list[Given]:
        """Raises MalformedEvents."""
        if len(raw) <= TEXT_CHARS_MAX:  # so no text in it is too long
            with contextlib.suppress(*_BROKEN):
                return self._decoder.decode_lines(raw)
        try:
            events = self._loose.decode_lines(raw)
        except _BROKEN:
            return of_lines(raw)
        self._look(events)
        return events

    def _look(self, events: Sequence[Given]) -> None:
        """Which columns are no plain ones."""
        columns, types = columns_of(self._contract, events).values, self._contract.columns
        left = frozenset(name for name in self._plain if _is_plain(types[name].type, columns[name]))
        if left != self._plain:
            self._plain = left
            self._decoder = msgspec.json.Decoder(_row(self._contract, left))


def _is_plain(of_type: str, values: Sequence[Any]) -> bool:
    kinds = set(map(type, values))
    return NULL not in kinds and QUICK[of_type](values, kinds) is not None


def _row(contract: Contract, plain: frozenset[str]) -> type[msgspec.Struct]:
    """A row of these columns, in their order; a member that is missing is null."""
    fields: list[Any] = []
    for number, (name, column) in enumerate(contract.columns.items()):
        own = (
            (f"f{number}", _PLAIN[column.type])
            if name in plain
            else (f"f{number}", _READ_AS.get(column.type, Any), None)
        )
        fields.append(own)
    rename = {f"f{number}": name for number, name in enumerate(contract.columns)}
    return msgspec.defstruct(
        "Row", fields, rename=rename, namespace={"plain": plain}, forbid_unknown_fields=True, kw_only=True, gc=False
    )


class Columns(msgspec.Struct, frozen=True):
    """Events by column. `unnamed`: members that no contract names. `plain`: columns in which every value is of its type, none null."""

    values: dict[str, Sequence[Any]]
    unnamed: int = 0
    plain: frozenset[str] = frozenset()


def columns_of(contract: Contract, events: Sequence[Given]) -> Columns:
    """A member that is missing is null; members that no contract names are counted and left."""
    names = list(contract.columns)
    if events and isinstance(events[0], msgspec.Struct):
        plain: frozenset[str] = getattr(type(events[0]), "plain", frozenset())
        return Columns(_by_column(names, map(msgspec.structs.astuple, events)), plain=plain)
    members = sum(map(len, events))
    if len(names) > 1:
        with contextlib.suppress(KeyError):
            unnamed = members - len(names) * len(events)
            return Columns(_by_column(names, map(operator.itemgetter(*names), events)), unnamed)
    columns: dict[str, Sequence[Any]] = {name: [one.get(name) for one in events] for name in names}
    return Columns(columns, members - sum(name in one for name in names for one in events))


def _by_column(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, Sequence[Any]]:
    """Half of the time of `zip`, which keeps an iterator for every row."""
    values = list(itertools.chain.from_iterable(rows))
    return {name: values[at :: len(names)] for at, name in enumerate(names)}


def batch_of(contract: Contract, events: Sequence[Given], people: Sequence[Whose]) -> Batch:
    columns = columns_of(contract, events)
    return Batch(people, columns.values, unnamed=columns.unnamed, plain=columns.plain)

"""Events of product services, JSON objects as they hand them over, made columns by the contract. Pure.

Lines whose members are all the contract's are read into rows of its own; where one line is not, all of the piece become dictionaries. Either
way a value is the one that JSON states, and nobody has looked at its type.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from cells.egress.treating import Batch, Person
from cells.records.contracts import Contract

Given: TypeAlias = Any
"""A dictionary, or a row of the contract that it is given with."""
Read: TypeAlias = Callable[[bytes], list[Given]]
"""Of lines of NDJSON. Raises MalformedEvents."""

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


def reader(contract: Contract) -> Read:
    """`of_lines`, but for rows where it can be: half of the time, and a third of the memory."""
    members = [f"f{number}" for number in range(len(contract.columns))]
    row = msgspec.defstruct(
        "Row",
        [(one, Any, None) for one in members],
        rename=dict(zip(members, contract.columns, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
    decoder = msgspec.json.Decoder(row)

    def read(raw: bytes) -> list[Given]:
        try:
            return decoder.decode_lines(raw)
        except _BROKEN:
            return of_lines(raw)

    return read


def columns_of(contract: Contract, events: Sequence[Given]) -> tuple[dict[str, Sequence[Any]], int]:
    """A member that is missing is null; members that no contract names are counted and left."""
    names = list(contract.columns)
    if events and isinstance(events[0], msgspec.Struct):
        return dict(zip(names, zip(*map(msgspec.structs.astuple, events), strict=True), strict=True)), 0
    members = sum(map(len, events))
    try:
        held = list(zip(*map(operator.itemgetter(*names), events), strict=True)) if len(names) > 1 else None
    except KeyError:
        held = None
    if held:
        return dict(zip(names, held, strict=True)), members - len(names) * len(events)
    columns = {name: [one.get(name) for one in events] for name in names}
    return columns, members - sum(name in one for name in names for one in events)


def batch_of(contract: Contract, events: Sequence[Given], people: Sequence[Person | None]) -> Batch:
    columns, unnamed = columns_of(contract, events)
    return Batch(people, columns, unnamed=unnamed)

"""Batches of JSON objects, as product services hand them over, made columns by the contract. Pure."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cells.egress.treating import Batch, Person
from cells.records.contracts import Contract

_decoder = msgspec.json.Decoder(dict[str, Any])


class MalformedEvents(ValueError):
    """The bytes are no array, or no lines, of JSON objects."""


def of_lines(raw: bytes) -> list[dict[str, Any]]:
    """Objects of NDJSON. Raises MalformedEvents."""
    try:
        return _decoder.decode_lines(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise MalformedEvents("each line is one JSON object") from exc


def batch_of(contract: Contract, events: Sequence[Mapping[str, Any]], people: Sequence[Person | None]) -> Batch:
    """A member that is missing is null; members that no contract names are counted and left."""
    names = list(contract.columns)
    try:
        held = list(zip(*map(operator.itemgetter(*names), events), strict=True)) if len(names) > 1 else None
    except KeyError:
        held = None
    if held:
        return Batch(
            people, dict(zip(names, held, strict=True)), unnamed=sum(map(len, events)) - len(names) * len(events)
        )
    columns = {name: [one.get(name) for one in events] for name in names}
    named = sum(name in one for name in names for one in events)
    return Batch(people, columns, unnamed=sum(map(len, events)) - named)

"""The forms in which entries leave a log, a line of JSON each. Pure."""

import enum
from typing import Any, NamedTuple

import msgspec

from foundation.ledger.entries import Payload
from foundation.ledger.export import ocsf
from foundation.ledger.reading import Found


class Format(enum.StrEnum):
    """`entries`: what stands in the log, and its payload where that is shown. `ocsf`: the same as an event for a SIEM."""

    OCSF = "ocsf"
    ENTRIES = "entries"


class Form(NamedTuple):
    """`payloads`: what entries commit to is shown, too. `version`: the product's."""

    format: Format
    payloads: bool
    origin: str
    version: str


def line(form: Form, found: Found, payload: Payload | None) -> bytes:
    """With its end. `payload` is not looked at where the form shows none. Raises msgspec.DecodeError."""
    shown = payload if form.payloads else None
    told: dict[str, Any]
    match form.format:
        case Format.OCSF:
            told = ocsf.event(found.entry, shown, origin=form.origin, index=found.index, version=form.version)
        case Format.ENTRIES:
            told = _plain(found, shown)
    return msgspec.json.encode(told) + b"\n"


def _plain(found: Found, payload: Payload | None) -> dict[str, Any]:
    entry = {"index": found.index, **msgspec.structs.asdict(found.entry)}
    return entry if payload is None else entry | {"payload": msgspec.structs.asdict(payload)}

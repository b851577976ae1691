"""The forms in which entries leave a log, a line of JSON each. Pure."""

import base64
import enum
from typing import Any, NamedTuple

import msgspec

from foundation.ledger import entries, sheaves
from foundation.ledger.entries import Payload
from foundation.ledger.export import ocsf
from foundation.ledger.merkle import leaf_hash
from foundation.ledger.proofs import Proof
from foundation.ledger.reading import Found


class Format(enum.StrEnum):
    """`entries`: what stands in the log, and its payload where that is shown. `ocsf`: the same as an event for a SIEM. `notices`: notices
    to subjects alone, whole, each with its proof."""

    OCSF = "ocsf"
    ENTRIES = "entries"
    NOTICES = "notices"


class Form(NamedTuple):
    """`payloads`: what entries commit to is shown, too. `version`: the product's. `subjects`: whose notices; none named: everybody's."""

    format: Format
    payloads: bool
    origin: str
    version: str
    subjects: frozenset[str] = frozenset()


def lines_of(form: Form, found: Found, opening: bytes | None) -> bytes:
    """With their ends: one, and where payloads are shown one more for each record under the entry. `opening` is not looked at where the
    form shows none. Raises MalformedEntry, msgspec.DecodeError."""
    if opening is None or not form.payloads:
        return _line(form, found, None)
    told = [_line(form, found, entries.opened(found.entry, opening))]
    records = sheaves.records_in(opening)
    told += [_of_record(form, found, n, one.opening) for n, one in enumerate(records) if one.opening is not None]
    return b"".join(told)


def _line(form: Form, found: Found, payload: Payload | None, record: int | None = None) -> bytes:
    told: dict[str, Any]
    match form.format:
        case Format.OCSF:
            told = ocsf.event(found.entry, payload, origin=form.origin, index=found.index, version=form.version)
            if record is not None:
                told["unmapped"]["record"] = record
        case Format.ENTRIES | Format.NOTICES:
            told = _plain(found, payload, record)
    return msgspec.json.encode(told) + b"\n"


def notice_line(origin: str, payload: Payload, opening: bytes, proof: Proof) -> bytes:
    """A notice by itself. `proof` and, out of base64, `opening` are the files by which whoever knows the log's key sees that it stands
    there: `domicile ledger verify FILE --payload FILE`."""
    told = {
        "id": payload.id,
        "origin": origin,
        "index": proof.index,
        "at_us": entries.parse(proof.entry).at_us,
        "actor": payload.actor,
        "subject_id": payload.subject_id,
        "details": payload.details,
        "opening": base64.b64encode(entries.committed(opening)).decode(),
        "proof": proof.render().decode(),
    }
    return msgspec.json.encode(told) + b"\n"


def _of_record(form: Form, found: Found, number: int, opening: bytes) -> bytes:
    """As an entry of its own would be told of, at the place of the one that it stands under."""
    single = sheaves.read(opening)
    entry = msgspec.structs.replace(
        found.entry,
        at_us=single.at_us,
        commitment=leaf_hash(opening).hex(),
        count=msgspec.UNSET,
        event=entries.event_digest(single.id),
        kind=single.kind,
        root=msgspec.UNSET,
    )
    payload = Payload(id=single.id, actor=single.actor, subject_id=single.subject_id, details=single.details)
    return _line(form, Found(found.index, b"", entry), payload, number)


def _plain(found: Found, payload: Payload | None, record: int | None) -> dict[str, Any]:
    told = {"index": found.index, **msgspec.to_builtins(found.entry)}
    if record is not None:
        told["record"] = record
    return told if payload is None else told | {"payload": msgspec.structs.asdict(payload)}

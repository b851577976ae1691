"""An entry of the log: canonical JSON of an event's metadata, and a salted commitment to everything else, which lies beside it. Pure.

The event's id, actor, subject and details stand in the payload alone. Without it an entry says that at some time something of a kind
was recorded. The id's digest is not salted, so that somebody who knows an event's id finds its entry; ids that speak of a person hold
the subject id, which is 128 bits of chance.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from foundation.ledger.canonical import canonical
from foundation.ledger.tiles import ENTRY_BYTES_MAX

SALT_BYTES = 32

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class MalformedEntry(Exception):
    """Bytes are no entry of this log, or a payload is not the one that an entry commits to."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event as an outbox has it, at its position there. `details` is JSON as it stands."""

    position: int
    id: str
    at_us: int
    kind: str
    actor: str
    subject_id: str | None
    details: msgspec.Raw


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`at_us`: microseconds since 1970 at the source. `commitment`: SHA-256 of salt and payload. `event`: SHA-256 of the event's id."""

    at_us: int
    commitment: Digest
    event: Digest
    kind: str
    position: int
    source: str


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry commits to."""

    id: str
    actor: str
    subject_id: str | None
    details: msgspec.Raw


def sealed(row: Recorded, source: str, salt: bytes) -> tuple[bytes, bytes]:
    """(entry, opening): the opening is the salt and then the payload. Raises ValueError where the entry is too long."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    payload = Payload(id=row.id, actor=row.actor, subject_id=row.subject_id, details=row.details)
    opening = salt + msgspec.json.encode(payload)
    entry = Entry(
        at_us=row.at_us,
        commitment=hashlib.sha256(opening).hexdigest(),
        event=event_digest(row.id),
        kind=row.kind,
        position=row.position,
        source=source,
    )
    raw = canonical(msgspec.structs.asdict(entry))
    if len(raw) > ENTRY_BYTES_MAX:
        raise ValueError(f"an entry has at most {ENTRY_BYTES_MAX} bytes")
    return raw, opening


def event_digest(event_id: str) -> str:
    return hashlib.sha256(event_id.encode()).hexdigest()


def parse(raw: bytes) -> Entry:
    """Raises MalformedEntry: also for JSON that is not canonical."""
    try:
        entry = msgspec.json.decode(raw, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise MalformedEntry(f"no entry: {exc}") from exc
    if canonical(msgspec.structs.asdict(entry)) != raw:
        raise MalformedEntry("an entry is canonical JSON (RFC 8785)")
    return entry


def opened(entry: Entry, opening: bytes) -> Payload:
    """The payload. Raises MalformedEntry unless it is the one that the entry commits to."""
    if hashlib.sha256(opening).hexdigest() != entry.commitment:
        raise MalformedEntry("the payload is not the one that the entry commits to")
    try:
        payload = msgspec.json.decode(opening[SALT_BYTES:], type=Payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise MalformedEntry(f"no payload: {exc}") from exc
    if event_digest(payload.id) != entry.event:
        raise MalformedEntry("the payload is of another event than the entry")
    return payload

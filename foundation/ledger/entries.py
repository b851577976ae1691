"""An entry of the log: canonical JSON of an event's metadata, and a salted commitment to everything else, which lies beside it. Pure.

The event's id, actor, subject and details stand in the payload alone. Without it an entry says that at some time something of a kind
was recorded. The id's digest is not salted, so that somebody who knows an event's id finds its entry; ids that speak of a person hold
the subject id, which is 128 bits of chance.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from foundation.ledger.tiles import ENTRY_BYTES_MAX

SALT_BYTES = 32
RECORDS_FOLLOW = b"\x00"
"""Stands in an opening between the payload and a sheaf's records; JSON has no such byte."""
_EXACT_MAX = 1 << 53
"""Whole numbers up to here are themselves as doubles, which is what canonical JSON has (RFC 8785, RFC 7493 section 2.2)."""
AT_S_MAX = _EXACT_MAX // 1_000_000
"""Seconds since 1970 below which every time can stand in an entry: into the year 2255. Whoever takes times from others asks for that."""

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class MalformedEntry(Exception):
    """Bytes are no entry of this log, or a payload is not the one that an entry commits to."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as an outbox has it, at its position there. `details` is JSON as it stands."""

    position: int
    id: str
    at_us: int
    kind: str
    actor: str
    subject_id: str | None
    details: msgspec.Raw


class Single(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event that stands in the log without a place of its own: under another's entry (`foundation.ledger.sheaves`)."""

    actor: str
    at_us: int
    details: msgspec.Raw
    id: str
    kind: str
    subject_id: str | None


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """`at_us`: microseconds since 1970 at the source. `commitment`: SHA-256 of salt and payload. `event`: SHA-256 of the event's id.
    `count` and `root`: of a sheaf alone, how many records stand under it and the Merkle root over them (`foundation.ledger.sheaves`).

    The fields stand in the order of their names, so that an encoder that keeps it writes canonical JSON."""

    at_us: int
    commitment: Digest
    count: Annotated[int, Meta(ge=1)] | msgspec.UnsetType = msgspec.UNSET
    event: Digest
    kind: str
    position: int
    root: Digest | msgspec.UnsetType = msgspec.UNSET
    source: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Payload(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an entry commits to."""

    id: str
    actor: str
    subject_id: str | None
    details: msgspec.Raw


_decode_payload = msgspec.json.Decoder(Payload).decode


class Under(msgspec.Struct, frozen=True):
    """What an entry says of the records that stand under it."""

    count: int
    root: bytes


def sealed(row: Recorded, source: str, salt: bytes, under: Under | None = None) -> tuple[bytes, bytes]:
    """(entry, opening): the opening is the salt and then the payload. Raises ValueError where the entry is too long."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    payload = Payload(id=row.id, actor=row.actor, subject_id=row.subject_id, details=row.details)
    opening = salt + _encode(payload)
    entry = Entry(
        at_us=row.at_us,
        commitment=hashlib.sha256(opening).hexdigest(),
        count=msgspec.UNSET if under is None else under.count,
        event=event_digest(row.id),
        kind=row.kind,
        position=row.position,
        root=msgspec.UNSET if under is None else under.root.hex(),
        source=source,
    )
    raw = spelled(entry)
    if len(raw) > ENTRY_BYTES_MAX:
        raise ValueError(f"an entry has at most {ENTRY_BYTES_MAX} bytes")
    return raw, opening


class _Laid(msgspec.Struct, frozen=True, gc=False):
    """A `Payload` by places, which is made in half of the time."""

    id: str
    actor: str
    subject_id: str | None
    details: msgspec.Raw


def sealed_each(rows: Sequence[Recorded], source: str, salts: bytes) -> tuple[list[bytes], list[bytes]]:
    """What `sealed` gives for each of these rows, entries and openings, without a step that needs not be: somebody waits for all of them.
    `salts`: one after the other. Raises ValueError as `sealed` does."""
    if len(salts) < SALT_BYTES * len(rows):
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    sha256, encode, end = hashlib.sha256, _encode, f',"source":{_spelled_text(source)}}}'
    kinds = {kind: _spelled_text(kind) for kind in {row.kind for row in rows}}
    raws, openings, at = list[bytes](), list[bytes](), 0
    for row in rows:
        at_us, position = row.at_us, row.position
        if not (-_EXACT_MAX <= at_us <= _EXACT_MAX and -_EXACT_MAX <= position <= _EXACT_MAX):
            raise ValueError("a number is no exact double")
        opening = salts[at : at + SALT_BYTES] + encode(_Laid(row.id, row.actor, row.subject_id, row.details))
        at += SALT_BYTES
        raw = (
            f'{{"at_us":{at_us},"commitment":"{sha256(opening).hexdigest()}","event":"{sha256(row.id.encode()).hexdigest()}",'
            f'"kind":{kinds[row.kind]},"position":{position}{end}'
        ).encode()
        if len(raw) > ENTRY_BYTES_MAX:
            raise ValueError(f"an entry has at most {ENTRY_BYTES_MAX} bytes")
        raws.append(raw)
        openings.append(opening)
    return raws, openings


def _spelled_text(text: str) -> str:
    return _encode(text).decode()


def committed(opening: bytes) -> bytes:
    """What of an opening its entry's commitment is over: all of it, but of a sheaf's only what stands before its records."""
    return opening[:SALT_BYTES] + opening[SALT_BYTES:].partition(RECORDS_FOLLOW)[0]


def spelled(entry: Entry) -> bytes:
    """Its canonical JSON. Raises ValueError for what has none."""
    exact = -_EXACT_MAX <= entry.at_us <= _EXACT_MAX and -_EXACT_MAX <= entry.position <= _EXACT_MAX
    if not exact or (entry.count or 0) > _EXACT_MAX:
        raise ValueError("a number is no exact double")
    return _encode(entry)


def is_sheaf(entry: Entry) -> bool:
    return entry.root is not msgspec.UNSET


def event_digest(event_id: str) -> str:
    return hashlib.sha256(event_id.encode()).hexdigest()


def parse(raw: bytes) -> Entry:
    """Raises MalformedEntry: also for JSON that is not canonical."""
    try:
        entry = _decode(raw)
        canonical = spelled(entry)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise MalformedEntry(f"no entry: {exc}") from exc
    if canonical != raw:
        raise MalformedEntry("an entry is canonical JSON (RFC 8785)")
    if (entry.count is msgspec.UNSET) != (entry.root is msgspec.UNSET):
        raise MalformedEntry("count and root go together")
    return entry


def opened(entry: Entry, opening: bytes) -> Payload:
    """The payload. Raises MalformedEntry unless it is the one that the entry commits to."""
    head = committed(opening)
    if hashlib.sha256(head).hexdigest() != entry.commitment or (len(head) < len(opening) and not is_sheaf(entry)):
        raise MalformedEntry("the payload is not the one that the entry commits to")
    try:
        payload = _decode_payload(head[SALT_BYTES:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise MalformedEntry(f"no payload: {exc}") from exc
    if event_digest(payload.id) != entry.event:
        raise MalformedEntry("the payload is of another event than the entry")
    return payload

"""What a certificate states about its grant: a private extension of X.509, not critical, whose absence is fatal in our own check. Pure.

Not critical because OpenSSL refuses a client's certificate with an unknown critical one. The value is a DER
UTF8String (X.690 section 8.23) of canonical JSON, so each statement has one spelling.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated

import msgspec
from cryptography import x509
from msgspec import Meta

from cells.breakglass.words import Digest, Purpose, Ticket
from foundation.ledger.canonical import canonical
from foundation.words import Country, ShardId

OID = x509.ObjectIdentifier("1.2.840.113556.1.8000.2554.33142.16539.30466.20100.41282.7954218.7438410")
"""8176409b-7702-4e84-a142-795f2a71804a in seven numbers, under the arc that Microsoft gave for OIDs made of GUIDs, which takes no
registration. As one number, under the arc of UUIDs (ITU-T X.667 section 6), no client in Go could read its own certificate: a number has
31 bits there."""
_UTF8_STRING = 0x0C
_BYTES_MAX = 4096


class MalformedStatement(Exception):
    """The extension's value is no statement in its one spelling."""


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`subjects`: SHA-256 over the subjects in order. `home`: where its engineer lives, `observed`, `declared`: where they were when it was
    signed. `index`, `size`, `root`: the entry of the approval in the cell's log, and the tree in which it stands."""

    grant: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
    ticket: Ticket
    purpose: Purpose
    subjects: Digest
    home: Country | None
    observed: Country | None
    declared: Country | None
    shard: ShardId
    index: Annotated[int, Meta(ge=0, lt=1 << 53)]
    size: Annotated[int, Meta(ge=1, lt=1 << 53)]
    root: Digest


def subjects_digest(subjects: Iterable[str]) -> str:
    return hashlib.sha256(canonical(sorted(subjects))).hexdigest()


def encoded(statement: Statement) -> bytes:
    """The extension's value."""
    text = canonical(msgspec.to_builtins(statement))
    return bytes([_UTF8_STRING]) + _length(len(text)) + text


def decoded(raw: bytes) -> Statement:
    """Raises MalformedStatement: also for another spelling of the same."""
    if not 2 < len(raw) <= _BYTES_MAX:
        raise MalformedStatement("the statement has a wrong length")
    begin = 2 if raw[1] < 0x80 else 2 + (raw[1] & 0x7F)
    try:
        statement = msgspec.json.decode(raw[begin:], type=Statement)
        spelled = encoded(statement)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        raise MalformedStatement(f"no statement: {exc}") from exc
    if spelled != raw:
        raise MalformedStatement("the statement is not in its one spelling")
    return statement


def _length(count: int) -> bytes:
    """DER's length (X.690 section 8.1.3), in as few bytes as it takes."""
    if count < 0x80:
        return bytes([count])
    octets = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets

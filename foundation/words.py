"""The words of the house as types: ids, verbs, purposes. Pure; the only module that rules may import from here.

An id is parsed once at the door (`parse_*`, which raise `MalformedWord`) and trusted by its type from there on.
"""

import enum
import re
import secrets
from typing import NewType

SubjectId = NewType("SubjectId", str)
"""128 random bits minted at placement, as lower-case UUID text (RFC 9562 section 4). Never derived from anything."""

LookupKey = NewType("LookupKey", str)
"""Keyed hash of a namespaced identifier: 24 bytes as 32 base64url characters (see `foundation.blinding`)."""

ActorId = NewType("ActorId", str)
"""Who acts: a subject id, `service:<id>`, `operator:<name>`, `cell:<id>`, `gateway:<region>`."""

Epoch = NewType("Epoch", int)
"""Opaque number in [1, 2^63) from the directory's one sequence; each placement or change takes a newer one."""

FeedSeq = NewType("FeedSeq", int)
"""Position in the directory's feed: dense, in commit order, from 1; 0 stands before the first event."""

RegionId = NewType("RegionId", str)
CellId = NewType("CellId", str)
ShardId = NewType("ShardId", str)
ServiceId = NewType("ServiceId", str)
JurisdictionId = NewType("JurisdictionId", str)
DestinationId = NewType("DestinationId", str)
"""Where releases go: an entry of policy's `[destinations]`."""

Country = NewType("Country", str)
"""ISO 3166-1 alpha-2, upper case."""

RulesDigest = NewType("RulesDigest", str)
"""`sha256:` and 64 hex digits over the canonical rules (pack and policy)."""

SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
SLUG_CHARS_MAX = 40
_LOOKUP_KEY = re.compile(r"[A-Za-z0-9_-]{32}\Z")
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_SUBDIVISION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
EPOCH_MAX = 2**63 - 1

RECORDS = ServiceId("records")
"""The records API of a cell, to the gateway one more in-cell service."""
VIEWS = ServiceId("views")
"""What people of a cell show to others, by contract (`cells.egress.views`); answered by the cell service, too."""


class MalformedWord(ValueError):
    """A text that is no id of the kind asked for; the message says which kind and what it looks like."""


class Verb(enum.StrEnum):
    """What a request does to a subject's data; decided from the method, and `signup` from policy's routes."""

    READ = "read"
    WRITE = "write"
    SIGNUP = "signup"


_READ, _WRITE = Verb.READ, Verb.WRITE  # a member of an enum is looked up anew each time that it is named


def verb_of_method(method: str) -> Verb:
    """RFC 9110 section 9.2.1: safe methods read, every other writes."""
    return _READ if method in ("GET", "HEAD", "OPTIONS") else _WRITE


def parse_subject_id(text: str) -> SubjectId:
    lowered = text.lower()
    if not _UUID.match(lowered):
        raise MalformedWord("a subject id is a UUID such as 0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77")
    return SubjectId(lowered)


def mint_subject_id() -> SubjectId:
    """128 bits from the operating system's generator, all random: no version or variant bits are set."""
    drawn = secrets.token_hex(16)
    return SubjectId(f"{drawn[:8]}-{drawn[8:12]}-{drawn[12:16]}-{drawn[16:20]}-{drawn[20:]}")


def parse_lookup_key(text: str) -> LookupKey:
    if not _LOOKUP_KEY.match(text):
        raise MalformedWord("a lookup key is 32 base64url characters")
    return LookupKey(text)


def parse_epoch(number: int) -> Epoch:
    if not 1 <= number <= EPOCH_MAX:
        raise MalformedWord("an epoch is a whole number from 1 to 2^63-1")
    return Epoch(number)


def parse_country(text: str) -> Country:
    upper = text.upper() if text.isascii() else ""  # upper() makes SS of a sharp s, FI of a ligature
    if not _COUNTRY.match(upper):
        raise MalformedWord("a country is two letters of ISO 3166-1, such as DE")
    return Country(upper)


def parse_subdivision(text: str) -> str:
    """A part of a country (ISO 3166-2), upper case; it begins with its country."""
    upper = text.upper() if text.isascii() else ""
    if not _SUBDIVISION.match(upper):
        raise MalformedWord("a part of a country is a code of ISO 3166-2, such as US-TX")
    return upper


def parse_slug(text: str, kind: str) -> str:
    """The text itself if it is a slug: lower-case letters, digits, single hyphens, at most 40 characters."""
    if len(text) > SLUG_CHARS_MAX or not SLUG.match(text):
        raise MalformedWord(f"a {kind} id is lower-case letters, digits and single hyphens, such as eu-de")
    return text


def parse_rules_digest(text: str) -> RulesDigest:
    if not _DIGEST.match(text):
        raise MalformedWord("a rules digest is sha256: and 64 hex digits")
    return RulesDigest(text)

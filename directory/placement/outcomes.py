"""What the directory's writer is given and answers, as values."""

import msgspec

from directory.placement.answers import ClaimedKey
from directory.placement.core import Facts, Placement
from directory.placement.provenance import Provenance
from foundation.words import CellId, FeedSeq, RulesDigest, ServiceId, ShardId, SubjectId


class Repeat(msgspec.Struct, frozen=True):
    """The caller's idempotency key and the digest (SHA-256) of what it asked for."""

    key: str
    body: bytes


class NewSubject(msgspec.Struct, frozen=True, kw_only=True):
    """A placement decided under `under` and the registry as of event `registry`, not yet stored; `facts.facts_id` is not looked at."""

    subject_id: SubjectId
    cell: CellId
    shard: ShardId
    services: tuple[ServiceId, ...]
    facts: Facts
    provenance: Provenance
    keys: tuple[ClaimedKey, ...]
    under: RulesDigest
    registry: FeedSeq
    actor: str
    reason: str


class Anew(msgspec.Struct, frozen=True, kw_only=True):
    """The same subject placed anew where it is, for `services`, as decided under `under`; `facts.facts_id` is not looked at."""

    services: tuple[ServiceId, ...]
    facts: Facts
    provenance: Provenance
    under: RulesDigest


class Done(msgspec.Struct, frozen=True):
    """Committed as feed event `seq`, or found to hold already as of `seq`."""

    seq: FeedSeq
    placement: Placement


class Taken(msgspec.Struct, frozen=True):
    """Keys of these kinds belong to another subject; nothing was stored."""

    kinds: tuple[str, ...]


class Repeated(msgspec.Struct, frozen=True):
    """The idempotency key has done its work before: for this subject, for a request with this digest."""

    subject_id: SubjectId
    body: bytes


class RulesMoved(msgspec.Struct, frozen=True):
    """Other rules, or another registry, hold by now; decide again. Nothing was stored."""

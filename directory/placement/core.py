"""Placements as values: what the directory answers, what its feed carries, what each state allows. Pure; shared with clients.

Wire form is JSON of these structs (msgspec). An answer or event always carries its as-of number, and a holder never replaces newer
knowledge by older.
"""

import enum
from typing import assert_never

import msgspec

from directory.registry.core import Stated
from foundation.problems import Code
from foundation.words import (
    CellId,
    Country,
    Epoch,
    FeedSeq,
    JurisdictionId,
    LookupKey,
    RulesDigest,
    ServiceId,
    ShardId,
    SubjectId,
    Verb,
)
from routing_rules.facts import SubjectFacts

RESOLVE_BATCH_MAX = 1000
RESERVATION_S = 60.0
FEED_PAGE_MAX = 1000
FEED_WAIT_MS_MAX = 25_000


class State(enum.StrEnum):
    """A placement's state. `erased` is final (also an expired reservation); its lookup keys are gone."""

    RESERVED = "reserved"
    ACTIVE = "active"
    FROZEN = "frozen"
    MOVING_IN = "moving_in"
    MOVED = "moved"
    ERASED = "erased"


def refusal(state: State, verb: Verb) -> Code | None:
    """Which verb each state allows: None = allowed, else the refusal's code. Total."""
    match state:
        case State.ACTIVE:
            return None
        case State.FROZEN:
            return None if verb is Verb.READ else Code.SUBJECT_FROZEN
        case State.RESERVED:
            return Code.CELL_BEHIND
        case State.MOVING_IN:
            return Code.SUBJECT_MOVING
        case State.MOVED | State.ERASED:
            return Code.SUBJECT_GONE
        case _:
            assert_never(state)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What rules need to know of a subject, low in cardinality; `facts_id` names one such set (0 = not yet stored)."""

    facts_id: int
    regimes: tuple[JurisdictionId, ...]
    residence: Country
    subdivision: str | None = None
    citizenships: tuple[Country, ...] | None = None
    tags: tuple[str, ...] = ()
    terms: str | None = None

    @property
    def subject(self) -> SubjectFacts:
        """The facts as rules ask for them; `regimes` are what followed from them when the subject was placed."""
        return SubjectFacts(
            residence=self.residence,
            subdivision=self.subdivision,
            citizenships=self.citizenships,
            tags=self.tags,
            terms=self.terms,
        )


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a subject's home is, under which epoch, for which services."""

    subject_id: SubjectId
    cell: CellId
    shard: ShardId
    epoch: Epoch
    state: State
    services: tuple[ServiceId, ...]
    facts: Facts


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The directory's answer to a batch: every key asked for stands in exactly one of `found`, `absent` and `unresolved` (claimed under a
    lease that ran out: whether it leads to somebody is not known). `history`: whose number `as_of` is."""

    as_of: FeedSeq
    history: str = ""
    found: dict[LookupKey, Placement] = {}
    absent: tuple[LookupKey, ...] = ()
    unresolved: tuple[LookupKey, ...] = ()


class ResolvedSubjects(msgspec.Struct, frozen=True, kw_only=True):
    """The same for subject ids. Erased subjects are found, with their state."""

    as_of: FeedSeq
    history: str = ""
    found: dict[SubjectId, Placement] = {}
    absent: tuple[SubjectId, ...] = ()


class PlacementEvent(msgspec.Struct, frozen=True, kw_only=True, tag="placement", tag_field="kind"):
    """A placement as it stands after event `seq`, with the lookup keys that came or went."""

    seq: FeedSeq
    at: float
    placement: Placement
    keys_added: tuple[LookupKey, ...] = ()
    keys_removed: tuple[LookupKey, ...] = ()
    mark: str = ""


class RulesEvent(msgspec.Struct, frozen=True, kw_only=True, tag="rules", tag_field="kind"):
    """Rules with this digest hold from event `seq` on; the document is fetched by digest."""

    seq: FeedSeq
    at: float
    digest: RulesDigest
    mark: str = ""


class RegistryEvent(msgspec.Struct, frozen=True, kw_only=True, tag="registry", tag_field="kind"):
    """From event `seq` on the registry says this of one entry."""

    seq: FeedSeq
    at: float
    entry: Stated
    mark: str = ""


class BulkPart(msgspec.Struct, frozen=True, kw_only=True):
    """`count` subjects of one batch that lie on one shard; that shard's cell may ask who they are."""

    part: int
    cell: CellId
    shard: ShardId
    count: int


class BulkEvent(msgspec.Struct, frozen=True, kw_only=True, tag="bulk", tag_field="kind"):
    """Many subjects at once, unnamed: those of `parts` are `state` after event `seq`.

    `reserved`: they and their lookup keys are new. `active`: they were reserved, under the same epochs. So whoever holds an absence or a
    reservation from before `seq` holds it no longer, and everything else stands.
    """

    seq: FeedSeq
    at: float
    state: State
    job: str
    batch: int
    parts: tuple[BulkPart, ...]
    mark: str = ""


class KeysChange(enum.StrEnum):
    """Why what was known of lookup keys counts no more."""

    UNRESOLVED = "unresolved"
    """Claimed, and nobody can say for whom: neither absent nor anybody's."""
    FREED = "freed"
    RETIRED = "retired"


class KeysEvent(msgspec.Struct, frozen=True, kw_only=True, tag="keys", tag_field="kind"):
    """From event `seq` on nothing that was known of these lookup keys counts; none of them leads to anybody."""

    seq: FeedSeq
    at: float
    change: KeysChange
    keys: tuple[LookupKey, ...]
    mark: str = ""


FeedEvent = PlacementEvent | RulesEvent | RegistryEvent | BulkEvent | KeysEvent


class FeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events after the asked position, dense and in commit order; `head` is the newest committed number at the answer, `mark` its mark.

    `anew`: the position cannot be followed from (pruned, or of a `history` that ended): nothing that is held counts, begin at the head.
    """

    events: tuple[FeedEvent, ...]
    head: FeedSeq
    history: str = ""
    mark: str = ""
    anew: bool = False


class RulesDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A published policy: its text (TOML), and the digest of the rules that it makes with the pack of that release."""

    digest: RulesDigest
    policy: str
    seq: FeedSeq
    published_at: float
    actor: str

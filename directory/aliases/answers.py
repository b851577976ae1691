"""Bodies of requests and answers about aliases, as they stand on the wire (JSON). Pure; shared with cell services and gateways."""

from typing import Annotated

import msgspec
from msgspec import Meta

from directory.aliases.core import Claim, ClaimState
from directory.placement.answers import KEYS_MAX, ClaimedKey, KeyText, Kid, Reason, Slug, SubjectText
from foundation.words import CellId, FeedSeq

LEASE_S_MAX = 900
LEASE_S = 120
TWINS_MAX = 100
ClaimText = SubjectText
"""A UUID of the claiming cell's own, so that it knows its claims again."""


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All `keys` or none, for `lease_s` by the database's clock. `cell`: the claiming one. `subject_id`: whose they will be, where that is
    known; they must live in that cell. `keys`: of each identifier one under every live blinding key, in the same order for each."""

    claim_id: ClaimText
    cell: Slug
    keys: Annotated[tuple[ClaimedKey, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    reason: Reason
    subject_id: SubjectText | None = None
    lease_s: Annotated[int, Meta(ge=1, le=LEASE_S_MAX)] = LEASE_S


class SettleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of a claim. `subject_id`: of one that was made for nobody yet, when it is confirmed."""

    claim_id: ClaimText
    reason: Reason
    subject_id: SubjectText | None = None


class ClaimAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A claim as of a feed number."""

    as_of: FeedSeq
    claim: Claim


class ClaimPage(msgspec.Struct, frozen=True, kw_only=True):
    """Claims that are not settled, in the order of their ids; `next` is the cursor of the page after this one."""

    claims: tuple[Claim, ...]
    next: str | None


class ClaimChange(msgspec.Struct, frozen=True, kw_only=True, rename={"from_state": "from", "to_state": "to"}):
    """One entry of a claim's history; `at` is unix seconds of the database's clock."""

    number: int
    at: float
    actor: str
    reason: str
    from_state: ClaimState | None
    to_state: ClaimState


class ClaimHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first; a claim has few."""

    claim: Claim
    entries: tuple[ClaimChange, ...]


class TwinKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lookup key and the blinding key that it was made under."""

    kid: Kid
    key: KeyText


class Twins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`known` leads to somebody; `keys` are the same identifier under other blinding keys."""

    known: KeyText
    keys: Annotated[tuple[TwinKey, ...], Meta(min_length=1, max_length=KEYS_MAX)]


class TwinsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    twins: Annotated[tuple[Twins, ...], Meta(min_length=1, max_length=TWINS_MAX)]


class TwinsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many keys were `added`. The others were there, or refused: `refused` counts those whose `known` leads to nobody whom the
    caller speaks for, or that lead to somebody else."""

    added: int
    refused: int


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """The lookup keys of one blinding key: how many by kind, and how many identifiers are known under it `alone`. `kid` None: callers
    did not say under which."""

    kid: str | None
    keys: dict[str, int]
    alone: int


class GenerationsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    generations: tuple[Generation, ...]


class RetireRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`lose`: also those that are known under this key alone; their people are strangers then, until they are looked after by hand."""

    reason: Reason
    lose: bool = False


class RetireAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`removed` keys this time; `left`: there are more, also such as somebody else holds just now: ask again."""

    removed: int
    left: bool


class PopulationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The share of each cell in everybody placed, as decoys are drawn by it; empty while nobody is."""

    weights: dict[CellId, float]

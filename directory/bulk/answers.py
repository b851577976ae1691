"""Bodies of requests and answers about bulk jobs, as they stand on the wire (JSON). Pure; shared with cells and the command line."""

from typing import Annotated

import msgspec
from msgspec import Meta

from directory.placement.answers import (
    CITIZENSHIPS_MAX,
    KEYS_MAX,
    SERVICES_MAX,
    TAGS_MAX,
    ClaimedKey,
    CountryCode,
    Reason,
    Slug,
    SubdivisionCode,
    Tag,
    Terms,
)
from directory.placement.core import State
from foundation.words import CellId, Epoch, FeedSeq, ServiceId, ShardId, SubjectId

BATCH_ROWS_MAX = 5_000
BATCH_BYTES_MAX = 16 << 20
BATCHES_MAX = 10_000_000
PARTS_PAGE_MAX = 16


# Rows and members are many and hold no cycle: the garbage collector need not walk them (a third of the time that decoding them takes).
class BulkRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One existing user, blinded by the caller; fields as in PlaceRequest. `row`: its number in the caller's file, for refusals."""

    row: Annotated[int, Meta(ge=0)]
    residence: CountryCode
    services: Annotated[tuple[Slug, ...], Meta(min_length=1, max_length=SERVICES_MAX)]
    keys: Annotated[tuple[ClaimedKey, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    tags: Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)] = ()
    terms: Terms | None = None
    verified_residence: CountryCode | None = None
    subdivision: SubdivisionCode | None = None
    citizenships: Annotated[tuple[CountryCode, ...], Meta(max_length=CITIZENSHIPS_MAX)] | None = None


Rows = Annotated[tuple[BulkRow, ...], Meta(min_length=1, max_length=BATCH_ROWS_MAX)]


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reason`: a line for the history of everybody placed."""

    reason: Reason


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`number`: the caller's own; the same number with the same rows has one effect."""

    number: Annotated[int, Meta(ge=0, le=BATCHES_MAX)]
    rows: Rows


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rows: Rows


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not placed, and why."""

    row: int
    code: str
    detail: str


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch, or would become of it: `known` were placed before. `cells`: the placed by cell."""

    number: int | None
    placed: int
    known: int
    refused: tuple[Refused, ...]
    cells: dict[CellId, int]
    as_of: FeedSeq


class BulkJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job so far. `waiting`: placed, but their cell has not raised their fences yet. `next`: the lowest batch number not taken in."""

    job_id: str
    at: float
    actor: str
    reason: str
    batches: int
    placed: int
    known: int
    refused: int
    waiting: int
    next: int


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A subject of a part that nothing has changed since it was imported."""

    subject_id: SubjectId
    epoch: Epoch
    state: State


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What of a batch lies on one shard; its cell raises the fences and acknowledges all of it at once."""

    part: int
    cell: CellId
    shard: ShardId
    services: tuple[ServiceId, ...]
    members: tuple[Member, ...]


class PartsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of parts whose fences their cell has not said to stand, the oldest first; `more`: there are others."""

    parts: tuple[int, ...]
    more: bool


class AcknowledgedPart(msgspec.Struct, frozen=True, kw_only=True):
    """`missed`: members that something else has changed meanwhile; their own events say what holds."""

    part: int
    acknowledged: int
    missed: tuple[SubjectId, ...]
    as_of: FeedSeq


class SettledPart(msgspec.Struct, frozen=True, kw_only=True):
    part: int

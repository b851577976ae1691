"""Bodies of requests and answers about subjects, as they stand on the wire (JSON). Pure; shared with the command line."""

from typing import Annotated

import msgspec
from msgspec import Meta

from directory.placement.core import RESOLVE_BATCH_MAX, Placement, State
from foundation.words import Epoch, FeedSeq

WAIT_MS_MAX = 2_000
PAGE_MAX = 1_000
KEYS_MAX = 32
SERVICES_MAX = 32
TAGS_MAX = 32

# `$` of Python also matches before a last newline; the look-ahead makes it the end, there and in the dialect of JSON Schema.
_END = "$(?!\\n)"

Slug = Annotated[str, Meta(pattern="^[a-z][a-z0-9]*(-[a-z0-9]+)*" + _END, max_length=40)]
KeyText = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{32}" + _END)]
SubjectText = Annotated[str, Meta(min_length=36, max_length=36)]
EpochNumber = Annotated[int, Meta(ge=1)]
Tag = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_.:-]*" + _END, max_length=64)]
Terms = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.:/-]*" + _END, max_length=64)]
Reason = Annotated[str, Meta(pattern="^[^\\u0000-\\u001f\\u007f]+" + _END, max_length=500)]
"""One line for the history, without control characters."""


class ResolveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either lookup keys or subject ids, not both."""

    keys: Annotated[tuple[KeyText, ...], Meta(min_length=1, max_length=RESOLVE_BATCH_MAX)] | None = None
    subjects: Annotated[tuple[SubjectText, ...], Meta(min_length=1, max_length=RESOLVE_BATCH_MAX)] | None = None


class ClaimedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lookup key and what it stands for: `login`, `email`, …"""

    kind: Slug
    key: KeyText


class PlaceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new subject. The directory chooses cell and shard from the rules; no caller names them."""

    residence: Annotated[str, Meta(pattern="^[A-Z]{2}" + _END)]
    services: Annotated[tuple[Slug, ...], Meta(min_length=1, max_length=SERVICES_MAX)]
    keys: Annotated[tuple[ClaimedKey, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    reason: Reason
    tags: Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)] = ()
    terms: Terms | None = None


class AckRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cell has raised its fence to `epoch`."""

    epoch: EpochNumber


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`epoch` is the one that the caller holds; it may stand in `If-Match` instead."""

    reason: Reason
    epoch: EpochNumber | None = None


class PlacementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A placement as of a feed number."""

    as_of: FeedSeq
    placement: Placement


class SubjectPage(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects in the order of their ids; `next` is the cursor of the page after this one."""

    subjects: tuple[Placement, ...]
    next: str | None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, rename={"from_state": "from", "to_state": "to"}):
    """One change: `number` counts from 1 within the subject, `at` is unix seconds of the database's clock."""

    number: int
    at: float
    actor: str
    reason: str
    from_state: State | None
    to_state: State
    epoch: Epoch


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    entries: tuple[HistoryEntry, ...]
    next: str | None

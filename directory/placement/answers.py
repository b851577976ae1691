"""Bodies of requests and answers about subjects, as they stand on the wire (JSON). Pure; shared with the command line."""

from typing import Annotated

import msgspec
from msgspec import Meta

from directory.placement.core import RESOLVE_BATCH_MAX, Placement, State
from directory.placement.provenance import Provenance
from foundation.words import Epoch, FeedSeq

WAIT_MS_MAX = 2_000
PAGE_MAX = 1_000
KEYS_MAX = 32
SERVICES_MAX = 32
TAGS_MAX = 32
CITIZENSHIPS_MAX = 8

# `$` of Python also matches before a last newline; the look-ahead makes it the end, there and in the dialect of JSON Schema.
_END = "$(?!\\n)"

Slug = Annotated[str, Meta(pattern="^[a-z][a-z0-9]*(-[a-z0-9]+)*" + _END, max_length=40)]
KeyText = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{32}" + _END)]
SubjectText = Annotated[str, Meta(min_length=36, max_length=36)]
Kid = Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,64}" + _END)]
"""The name of a blinding key."""
EpochNumber = Annotated[int, Meta(ge=1)]
CountryCode = Annotated[str, Meta(pattern="^[A-Z]{2}" + _END)]
SubdivisionCode = Annotated[str, Meta(pattern="^[A-Z]{2}-[A-Z0-9]{1,3}" + _END)]
"""ISO 3166-2."""
Tag = Annotated[str, Meta(pattern="^[^\\u0000-\\u001f\\u007f]+" + _END, max_length=100)]
"""A tag of the pack, or one of its aliases, which may be several words."""
Terms = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.:/-]*" + _END, max_length=64)]
Reason = Annotated[str, Meta(pattern="^[^\\u0000-\\u001f\\u007f]+" + _END, max_length=500)]
"""One line for the history, without control characters."""


class ResolveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either lookup keys or subject ids, not both."""

    keys: Annotated[tuple[KeyText, ...], Meta(min_length=1, max_length=RESOLVE_BATCH_MAX)] | None = None
    subjects: Annotated[tuple[SubjectText, ...], Meta(min_length=1, max_length=RESOLVE_BATCH_MAX)] | None = None


class ClaimedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A lookup key and what it stands for: `login`, `email`, …; `kid`: the blinding key that it was made under."""

    kind: Slug
    key: KeyText
    kid: Kid | None = None


class PlaceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A new subject. The directory chooses cell and shard from the rules; no caller names them.

    `residence` is the declared one; where there is a `verified_residence`, that decides. `subdivision`: the part of that country.
    `citizenships`: not stated = not asked, empty = none. `tags`: kinds of data kept of this person beyond what services declare.
    `terms`: an entry of policy's `[terms]`. `observed`: the country that the person's address points at; it raises a question and never
    decides.
    """

    residence: CountryCode
    services: Annotated[tuple[Slug, ...], Meta(min_length=1, max_length=SERVICES_MAX)]
    keys: Annotated[tuple[ClaimedKey, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    reason: Reason
    tags: Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)] = ()
    terms: Terms | None = None
    verified_residence: CountryCode | None = None
    subdivision: SubdivisionCode | None = None
    citizenships: Annotated[tuple[CountryCode, ...], Meta(max_length=CITIZENSHIPS_MAX)] | None = None
    observed: CountryCode | None = None


class AckRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cell has raised its fence to `epoch`."""

    epoch: EpochNumber


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`epoch` is the one that the caller holds; it may stand in `If-Match` instead."""

    reason: Reason
    epoch: EpochNumber | None = None


class ServicesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Services to place the subject for, beside those it was placed for; `epoch` as in ChangeRequest."""

    add: Annotated[tuple[Slug, ...], Meta(min_length=1, max_length=SERVICES_MAX)]
    reason: Reason
    epoch: EpochNumber | None = None


class PlacementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A placement as of a feed number."""

    as_of: FeedSeq
    placement: Placement


class PlacedAnswer(PlacementAnswer, frozen=True, kw_only=True):
    """The placement that was made, with the `questions` that did not decide but should be asked."""

    questions: tuple[str, ...] = ()


class SubjectPage(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects in the order of their ids; `next` is the cursor of the page after this one."""

    subjects: tuple[Placement, ...]
    next: str | None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, rename={"from_state": "from", "to_state": "to"}):
    """One change: `number` counts from 1 within the subject, `at` is unix seconds of the database's clock.

    `provenance`: of an entry that placed the subject, why there.
    """

    number: int
    at: float
    actor: str
    reason: str
    from_state: State | None
    to_state: State
    epoch: Epoch
    provenance: Provenance | None = None


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    entries: tuple[HistoryEntry, ...]
    next: str | None

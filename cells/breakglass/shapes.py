"""What calls of `/access` ask and answer."""

from typing import Annotated

import msgspec
from msgspec import Meta

from cells.breakglass.book import Grant
from cells.breakglass.steps import Exempted, Terms
from cells.breakglass.words import VERSIONS_MAX, Phase, Reason, Verdict
from directory.locks.core import LockCode
from foundation.words import CellId, ShardId

NOTE_CHARS_MAX = 8_192
PROOF_CHARS_MAX = 8_192
PEM_CHARS_MAX = 32_768


class AccessRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`on_call`: a signed statement of being on call; it makes the request an emergency, approved at once and told to everybody."""

    terms: Terms
    on_call: Annotated[str, Meta(max_length=PROOF_CHARS_MAX)] | None = None


class EditRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Approvals begin anew."""

    terms: Terms


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`version`: the one that was looked at."""

    version: Annotated[int, Meta(ge=1, le=VERSIONS_MAX)]


class ReasonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Reason


class ReviewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    verdict: Verdict
    note: Reason


class CertificateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`request`: a PKCS #10 request in PEM, signed by a P-256 key that stays with its engineer. `shard`: may be left out where the subjects
    live on one."""

    request: Annotated[str, Meta(max_length=PEM_CHARS_MAX)]
    shard: ShardId | None = None


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    certificate: Annotated[str, Meta(max_length=PEM_CHARS_MAX)]


class LockRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`person`: `engineer:<sub>`."""

    person: Annotated[str, Meta(max_length=128)]
    reason: Reason


class ExceptionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`note`: the signed exception (C2SP signed-note)."""

    note: Annotated[str, Meta(max_length=NOTE_CHARS_MAX)]


class GrantTold(msgspec.Struct, frozen=True, kw_only=True):
    """A request or grant, and where it stands at `at` (unix seconds). `review_overdue`: its review should have been."""

    at: float
    phase: Phase
    review_overdue: bool
    grant: Grant


class GrantList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    grants: tuple[GrantTold, ...]


class CertificateTold(msgspec.Struct, frozen=True, kw_only=True):
    """PEM both."""

    certificate: str
    authority: str
    told: GrantTold


class CheckTold(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate holds, for this grant, on this shard, until then (unix seconds)."""

    told: GrantTold
    shard: ShardId
    until: float


class LockTold(msgspec.Struct, frozen=True, kw_only=True):
    person: str
    by: str
    at: float
    reason: str


class LockElsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """A lock of another cell, or one of this cell that it lost by a restoration and that stands since. `digest`: SHA-256 of issuer and
    id, which is all that travels; `person`: whom this cell knows under it. `event`: the entry of that cell's ledger by which it stands.
    `review_overdue` stops the next emergency alone."""

    cell: CellId
    person: str | None
    digest: str
    code: LockCode
    at: float
    event: str


class LockFeed(msgspec.Struct, frozen=True, kw_only=True):
    """`age_s`: since other cells' locks were known to be all that stand, None where they are not known. `fresh`: that is not too long ago.
    `told`: the directory has taken what stands here. `kept`: how many locks stand that this cell lost by a restoration."""

    age_s: float | None
    fresh: bool
    told: bool
    kept: int


class LockList(msgspec.Struct, frozen=True, kw_only=True):
    """`locks`: this cell's own; `elsewhere`: other cells', as heard last, and what is kept of this one."""

    locks: tuple[LockTold, ...]
    elsewhere: tuple[LockElsewhere, ...]
    feed: LockFeed


class ExceptionTold(msgspec.Struct, frozen=True, kw_only=True):
    """`counts`: it has begun, not run out, and was not withdrawn."""

    exception: Exempted
    counts: bool


class ExceptionList(msgspec.Struct, frozen=True, kw_only=True):
    exceptions: tuple[ExceptionTold, ...]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay of the ledger must come to: so many steps, and the digest of the book after them."""

    steps: int
    digest: str


class AuthorityTold(msgspec.Struct, frozen=True, kw_only=True):
    """PEM."""

    authority: str

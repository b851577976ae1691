"""What happens to requests, grants, locks and exceptions: the entries of the cell's ledger from which everything else follows. Pure.

A step is recorded in the transaction that takes it. Its time and who took it stand with the event, what it says in the details.
"""

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from cells.breakglass.words import (
    MINUTES_USUAL,
    SUBJECTS_MAX,
    Digest,
    EngineerId,
    GrantId,
    Purpose,
    Reason,
    Rule,
    Subject,
    Ticket,
    Verdict,
)
from foundation.ledger.port import Event, Kind
from foundation.words import ActorId, Country, ShardId

KINDS = (Kind.GRANT, Kind.LOCK, Kind.EXCEPTION)


class Presence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where somebody is: observed at sign-in and declared with the request. `inside`: whether both lie in the data's jurisdiction, by the
    rules that held then; `home_inside`: the same of the home region."""

    home: Country | None
    observed: Country | None
    declared: Country | None
    inside: bool
    home_inside: bool

    @property
    def stands_inside(self) -> bool:
        """As an approver has to: there now, and at home there."""
        return self.inside and self.home_inside


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for: whose data, what for, on which ticket, for how long."""

    subjects: Annotated[tuple[Subject, ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]
    purpose: Purpose
    ticket: Ticket
    minutes: int = MINUTES_USUAL
    reason: Reason


class OnCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A verified proof of being on call: SHA-256 of the signed statement, and until when it says so."""

    digest: Digest
    until_us: int


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag=str.lower, forbid_unknown_fields=True):
    """One of those below."""


class Requested(Step, frozen=True, kw_only=True):
    """`needed`: approvals that it takes. `on_call`: an emergency."""

    grant: GrantId
    terms: Terms
    presence: Presence
    needed: int
    on_call: OnCall | None = None


class Edited(Step, frozen=True, kw_only=True):
    """The terms are others from now on, and approvals begin anew under the next version."""

    grant: GrantId
    version: int
    terms: Terms
    presence: Presence


class Approved(Step, frozen=True, kw_only=True):
    """One approval of one version. `exceptions`: the signed exceptions that it leans on."""

    grant: GrantId
    version: int
    presence: Presence
    exceptions: tuple[str, ...] = ()


class Denied(Step, frozen=True, kw_only=True):
    grant: GrantId
    reason: Reason


class Revoked(Step, frozen=True, kw_only=True):
    grant: GrantId
    reason: Reason


class Closed(Step, frozen=True, kw_only=True):
    """Its own engineer needs it no more."""

    grant: GrantId
    reason: Reason


class Intended(Step, frozen=True, kw_only=True):
    """A certificate is about to be signed. `key`: SHA-256 of the public key's SubjectPublicKeyInfo."""

    grant: GrantId
    serial: str
    key: Digest
    shard: ShardId
    presence: Presence
    from_us: int
    until_us: int


class Certified(Step, frozen=True, kw_only=True):
    """It was signed. `digest`: SHA-256 of its DER. `index`, `size`, `root`: where the entry of the approval stands in the cell's log."""

    grant: GrantId
    serial: str
    digest: Digest
    index: int
    size: int
    root: Digest


class Begun(Step, frozen=True, kw_only=True):
    """The certificate was shown to the cell for the first time."""

    grant: GrantId
    serial: str


class Reviewed(Step, frozen=True, kw_only=True):
    grant: GrantId
    verdict: Verdict
    note: Reason


class Paged(Step, frozen=True, kw_only=True):
    """An emergency was told to a webhook (by its number in settings), or could not be."""

    grant: GrantId
    webhook: int
    delivered: bool
    attempts: int


class Locked(Step, frozen=True, kw_only=True):
    person: EngineerId
    reason: Reason


class Unlocked(Step, frozen=True, kw_only=True):
    person: EngineerId
    reason: Reason


class Exempted(Step, frozen=True, kw_only=True):
    """A signed exception counts from now on. `owner`: whose key signed it."""

    exception: str
    owner: str
    rule: Rule
    engineer: EngineerId
    purposes: tuple[Purpose, ...]
    since_us: int
    until_us: int
    reason: Reason
    note: str


class Withdrawn(Step, frozen=True, kw_only=True):
    exception: str
    reason: Reason


AnyStep: TypeAlias = (
    Requested
    | Edited
    | Approved
    | Denied
    | Revoked
    | Closed
    | Intended
    | Certified
    | Begun
    | Reviewed
    | Paged
    | Locked
    | Unlocked
    | Exempted
    | Withdrawn
)


class Taken(msgspec.Struct, frozen=True):
    """A step, when and by whom it was taken: an engineer, or the cell's service itself."""

    at_us: int
    by: ActorId
    step: AnyStep


class MalformedStep(Exception):
    """Details of an event are none of the steps."""


def event_of(taken: Taken, event_id: str) -> Event:
    """As the ledger has it."""
    return Event(
        id=event_id,
        at=taken.at_us / 1_000_000,
        kind=_kind(taken.step),
        actor=taken.by,
        details=msgspec.to_builtins(taken.step),
    )


def read(at_us: int, actor: str, details: bytes) -> Taken:
    """The step that an outbox's row or an entry's payload holds. Raises MalformedStep."""
    try:
        step: Any = msgspec.json.decode(details, type=AnyStep)
    except msgspec.MsgspecError as exc:
        raise MalformedStep(f"no step of break-glass: {exc}") from exc
    return Taken(at_us, ActorId(actor), step)


def _kind(step: AnyStep) -> Kind:
    match step:
        case Locked() | Unlocked():
            return Kind.LOCK
        case Exempted() | Withdrawn():
            return Kind.EXCEPTION
        case _:
            return Kind.GRANT

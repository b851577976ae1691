"""What has happened so far, as values: requests and grants, locks, exceptions. A fold of steps; time is an argument. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from cells.breakglass.chaining import BEGINNING
from cells.breakglass.steps import Exempted, OnCall, Presence, Terms
from cells.breakglass.words import (
    APPROVED_US_MAX,
    ENDED,
    REQUESTED_US_MAX,
    REVIEW_US_MAX,
    EngineerId,
    GrantId,
    Phase,
    Purpose,
    Reason,
    Rule,
    Verdict,
)
from foundation.ledger.canonical import canonical
from foundation.words import ActorId, ShardId


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One approval. `inside`: its giver stood inside, or an exception lifts that; `alone`: an exception lets it count for all."""

    by: ActorId
    at_us: int
    inside: bool
    alone: bool
    exceptions: tuple[str, ...]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that was meant to be signed, and what became of it: `digest`, `index`, `size` and `root` are None until it was."""

    serial: str
    key: str
    shard: ShardId
    presence: Presence
    from_us: int
    until_us: int
    digest: str | None = None
    index: int | None = None
    size: int | None = None
    root: str | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended before its time."""

    phase: Phase
    by: ActorId
    at_us: int
    reason: Reason


class Review(msgspec.Struct, frozen=True, kw_only=True):
    by: ActorId
    at_us: int
    verdict: Verdict
    note: Reason


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and the grant that it became. `steps`: how many were taken. `approved_at_us`, `approval`: when the last approval that it
    took was given, and which step that was: the entry that certificates name."""

    id: GrantId
    engineer: EngineerId
    requested_at_us: int
    terms: Terms
    presence: Presence
    needed: int
    on_call: OnCall | None
    version: int = 1
    steps: int = 1
    votes: tuple[Vote, ...] = ()
    approved_at_us: int | None = None
    approval: int | None = None
    intents: tuple[Intent, ...] = ()
    until_us: int | None = None
    begun_at_us: int | None = None
    end: End | None = None
    review: Review | None = None
    paged: tuple[int, ...] = ()

    @property
    def emergency(self) -> bool:
        return self.on_call is not None

    @property
    def from_inside(self) -> bool:
        """Whether somebody who stands inside has approved it, or an exception stands in for that."""
        return any(vote.inside for vote in self.votes)

    @property
    def enough(self) -> bool:
        """Whether the approvals suffice: as many as it takes, and from outside one of them from inside. An emergency takes its own."""
        many = len(self.votes) >= self.needed or any(vote.alone for vote in self.votes)
        return bool(self.votes) and many and (self.presence.inside or self.emergency or self.from_inside)

    def phase(self, at_us: int) -> Phase:
        """Total: what nobody ended runs out by itself."""
        if self.end is not None:
            return self.end.phase
        if self.until_us is not None:
            running = Phase.CERTIFIED if self.begun_at_us is None else Phase.ACTIVE
            return running if at_us < self.until_us else Phase.EXPIRED
        if self.approved_at_us is not None:
            return Phase.APPROVED if at_us < self.approved_at_us + APPROVED_US_MAX else Phase.EXPIRED
        return Phase.REQUESTED if at_us < self.requested_at_us + REQUESTED_US_MAX else Phase.EXPIRED

    def intent(self, serial: str) -> Intent | None:
        return next((one for one in self.intents if one.serial == serial), None)

    def review_due_us(self) -> int | None:
        """Until when an emergency has to be reviewed; None where there is nothing to review, or it was."""
        if not self.emergency or self.approved_at_us is None or self.review is not None:
            return None
        return self.approved_at_us + REVIEW_US_MAX


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """`number`: of its step among those that lock and unlock."""

    number: int
    by: ActorId
    at_us: int
    reason: Reason


class Book(msgspec.Struct, kw_only=True):
    """Changed by `cells.breakglass.core.take` alone. `at_us`: the time of the last step; `locking`: how often somebody was locked or
    unlocked, `unlocked`: when each person was last; `chain`: digests of the first one, two, … steps by which locks stand and fall. `own`,
    `serials`: whose grants are which, and under which grant a serial number was intended."""

    grants: dict[GrantId, Grant] = {}
    locks: dict[EngineerId, Lock] = {}
    exceptions: dict[str, Exempted] = {}
    withdrawn: dict[str, Reason] = {}
    at_us: int = 0
    locking: int = 0
    unlocked: dict[EngineerId, int] = {}
    chain: list[str] = []
    own: dict[str, list[GrantId]] = {}
    serials: dict[str, GrantId] = {}

    @property
    def head(self) -> str:
        """The digest of all steps by which locks stood and fell."""
        return self.chain[-1] if self.chain else BEGINNING

    def begins(self, steps: int) -> str | None:
        """The digest of so many first ones of them; None where there are fewer."""
        if steps > len(self.chain):
            return None
        return self.chain[steps - 1] if steps else BEGINNING

    def of(self, engineer: str) -> Iterable[Grant]:
        return (self.grants[one] for one in self.own.get(engineer, ()))

    def intended(self, serial: str) -> tuple[Grant, Intent] | None:
        """The grant under which a serial number was intended, and its part there."""
        grant = self.grants.get(self.serials.get(serial, GrantId("")))
        intent = None if grant is None else grant.intent(serial)
        return None if grant is None or intent is None else (grant, intent)

    def open_of(self, engineer: str, at_us: int) -> int:
        """How many of an engineer's requests and grants have not ended."""
        return sum(grant.phase(at_us) not in ENDED for grant in self.of(engineer))

    def overdue(self, engineer: str, at_us: int) -> bool:
        """Whether an emergency of the engineer waits for its review longer than it may."""
        dues = (grant.review_due_us() for grant in self.of(engineer))
        return any(due is not None and at_us >= due for due in dues)

    def exempts(self, exception: str, rule: Rule, engineer: EngineerId, purpose: Purpose, at_us: int) -> bool:
        """Whether a signed exception lifts `rule` for this engineer and purpose now."""
        held = self.exceptions.get(exception)
        if held is None or exception in self.withdrawn or held.rule is not rule:
            return False
        return held.engineer == engineer and purpose in held.purposes and held.since_us <= at_us < held.until_us

    def exception_for(self, rule: Rule, engineer: EngineerId, purpose: Purpose, at_us: int) -> str | None:
        """The first exception that does."""
        return next((one for one in self.exceptions if self.exempts(one, rule, engineer, purpose, at_us)), None)

    def digest(self) -> str:
        """SHA-256 over everything in it: two books that tell the same have one digest."""
        return hashlib.sha256(canonical(msgspec.to_builtins(self))).hexdigest()

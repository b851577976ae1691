"""Why a step is not taken: a closed list with stable text. Pure."""

import enum
from typing import NamedTuple

from cells.breakglass.words import (
    CERTIFICATES_MAX,
    DAY_US,
    EMERGENCY_MINUTES_MAX,
    EXCEPTION_US_MAX,
    LOCKED_MAX,
    MINUTES_MAX,
    OPEN_MAX,
    SUBJECTS_MAX,
)
from foundation.problems import Code, Problem, ProblemError


class Why(enum.StrEnum):
    """The value is what clients see in `reason`."""

    UNKNOWN = "unknown"
    KNOWN = "known"
    EARLIER = "earlier"
    LOCKED = "locked"
    LOCKED_ELSEWHERE = "locked_elsewhere"
    LOCKS_STALE = "locks_stale"
    NOT_LOCKED = "not_locked"
    NOT_OWN = "not_own"
    OWN = "own"
    PHASE = "phase"
    VERSION = "version"
    VOTED = "voted"
    BOUNDS = "bounds"
    TOO_MANY = "too_many"
    EMERGENCY = "emergency"
    NOT_ON_CALL = "not_on_call"
    REVIEW_OVERDUE = "review_overdue"
    REVIEWED = "reviewed"
    OUTSIDE = "outside"
    EXCEPTION = "exception"
    SERIAL = "serial"
    TIME_BOX = "time_box"
    POLICY = "policy"
    TICKET = "ticket"
    SUBJECTS = "subjects"
    NO_PROOF = "no_proof"


_TOLD: dict[Why, tuple[Code, str]] = {
    Why.UNKNOWN: (Code.NOT_FOUND, "there is no such request, grant or exception in this cell"),
    Why.KNOWN: (Code.CONFLICT, "that is recorded already"),
    Why.EARLIER: (Code.NOT_READY, "the clock is behind what was recorded last; try again"),
    Why.LOCKED: (Code.FORBIDDEN, "this person is locked; whoever has the role security can lift that"),
    Why.LOCKED_ELSEWHERE: (
        Code.FORBIDDEN,
        "this person is locked in another cell, or was in this one before it was restored",
    ),
    Why.LOCKS_STALE: (
        Code.NOT_READY,
        "other cells' locks were not heard of for more than 5 s, so nothing is granted but emergencies",
    ),
    Why.NOT_LOCKED: (Code.CONFLICT, "this person is not locked here; a lock is lifted in the cell that made it"),
    Why.NOT_OWN: (Code.FORBIDDEN, "only its own engineer may do that"),
    Why.OWN: (Code.FORBIDDEN, "nobody decides about what is their own"),
    Why.PHASE: (
        Code.CONFLICT,
        "where it stands now does not allow that; look at its phase, and ask anew where it has ended",
    ),
    Why.VERSION: (Code.PRECONDITION_FAILED, "it was edited meanwhile; look at the version that holds"),
    Why.VOTED: (Code.CONFLICT, "this person has approved it already; it takes somebody else"),
    Why.BOUNDS: (
        Code.BAD_REQUEST,
        (
            f"1 to {MINUTES_MAX} minutes, {EMERGENCY_MINUTES_MAX} in an emergency, and 1 to {SUBJECTS_MAX} subjects, each once; "
            f"an exception ends later than now, at most {EXCEPTION_US_MAX // DAY_US} days after it began"
        ),
    ),
    Why.TOO_MANY: (
        Code.CONFLICT,
        f"at most {OPEN_MAX} open requests of an engineer, {CERTIFICATES_MAX} certificates of a grant, {LOCKED_MAX} locked persons",
    ),
    Why.EMERGENCY: (Code.CONFLICT, "an emergency is not approved or edited by hand; another one is no emergency"),
    Why.NOT_ON_CALL: (Code.FORBIDDEN, "an emergency takes a valid proof of being on call, of whoever asks"),
    Why.REVIEW_OVERDUE: (
        Code.FORBIDDEN,
        "a review of this person's last emergency is overdue; let somebody review it first",
    ),
    Why.REVIEWED: (Code.CONFLICT, "it was reviewed, or there is nothing to review"),
    Why.OUTSIDE: (
        Code.FORBIDDEN,
        "from outside the data's jurisdiction it takes an approval of somebody who is and lives inside",
    ),
    Why.EXCEPTION: (Code.FORBIDDEN, "the exception does not hold here"),
    Why.SERIAL: (Code.CONFLICT, "no certificate of this serial number was intended, or it was signed already"),
    Why.TIME_BOX: (Code.CONFLICT, "that lies outside the time box of the grant; ask anew"),
    Why.POLICY: (Code.FORBIDDEN, "a rule of policy forbids that"),
    Why.TICKET: (Code.CONFLICT, "the ticket is not open; name one that is"),
    Why.SUBJECTS: (Code.NOT_FOUND, "not all of these subjects have their home on that shard of this cell"),
    Why.NO_PROOF: (
        Code.NOT_READY,
        "the entry of the approval does not stand in a signed checkpoint; no proof, no certificate",
    ),
}


_PERMITTED_BY_NONE = "no rule of policy permits that: it takes another role, or is its own engineer's"


class Refused(NamedTuple):
    """`rules`: the rules of policy that refused, by their ids; none where none permits it."""

    why: Why
    rules: tuple[str, ...] = ()

    def problem(self) -> Problem:
        code, text = _TOLD[self.why]
        extra: dict[str, object] = {"reason": self.why.value}
        if self.rules:
            extra["rules"] = list(self.rules)
        elif self.why is Why.POLICY:
            text = _PERMITTED_BY_NONE
        retry = 1 if code is Code.NOT_READY else None
        return Problem(code=code, detail=text, extra=extra, retry_after_s=retry)

    def error(self) -> ProblemError:
        return ProblemError(self.problem())

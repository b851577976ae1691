"""The words of break-glass, and its bounds. Pure.

A **request** becomes a **grant** once it is approved; both have one id and one life. Times are microseconds since 1970, as the ledger has
them.
"""

import enum
import re
from typing import Annotated, NewType

from msgspec import Meta

from foundation.words import ActorId, MalformedWord

GrantId = NewType("GrantId", str)
"""32 hex digits by chance. A request keeps it when it becomes a grant."""

EngineerId = NewType("EngineerId", ActorId)
"""`engineer:<sub>` of the one issuer that engineers sign in at: one person, one id."""

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

MINUTES_USUAL = 15
MINUTES_MAX = 60
EMERGENCY_MINUTES_MAX = 30
REQUESTED_US_MAX = DAY_US
"""How long a request waits for approval."""
APPROVED_US_MAX = HOUR_US
"""How long an approved one waits for its first certificate."""
REVIEW_US_MAX = DAY_US
"""How long after an emergency its review is due."""
EXCEPTION_US_MAX = 30 * DAY_US
SUBJECTS_MAX = 100
NEEDED_MAX = 9
"""Approvals that settings may ask for."""
OPEN_MAX = 20
"""Requests and grants of one engineer that have not ended."""
VERSIONS_MAX = 100
"""Edits of one request."""
CERTIFICATES_MAX = 5
"""Intents to sign under one grant: a certificate that got lost is made anew, inside the same time box."""
APART_S_MAX = MINUTES_MAX * 60
"""So much later than one certificate of a grant another may end. None ends later than the first that was signed, and that one within
MINUTES_MAX of its signing, when those that are signed after it have not run out.
"""
LOCKED_MAX = 1_000
"""Persons who are locked in one cell."""
PAGES_MAX = 8
"""Webhooks that an emergency is told to."""

_SUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@|-]{0,99}\Z")
_GRANT = re.compile(r"[0-9a-f]{32}\Z")

Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Ticket = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$(?!\n)")]
Subject = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$(?!\n)")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


class Purpose(enum.StrEnum):
    """What access may be for. The list is closed: another purpose is a change of this product, and of the policy beside it."""

    DEBUGGING = "debugging"
    INCIDENT = "incident"
    SUPPORT = "support"
    REPAIR = "repair"
    AUDIT = "audit"
    LEGAL = "legal"


class Phase(enum.StrEnum):
    """Where a request or grant stands at a time."""

    REQUESTED = "requested"
    APPROVED = "approved"
    CERTIFIED = "certified"
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DENIED = "denied"
    CLOSED = "closed"


GRANTED = frozenset({Phase.APPROVED, Phase.CERTIFIED, Phase.ACTIVE})
ENDED = frozenset({Phase.EXPIRED, Phase.REVOKED, Phase.DENIED, Phase.CLOSED})


class Rule(enum.StrEnum):
    """What a signed exception may lift, and nothing else."""

    INSIDE_APPROVER = "inside_approver"
    SECOND_APPROVER = "second_approver"


class Verdict(enum.StrEnum):
    """What a review of an emergency finds."""

    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not_justified"


def engineer_of(sub: str) -> EngineerId:
    """Raises MalformedWord."""
    if not _SUB.match(sub):
        raise MalformedWord("an engineer's sub is up to 100 letters, digits and . _ @ | -")
    return EngineerId(ActorId(f"engineer:{sub}"))


def parse_engineer(text: str) -> EngineerId:
    """Raises MalformedWord."""
    prefix, _, sub = text.partition(":")
    if prefix != "engineer":
        raise MalformedWord("an engineer's id is engineer:<sub>")
    return engineer_of(sub)


def parse_grant(text: str) -> GrantId:
    """Raises MalformedWord."""
    if not _GRANT.match(text):
        raise MalformedWord("a grant's id is 32 hex digits")
    return GrantId(text)

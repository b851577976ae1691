"""Approvals, denials, ends and reviews: what somebody decides of a grant. Pure; called by `cells.breakglass.core.take` alone."""

from typing import assert_never

import msgspec

from cells.breakglass.book import Book, End, Grant, Review, Vote
from cells.breakglass.refusals import Refused, Why
from cells.breakglass.steps import Approved, Closed, Denied, Reviewed, Revoked, Taken
from cells.breakglass.words import GRANTED, Phase, Rule


def approved(book: Book, grant: Grant, phase: Phase, taken: Taken, step: Approved) -> Grant | Refused:
    if phase is not Phase.REQUESTED:
        return Refused(Why.PHASE)
    if grant.engineer in book.locks:
        return Refused(Why.LOCKED)
    if grant.emergency and taken.by != grant.engineer:
        return Refused(Why.EMERGENCY)
    if not grant.emergency and taken.by == grant.engineer:
        return Refused(Why.OWN)
    if step.version != grant.version:
        return Refused(Why.VERSION)
    if any(vote.by == taken.by for vote in grant.votes):
        return Refused(Why.VOTED)
    lifted = {rule for rule in Rule if _lifts(book, grant, rule, step, taken.at_us)}
    if len(lifted) != len(step.exceptions):
        return Refused(Why.EXCEPTION)
    vote = Vote(
        by=taken.by,
        at_us=taken.at_us,
        inside=step.presence.stands_inside or Rule.INSIDE_APPROVER in lifted,
        alone=Rule.SECOND_APPROVER in lifted or grant.emergency,
        exceptions=step.exceptions,
    )
    voted = msgspec.structs.replace(grant, votes=(*grant.votes, vote))
    if not voted.enough:
        return voted
    return msgspec.structs.replace(voted, approved_at_us=taken.at_us, approval=grant.steps)


def _lifts(book: Book, grant: Grant, rule: Rule, step: Approved, at_us: int) -> bool:
    return any(book.exempts(one, rule, grant.engineer, grant.terms.purpose, at_us) for one in step.exceptions)


def ended(grant: Grant, phase: Phase, taken: Taken, step: Denied | Revoked | Closed) -> Grant | Refused:
    own = taken.by == grant.engineer
    match step:
        case Denied():
            if own:
                return Refused(Why.OWN)
            allows, becomes = phase in (Phase.REQUESTED, Phase.APPROVED), Phase.DENIED
        case Revoked():
            allows, becomes = phase in GRANTED, Phase.REVOKED
        case Closed():
            if not own:
                return Refused(Why.NOT_OWN)
            allows, becomes = phase is Phase.REQUESTED or phase in GRANTED, Phase.CLOSED
        case _:
            assert_never(step)
    if not allows:
        return Refused(Why.PHASE)
    end = End(phase=becomes, by=taken.by, at_us=taken.at_us, reason=step.reason)
    return msgspec.structs.replace(grant, end=end)


def reviewed(grant: Grant, taken: Taken, step: Reviewed) -> Grant | Refused:
    if taken.by == grant.engineer:
        return Refused(Why.OWN)
    if grant.review_due_us() is None:
        return Refused(Why.REVIEWED)
    review = Review(by=taken.by, at_us=taken.at_us, verdict=step.verdict, note=step.note)
    return msgspec.structs.replace(grant, review=review)

"""The state machine of break-glass: may this step be taken now, and what holds after it. Pure and total.

Rules that it keeps, whoever asks and whatever policy says:
- Time does not go back. A locked person takes no step, and nothing is approved or signed for one.
- Nobody approves, denies or reviews what is their own, and nobody approves a version twice. An edit begins anew.
- A request from outside takes an approval from inside. Only an emergency is approved by its own engineer: on call, at most 30 minutes,
  not while a review of an earlier one is overdue.
- A certificate follows an intent, ends with the grant, and starts its time box, which nothing extends.
- What has ended stays ended.
"""

import msgspec

from cells.breakglass import certifying, deciding
from cells.breakglass.book import Book, Grant, Lock
from cells.breakglass.chaining import linked
from cells.breakglass.refusals import Refused, Why
from cells.breakglass.steps import (
    AnyStep,
    Approved,
    Begun,
    Certified,
    Closed,
    Denied,
    Edited,
    Exempted,
    Intended,
    Locked,
    Paged,
    Requested,
    Reviewed,
    Revoked,
    Taken,
    Terms,
    Unlocked,
    Withdrawn,
)
from cells.breakglass.words import (
    EMERGENCY_MINUTES_MAX,
    EXCEPTION_US_MAX,
    MINUTES_MAX,
    NEEDED_MAX,
    OPEN_MAX,
    PAGES_MAX,
    SUBJECTS_MAX,
    VERSIONS_MAX,
    EngineerId,
    Phase,
)


def take(book: Book, taken: Taken) -> Refused | None:
    """None when the step holds, and the book says so from then on; else why not, and the book is as it was."""
    if taken.at_us < book.at_us:
        return Refused(Why.EARLIER)
    if taken.by in book.locks:
        return Refused(Why.LOCKED)
    match taken.step:
        case Requested():
            refused = _request(book, taken, taken.step)
        case Locked() | Unlocked():
            refused = _lock(book, taken, taken.step)
        case Exempted() | Withdrawn():
            refused = _exempt(book, taken, taken.step)
        case step:
            grant = book.grants.get(step.grant)
            changed = Refused(Why.UNKNOWN) if grant is None else _changed(book, grant, taken)
            if isinstance(changed, Refused):
                return changed
            book.grants[changed.id] = msgspec.structs.replace(changed, steps=changed.steps + 1)
            if isinstance(step, Intended):
                book.serials[step.serial] = step.grant
            refused = None
    if refused is None:
        book.at_us = taken.at_us
        about = _about(book, taken.step)
        if about is not None:
            book.chain.append(linked(book.head, taken, about))
    return refused


def _about(book: Book, step: AnyStep) -> str | None:
    """Whom or what a step is about by which a lock stands or falls: of a person, or of an emergency whose review may be overdue."""
    match step:
        case Locked() | Unlocked():
            return step.person
        case Approved() | Reviewed() if book.grants[step.grant].emergency:
            return step.grant
        case _:
            return None


def _changed(book: Book, grant: Grant, taken: Taken) -> Grant | Refused:
    """The grant after a step of its own."""
    phase = grant.phase(taken.at_us)
    match taken.step:
        case Edited() as step:
            return _edited(grant, phase, taken, step)
        case Approved() as step:
            return deciding.approved(book, grant, phase, taken, step)
        case Denied() | Revoked() | Closed() as step:
            return deciding.ended(grant, phase, taken, step)
        case Intended() as step:
            return certifying.intended(book, grant, phase, taken, step)
        case Certified() as step:
            return certifying.certified(book, grant, phase, taken, step)
        case Begun() as step:
            return certifying.begun(book, grant, phase, taken, step)
        case Reviewed() as step:
            return deciding.reviewed(grant, taken, step)
        case Paged() as step:
            return _paged(grant, step)
        case _:
            return Refused(Why.UNKNOWN)


def _paged(grant: Grant, step: Paged) -> Grant | Refused:
    if not grant.emergency or not 0 <= step.webhook < PAGES_MAX:
        return Refused(Why.BOUNDS)
    if step.webhook in grant.paged:
        return Refused(Why.KNOWN)
    return msgspec.structs.replace(grant, paged=(*grant.paged, step.webhook))


# --- asking ------------------------------------------------------------------------------------------------------------------


def _request(book: Book, taken: Taken, step: Requested) -> Refused | None:
    engineer, at_us = EngineerId(taken.by), taken.at_us
    if step.grant in book.grants:
        return Refused(Why.KNOWN)
    emergency = step.on_call is not None
    if not _bounded(step.terms, emergency=emergency) or not 1 <= step.needed <= NEEDED_MAX:
        return Refused(Why.BOUNDS)
    if book.open_of(engineer, at_us) >= OPEN_MAX:
        return Refused(Why.TOO_MANY)
    if step.on_call is not None:
        if step.on_call.until_us <= at_us:
            return Refused(Why.NOT_ON_CALL)
        if book.overdue(engineer, at_us):
            return Refused(Why.REVIEW_OVERDUE)
    book.own.setdefault(engineer, []).append(step.grant)
    book.grants[step.grant] = Grant(
        id=step.grant,
        engineer=engineer,
        requested_at_us=at_us,
        terms=step.terms,
        presence=step.presence,
        needed=step.needed,
        on_call=step.on_call,
    )
    return None


def _bounded(terms: Terms, *, emergency: bool) -> bool:
    minutes_max = EMERGENCY_MINUTES_MAX if emergency else MINUTES_MAX
    few = 1 <= len(terms.subjects) <= SUBJECTS_MAX and len(set(terms.subjects)) == len(terms.subjects)
    return few and 1 <= terms.minutes <= minutes_max


def _edited(grant: Grant, phase: Phase, taken: Taken, step: Edited) -> Grant | Refused:
    if taken.by != grant.engineer:
        return Refused(Why.NOT_OWN)
    if grant.emergency:
        return Refused(Why.EMERGENCY)
    # What was certified is somebody's access by now, also where the certificate was only meant to be signed.
    if phase not in (Phase.REQUESTED, Phase.APPROVED) or grant.intents:
        return Refused(Why.PHASE)
    if step.version != grant.version + 1 or step.version > VERSIONS_MAX:
        return Refused(Why.VERSION)
    if not _bounded(step.terms, emergency=False):
        return Refused(Why.BOUNDS)
    return msgspec.structs.replace(
        grant,
        terms=step.terms,
        presence=step.presence,
        version=step.version,
        votes=(),
        approved_at_us=None,
        approval=None,
    )


# --- locks and exceptions ----------------------------------------------------------------------------------------------------


def _lock(book: Book, taken: Taken, step: Locked | Unlocked) -> Refused | None:
    held = step.person in book.locks
    if isinstance(step, Locked):
        if held:
            return Refused(Why.KNOWN)
        book.locks[step.person] = Lock(number=book.locking, by=taken.by, at_us=taken.at_us, reason=step.reason)
    elif not held:
        return Refused(Why.NOT_LOCKED)
    else:
        del book.locks[step.person]
        book.unlocked[step.person] = taken.at_us
    book.locking += 1
    return None


def _exempt(book: Book, taken: Taken, step: Exempted | Withdrawn) -> Refused | None:
    if isinstance(step, Withdrawn):
        if step.exception not in book.exceptions or step.exception in book.withdrawn:
            return Refused(Why.UNKNOWN)
        book.withdrawn[step.exception] = step.reason
        return None
    if step.exception in book.exceptions:
        return Refused(Why.KNOWN)
    spans = 0 < step.until_us - step.since_us <= EXCEPTION_US_MAX and taken.at_us < step.until_us
    if not spans or not step.purposes or not step.owner:
        return Refused(Why.BOUNDS)
    if taken.by == step.engineer:
        return Refused(Why.OWN)
    book.exceptions[step.exception] = step
    return None

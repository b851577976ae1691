"""Requests, approvals and ends: facts first (ticket, homes, who is on call), then one decision by policy and state machine, recorded."""

import secrets
from collections.abc import Callable, Sequence

from cells.breakglass.book import Book, Grant
from cells.breakglass.exceptions import ExceptionRefused, opened
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks import barring
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.policy import AccessPolicy, Denied, Person
from cells.breakglass.refusals import Refused, Why
from cells.breakglass.steps import (
    AnyStep,
    Approved,
    Closed,
    Edited,
    Exempted,
    Locked,
    OnCall,
    Requested,
    Reviewed,
    Revoked,
    Terms,
    Unlocked,
    Withdrawn,
)
from cells.breakglass.steps import Denied as DeniedStep
from cells.breakglass.tickets import Tracker
from cells.breakglass.words import LOCKED_MAX, EngineerId, GrantId, Reason, Rule, Verdict
from cells.service.context import Context
from directory.placement.core import State
from foundation import logs
from foundation.ledger.notes import Verifier
from foundation.problems import Code, refuse
from foundation.words import MalformedWord, ShardId, parse_subject_id

log = logs.get(__name__)

_AT_HOME = (State.ACTIVE, State.FROZEN)
_GIVING = frozenset({"approve", "certify"})
"""What is done for a grant's engineer, who must not be locked anywhere."""


class Desk:
    """One cell's. `approvals`: how many a request takes; `owners`: whose exceptions count. `alarm`: told of an emergency; `spread`: of what
    makes or lifts a lock. Each call raises ProblemError."""

    def __init__(
        self,
        *,
        context: Context,
        keeper: Keeper,
        policy: AccessPolicy,
        tracker: Tracker,
        approvals: int,
        owners: Sequence[Verifier],
        alarm: Callable[[], None],
        elsewhere: Elsewhere,
        spread: Callable[[], None],
    ) -> None:
        self._context = context
        self._keeper = keeper
        self._policy = policy
        self._tracker = tracker
        self._approvals = approvals
        self._owners = owners
        self._alarm = alarm
        self._elsewhere = elsewhere
        self._spread = spread

    async def request(self, person: Person, terms: Terms, on_call: OnCall | None) -> Grant:
        """`on_call` makes it an emergency: approved by its own engineer at once, and told to everybody."""
        await self.ready(terms)
        grant = GrantId(secrets.token_hex(16))

        def decide(book: Book, at_us: int) -> Sequence[AnyStep] | Refused:
            barred = self._barred(person, "request", book, emergency=on_call is not None)
            if barred is not None:
                return barred
            denied = self._policy.request(person, terms.purpose, on_call=on_call is not None)
            if denied is not None:
                return _refused(denied)
            if on_call is not None and self._elsewhere.overdue(person.id):
                return Refused(Why.REVIEW_OVERDUE)
            asked = Requested(
                grant=grant,
                terms=terms,
                presence=person.presence,
                needed=1 if on_call else self._approvals,
                on_call=on_call,
            )
            own = Approved(grant=grant, version=1, presence=person.presence)
            return (asked,) if on_call is None else (asked, own)

        book = await self._keeper.act(person.id, decide)
        if on_call is not None:
            log.warning("access_emergency", actor=person.id)
            self._alarm()
        return book.grants[grant]

    async def edit(self, person: Person, grant: GrantId, terms: Terms) -> Grant:
        await self.ready(terms)

        def step(held: Grant, _book: Book, _at_us: int) -> AnyStep:
            return Edited(grant=grant, version=held.version + 1, terms=terms, presence=person.presence)

        return await self.about(person, "edit", grant, step)

    async def approve(self, person: Person, grant: GrantId, version: int) -> Grant:
        """Leans on the signed exceptions that stand for its engineer and purpose, where it needs them."""

        def step(held: Grant, book: Book, at_us: int) -> AnyStep:
            needs = _lifted(held, person)
            found = [book.exception_for(rule, held.engineer, held.terms.purpose, at_us) for rule in needs]
            leans = tuple(one for one in found if one is not None)
            return Approved(grant=grant, version=version, presence=person.presence, exceptions=leans)

        return await self.about(person, "approve", grant, step)

    async def deny(self, person: Person, grant: GrantId, reason: Reason) -> Grant:
        return await self.about(person, "deny", grant, lambda *_: DeniedStep(grant=grant, reason=reason))

    async def revoke(self, person: Person, grant: GrantId, reason: Reason) -> Grant:
        return await self.about(person, "revoke", grant, lambda *_: Revoked(grant=grant, reason=reason))

    async def close(self, person: Person, grant: GrantId, reason: Reason) -> Grant:
        return await self.about(person, "close", grant, lambda *_: Closed(grant=grant, reason=reason))

    async def review(self, person: Person, grant: GrantId, verdict: Verdict, note: Reason) -> Grant:
        step = Reviewed(grant=grant, verdict=verdict, note=note)
        reviewed = await self.about(person, "review", grant, lambda *_: step)
        self._spread()
        return reviewed

    async def lock(self, person: Person, other: EngineerId, reason: Reason) -> Book:
        locked = await self._upon(person, "lock", Locked(person=other, reason=reason), other)
        self._spread()
        return locked

    async def unlock(self, person: Person, other: EngineerId, reason: Reason) -> Book:
        unlocked = await self._upon(person, "unlock", Unlocked(person=other, reason=reason), other)
        self._spread()
        return unlocked

    async def exempt(self, person: Person, note: str) -> Exempted:
        try:
            step = opened(note, self._owners, self._context.cell)
        except ExceptionRefused as exc:
            raise refuse(Code.FORBIDDEN, str(exc), reason=Why.EXCEPTION.value) from exc
        await self._upon(person, "exempt", step, step.engineer)
        return step

    async def withdraw(self, person: Person, exception: str, reason: Reason) -> Book:
        return await self._upon(person, "withdraw", Withdrawn(exception=exception, reason=reason), None)

    def may(self, person: Person, action: str) -> bool:
        """Whether policy lets the person look at what is everybody's: list, report, audit_roles."""
        return self._policy.upon(person, action) is None

    async def looked(self, person: Person) -> tuple[Book, int]:
        """The book and the time, for somebody who is not locked."""
        book, at_us = await self._keeper.book()
        barred = self._barred(person, "list", book)
        if barred is not None:
            raise barred.error()
        return book, at_us

    async def allowed(self, person: Person, action: str) -> tuple[Book, int]:
        """The same for somebody whom policy lets list, report or audit_roles."""
        denied = self._policy.upon(person, action)
        if denied is not None:
            raise _refused(denied).error()
        return await self.looked(person)

    async def shown(self, person: Person, grant: GrantId) -> Grant:
        book, _ = await self._keeper.book()
        held = self.permitted(person, "show", book, grant)
        if isinstance(held, Refused):
            raise held.error()
        return held

    async def about(
        self, person: Person, action: str, grant: GrantId, step: Callable[[Grant, Book, int], AnyStep]
    ) -> Grant:
        """One step of a grant, as policy lets the person take it."""

        def decide(book: Book, at_us: int) -> Sequence[AnyStep] | Refused:
            held = self.permitted(person, action, book, grant)
            return held if isinstance(held, Refused) else (step(held, book, at_us),)

        return (await self._keeper.act(person.id, decide)).grants[grant]

    def permitted(self, person: Person, action: str, book: Book, grant: GrantId) -> Grant | Refused:
        """The grant, where policy lets the person do that with it."""
        held = book.grants.get(grant)
        barred = self._barred(person, action, book, emergency=held is not None and held.emergency)
        if barred is not None:
            return barred
        if held is None:
            return Refused(Why.UNKNOWN)
        denied = self._policy.about(person, action, held)
        if denied is not None:
            return _refused(denied)
        far = barring.of_grant(self._elsewhere, held) if action in _GIVING else None
        return held if far is None else far

    async def ready(self, terms: Terms) -> dict[ShardId, int]:
        """The ticket is open and every subject at home here; how many on each shard."""
        shards: dict[ShardId, int] = {}
        for text in terms.subjects:
            try:
                home = self._context.known(parse_subject_id(text))
            except MalformedWord as exc:
                raise refuse(Code.BAD_REQUEST, str(exc)) from exc
            if home is None or home.state not in _AT_HOME:
                raise Refused(Why.SUBJECTS).error()
            shards[home.shard] = shards.get(home.shard, 0) + 1
        if not await self._tracker.is_open(terms.ticket):
            raise Refused(Why.TICKET).error()
        return shards

    async def _upon(self, person: Person, action: str, step: AnyStep, other: EngineerId | None) -> Book:
        def decide(book: Book, _at_us: int) -> Sequence[AnyStep] | Refused:
            denied = self._policy.upon(person, action, other)
            if denied is not None:
                return _refused(denied)
            barred = self._barred(person, action, book)
            if barred is not None:
                return barred
            full = isinstance(step, Locked) and len(book.locks) >= LOCKED_MAX
            return Refused(Why.TOO_MANY) if full else (step,)

        return await self._keeper.act(person.id, decide)

    def _barred(self, person: Person, action: str, book: Book, *, emergency: bool = False) -> Refused | None:
        """Why a lock of this cell or another, or others' silence, lets the person do nothing of the kind."""
        if person.id in book.locks:
            return Refused(Why.LOCKED)
        return barring.of_person(self._elsewhere, person, action, emergency=emergency)


def _lifted(held: Grant, person: Person) -> list[Rule]:
    """The rules that would have to be lifted for this approval to suffice."""
    needs = [] if held.presence.inside or person.presence.stands_inside else [Rule.INSIDE_APPROVER]
    return [*needs, Rule.SECOND_APPROVER] if held.needed > len(held.votes) + 1 else needs


def _refused(denied: Denied) -> Refused:
    return Refused(Why.POLICY, denied.rules)

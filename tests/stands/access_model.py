"""Break-glass as its rules read, a second time and slowly: a list of what happened, and questions asked of the whole list each time.

Shares with the product the shapes of steps, and nothing that decides. `Driver` draws steps that are often almost right, and holds the
product's answers against the model's after each.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from cells.breakglass.book import Book
from cells.breakglass.core import take
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
    OnCall,
    Paged,
    Presence,
    Requested,
    Reviewed,
    Revoked,
    Taken,
    Terms,
    Unlocked,
    Withdrawn,
)
from cells.breakglass.words import EngineerId, GrantId, Purpose, Rule, Verdict
from foundation.words import ActorId, Country, ShardId

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PEOPLE = tuple(EngineerId(ActorId(f"engineer:p{n}")) for n in range(4))
SUBJECTS = tuple(f"00000000-0000-0000-0000-00000000000{n}" for n in range(3))


class Model:
    """What was accepted, oldest first."""

    def __init__(self) -> None:
        self.past: list[Taken] = []

    def accepts(self, new: Taken) -> bool:
        """Whether the rules let it happen; it has happened then."""
        in_order = not self.past or self.past[-1].at_us <= new.at_us
        if not in_order or self.locked(new.by) or not self._fits(new, new.step):
            return False
        self.past.append(new)
        return True

    # --- questions -------------------------------------------------------------------------------------------------------

    def of(self, grant: str, *kinds: type) -> list[Taken]:
        return [one for one in self.past if getattr(one.step, "grant", None) == grant and isinstance(one.step, kinds)]

    def locked(self, person: str) -> bool:
        said = [one.step for one in self.past if isinstance(one.step, Locked | Unlocked) and one.step.person == person]
        return bool(said) and isinstance(said[-1], Locked)

    def asked(self, grant: str) -> Taken | None:
        found = self.of(grant, Requested)
        return found[0] if found else None

    def emergency(self, grant: str) -> bool:
        asked = self.asked(grant)
        return asked is not None and isinstance(asked.step, Requested) and asked.step.on_call is not None

    def holds(self, grant: str) -> tuple[Any, int]:
        """The last request or edit, and its version."""
        said = self.of(grant, Requested, Edited)
        return said[-1].step, len(said)

    def votes(self, grant: str) -> list[Taken]:
        version = self.holds(grant)[1]
        return [
            one for one in self.of(grant, Approved) if isinstance(one.step, Approved) and one.step.version == version
        ]

    def exempt(self, grant: str, names: tuple[str, ...], rule: Rule, at: int) -> bool:
        gone = {one.step.exception for one in self.past if isinstance(one.step, Withdrawn)}
        asked, terms = self.asked(grant), self.holds(grant)[0].terms
        assert asked is not None
        return any(
            isinstance(one.step, Exempted)
            and one.step.exception in names
            and one.step.exception not in gone
            and one.step.rule == rule
            and one.step.engineer == asked.by
            and terms.purpose in one.step.purposes
            and one.step.since_us <= at < one.step.until_us
            for one in self.past
        )

    def inside_vote(self, grant: str) -> bool:
        return any(
            isinstance(one.step, Approved)
            and (
                (one.step.presence.inside and one.step.presence.home_inside)
                or self._leant(grant, one, Rule.INSIDE_APPROVER)
            )
            for one in self.votes(grant)
        )

    def _leant(self, grant: str, vote: Taken, rule: Rule) -> bool:
        """Whether the exceptions of a vote lifted the rule when it was given."""
        before = Model()
        before.past = self.past[: self.past.index(vote)]
        return isinstance(vote.step, Approved) and before.exempt(grant, vote.step.exceptions, rule, vote.at_us)

    def approved_at(self, grant: str) -> int | None:
        """When the last vote came that it takes."""
        votes, asked, now = self.votes(grant), self.asked(grant), self.holds(grant)[0]
        assert asked is not None
        assert isinstance(asked.step, Requested)
        if not votes:
            return None
        if self.emergency(grant):
            return votes[-1].at_us
        many = len(votes) >= asked.step.needed or any(self._leant(grant, one, Rule.SECOND_APPROVER) for one in votes)
        return votes[-1].at_us if many and (now.presence.inside or self.inside_vote(grant)) else None

    def ends(self, grant: str) -> int | None:
        signed = self.of(grant, Certified)
        if not signed:
            return None
        return next(
            one.step.until_us
            for one in self.of(grant, Intended)
            if isinstance(one.step, Intended)
            and isinstance(signed[0].step, Certified)
            and one.step.serial == signed[0].step.serial
        )

    def phase(self, grant: str, at: int) -> str:
        for kind, name in ((Denied, "denied"), (Revoked, "revoked"), (Closed, "closed")):
            if self.of(grant, kind):
                return name
        ends, approved, asked = self.ends(grant), self.approved_at(grant), self.asked(grant)
        assert asked is not None
        if ends is not None:
            running = "active" if self.of(grant, Begun) else "certified"
            return running if at < ends else "expired"
        if approved is not None:
            return "approved" if at < approved + HOUR else "expired"
        return "requested" if at < asked.at_us + DAY else "expired"

    def granted(self, grant: str, at: int) -> bool:
        return self.phase(grant, at) in ("approved", "certified", "active")

    def overdue(self, person: str, at: int) -> bool:
        mine = [one.step.grant for one in self.past if isinstance(one.step, Requested) and one.by == person]
        return any(
            self.emergency(one)
            and not self.of(one, Reviewed)
            and (self.approved_at(one) is not None and at >= (self.approved_at(one) or 0) + DAY)
            for one in mine
        )

    # --- rules -----------------------------------------------------------------------------------------------------------

    def _fits(self, new: Taken, step: Any) -> bool:
        own_rules: dict[type, Callable[[Taken, Any], bool]] = {
            Requested: self._may_request,
            Locked: lambda _, lock: not self.locked(lock.person),
            Unlocked: lambda _, lock: self.locked(lock.person),
            Exempted: self._may_exempt,
            Withdrawn: self._may_withdraw,
        }
        rule = own_rules.get(type(step))
        if rule is not None:
            return rule(new, step)
        asked = self.asked(step.grant)
        if asked is None:
            return False
        phase, own = self.phase(step.grant, new.at_us), new.by == asked.by
        if isinstance(step, Edited):
            again = phase in ("requested", "approved") and not self.of(step.grant, Intended)
            return own and again and not self.emergency(step.grant) and self._next(step) and _terms_fit(step.terms, 60)
        if isinstance(step, Approved):
            return phase == "requested" and self._may_approve(new, step, asked)
        if isinstance(step, Denied):
            return not own and phase in ("requested", "approved")
        if isinstance(step, Revoked):
            return self.granted(step.grant, new.at_us)
        if isinstance(step, Closed):
            return own and (phase == "requested" or self.granted(step.grant, new.at_us))
        if isinstance(step, Reviewed):
            waits = self.emergency(step.grant) and self.approved_at(step.grant) is not None
            return not own and waits and not self.of(step.grant, Reviewed)
        if isinstance(step, Paged):
            told = {one.step.webhook for one in self.of(step.grant, Paged) if isinstance(one.step, Paged)}
            return self.emergency(step.grant) and 0 <= step.webhook < 8 and step.webhook not in told
        return self.granted(step.grant, new.at_us) and self._may_hold(new, step, asked)

    def _next(self, step: Edited) -> bool:
        return step.version == self.holds(step.grant)[1] + 1

    def _may_request(self, new: Taken, step: Requested) -> bool:
        mine = [one.step.grant for one in self.past if isinstance(one.step, Requested) and one.by == new.by]
        alive = ("requested", "approved", "certified", "active")
        if self.asked(step.grant) is not None or sum(self.phase(one, new.at_us) in alive for one in mine) >= 20:
            return False
        if step.on_call is None:
            return _terms_fit(step.terms, 60) and 1 <= step.needed <= 9
        ready = step.on_call.until_us > new.at_us and not self.overdue(new.by, new.at_us)
        return ready and _terms_fit(step.terms, 30) and 1 <= step.needed <= 9

    def _may_approve(self, new: Taken, step: Approved, asked: Taken) -> bool:
        own = new.by == asked.by
        if self.locked(asked.by) or own != self.emergency(step.grant) or step.version != self.holds(step.grant)[1]:
            return False
        if any(one.by == new.by for one in self.votes(step.grant)):
            return False
        lifted = [rule for rule in Rule if self.exempt(step.grant, step.exceptions, rule, new.at_us)]
        return len(lifted) == len(step.exceptions)

    def _may_hold(self, new: Taken, step: Any, asked: Taken) -> bool:
        """Intents, certificates, their first use; of a grant."""
        intents = {one.step.serial: one.step for one in self.of(step.grant, Intended) if isinstance(one.step, Intended)}
        ends = self.ends(step.grant)
        if isinstance(step, Intended):
            known = any(isinstance(one.step, Intended) and one.step.serial == step.serial for one in self.past)
            latest = ends if ends is not None else new.at_us + self.holds(step.grant)[0].terms.minutes * MINUTE
            near = step.presence.inside or self.emergency(step.grant) or self.inside_vote(step.grant)
            boxed = step.from_us <= new.at_us < step.until_us <= latest
            return new.by == asked.by and len(intents) < 5 and not known and near and boxed
        if self.locked(asked.by) or step.serial not in intents or new.at_us >= intents[step.serial].until_us:
            return False
        signed = {one.step.serial for one in self.of(step.grant, Certified) if isinstance(one.step, Certified)}
        if isinstance(step, Certified):
            inside_box = ends is None or intents[step.serial].until_us <= ends
            return step.serial not in signed and inside_box and 0 <= step.index < step.size
        return step.serial in signed and not self.of(step.grant, Begun)

    def _may_exempt(self, new: Taken, step: Exempted) -> bool:
        known = any(isinstance(one.step, Exempted) and one.step.exception == step.exception for one in self.past)
        length = step.until_us - step.since_us
        return not known and 0 < length <= 30 * DAY and new.at_us < step.until_us and new.by != step.engineer

    def _may_withdraw(self, new: Taken, step: Withdrawn) -> bool:
        kept = {one.step.exception for one in self.past if isinstance(one.step, Exempted)}
        gone = {one.step.exception for one in self.past if isinstance(one.step, Withdrawn)}
        return step.exception in kept - gone


def _terms_fit(terms: Terms, minutes: int) -> bool:
    return 0 < len(terms.subjects) == len(set(terms.subjects)) <= 100 and 0 < terms.minutes <= minutes


class Disagreement(AssertionError):
    """Product and model answered differently; the message has the seed and the history."""


class Driver:
    """Draws steps from a seed, in lives of `life` steps each."""

    def __init__(self, seed: int, *, life: int = 40) -> None:
        self._seed = seed
        self._life = life
        self._random = random.Random(seed)
        self.tried = self.accepted = 0
        self.book, self.model = Book(), Model()
        """Of the last life."""
        self.reached: dict[str, int] = {}
        """How often a grant was seen in each phase after a step of its own, and each kind of step accepted."""

    def run(self, steps: int) -> None:
        """Raises Disagreement."""
        while self.tried < steps:
            self._one_life(min(self._life, steps - self.tried))

    def _one_life(self, steps: int) -> None:
        book, model, at = Book(), Model(), 1_800_000_000_000_000
        for _ in range(steps):
            at += self._random.choices(
                (0, 1, MINUTE, 5 * MINUTE, 16 * MINUTE, HOUR, 25 * HOUR, -1), (30, 20, 25, 10, 4, 3, 3, 1)
            )[0]
            new = Taken(at, self._random.choice(PEOPLE), self._step(model, at))
            if self._random.random() < 0.8:
                new = self._likely(model, new)
            before = book.digest() if self._random.random() < 0.02 else None
            refused = take(book, new)
            accepted = model.accepts(new)
            self.tried += 1
            self._compare(book, model, new, refused is None, accepted, at)
            if refused is not None and before is not None and book.digest() != before:
                raise Disagreement(f"seed {self._seed}: a refused step changed the book: {new}")
            at = max(at, book.at_us)
        self.book, self.model = book, model

    def _compare(self, book: Book, model: Model, new: Taken, took: bool, accepted: bool, at: int) -> None:
        told = f"seed {self._seed}, step {self.tried}: {new}\nafter {model.past[-12:]}"
        if took != accepted:
            raise Disagreement(f"the product {'took' if took else 'refused'} what the model did not: {told}")
        self.accepted += accepted
        grant = getattr(new.step, "grant", None)
        if grant is not None and grant in book.grants:
            held, expected = (
                book.grants[grant].phase(max(at, book.at_us)).value,
                model.phase(grant, max(at, book.at_us)),
            )
            if held != expected:
                raise Disagreement(f"the product says {held}, the model {expected}: {told}")
            if accepted:
                self.reached[held] = self.reached.get(held, 0) + 1
        if accepted:
            name = type(new.step).__name__
            self.reached[name] = self.reached.get(name, 0) + 1

    def _likely(self, model: Model, new: Taken) -> Taken:
        """The same by somebody who has a chance to be let."""
        if model.locked(new.by):
            return msgspec.structs.replace(new, by=next((one for one in PEOPLE if not model.locked(one)), new.by))
        asked = model.asked(getattr(new.step, "grant", ""))
        if asked is None:
            return new
        if isinstance(new.step, Edited | Closed | Intended | Certified | Begun):
            return msgspec.structs.replace(new, by=asked.by)
        if isinstance(new.step, Approved) and model.emergency(new.step.grant):
            return msgspec.structs.replace(new, by=asked.by)
        if isinstance(new.step, Approved | Denied | Reviewed) and new.by == asked.by:
            return msgspec.structs.replace(new, by=PEOPLE[(PEOPLE.index(EngineerId(asked.by)) + 1) % len(PEOPLE)])
        return new

    def _step(self, model: Model, at: int) -> AnyStep:
        draw, grant = self._random, GrantId(f"g{self._random.randrange(3)}")
        kind: type[Any] = draw.choices(
            (Requested, Edited, Approved, Denied, Revoked, Closed, Intended, Certified, Begun, Reviewed, Paged, Locked,
             Unlocked, Exempted, Withdrawn),
            (2, 6, 24, 1, 1, 1, 18, 18, 10, 5, 2, 1, 4, 4, 1),
        )[0]  # fmt: skip
        if kind not in (Locked, Unlocked, Exempted, Withdrawn) and model.asked(grant) is None and draw.random() < 0.9:
            kind = Requested
        held_back = [one for one in PEOPLE if model.locked(one)]
        if held_back and draw.random() < 0.3:
            kind = Unlocked
        last = model.past[-1].step if model.past else None
        after: dict[type, type] = {Requested: Approved, Approved: Intended, Intended: Certified, Certified: Begun}
        follows = after.get(type(last))
        if follows is not None and draw.random() < 0.6:
            kind, grant = follows, GrantId(getattr(last, "grant", ""))
        version = model.holds(grant)[1] if model.asked(grant) else 1
        known = [one.step.exception for one in model.past if isinstance(one.step, Exempted)] or ["e0"]
        exceptions = tuple(dict.fromkeys(draw.choices(known, k=draw.choices((0, 1, 2), (7, 2, 1))[0])))
        serial = f"{grant}-{draw.randrange(7)}"
        intended = [one.step.serial for one in model.of(grant, Intended) if isinstance(one.step, Intended)]
        if kind is not Intended and intended and draw.random() < 0.9:
            serial = intended[-1] if draw.random() < 0.7 else draw.choice(intended)
        person = draw.choice(held_back or PEOPLE) if kind is Unlocked else draw.choice(PEOPLE)
        match kind.__name__:
            case "Requested":
                call = (
                    None
                    if draw.random() < 0.6
                    else OnCall(digest="0" * 64, until_us=at + draw.choices((HOUR, 0), (9, 1))[0])
                )
                return Requested(
                    grant=grant,
                    terms=self._terms(),
                    presence=self._presence(),
                    needed=draw.choices((1, 2, 3, 0), (50, 35, 10, 5))[0],
                    on_call=call,
                )
            case "Edited":
                return Edited(
                    grant=grant,
                    version=version + draw.choices((1, 0), (9, 1))[0],
                    terms=self._terms(),
                    presence=self._presence(),
                )
            case "Approved":
                return Approved(
                    grant=grant,
                    version=version - draw.choices((0, 1), (9, 1))[0],
                    presence=self._presence(),
                    exceptions=exceptions,
                )
            case "Denied" | "Revoked" | "Closed":
                ends: AnyStep = kind(grant=grant, reason="x")
                return ends
            case "Intended":
                until = (
                    at
                    + draw.choices(
                        (MINUTE, 10 * MINUTE, 15 * MINUTE, 20 * MINUTE, 61 * MINUTE, 0), (20, 25, 40, 5, 5, 5)
                    )[0]
                )
                box = model.ends(grant) if model.asked(grant) else None
                return Intended(
                    grant=grant,
                    serial=serial,
                    key="0" * 64,
                    shard=ShardId("s1"),
                    presence=self._presence(),
                    from_us=at - draw.choices((0, MINUTE, -1), (70, 25, 5))[0],
                    until_us=box if box is not None and draw.random() < 0.5 else until,
                )
            case "Certified":
                index = draw.choices((0, 5, 9, -1), (10, 80, 5, 5))[0]
                return Certified(grant=grant, serial=serial, digest="0" * 64, index=index, size=9, root="0" * 64)
            case "Begun":
                return Begun(grant=grant, serial=serial)
            case "Reviewed":
                return Reviewed(grant=grant, verdict=draw.choice(list(Verdict)), note="x")
            case "Paged":
                return Paged(grant=grant, webhook=draw.choice((0, 1, 8)), delivered=True, attempts=1)
            case "Locked":
                return Locked(person=person, reason="x")
            case "Unlocked":
                return Unlocked(person=person, reason="x")
            case "Withdrawn":
                return Withdrawn(exception=draw.choice(("e0", "e1", "e2")), reason="x")
            case _:
                return self._exemption(at, person)

    def _exemption(self, at: int, person: EngineerId) -> Exempted:
        draw = self._random
        since = at + draw.choice((0, -DAY, HOUR))
        return Exempted(
            exception=draw.choice(("e0", "e1", "e2")),
            owner="security",
            rule=draw.choice(list(Rule)),
            engineer=person,
            purposes=tuple(draw.sample((Purpose.DEBUGGING, Purpose.SUPPORT), draw.choice((1, 2)))),
            since_us=since,
            until_us=since + draw.choice((HOUR, 30 * DAY, 30 * DAY + 1, 0, 2 * DAY)),
            reason="x",
            note="x",
        )

    def _terms(self) -> Terms:
        draw = self._random
        return Terms(
            subjects=tuple(draw.choices(SUBJECTS, k=draw.choices((1, 2), (9, 1))[0])),
            purpose=draw.choice((Purpose.DEBUGGING, Purpose.SUPPORT)),
            ticket="T-1",
            minutes=draw.choices((15, 30, 31, 60, 61, 0), (60, 20, 5, 5, 5, 5))[0],
            reason="x",
        )

    def _presence(self) -> Presence:
        inside, home = self._random.random() < 0.6, self._random.random() < 0.8
        where = Country("DE" if inside else "US")
        return Presence(home=where, observed=where, declared=where, inside=inside, home_inside=home)

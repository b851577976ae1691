"""Gathers the facts of a request, without waiting where everything is known, and asks the core for the verdict."""

from collections.abc import Callable, Sequence
from typing import Final

from directory.placement.core import Placement
from foundation.blinding import Blinder
from foundation.problems import Code, Problem
from foundation.words import Country, Epoch, RegionId, Verb
from gateway.edge.book import Book
from gateway.edge.core import judge
from gateway.edge.lasting import Lasting
from gateway.edge.observed import CACHED
from gateway.edge.outcome import Admitted, Gathered, Outcome
from gateway.edge.ports import Home, Homeless, Homes
from gateway.edge.request import Request
from gateway.edge.target import ORDINARY, Route, Target, query_value
from gateway.edge.upgraded import judge_upgrade
from gateway.identity.actors import NOT_HERE, Actor, Actors, NamedKey, NamedSubject, named_in
from gateway.identity.identity import Identity
from gateway.identity.tokens import Identities, Unidentified

NO_EPOCH: Final = Epoch(0)
"""Below every epoch: what is held of a person who has no home."""
_NO_RULES: Final = Problem(code=Code.NOT_READY, detail="no rules have been received yet", retry_after_s=1)
_IDENTITY_HIT: Final = CACHED.labels("identity", "hit")
_IDENTITY_MISS: Final = CACHED.labels("identity", "miss")
_HOME_HIT: Final = CACHED.labels("home", "hit")
_HOME_MISS: Final = CACHED.labels("home", "miss")


class Desk:
    """One per gateway. `book` is the rules that hold; `trouble` says why those may not be decided by, if so.

    `on_change`: are called when other rules hold or other keys are live, since what is remembered of requests under the former ends then.
    `observe`: the country that a request's address points at, from its peer and X-Forwarded-For; asked at sign-up only. `proven`: is told
    what each login key of somebody who was looked up leads to. `lasting`: what outlives its verdict.
    """

    def __init__(self, region: RegionId, identities: Identities, homes: Homes) -> None:
        self.region = region
        self.homes = homes
        self.lasting = Lasting(homes.held)
        self.identities = identities
        self.actors: Actors | None = None
        self.book: Book | None = None
        self.on_change: list[Callable[[], None]] = []
        self.trouble: Callable[[], Problem | None] = lambda: None
        self.observe: Callable[[str, Sequence[bytes]], Country | None] = lambda _peer, _forwarded_for: None
        self.proven: Callable[[Identity, Sequence[Home]], None] = lambda _who, _homes: None

    def hold(self, book: Book) -> None:
        """From now on these rules are decided by."""
        self.book = book
        self._changed()

    def renew(self, blinder: Blinder) -> None:
        """And these keys are those that are live."""
        self.identities.renew(blinder)
        self._changed()

    def _changed(self) -> None:
        for changed in self.on_change:
            changed()

    def open_book(self) -> Book | Problem:
        """The rules to decide by, or why there are none."""
        if self.book is None:
            return _NO_RULES
        return self.trouble() or self.book

    def gather_now(self, request: Request) -> Gathered | None:
        """The facts if all are known here, else None. Never waits: callable from a protocol's callback."""
        if request.fields.acts_for is not None or request.target.of is not None:
            return None
        if request.target.route is Route.ANONYMOUS:
            return self._gathered(request, Unidentified.NO_TOKEN, None)
        who = self.identities.known(request.fields.authorization)
        if who is None:
            return None
        if isinstance(who, Unidentified):
            return self._gathered(request, who, None)
        homes = [self.homes.lookup(key) for key in who.login]
        return None if None in homes else self._gathered(request, who, _agreed(homes))

    def person_now(self, authorization: bytes | None) -> tuple[Identity, Placement] | None:
        """Whose own request it is and where their home is, if both are known here; None says nothing. Never waits."""
        who = self.identities.known(authorization)
        if not isinstance(who, Identity):
            return None
        login = who.login
        if len(login) == 1:
            home = self.homes.lookup(login[0])
        else:
            homes = [self.homes.lookup(key) for key in login]
            home = None if None in homes else _agreed(homes)
        return (who, home) if isinstance(home, Placement) else None

    def person_known(self) -> None:
        """Counts what `person_now` had, by whoever goes on with it."""
        _IDENTITY_HIT.value += 1
        _HOME_HIT.value += 1

    def person(self, target: Target, verb: Verb, who: Identity, home: Placement) -> Gathered:
        """What `person_now` had, as facts of a plain request."""
        return Gathered(target=target, verb=verb, who=who, home=home, residence=None)

    def known_here(self, gathered: Gathered) -> None:
        """Counts facts that `gather_now` had, by whoever goes on with them."""
        if gathered.target.route is not Route.ANONYMOUS:
            _IDENTITY_HIT.inc()
            if isinstance(gathered.who, Identity):
                _HOME_HIT.inc()

    async def gather(self, request: Request) -> Gathered:
        """The facts, asking issuers and the directory where needed; every wait is bounded by those clients."""
        authorization = request.fields.authorization
        if request.fields.acts_for is not None:
            return await self._gather_for(request, request.fields.acts_for)
        who = self.identities.known(authorization)
        if who is None and authorization is not None:
            _IDENTITY_MISS.inc()
            who = await self.identities.establish(authorization)
        elif who is not None:
            _IDENTITY_HIT.inc()
        if not isinstance(who, Identity):
            return self._gathered(request, who or Unidentified.NO_TOKEN, None)
        homes: list[Home | None] = []
        for key in who.login:
            home = self.homes.lookup(key)
            if home is None:
                _HOME_MISS.inc()
                home = await self.homes.resolve(key)
            homes.append(home)
        self.proven(who, [home or Homeless.UNKNOWN for home in homes])
        of = request.target.of
        viewed = None if of is None else await self.homes.subject(of)
        return self._gathered(request, who, _agreed(homes), viewed=viewed)

    async def _gather_for(self, request: Request, acts_for: bytes) -> Gathered:
        """The facts of a request by a service that acts for a subject, or says that it does. People's tokens say nothing here."""
        acting = NOT_HERE if self.actors is None else await self.actors.establish(request.fields.authorization)
        if isinstance(acting, Problem):
            return self._gathered(request, Unidentified.NO_TOKEN, None, acting)
        named = named_in(acts_for)
        if isinstance(named, Problem):
            return self._gathered(request, Unidentified.NO_TOKEN, None, named)
        return self._gathered(request, Unidentified.NO_TOKEN, await self._home_of(named), acting)

    async def _home_of(self, named: NamedSubject | NamedKey) -> Home:
        if isinstance(named, NamedSubject):
            return await self.homes.subject(named.id)
        return self.homes.lookup(named.key) or await self.homes.resolve(named.key)

    async def gather_anew(self, request: Request, gathered: Gathered) -> Gathered:
        """The same facts with the home asked of the directory itself, newer than the one they hold."""
        who, home = gathered.who, gathered.home
        if isinstance(gathered.acting, Actor) and isinstance(home, Placement):
            fresh = await self.homes.refresh_subject(home.subject_id, newer_than=home.epoch)
            return self._gathered(request, who, fresh, gathered.acting)
        if not isinstance(who, Identity):
            return gathered
        held = home.epoch if isinstance(home, Placement) else NO_EPOCH
        homes: list[Home | None] = [await self.homes.refresh(key, newer_than=held) for key in who.login]
        of, seen = request.target.of, gathered.viewed
        held = seen.epoch if isinstance(seen, Placement) else NO_EPOCH
        viewed = None if of is None else await self.homes.refresh_subject(of, newer_than=held)
        return self._gathered(request, who, _agreed(homes), viewed=viewed)

    def judge(self, gathered: Gathered, book: Book) -> Outcome:
        if gathered.upgrade:
            return judge_upgrade(gathered, book, self.region)
        home, target = gathered.home, gathered.target
        if not _plain(gathered) or not isinstance(home, Placement):
            return judge(gathered, book, self.region)
        kept = book.again(home, target.service, gathered.verb)
        if kept is not None:
            return kept
        outcome = judge(gathered, book, self.region)
        return book.keep(home, outcome) if isinstance(outcome, Admitted) else outcome

    def _gathered(
        self,
        request: Request,
        who: Identity | Unidentified,
        home: Home | None,
        acting: Actor | Problem | None = None,
        viewed: Home | None = None,
    ) -> Gathered:
        signup = request.target.route is Route.SIGNUP
        return Gathered(
            target=request.target,
            verb=request.verb,
            upgrade=request.fields.handshake is not None,
            who=who,
            home=home,
            acting=acting,
            ingress=None if request.hop is None else request.hop.origin,
            viewed=viewed,
            residence=query_value(request.query, b"residence") if signup else None,
            subdivision=query_value(request.query, b"subdivision") if signup else None,
            citizenship=query_value(request.query, b"citizenship") if signup else None,
            observed=self.observe(request.peer, request.fields.forwarded_for) if signup else None,
        )


def _plain(gathered: Gathered) -> bool:
    """Whether the verdict depends on nothing but the rules, the placement, the service and the verb."""
    return gathered.acting is None and gathered.ingress is None and gathered.target.route is ORDINARY


def _agreed(homes: list[Home | None]) -> Home:
    """One home from the answers for every live lookup key of a person. Two homes contradict each other: unknown."""
    if len(homes) == 1:
        return homes[0] or Homeless.UNKNOWN
    placed = [home for home in homes if isinstance(home, Placement)]
    if placed:
        same = all(home.subject_id == placed[0].subject_id for home in placed[1:])
        return max(placed, key=lambda home: home.epoch) if same else Homeless.UNKNOWN
    if homes and all(home is Homeless.NONE for home in homes):
        return Homeless.NONE
    return Homeless.UNKNOWN

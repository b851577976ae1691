"""Sessions that end with their grant: on expiry, revocation, a closed ticket, a person locked here or in another cell, and where nobody can
say any more that they may go on.

The book as the database has it and the tickets are looked at twice a second and more, each on its own, so that neither waits for the other;
the clock by itself; and before each statement everything that this process knows.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cells.breakglass.book import Book, Grant
from cells.breakglass.door.ports import Ending, NotRun, Session
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.core import Barred
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.tickets import Tracker
from cells.breakglass.words import SECOND_US, EngineerId, GrantId, Phase
from foundation import logs
from foundation.clock import Clock
from foundation.problems import ProblemError
from foundation.words import ActorId

log = logs.get(__name__)

LOOK_S = 0.4
"""Between two looks at the book, and at tickets."""
SWEEP_S = 0.1
"""Between two looks at the clock."""
STALE_S_MAX = 5.0
"""So old may be what is known of grants, locks and tickets. Beyond it nothing runs, and sessions end."""
ASK_S_MAX = 2.0
"""For one question to the tracker of tickets."""


class Standing(NamedTuple):
    """A grant that is certified or active, and until when that goes on by itself for a session under one of its certificates."""

    grant: Grant
    until_us: int


def standing(session: Session, book: Book, at_us: int) -> Standing | Ending:
    """What a session rests on by what the book says of its grant at a time, or why it may not go on. Pure."""
    grant = book.grants.get(GrantId(session.grant))
    found = book.intended(session.certificate)
    if grant is None or found is None or found[0].id != grant.id or found[1].digest is None:
        return Ending.ENDED
    phase = grant.phase(at_us)
    if phase is Phase.EXPIRED or at_us >= found[1].until_us:
        return Ending.EXPIRED
    if phase not in (Phase.CERTIFIED, Phase.ACTIVE):
        return Ending.ENDED
    return Standing(grant, found[1].until_us if grant.until_us is None else min(found[1].until_us, grant.until_us))


def judged(watched: "_Watched", book: Book, at_us: int) -> Ending | None:
    """Why a session may not go on by what the book says at a time; None while it may. A grant is a value: as long as the book has the same
    one it says the same, up to its time."""
    held = watched.standing
    if held is None or book.grants.get(watched.grant) is not held.grant or at_us >= held.until_us:
        watched.standing = None
        found = standing(watched.session, book, at_us)
        if isinstance(found, Ending):
            return found
        watched.standing = found
    return Ending.LOCKED if watched.engineer in book.locks else None


_FAR = {Barred.LOCKED: Ending.LOCKED, Barred.STALE: Ending.STALE}


class _Watched:
    def __init__(self, session: Session, end: Callable[[Ending], None], until_s: float, ticket_s: float) -> None:
        """`until_s`, `ticket_s`: on the clock that never goes back; when it expires, and when its ticket was seen open last. `emergency`:
        whether it goes on while nothing is heard of other cells' locks."""
        self.session = session
        self.grant, self.engineer = GrantId(session.grant), EngineerId(ActorId(session.engineer))
        self.expires_us = session.expires_at * SECOND_US
        self.end = end
        self.until_s = until_s
        self.ticket_s = ticket_s
        self.standing: Standing | None = None
        """By the book when it was looked at last."""
        self.emergency = False
        self.ending: Ending | None = None
        self.told = False


class Watch:
    """One cell's. `run` is a worker of the process."""

    def __init__(self, keeper: Keeper, tracker: Tracker, clock: Clock, elsewhere: Elsewhere) -> None:
        self._keeper = keeper
        self._tracker = tracker
        self._clock = clock
        self._elsewhere = elsewhere
        self._watched: dict[str, _Watched] = {}
        self._book_s = -STALE_S_MAX
        self._some = asyncio.Event()

    async def begin(self, session: Session, end: Callable[[Ending], None]) -> None:
        """From now on `end` is called once when the session has to end. Raises NotRun where it may not begin."""
        now_s = self._clock.monotonic_s()
        remaining_s = session.expires_at - self._clock.unix_s()
        watched = _Watched(session, end, now_s + remaining_s, now_s)
        try:
            async with asyncio.timeout(STALE_S_MAX):
                open_ = await self._tracker.is_open(session.ticket)
                grant = (await self._look_at_book(())).grants.get(GrantId(session.grant))
                watched.emergency = grant is not None and grant.emergency
        except (ProblemError, TimeoutError) as exc:
            raise NotRun(Ending.STALE) from exc
        if not open_:
            raise NotRun(Ending.TICKET)
        self._watched[session.id] = watched
        why = self.why(session.id)
        if why is not None:
            self.leave(session.id)
            raise NotRun(why)
        self._some.set()

    def leave(self, session_id: str) -> None:
        self._watched.pop(session_id, None)
        if not self._watched:
            self._some.clear()

    def why(self, session_id: str) -> Ending | None:
        """Why the session runs nothing any more, by all that this process knows now; None while it may."""
        watched = self._watched.get(session_id)
        if watched is None:
            return Ending.UNKNOWN
        book = self._keeper.glance()
        if watched.ending is None:
            watched.ending = self._found(watched, book)
        return Ending.STALE if watched.ending is None and book is None else watched.ending

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._books(), name="access book")
            group.create_task(self._tickets(), name="access tickets")
            group.create_task(self._sweeps(), name="access clock")

    async def _books(self) -> None:
        while True:
            await self._some.wait()
            try:
                await self._look_at_book([*self._watched.values()])
            except ProblemError as exc:
                log.warning("access_watch_waits", code=exc.problem.code.value)
            await asyncio.sleep(LOOK_S)

    async def _look_at_book(self, those: Iterable[_Watched]) -> Book:
        """Raises ProblemError."""
        asked_s = self._clock.monotonic_s()
        book, _ = await self._keeper.book()
        self._book_s = asked_s
        for watched in those:
            self._end(watched, self._found(watched, book))
        return book

    async def _tickets(self) -> None:
        while True:
            await self._some.wait()
            tickets = {watched.session.ticket for watched in self._watched.values()}
            async with asyncio.TaskGroup() as group:
                for ticket in tickets:
                    group.create_task(self._ask(ticket), name="access ticket")
            await asyncio.sleep(LOOK_S)

    async def _ask(self, ticket: str) -> None:
        asked_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(ASK_S_MAX):
                open_ = await self._tracker.is_open(ticket)
        except (ProblemError, TimeoutError):
            log.warning("access_ticket_not_known")
            return
        for watched in [*self._watched.values()]:
            if watched.session.ticket == ticket:
                watched.ticket_s = asked_s
                self._end(watched, None if open_ else Ending.TICKET)

    async def _sweeps(self) -> None:
        while True:
            await self._some.wait()
            for watched in [*self._watched.values()]:
                self._end(watched, watched.ending or self._found(watched, None))
            await asyncio.sleep(SWEEP_S)

    def _found(self, watched: _Watched, book: Book | None) -> Ending | None:
        """`book`: None to look at everything else."""
        now_s, at_us = self._clock.monotonic_s(), int(self._clock.unix_s() * SECOND_US)
        if now_s >= watched.until_s or at_us >= watched.expires_us:
            return Ending.EXPIRED
        if now_s - self._book_s > STALE_S_MAX or now_s - watched.ticket_s > STALE_S_MAX:
            return Ending.STALE
        far = self._elsewhere.barred(watched.engineer, needs_fresh=not watched.emergency)
        if far is not None:
            return _FAR[far]
        return None if book is None else judged(watched, book, at_us)

    def _end(self, watched: _Watched, why: Ending | None) -> None:
        """Tells whoever has the session, once."""
        if why is None or watched.told:
            return
        watched.ending, watched.told = why, True
        log.info("access_session_ends", reason=why.value, shard=watched.session.shard)
        watched.end(why)

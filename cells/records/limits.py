"""How much one subject, and all together, may ask of the records API of a cell: requests a second and at once, connections of a shard.

One subject's own clients can then slow down that subject only. What is over is refused at the head, before a body is read, with the status
that says whose limit it was: 429 the subject's, 503 the cell's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from foundation.clock import Clock
from foundation.problems import Code, refuse
from foundation.rates import Buckets, Rate
from foundation.turns import Crowded, Turns
from foundation.words import SubjectId

NAMES_MAX = 65_536
"""Subjects whose rate is remembered; each takes some 200 bytes."""
SPARE_MAX = 64
TURN_S_MAX = 3.0
"""How long a request waits for its subject's other ones: as long as one statement may take."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`subject_per_s`: requests, `subject_burst` of them at once; `subject_statements`: those in Postgres at once, beyond which
    `subject_waiting` wait; `subject_streams`: large answers at once; `requests`: all subjects' in this process at once."""

    subject_per_s: int = 1_000
    subject_burst: int = 2_000
    subject_statements: int = 8
    subject_waiting: int = 128
    subject_streams: int = 2
    requests: int = 512

    def mistake(self) -> str | None:
        """What cannot be meant, or None."""
        low = next((name for name in self.__struct_fields__ if getattr(self, name) < 1), None)
        return None if low is None else f"limits.{low} is a whole number from 1 on"


class Limiter:
    """Who is asking now, by subject. Only those are remembered who have a request under way, or had one a moment ago."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._rate = Rate(1_000 / limits.subject_per_s, limits.subject_burst)
        self._buckets = Buckets(names_max=NAMES_MAX)
        self._statements: dict[SubjectId, Turns] = {}
        self._spare: list[Turns] = []
        """Nobody's, for whoever comes next."""
        self._streams: dict[SubjectId, int] = {}
        self._requests = 0

    def begin(self) -> None:
        """A request comes in; `end` it. Raises ProblemError (503)."""
        if self._requests >= self._limits.requests:
            raise refuse(Code.NOT_READY, f"{self._limits.requests} requests are under way here", retry_after_s=1)
        self._requests += 1

    def end(self) -> None:
        self._requests -= 1

    def count(self, subject: SubjectId) -> None:
        """Raises ProblemError (429) where the subject has asked too often."""
        wait_ms = self._buckets.take(subject, self._rate, self._clock.monotonic_s() * 1_000)
        if wait_ms:
            detail = f"one person may ask {self._limits.subject_per_s} times a second"
            raise refuse(Code.RATE_LIMITED, detail, retry_after_s=1 + int(wait_ms / 1_000))

    def room(self, subject: SubjectId) -> bool:
        """Whether `begin_now` would let the subject in; nothing is counted."""
        return self._free(subject) and not self._buckets.wait_ms(subject, self._rate, self._clock.monotonic_s() * 1_000)

    def begin_now(self, subject: SubjectId) -> "Turn | None":
        """`begin`, `count` and `statement` in one, whose turn is taken already; None, and nothing has happened, where any of them would
        refuse or wait."""
        turns = self._statements.get(subject)
        if self._requests >= self._limits.requests or (turns is not None and not turns.free):
            return None
        if self._buckets.take(subject, self._rate, self._clock.monotonic_s() * 1_000):
            return None
        self._requests += 1
        (turns or self._turns(subject)).enter_now()
        return Turn(self, subject, entered=True)

    def _free(self, subject: SubjectId) -> bool:
        turns = self._statements.get(subject)
        return self._requests < self._limits.requests and (turns is None or turns.free)

    def statement(self, subject: SubjectId) -> "Turn":
        """`async with` around what takes a connection of a shard. Raises ProblemError (429) where too many of the subject's wait, or for
        too long."""
        return Turn(self, subject)

    async def enter(self, subject: SubjectId) -> None:
        turns = self._statements.get(subject) or self._turns(subject)
        try:
            await turns.enter()
        except Crowded as exc:
            detail = f"one person's requests are answered {self._limits.subject_statements} at a time"
            raise refuse(Code.RATE_LIMITED, detail, retry_after_s=1) from exc

    def _turns(self, subject: SubjectId) -> Turns:
        spare = self._spare
        made = self._statements[subject] = (
            spare.pop()
            if spare
            else Turns(
                at_once=self._limits.subject_statements, waiters_max=self._limits.subject_waiting, wait_s=TURN_S_MAX
            )
        )
        return made

    def leave(self, subject: SubjectId) -> None:
        turns = self._statements[subject]
        turns.leave()
        if turns.idle:
            del self._statements[subject]
            if len(self._spare) < SPARE_MAX:
                self._spare.append(turns)

    @asynccontextmanager
    async def stream(self, subject: SubjectId) -> AsyncIterator[None]:
        """Around a large answer. Raises ProblemError (429)."""
        under_way = self._streams.get(subject, 0)
        if under_way >= self._limits.subject_streams:
            detail = f"one person reads {self._limits.subject_streams} large answers at a time"
            raise refuse(Code.RATE_LIMITED, detail, retry_after_s=1)
        self._streams[subject] = under_way + 1
        try:
            yield
        finally:
            self._streams[subject] -= 1
            if not self._streams[subject]:
                del self._streams[subject]


class Turn:
    """One statement of a subject's; made for each request, so without a generator."""

    __slots__ = ("_entered", "_limiter", "_subject")

    def __init__(self, limiter: Limiter, subject: SubjectId, *, entered: bool = False) -> None:
        self._limiter = limiter
        self._subject = subject
        self._entered = entered

    async def __aenter__(self) -> None:
        if not self._entered:
            await self._limiter.enter(self._subject)

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Instead of `async with`, of one that was taken already."""
        self._limiter.leave(self._subject)

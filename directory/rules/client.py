"""The rules that hold, as processes beside the directory keep them: fetched by digest, verified, followed by the feed.

`HeldRules` is what is known, without I/O; `RulesFollower` keeps it true.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from directory.client.remote import DirectoryUnavailable
from directory.feed.client import FeedFollower
from directory.placement.core import FeedEvent, RulesDocument, RulesEvent
from foundation import logs
from foundation.clock import SKEW_S_MAX, Clock
from foundation.decision_header import LIFETIME_S_MAX
from foundation.problems import Code, refuse
from foundation.tasks import Backoff
from foundation.words import FeedSeq, RulesDigest
from routing_rules.rules import PolicyError, Rules, load

log = logs.get(__name__)

PREVIOUS_S_MAX = LIFETIME_S_MAX + SKEW_S_MAX
PREVIOUS_KEPT = 64


class RulesRefused(Exception):
    """The document cannot be used. `reason`: policy (mistakes), digest (not what was asked for or stated)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"rules refused: {reason}")
        self.reason = reason


class RulesSource(Protocol):
    """`directory.client.remote.HttpDirectory`: the rules of a digest, or those that hold now. Raises DirectoryUnavailable."""

    async def rules(self, digest: RulesDigest | None = None) -> RulesDocument: ...


def verified(document: RulesDocument, asked: RulesDigest | None) -> Rules:
    """The rules of a document, if they are what it says and what was asked for. Pure. Raises RulesRefused."""
    if asked is not None and document.digest != asked:
        raise RulesRefused("digest")
    try:
        rules = load(document.policy)
    except PolicyError as exc:
        raise RulesRefused("policy") from exc
    if rules.digest != document.digest:
        raise RulesRefused("digest")
    return rules


class HeldRules:
    """Rules in force since feed position `seq`, and which digests decisions may still carry. Time is an argument (monotonic seconds)."""

    def __init__(self) -> None:
        self.current: Rules | None = None
        self.seq = FeedSeq(0)
        self._previous: dict[RulesDigest, float] = {}

    def take(self, rules: Rules, seq: FeedSeq, now_s: float) -> None:
        """Puts `rules` in force; the ones before stay acceptable for PREVIOUS_S_MAX."""
        if self.current is not None and self.current.digest != rules.digest:
            self._previous[self.current.digest] = now_s + PREVIOUS_S_MAX
        self._previous.pop(rules.digest, None)
        while len(self._previous) > PREVIOUS_KEPT:
            del self._previous[next(iter(self._previous))]
        self.current = rules
        self.seq = seq

    def accepts(self, digest: RulesDigest, now_s: float) -> bool:
        """Whether a decision under `digest` still counts."""
        if self.current is not None and self.current.digest == digest:
            return True
        return now_s < self._previous.get(digest, float("-inf"))

    def require(self) -> Rules:
        """Raises ProblemError(NOT_READY) before the first."""
        if self.current is None:
            raise refuse(Code.NOT_READY, "no rules are known yet", retry_after_s=1)
        return self.current


class RulesFollower:
    """Keeps `held` what the directory says. `run` is a worker beside `feed.run`; `on_rules` are called with what has come to hold.

    The first question goes out once the feed's position is known, so that nothing published in between is missed; and again when the
    feed is begun anew, since what was published may have been lost, or not heard of.
    """

    def __init__(self, source: RulesSource, feed: FeedFollower, held: HeldRules, clock: Clock) -> None:
        self._source = source
        self._held = held
        self._clock = clock
        self._wanted: RulesEvent | None = None
        self._wanted_since = 0.0
        self._begun = 0
        """How often the feed was begun; `_told`: the last time of those that the directory was asked after, and answered."""
        self._told = 0
        self._following = asyncio.Event()
        self._news = asyncio.Event()
        self.first = asyncio.Event()
        self.on_rules: list[Callable[[Rules, FeedSeq], None]] = []
        feed.on_start.append(self._begin)
        feed.listeners.append(self._hear)

    def _begin(self, _: FeedSeq) -> None:
        if self._wanted is None and self._told == self._begun:
            self._wanted_since = self._clock.monotonic_s()
        self._wanted = None
        self._begun += 1
        self._news.set()
        self._following.set()

    def _hear(self, event: FeedEvent) -> None:
        if not isinstance(event, RulesEvent) or event.seq <= self._held.seq:
            return
        if self._wanted is None and self._told == self._begun:
            self._wanted_since = self._clock.monotonic_s()
        self._wanted = event
        self._news.set()

    def behind_s(self) -> float:
        """For how long other rules than those held have been asked for in vain."""
        behind = self._wanted is not None or self._told != self._begun
        return self._clock.monotonic_s() - self._wanted_since if behind else 0.0

    async def run(self) -> None:
        """Runs until cancelled; asks again, with growing waits, until it has what is wanted or something newer is."""
        await self._following.wait()
        backoff = Backoff(first_s=0.05, max_s=1.0)
        while True:
            self._news.clear()
            if self._wanted is None and self._told == self._begun:
                await self._news.wait()
            elif await self._fetch(self._wanted):
                backoff.reset()
            else:
                await self._rest(backoff.next_s())

    async def _fetch(self, wanted: RulesEvent | None) -> bool:
        asked, begun = None if wanted is None else wanted.digest, self._begun
        try:
            document = await self._source.rules(asked)
            # off the loop: a policy may take a quarter of a second to check
            rules = await asyncio.to_thread(verified, document, asked)
        except DirectoryUnavailable as exc:
            log.warning("rules_unavailable", reason=exc.reason, digest=asked)
            return False
        except RulesRefused as exc:
            log.error("rules_refused", reason=exc.reason, digest=asked)  # noqa: TRY400 - texts of exceptions stay out of logs
            return False
        self._told = begun
        seq = document.seq if wanted is None else wanted.seq
        if self._wanted is not None and self._wanted.seq <= seq:
            self._wanted = None
        self._held.take(rules, seq, self._clock.monotonic_s())
        for listener in self.on_rules:
            listener(rules, seq)
        log.info("rules_hold", digest=rules.digest, seq=seq)
        self.first.set()
        return True

    async def _rest(self, s_max: float) -> None:
        """Waits, but no longer than until the feed tells of other rules."""
        try:
            async with asyncio.timeout(s_max):
                await self._news.wait()
        except TimeoutError:
            return

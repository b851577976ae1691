"""The rules that hold in this cell: fetched by digest, verified, the previous ones accepted for one decision's lifetime."""

import asyncio

from cells.service.feed import Feed, Follower
from directory.placement.core import RulesDocument, RulesEvent
from directory.placement.remote import DirectoryUnavailable, HttpDirectory
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


class HeldRules:
    """Current rules and which digests decisions may still carry. No I/O; time is an argument (monotonic seconds)."""

    def __init__(self) -> None:
        self.current: Rules | None = None
        self._previous: dict[RulesDigest, float] = {}

    def take(self, rules: Rules, now_s: float) -> bool:
        """Puts `rules` in force; the ones before stay acceptable for PREVIOUS_S_MAX. False when they were in force already."""
        if self.current is not None and self.current.digest == rules.digest:
            return False
        if self.current is not None:
            self._previous[self.current.digest] = now_s + PREVIOUS_S_MAX
        self._previous.pop(rules.digest, None)
        while len(self._previous) > PREVIOUS_KEPT:
            del self._previous[next(iter(self._previous))]
        self.current = rules
        return True

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


class RulesKeeper:
    """Keeps `held` what the directory says: run `follow` as a worker."""

    def __init__(self, directory: HttpDirectory, held: HeldRules, clock: Clock, feed: Feed | None = None) -> None:
        self._directory = directory
        self._held = held
        self._clock = clock
        self.follower = Follower(feed or directory)
        self.first = asyncio.Event()

    async def follow(self) -> None:
        """Reads the feed's head, then the rules that hold, then follows: nothing published in between is missed."""
        position = await self._start()
        async for page in self.follower.pages(position):
            for event in page.events:
                if isinstance(event, RulesEvent):
                    await self._fetch(event.digest)

    async def _start(self) -> FeedSeq:
        backoff = Backoff(first_s=0.05, max_s=0.5)
        while True:
            try:
                head = await self.follower.head()
                if await self._take(await self._directory.rules()):
                    return head
            except DirectoryUnavailable as exc:
                log.info("rules_awaited", reason=exc.reason)
            await asyncio.sleep(backoff.next_s())

    async def _fetch(self, digest: RulesDigest) -> None:
        """Rules by digest, asked for until they come or newer ones hold."""
        backoff = Backoff(first_s=0.05, max_s=1.0)
        for _ in range(60):
            try:
                await self._take(await self._directory.rules(digest))
                return
            except DirectoryUnavailable as exc:
                log.warning("rules_unavailable", reason=exc.reason, digest=digest)
            await asyncio.sleep(backoff.next_s())

    async def _take(self, document: RulesDocument) -> bool:
        """Verifies and puts in force. A document that does not make its digest here changes nothing; decisions under it are refused."""
        try:
            rules = await asyncio.to_thread(load, document.policy)
        except PolicyError as exc:
            log.fault("rules_refused", exc, digest=document.digest, reason="the policy has mistakes in this release")
            return False
        if rules.digest != document.digest:
            log.error(
                "rules_refused", digest=document.digest, reason="policy and pack of this release make another digest"
            )
            return False
        if self._held.take(rules, self._clock.monotonic_s()):
            log.info("rules_hold", digest=rules.digest, seq=document.seq)
        self.first.set()
        return True

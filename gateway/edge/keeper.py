"""Keeps the rules current: fetched once at the start, then as the feed says; verified by digest before they count."""

import asyncio
from typing import Protocol

from directory.placement.core import FeedEvent, RulesDocument, RulesEvent
from directory.placement.remote import DirectoryUnavailable
from foundation import logs
from foundation.clock import Clock
from foundation.mute import Secret
from foundation.problems import Code, Problem
from foundation.tasks import Backoff
from foundation.words import RegionId, RulesDigest
from gateway.edge.book import Book
from gateway.edge.desk import Desk
from gateway.edge.observed import RULES_AT
from routing_rules.rules import PolicyError, Rules, load

log = logs.get(__name__)

STALE_S_BEFORE_RULES = 60.0


class RulesRefused(Exception):
    """The document cannot be used. `reason`: policy (mistakes), digest (not what was asked for or stated)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"rules refused: {reason}")
        self.reason = reason


class RulesSource(Protocol):
    """`directory.placement.remote.HttpDirectory`: the rules of a digest, or those that hold now. Raises DirectoryUnavailable."""

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


class Keeper:
    """Puts new books on the desk. `hear` is the feed's listener, `run` a worker."""

    def __init__(
        self, source: RulesSource, desk: Desk, *, region: RegionId, root: tuple[str, Secret[bytes]], clock: Clock
    ) -> None:
        self._source = source
        self._desk = desk
        self._region = region
        self._root = root
        self._clock = clock
        self._wanted: RulesEvent | None = None
        self._since = clock.monotonic_s()
        """Since when something newer than the desk's book is wanted."""
        self._news = asyncio.Event()

    def hear(self, event: FeedEvent) -> None:
        if not isinstance(event, RulesEvent):
            return
        book = self._desk.book
        if book is not None and event.seq <= book.seq:
            return
        if self._wanted is None:
            self._since = self._clock.monotonic_s()
        self._wanted = event
        self._news.set()

    async def run(self) -> None:
        """Runs until cancelled; asks again, with growing waits, until it has what is wanted."""
        backoff = Backoff(max_s=1.0)
        while self._desk.book is None:
            if not await self._fetch(None):
                await asyncio.sleep(backoff.next_s())
        backoff.reset()
        while True:
            await self._news.wait()
            wanted = self._wanted
            if wanted is None or wanted.seq <= self._desk.book.seq or await self._fetch(wanted):
                if self._wanted is wanted:
                    self._wanted = None
                    self._news.clear()
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s())

    async def _fetch(self, wanted: RulesEvent | None) -> bool:
        asked = None if wanted is None else wanted.digest
        try:
            document = await self._source.rules(asked)
            # off the loop: a policy may take a quarter of a second to check
            rules = await asyncio.to_thread(verified, document, asked)
        except DirectoryUnavailable as exc:
            log.warning("rules_not_had", reason=exc.reason)
            return False
        except RulesRefused as exc:
            log.error("rules_refused", reason=exc.reason, digest=asked)  # noqa: TRY400 - texts of exceptions stay out of logs
            return False
        seq = document.seq if wanted is None else wanted.seq
        self._desk.book = Book(rules, seq, region=self._region, root=self._root, clock=self._clock)
        RULES_AT.set(seq)
        log.info("rules_hold", digest=rules.digest, seq=seq)
        return True

    @property
    def stale_s_max(self) -> float:
        book = self._desk.book
        return STALE_S_BEFORE_RULES if book is None else book.policy.product.stale_s_max

    def problem(self) -> Problem | None:
        """Why the rules may not be decided by: there are none, or newer ones could not be had for too long."""
        if self._desk.book is None:
            return Problem(code=Code.NOT_READY, detail="no rules have been received yet", retry_after_s=1)
        if self._wanted is not None and self._clock.monotonic_s() - self._since > self.stale_s_max:
            return Problem(code=Code.NOT_READY, detail="newer rules could not be had", retry_after_s=1)
        return None

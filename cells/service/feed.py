"""The directory's feed, page by page: only pages that follow the position densely, whatever goes wrong in between."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from directory.feed.client import good_prefix
from directory.placement.core import FEED_PAGE_MAX, FeedEvent, FeedPage
from directory.placement.remote import DirectoryUnavailable
from foundation import logs
from foundation.tasks import Backoff
from foundation.words import FeedSeq

log = logs.get(__name__)

WAIT_MS = 10_000


class Feed(Protocol):
    """Where pages come from: `directory.placement.remote.HttpDirectory`."""

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int) -> FeedPage: ...


class Page(NamedTuple):
    """Events after the position asked for (none when the wait ran out); `position` is the new one, `current` whether it is the head."""

    events: tuple[FeedEvent, ...]
    position: FeedSeq
    current: bool


class Follower:
    """One reader of the feed. `went_back` stays true once the directory's head was seen below the position: it was restored from an
    older state, and nothing it says is followed until the process starts anew."""

    def __init__(self, feed: Feed, *, wait_ms: int = WAIT_MS) -> None:
        self._feed = feed
        self._wait_ms = wait_ms
        self.went_back = False

    async def head(self) -> FeedSeq:
        """The newest committed number. Raises DirectoryUnavailable."""
        return (await self._feed.feed(FeedSeq(0), limit=1, wait_ms=0)).head

    async def pages(self, position: FeedSeq) -> AsyncIterator[Page]:
        """Pages after `position`, for ever; the next is asked for when the one before has been dealt with."""
        backoff = Backoff(first_s=0.05, max_s=1.0)
        wait_ms = 0
        while True:
            try:
                page = await self._feed.feed(position, limit=FEED_PAGE_MAX, wait_ms=wait_ms)
            except DirectoryUnavailable as exc:
                log.warning("feed_unavailable", reason=exc.reason, seq=position)
                await asyncio.sleep(backoff.next_s())
                continue
            events = good_prefix(page, position)
            if page.head < position or self.went_back:
                self._distrust(position, page.head)
            elif len(events) == len(page.events) and (events or page.head == position):
                backoff.reset()
                wait_ms = self._wait_ms
                position = events[-1].seq if events else position
                yield Page(events, position, position >= page.head)
                continue
            else:
                log.warning("feed_disorder", seq=position, count=len(page.events))
            await asyncio.sleep(backoff.next_s())

    def _distrust(self, position: FeedSeq, head: FeedSeq) -> None:
        if not self.went_back:
            log.error(
                "feed_went_back", seq=position, as_of=head, reason="the directory was restored from an older state"
            )
        self.went_back = True

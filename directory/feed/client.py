"""Following the directory's feed: every event once, in order, and how long ago the feed was known to be current."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Counter, Gauge

from directory.placement.core import FEED_PAGE_MAX, FeedEvent, FeedPage
from directory.placement.remote import Directory, DirectoryUnavailable
from foundation import logs
from foundation.clock import Clock
from foundation.tasks import Backoff
from foundation.words import FeedSeq

log = logs.get(__name__)

POSITION = Gauge("domicile_feed_position", "Number of the last feed event taken in")
LAG = Gauge("domicile_feed_lag_seconds", "Seconds since the feed was last known to be current, at the last round")
TROUBLE = Counter("domicile_feed_trouble_total", "Rounds that brought no good page", ["reason"])
STALE = Gauge("domicile_feed_restored", "1 when the directory's feed went back: nothing is trusted any more")

WAIT_MS = 2000
"""One long-poll. A quiet feed is confirmed by the time a poll was sent, so its age stays below about two of these."""

Listener = Callable[[FeedEvent], None]
AsyncListener = Callable[[FeedEvent], Awaitable[None]]


def good_prefix(page: FeedPage, after: FeedSeq) -> tuple[FeedEvent, ...]:
    """The events that follow `after` densely, up to the first number out of place (a gap, a repetition, a step back)."""
    events = page.events
    for index, event in enumerate(events):
        if event.seq != after + 1 + index:
            return events[:index]
    return events


class FeedFollower:
    """Hands each event in order to `listeners` (synchronous, cheap), then to `handlers` (awaited: they hold the feed back).

    `start`: the position after which to begin; None = the head at the first answer. `position` is the last event that everyone
    took in. `confirmed_at` is the monotonic time at which the request was sent whose answer showed nothing beyond `position`;
    minus infinity before the first. A head below `position` means that the directory was restored from an older backup: then
    `restored` stays true until the process starts anew, `on_restored` runs once, and nothing is confirmed any more.
    """

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        *,
        start: FeedSeq | None = None,
        wait_ms: int = WAIT_MS,
        page_max: int = FEED_PAGE_MAX,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._wait_ms = wait_ms
        self._page_max = page_max
        self._backoff = Backoff(first_s=0.05, max_s=1.0)
        self.position: FeedSeq | None = start
        self.confirmed_at = float("-inf")
        self.restored = False
        self.listeners: list[Listener] = []
        self.handlers: list[AsyncListener] = []
        self.on_start: list[Callable[[FeedSeq], None]] = []
        self.on_restored: list[Callable[[], None]] = []
        self.on_round: list[Callable[[], None]] = []

    def age_s(self) -> float:
        """Seconds since the feed was last known to be current; infinite before the first time and after a restoration."""
        return self._clock.monotonic_s() - self.confirmed_at

    async def run(self) -> None:
        """Follows until cancelled. A listener or handler that raises ends it: what it kept true is true no longer."""
        started = False
        while True:
            if not started and self.position is not None:
                started = True
                _call(self.on_start, self.position)
            trouble = await self._round()
            for after_round in self.on_round:
                after_round()
            if trouble is None:
                self._backoff.reset()
                continue
            TROUBLE.labels(trouble).inc()
            await asyncio.sleep(self._backoff.next_s())

    async def _round(self) -> str | None:
        """One page. None, or what went wrong."""
        position = self.position
        sent_at = self._clock.monotonic_s()
        try:
            if position is None:
                page = await self._directory.feed(FeedSeq(0), limit=1, wait_ms=0)
                self.position = page.head
                return None
            page = await self._directory.feed(position, limit=self._page_max, wait_ms=self._wait_ms)
        except DirectoryUnavailable as exc:
            log.warning("feed_unavailable", reason=exc.reason, seq=position)
            return exc.reason if not exc.reason.startswith("status-") else "status"
        finally:
            LAG.set(min(self.age_s(), 1e9))
        if page.head < position or self.restored:
            self._distrust(position, page.head)
            return "restored"
        return await self._take(page, position, sent_at)

    async def _take(self, page: FeedPage, position: FeedSeq, sent_at: float) -> str | None:
        events = good_prefix(page, position)
        for event in events:
            for listener in self.listeners:
                listener(event)
            for handler in self.handlers:
                await handler(event)
            self.position = event.seq
        reached = events[-1].seq if events else position
        POSITION.set(reached)
        if len(events) < len(page.events) or reached > page.head or (reached < page.head and not events):
            log.warning("feed_disorder", seq=reached, count=len(page.events))
            return "disorder"
        if reached == page.head:
            self.confirmed_at = sent_at
        return None

    def _distrust(self, position: FeedSeq, head: FeedSeq) -> None:
        if self.restored:
            return
        self.restored = True
        self.confirmed_at = float("-inf")
        STALE.set(1)
        log.error("feed_went_back", seq=position, as_of=head, reason="directory restored from an older state; restart")
        for callback in self.on_restored:
            callback()


def _call(callbacks: Sequence[Callable[[FeedSeq], None]], position: FeedSeq) -> None:
    for callback in callbacks:
        callback(position)

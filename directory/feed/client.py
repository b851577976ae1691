"""Following the directory's feed: every event once, in order, and how long ago the feed was known to be current.

`FeedReader` judges pages, `FeedFollower` hands events on one by one and keeps the time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, Protocol

from prometheus_client import Counter, Gauge

from directory.client.remote import DirectoryUnavailable
from directory.placement.core import FEED_PAGE_MAX, FeedEvent, FeedPage
from foundation import logs
from foundation.clock import Clock
from foundation.tasks import Backoff, Chance
from foundation.words import FeedSeq

log = logs.get(__name__)

POSITION = Gauge("domicile_feed_position", "Number of the last feed event taken in")
ANEW = Counter(
    "domicile_feed_anew_total", "Times that all was dropped, since the feed could not be followed from the position"
)
LAG = Gauge("domicile_feed_lag_seconds", "Seconds since the feed was last known to be current, at the last round")
TROUBLE = Counter("domicile_feed_trouble_total", "Rounds that brought no good page", ["reason"])
STALE = Gauge("domicile_feed_restored", "1 when the directory's feed went back: nothing is trusted any more")

WAIT_MS = 2000
"""One long-poll. A quiet feed is confirmed by the time a poll was sent, so its age stays below about two of these."""

Listener = Callable[[FeedEvent], None]


def good_prefix(page: FeedPage, after: FeedSeq) -> tuple[FeedEvent, ...]:
    """The events that follow `after` densely, up to the first number out of place (a gap, a repetition, a step back)."""
    events = page.events
    for index, event in enumerate(events):
        if event.seq != after + 1 + index:
            return events[:index]
    return events


class Feed(Protocol):
    """Where pages come from: `directory.client.remote.HttpDirectory`. Raises DirectoryUnavailable."""

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage: ...


class FeedWentBack(Exception):
    """The head was seen below the position, and nobody says that a new history began: an older state that does not know itself."""


class Page(NamedTuple):
    """Events that follow the position asked for (none when the wait ran out). `position` is the new one, `mark` its mark, `current`
    whether it is the head; `orderly` is False where the page went on with anything but the next event.

    `anew`: the position could not be followed from (pruned, or of a history that ended). What was held counts no more; `position` is
    the head, and whoever holds state has it told again.
    """

    events: tuple[FeedEvent, ...]
    position: FeedSeq
    current: bool
    orderly: bool = True
    mark: str = ""
    anew: bool = False


class FeedReader:
    """Reads pages and hands on only what follows densely. `restored` stays true once the feed went back: nothing it says is
    followed until it says itself that a new history began, or the process starts anew."""

    def __init__(self, feed: Feed, *, page_max: int = FEED_PAGE_MAX) -> None:
        self._feed = feed
        self._page_max = page_max
        self.restored = False
        self.history: str | None = None
        """The history that the last page was of; None before the first."""

    async def start(self) -> Page:
        """Where the feed stands now. Raises DirectoryUnavailable."""
        page = await self._feed.feed(FeedSeq(0), limit=1, wait_ms=0)
        self.history = page.history
        return Page((), page.head, current=True, mark=page.mark)

    async def after(self, position: FeedSeq, *, wait_ms: int, mark: str = "") -> Page:
        """One page. Raises DirectoryUnavailable, FeedWentBack."""
        page = await self._feed.feed(position, limit=self._page_max, wait_ms=wait_ms, mark=mark)
        if page.anew or (self.history is not None and page.history != self.history):
            log.warning("feed_anew", seq=position, as_of=page.head)
            self.history, self.restored = page.history, False
            return Page((), page.head, current=True, mark=page.mark, anew=True)
        if page.head < position or self.restored:
            self._distrust(position, page.head)
            raise FeedWentBack
        self.history = page.history
        events = good_prefix(page, position)
        reached = events[-1].seq if events else position
        orderly = len(events) == len(page.events) and (reached == page.head or (bool(events) and reached < page.head))
        if not orderly:
            log.warning("feed_disorder", seq=reached, count=len(page.events))
        reached_mark = events[-1].mark if events else mark
        return Page(events, reached, current=orderly and reached == page.head, orderly=orderly, mark=reached_mark)

    async def pages(self, position: FeedSeq, *, wait_ms: int, mark: str = "") -> AsyncIterator[Page]:
        """Pages after `position`, for ever; the next is asked for when the one before has been dealt with."""
        backoff = Backoff(first_s=0.05, max_s=1.0)
        wait_next_ms = 0
        while True:
            try:
                page = await self.after(position, wait_ms=wait_next_ms, mark=mark)
            except DirectoryUnavailable as exc:
                log.warning("feed_unavailable", reason=exc.reason, seq=position)
            except FeedWentBack:
                pass  # said once, when it was seen
            else:
                position, mark = page.position, page.mark
                yield page
                if page.orderly:
                    backoff.reset()
                    wait_next_ms = wait_ms
                    continue
            await asyncio.sleep(backoff.next_s())

    def _distrust(self, position: FeedSeq, head: FeedSeq) -> None:
        if not self.restored:
            log.error(
                "feed_went_back", seq=position, as_of=head, reason="directory restored from an older state; restart"
            )
        self.restored = True


class FeedFollower:
    """Hands each event in order to `listeners` (synchronous, cheap).

    `start`: the position after which to begin; None = the head at the first answer. `position` is the last event that everyone
    took in. `confirmed_at` is the monotonic time at which the request was sent whose answer showed nothing beyond `position`;
    minus infinity before the first. `on_start` runs with the first position, and again whenever the feed has to be begun anew at its
    head, because a new `history` began or the position was pruned: whoever holds state drops it there. A head below `position` without a
    new history comes from a directory that does not know of marks: then `restored` stays true until the process starts anew,
    `on_restored` runs once, and nothing is confirmed any more.
    """

    def __init__(
        self,
        feed: Feed,
        clock: Clock,
        *,
        start: FeedSeq | None = None,
        wait_ms: int = WAIT_MS,
        page_max: int = FEED_PAGE_MAX,
        chance: Chance = random.random,
    ) -> None:
        self._reader = FeedReader(feed, page_max=page_max)
        self._clock = clock
        self._wait_ms = wait_ms
        self._backoff = Backoff(first_s=0.05, max_s=1.0, chance=chance)
        self.position: FeedSeq | None = start
        self.mark = ""
        self.confirmed_at = float("-inf")
        self._distrusted = False
        self.listeners: list[Listener] = []
        self.on_start: list[Callable[[FeedSeq], None]] = []
        self.on_restored: list[Callable[[], None]] = []
        self.on_round: list[Callable[[], None]] = []

    @property
    def restored(self) -> bool:
        return self._reader.restored

    @property
    def history(self) -> str | None:
        """The history that `position` is of; None before the first answer."""
        return self._reader.history

    def age_s(self) -> float:
        """Seconds since the feed was last known to be current; infinite before the first time and after a restoration."""
        return self._clock.monotonic_s() - self.confirmed_at

    async def run(self) -> None:
        """Follows until cancelled. A listener that raises ends it: what it kept true is true no longer."""
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
                page = await self._reader.start()
                self.position, self.mark = page.position, page.mark
                return None
            page = await self._reader.after(position, wait_ms=self._wait_ms, mark=self.mark)
        except DirectoryUnavailable as exc:
            log.warning("feed_unavailable", reason=exc.reason, seq=position)
            return exc.reason if not exc.reason.startswith("status-") else "status"
        except FeedWentBack:
            self._distrust()
            return "restored"
        finally:
            LAG.set(min(self.age_s(), 1e9))
        if page.anew:
            ANEW.inc()
            STALE.set(0)
            self._distrusted = False
            self.position, self.mark = page.position, page.mark
            _call(self.on_start, page.position)
        for event in page.events:
            for listener in self.listeners:
                listener(event)
            self.position, self.mark = event.seq, event.mark
        POSITION.set(page.position)
        if page.current:
            self.confirmed_at = sent_at
        return None if page.orderly else "disorder"

    def _distrust(self) -> None:
        if self._distrusted:
            return
        self._distrusted = True
        self.confirmed_at = float("-inf")
        STALE.set(1)
        for callback in self.on_restored:
            callback()


def _call(callbacks: Sequence[Callable[[FeedSeq], None]], position: FeedSeq) -> None:
    for callback in callbacks:
        callback(position)

"""The registry as processes beside the directory keep it: asked for once, followed by the feed.

`HeldRegistry` is what is known, without I/O; `RegistryFollower` keeps it true. Before the first answer nothing is known, and what policy
says holds: the registry only ever chooses within policy, and the directory itself refuses what a drain forbids.
"""

import asyncio
from typing import Protocol

from directory.client.remote import DirectoryUnavailable
from directory.feed.client import FeedFollower
from directory.placement.core import FeedEvent, RegistryEvent
from directory.registry.core import EMPTY, Registry, Stated
from foundation import logs
from foundation.tasks import Backoff
from foundation.words import FeedSeq

log = logs.get(__name__)


class RegistrySource(Protocol):
    """`directory.client.remote.HttpDirectory`: every stated entry. Raises DirectoryUnavailable."""

    async def registry(self) -> Registry: ...


class HeldRegistry:
    """What the registry says, as far as heard. An entry is never replaced by an older version of itself."""

    def __init__(self) -> None:
        self.current: Registry = EMPTY

    def forget(self) -> None:
        self.current = EMPTY

    def take(self, entry: Stated, seq: FeedSeq) -> None:
        """Takes what an entry says since event `seq`."""
        known = self.current.entries.get(entry.entry)
        if known is not None and known.version >= entry.version:
            return
        entries = {**self.current.entries, entry.entry: entry}
        self.current = Registry(seq=max(seq, self.current.seq), entries=entries)


class RegistryFollower:
    """Keeps `held` what the directory says. `run` is a worker beside `feed.run`.

    The question goes out once the feed's position is known, so that no change in between is missed; and again, with nothing held, when
    the feed is begun anew, since what was stated may have been lost, or not heard of.
    """

    def __init__(self, source: RegistrySource, feed: FeedFollower, held: HeldRegistry) -> None:
        self._source = source
        self._held = held
        self._begun = asyncio.Event()
        self.told = asyncio.Event()
        feed.on_start.append(self._begin)
        feed.listeners.append(self._hear)

    def _begin(self, _: FeedSeq) -> None:
        self._held.forget()
        self._begun.set()

    def _hear(self, event: FeedEvent) -> None:
        if isinstance(event, RegistryEvent):
            self._held.take(event.entry, event.seq)

    async def run(self) -> None:
        """Runs until cancelled; asks until it is told, with growing waits."""
        backoff = Backoff(first_s=0.05, max_s=1.0)
        while True:
            await self._begun.wait()
            self._begun.clear()
            try:
                told = await self._source.registry()
            except DirectoryUnavailable as exc:
                log.warning("registry_unavailable", reason=exc.reason)
                self._begun.set()
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            if self._begun.is_set():
                continue  # asked before the feed was begun anew
            for entry in told.entries.values():
                self._held.take(entry, told.seq)
            self.told.set()

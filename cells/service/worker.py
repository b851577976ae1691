"""Workers: each shard is brought up and follows the feed on its own, so one that is down holds no other up."""

import asyncio
from collections.abc import Sequence

import asyncpg
import msgspec

from cells.service.directory import CellDirectory
from cells.service.imports import Imports
from cells.service.reload import told_anew
from cells.shards import store
from cells.shards.core import Home, fence_for, latest_by_subject
from cells.shards.homes import Homes
from cells.shards.shard import FAULTS, LOST, Open, Shard
from cells.shards.standing import LOOK_S
from directory.client.remote import DirectoryUnavailable
from directory.feed.client import Feed, FeedReader
from directory.placement.core import BulkEvent, FeedEvent, PlacementEvent, State
from foundation import logs
from foundation.postgres import MigrationError
from foundation.tasks import Backoff
from foundation.words import FeedSeq, SubjectId

log = logs.get(__name__)

FENCES_AT_ONCE = 6
CUT_ATTEMPTS_MAX = 20
SAVE_EVERY = 200
RECHECK_S = 3.0
WAIT_MS = 10_000
"""One long-poll of the feed."""


class ShardWorker:
    """Owns one shard: opens it, keeps its fences at what the feed says, acknowledges reservations, opens it again when lost."""

    def __init__(self, shard: Shard, homes: Homes, directory: CellDirectory, feed: Feed | None = None) -> None:
        self.shard = shard
        self.feed = FeedReader(feed or directory)
        self.current = False
        """Whether the shard has reached the feed's head since it was opened."""
        self._homes = homes
        self._directory = directory
        self._unsaved = 0
        self._imports = Imports(shard, homes, directory)

    async def run(self) -> None:
        """For ever. A fault of the database is logged and tried again; anything else ends the process."""
        backoff = Backoff(first_s=0.1, max_s=2.0)
        while True:
            try:
                async with self.shard.opened() as opened:
                    backoff.reset()
                    await self._serve(opened)
            except* (*FAULTS, MigrationError) as group:
                for exc in _leaves(group):
                    log.fault("shard_down", exc, shard=self.shard.id)
            finally:
                self.current = False
            await asyncio.sleep(backoff.next_s())

    async def _serve(self, opened: Open) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recheck(), name=f"recheck {self.shard.id}")
            group.create_task(self._look(), name=f"look {self.shard.id}")
            group.create_task(self._imports.run(opened), name=f"imports {self.shard.id}")
            await self._follow(opened)

    async def _recheck(self) -> None:
        """Looks again at cuts left half done."""
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                await self.shard.finish_cuts()
            except asyncpg.QueryCanceledError:
                log.warning("cut_held_up", shard=self.shard.id)

    async def _look(self) -> None:
        """Looks at the tables, which a product's migration may change at any time. A look that fails is no reason to close the shard."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.shard.look()
            except (*LOST, asyncpg.PostgresError) as exc:
                log.fault("look_failed", exc, shard=self.shard.id)

    async def _follow(self, opened: Open) -> None:
        async for page in self.feed.pages(opened.position, wait_ms=WAIT_MS, mark=opened.mark):
            if page.anew:
                await self._reload(opened)
            changed = await self._apply(opened, page.events)
            opened.position, opened.mark = page.position, page.mark
            self._unsaved += len(page.events)
            if changed or page.anew or self._unsaved >= SAVE_EVERY:
                await store.save_position(opened.cell, page.position, page.mark)
                self._unsaved = 0
            self.current = self.current or page.current

    async def _reload(self, opened: Open) -> None:
        """Takes in the directory's present state instead of its events, which cannot be had. Its answers are of after the position from
        which the feed is followed next, and what they say twice changes nothing: fences only go up."""
        self.current = False
        log.warning("shard_reloads", shard=self.shard.id, seq=opened.position)
        async for placements in told_anew(self._directory, self.shard.cell, store.homes_by_page(opened.cell)):
            await self._apply(opened, [PlacementEvent(seq=FeedSeq(0), at=0.0, placement=one) for one in placements])
        self._imports.wake.set()

    async def _apply(self, opened: Open, page: Sequence[FeedEvent]) -> bool:
        """Raises the fences that the page asks for, different subjects side by side. True if any concerned this shard."""
        if any(isinstance(event, BulkEvent) and self._brings(event) for event in page):
            self._imports.wake.set()
        events = latest_by_subject(event for event in page if isinstance(event, PlacementEvent))
        # A subject that nobody in this cell knows has no fence row here; of the others the database says whose they are.
        known = [subject for subject in events if self._homes.get(subject) is not None]
        held = await store.held(opened.cell, known) if known else set()
        wanted: dict[SubjectId, Home] = {}
        for subject, event in events.items():
            home = fence_for(event, self.shard.cell, self.shard.id, held=subject in held)
            if home is not None:
                wanted[subject] = home
        limit = asyncio.Semaphore(FENCES_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for subject, home in wanted.items():
                group.create_task(self._raise(subject, home, limit), name=f"fence {self.shard.id}")
        return bool(wanted)

    def _brings(self, event: BulkEvent) -> bool:
        """Whether it tells of people whose fences this shard has not raised yet."""
        here = (self.shard.cell, self.shard.id)
        return event.state is State.RESERVED and any((part.cell, part.shard) == here for part in event.parts)

    async def _raise(self, subject: SubjectId, home: Home, limit: asyncio.Semaphore) -> None:
        known = self._homes.get(subject)
        if (
            known is not None
            and known.shard == self.shard.id
            and known.epoch >= home.epoch
            and known.state is not State.RESERVED
        ):
            return  # a replay
        async with limit:
            await self._cut(subject, home)
            if home.state is State.RESERVED and await self._acknowledge(subject, home):
                await self._cut(subject, msgspec.structs.replace(home, state=State.ACTIVE))

    async def _cut(self, subject: SubjectId, home: Home) -> None:
        """Tries again while writers hold the fence: the closing row stands meanwhile, so they get fewer."""
        for attempt in range(1, CUT_ATTEMPTS_MAX + 1):
            try:
                await self.shard.raise_fence(subject, home)
                return
            except asyncpg.QueryCanceledError:
                log.warning("cut_held_up", shard=self.shard.id, epoch=home.epoch, attempt=attempt)
                if attempt == CUT_ATTEMPTS_MAX:
                    raise

    async def _acknowledge(self, subject: SubjectId, home: Home) -> bool:
        """True when the directory has taken the acknowledgement; False when it no longer wants it: a later event says what holds."""
        backoff = Backoff(first_s=0.05, max_s=1.0)
        while True:
            try:
                return await self._directory.acknowledge(subject, home.epoch)
            except DirectoryUnavailable as exc:
                log.warning("ack_unavailable", reason=exc.reason, shard=self.shard.id)
            if self.feed.restored:
                return False
            await asyncio.sleep(backoff.next_s())


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for exc in group.exceptions:
        found += _leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return found

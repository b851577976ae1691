"""Carrying the feed over into the second level: whoever of the region's gateways comes first, one event once, in order."""

import asyncio
import secrets
from collections import deque

import msgspec

from directory.client import metrics
from directory.client.remote import Directory, DirectoryUnavailable
from directory.client.second_level.sealed import UNSAID, Position
from directory.client.second_level.shelf import Body, Shelf
from directory.client.table import AnyId, PlacementTable
from directory.feed.client import FeedFollower, good_prefix
from directory.placement.core import FEED_PAGE_MAX, FeedEvent, KeysChange, KeysEvent, PlacementEvent
from foundation import logs
from foundation.words import FeedSeq

log = logs.get(__name__)

GAP_EVENTS_MAX = 10_000
CARRY_BATCH_MAX = 500
AT_ONCE = 0.0
TAKE_OVER_S = 0.02


class Carrier:
    """Brings the stored position to the follower's. `wake` is set when an event came."""

    def __init__(self, shelf: Shelf, *, table: PlacementTable, follower: FeedFollower, directory: Directory) -> None:
        """`follower` must feed `table` before this object."""
        self._shelf = shelf
        self._table = table
        self._follower = follower
        self._directory = directory
        self._watched: bytes | None = None
        self._recent: deque[FeedEvent] = deque(maxlen=GAP_EVENTS_MAX)
        self.wake = asyncio.Event()
        follower.listeners.append(self._on_event)
        follower.on_start.append(self._begin_anew)

    def _begin_anew(self, _: FeedSeq) -> None:
        """What was heard before does not lead on to what comes."""
        self._recent.clear()

    def _on_event(self, event: FeedEvent) -> None:
        self._recent.append(event)
        self.wake.set()

    async def carry(self) -> float | None:
        """One step. Seconds after which to go on, None when nothing is left."""
        if self._follower.position is None or self._follower.history is None or self._follower.restored:
            return None
        shelf, target = self._shelf, self._table.position
        raw = (await shelf.store.read([shelf.position_name]))[0]
        position = shelf.open_position(raw)
        if position is None:
            return await self._begin(raw, "missing" if raw is None else "bad")
        if position.history != self._follower.history:
            # Numbers only grow from history to history: a greater one is of a history that we have not heard of yet.
            shelf.generation = None
            return None if position.applied > target else await self._begin(raw, "history")
        if position.generation != shelf.generation and not await self._proven(position):
            return await self._begin(raw, "unproven")
        shelf.generation, shelf.applied = position.generation, position.applied
        metrics.SECOND_LEVEL_POSITION.set(position.applied)
        self._forget(position.applied)
        if position.applied >= target:
            return None
        if target - position.applied > GAP_EVENTS_MAX:
            return await self._begin(raw, "gap")
        if position.applying > position.applied and raw != self._watched:
            # Another gateway is at it: look again, and take over only if nothing moved.
            self._watched = raw
            return TAKE_OVER_S
        await self._carry_on(raw, position)
        return AT_ONCE

    def _forget(self, applied: FeedSeq) -> None:
        """Events that have been carried over; should the position ever be found before them, the directory is asked for them."""
        while self._recent and self._recent[0].seq <= applied:
            self._recent.popleft()

    async def _proven(self, position: Position) -> bool:
        """Whether the directory still knows the newest event that any entry may contain: what was stored may have outlived a
        restoration that nobody has noticed. Asked once a generation. Raises DirectoryUnavailable."""
        if not position.mark:
            return not self._follower.mark  # a directory that makes no marks
        page = await self._directory.feed(position.applying, limit=1, wait_ms=0, mark=position.mark)
        return not page.anew and page.history == position.history and page.head >= position.applying

    async def accepts(self, position: Position) -> bool:
        """Whether a stored position of another generation than known is of the directory's history; then that one is known from now on."""
        try:
            proven = await self._proven(position)
        except DirectoryUnavailable:
            return False
        if proven and position.history == self._follower.history:
            self._shelf.generation, self._shelf.applied = position.generation, position.applied
        return proven

    async def _carry_on(self, raw: bytes | None, position: Position) -> None:
        """The next events after `position`; nothing when another gateway has moved it meanwhile."""
        shelf, generation = self._shelf, position.generation
        events = await self._events_after(position.applied)
        upto = events[-1].seq
        applying = max(position.applying, upto)
        mark = events[-1].mark if upto >= position.applying else position.mark
        begun = await shelf.move(raw, msgspec.structs.replace(position, applying=applying, mark=mark))
        if begun is None:
            return
        rows = [row for event in events for row in self._rows(generation, event)]
        for start in range(0, len(rows), CARRY_BATCH_MAX):
            await shelf.store.amend(rows[start : start + CARRY_BATCH_MAX])
        done = msgspec.structs.replace(position, applied=upto, applying=applying, mark=mark)
        if await shelf.move(begun, done) is not None:
            shelf.applied = upto

    def _rows(self, generation: str, event: FeedEvent) -> list[tuple[str, bytes]]:
        """Entries that replace what is held of the ids that the event touches."""
        bodies: list[tuple[AnyId, Body]] = []
        if isinstance(event, PlacementEvent):
            bodies += ((key, None) for key in event.keys_removed)
            bodies += ((key, event.placement.subject_id) for key in event.keys_added)
            bodies.append((event.placement.subject_id, event.placement))
        elif isinstance(event, KeysEvent):
            said = UNSAID if event.change is KeysChange.UNRESOLVED else None
            bodies += ((key, said) for key in event.keys)
        named = ((self._shelf.name(generation, id_), body) for id_, body in bodies)
        return [(name, self._shelf.seal(name, event.seq, body)) for name, body in named]

    async def _events_after(self, applied: FeedSeq) -> list[FeedEvent]:
        """The next events after `applied`: from memory where they are, else from the directory. Raises DirectoryUnavailable."""
        if self._recent and self._recent[0].seq <= applied + 1:
            start = applied + 1 - self._recent[0].seq
            return [self._recent[index] for index in range(start, min(start + CARRY_BATCH_MAX, len(self._recent)))]
        page = await self._directory.feed(applied, limit=min(CARRY_BATCH_MAX, FEED_PAGE_MAX), wait_ms=0)
        if not page.events or len(good_prefix(page, applied)) < len(page.events):
            raise DirectoryUnavailable("malformed")
        return list(page.events)

    async def _begin(self, raw: bytes | None, reason: str) -> float | None:
        """A new generation of names, which is empty and so as new as can be."""
        target, history = self._table.position, self._follower.history
        if history is None or self._follower.position != target:
            return None
        fresh = Position(
            generation=secrets.token_hex(8),
            applied=target,
            applying=target,
            history=history,
            mark=self._follower.mark,
        )
        if await self._shelf.move(raw, fresh) is not None:
            self._shelf.generation, self._shelf.applied = fresh.generation, target
            metrics.SECOND_LEVEL_RESETS.labels(reason).inc()
            log.info("second_level_begun", reason=reason, seq=target)
        return AT_ONCE

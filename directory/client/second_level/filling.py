"""Filling the second level with what the directory answered: under leases, so that no event is overtaken by an older answer."""

import asyncio
import secrets
from collections import deque

import msgspec

from directory.client import metrics
from directory.client.second_level.sealed import LEASE
from directory.client.second_level.shelf import Body, Shelf
from directory.client.table import AnyId, PlacementTable
from foundation.words import FeedSeq

TTL_MS = 3_600_000
ABSENT_TTL_MS = 30_000
LEASE_MS = 5_000
FILLS_MAX = 10_000
FILL_BATCH_MAX = 200


class Fill(msgspec.Struct, frozen=True):
    """An answer of the directory on its way into the second level."""

    id: AnyId
    as_of: FeedSeq
    body: Body
    generation: int


class Filler:
    """A bounded queue of answers. `wake` is set when there is something to fill."""

    def __init__(self, shelf: Shelf, table: PlacementTable) -> None:
        self._shelf = shelf
        self._table = table
        self._fills: deque[Fill] = deque()
        self.wake = asyncio.Event()

    @property
    def pending(self) -> bool:
        """Whether a next batch can be filled."""
        return bool(self._fills) and self._shelf.generation is not None and self._carried(self._fills[0])

    def _carried(self, fill: Fill) -> bool:
        """Whether the stored position has reached the answer. No entry is newer than what the position's mark proves: a restoration that
        cut the answer's events off would otherwise leave it standing in a generation that is still proven."""
        return fill.as_of <= self._shelf.applied

    def offer(self, id_: AnyId, body: Body, as_of: FeedSeq) -> None:
        """Queues what the directory answered; dropped when the queue is full or the store is down."""
        if len(self._fills) >= FILLS_MAX or self._shelf.is_down:
            metrics.SECOND_LEVEL_FILLS.labels("dropped").inc()
            return
        self._fills.append(Fill(id_, as_of, body, self._table.generation))
        self.wake.set()

    async def fill_some(self) -> None:
        """One batch: lease the names, then learn how far the feed may have been carried, then fill what is still true by then."""
        shelf, generation = self._shelf, self._shelf.generation
        if generation is None or not self._fills:
            return
        taken: list[Fill] = []
        while self._fills and len(taken) < FILL_BATCH_MAX and self._carried(self._fills[0]):
            taken.append(self._fills.popleft())
        if not taken:
            return
        batch = {fill.id: fill for fill in taken}
        lease = LEASE + secrets.token_hex(8).encode()
        fills = [(shelf.name(generation, fill.id), fill) for fill in batch.values()]
        granted, raw = await shelf.store.claim([name for name, _ in fills], lease, LEASE_MS, shelf.position_name)
        position = shelf.open_position(raw)
        if position is None or position.generation != generation:
            return
        rows = [
            (name, shelf.seal(name, fill.as_of, fill.body), _ttl_ms(fill))
            for (name, fill), one in zip(fills, granted, strict=True)
            if one and self._may_fill(fill, position.applying)
        ]
        done = await shelf.store.fill(rows, lease) if rows else []
        metrics.SECOND_LEVEL_FILLS.labels("filled").inc(sum(done))
        metrics.SECOND_LEVEL_FILLS.labels("refused").inc(len(fills) - sum(done))

    def _may_fill(self, fill: Fill, applying: FeedSeq) -> bool:
        """Whether no event that may have been carried over before our lease touches this id after the answer."""
        if fill.generation != self._table.generation:
            return False
        return fill.as_of >= applying or (
            self._table.position >= applying and self._table.still_true(fill.id, fill.as_of)
        )


def _ttl_ms(fill: Fill) -> int:
    return ABSENT_TTL_MS if fill.body is None else TTL_MS

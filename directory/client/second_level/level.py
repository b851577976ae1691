"""The region's shared cache of placements: read under a position, filled under leases, kept true by carrying the feed over.

Why nothing stale is served (docs/decisions/0003): in one generation of names, every entry is at all times at least as new as the
stored position's `applied`. A reader reads the position first and the entry after it, so the entry is as of that position or newer,
and goes through the same acceptance rule as an answer of the directory (`PlacementTable`).
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from directory.client import metrics
from directory.client.remote import Directory, DirectoryUnavailable
from directory.client.second_level.carrying import AT_ONCE, Carrier
from directory.client.second_level.filling import Filler
from directory.client.second_level.sealed import LEASE, Seal, Undecodable, decode_placement, decode_subject
from directory.client.second_level.shelf import Body, Shelf
from directory.client.second_level.valkey import SecondLevelDown, SecondLevelStore
from directory.client.table import ABSENT, OVERTAKEN, Absent, AnyId, Overtaken, PlacementTable
from directory.feed.client import FeedFollower
from directory.placement.core import Placement, State
from foundation import logs
from foundation.clock import Clock
from foundation.tasks import Chance
from foundation.words import FeedSeq, LookupKey, SubjectId

log = logs.get(__name__)

Id = TypeVar("Id", bound=AnyId)

PROBE_S = 0.1
LOOK_AGAIN_S = 1.0


class SecondLevel:
    """One region's second level as one gateway uses it. `run` is a worker; without it nothing is filled and nothing carried over."""

    def __init__(
        self,
        store: SecondLevelStore,
        seal: Seal,
        *,
        table: PlacementTable,
        follower: FeedFollower,
        directory: Directory,
        clock: Clock,
        prefix: str = "domicile",
        chance: Chance = random.random,
    ) -> None:
        """`follower` must feed `table` before this object: create the client first."""
        self._table = table
        self._clock = clock
        self._follower = follower
        self._shelf = Shelf(store, seal, prefix=prefix, chance=chance)
        self._filler = Filler(self._shelf, table)
        self._carrier = Carrier(self._shelf, table=table, follower=follower, directory=directory)

    # --- reading -------------------------------------------------------------------------------------------------------------

    async def keys(self, keys: Sequence[LookupKey]) -> dict[LookupKey, Placement | Absent]:
        """What the second level knows of these keys and the table believes. Never raises for the store's sake: then it knows nothing."""
        generation, now_s = self._table.generation, self._clock.monotonic_s()
        leads: dict[LookupKey, tuple[SubjectId, FeedSeq]] = {}
        absences: dict[LookupKey, FeedSeq] = {}
        for key, (as_of, own, body) in (await self._read(keys)).items():
            try:
                subject_id = decode_subject(body)
            except Undecodable:
                self._shelf.count_bad("shape")
                continue
            if subject_id is None:
                absences[key] = own
            else:
                leads[key] = subject_id, as_of
        placements = await self._placements(list({subject_id for subject_id, _ in leads.values()})) if leads else {}
        # Nothing is awaited from here on: an event between learning and answering would make the answer old.
        found: dict[LookupKey, Placement | Absent] = {}
        for key, as_of in absences.items():
            verdict = self._table.learn_key(key, ABSENT, as_of=as_of, generation=generation, now_s=now_s)
            _keep(found, key, verdict)
        for key, (subject_id, as_of) in leads.items():
            if (held := placements.get(subject_id)) is not None:
                placement, placement_as_of = held
                oldest = min(as_of, placement_as_of)
                verdict = self._table.learn_key(key, placement, as_of=oldest, generation=generation, now_s=now_s)
                _keep(found, key, verdict)
        return found

    async def subjects(self, subjects: Sequence[SubjectId]) -> dict[SubjectId, Placement | Absent]:
        """The same for subject ids; absences of subjects are not kept here."""
        generation, now_s = self._table.generation, self._clock.monotonic_s()
        found: dict[SubjectId, Placement | Absent] = {}
        for subject_id, (placement, as_of) in (await self._placements(subjects)).items():
            verdict = self._table.learn_subject(subject_id, placement, as_of=as_of, generation=generation, now_s=now_s)
            _keep(found, subject_id, verdict)
        return found

    async def _placements(self, subjects: Sequence[SubjectId]) -> dict[SubjectId, tuple[Placement, FeedSeq]]:
        found = {}
        for subject_id, (as_of, own, body) in (await self._read(subjects)).items():
            try:
                placement = decode_placement(body)
            except Undecodable:
                self._shelf.count_bad("shape")
                continue
            if placement is not None and placement.subject_id == subject_id:
                found[subject_id] = placement, own if placement.state is State.RESERVED else as_of
        return found

    async def _read(self, ids: Sequence[Id]) -> dict[Id, tuple[FeedSeq, FeedSeq, bytes]]:
        """Bodies by id, each with the number as of which it may be believed, and its own. Empty when the store does not answer.

        Absences and reservations are believed as of their own number only: a bulk event, which names nobody, is not carried over.
        """
        now_s = self._clock.monotonic_s()
        if not self._shelf.allows(now_s):
            return {}
        try:
            return await self._read_at(ids)
        except SecondLevelDown as exc:
            self._shelf.down(exc, now_s)
            return {}

    async def _read_at(self, ids: Sequence[Id]) -> dict[Id, tuple[FeedSeq, FeedSeq, bytes]]:
        shelf = self._shelf
        for _ in range(2):
            generation = shelf.generation or "none"
            names = [shelf.name(generation, id_) for id_ in ids]
            raw, *values = await shelf.store.read([shelf.position_name, *names])
            shelf.up()
            position = shelf.open_position(raw)
            # Of another history, or from beyond our own position: most likely we hear of it in a moment.
            if (
                position is None
                or position.history != self._follower.history
                or position.applied > self._table.position
            ):
                return {}
            if position.generation == generation:
                return await self._opened(ids, names, values, position.applied)
            if not await self._carrier.accepts(position):
                return {}
        return {}

    async def _opened(
        self, ids: Sequence[Id], names: list[str], values: list[bytes | None], applied: FeedSeq
    ) -> dict[Id, tuple[FeedSeq, FeedSeq, bytes]]:
        found = {}
        for id_, name, value in zip(ids, names, values, strict=True):
            if value is None or value.startswith(LEASE):
                continue
            entry = self._shelf.open(name, value)
            if entry is None:
                await self._shelf.store.discard(name, value)
            elif entry.as_of <= self._table.position:
                found[id_] = max(applied, entry.as_of), entry.as_of, entry.body
        return found

    # --- keeping it true -----------------------------------------------------------------------------------------------------

    def offer(self, id_: AnyId, body: Body, as_of: FeedSeq) -> None:
        """Queues what the directory answered; never waits."""
        self._filler.offer(id_, body, as_of)

    async def run(self) -> None:
        """Carries and fills until cancelled; the store's failures only slow it down."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.carry, self._carrier.wake), name="second level: carry")
            group.create_task(self._repeat(self.fill, self._filler.wake), name="second level: fill")

    async def carry(self) -> float | None:
        """One step towards the follower's position. Seconds after which to go on, None when nothing is left."""
        again = await self._carrier.carry()
        if self._filler.pending:
            self._filler.wake.set()
        return again

    async def fill(self) -> float | None:
        """One batch of what was offered. The same."""
        await self._filler.fill_some()
        return AT_ONCE if self._filler.pending else None

    async def _repeat(self, step: Callable[[], Coroutine[Any, Any, float | None]], wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            now_s = self._clock.monotonic_s()
            again: float | None = None
            if self._shelf.allows(now_s):
                try:
                    again = await step()
                    self._shelf.up()
                except SecondLevelDown as exc:
                    self._shelf.down(exc, now_s)
                except DirectoryUnavailable as exc:
                    log.warning("second_level_gap", reason=exc.reason)
            if again is None:
                await _wait(wake, PROBE_S if self._shelf.is_down else LOOK_AGAIN_S)
            elif again > 0:
                await asyncio.sleep(again)


def _keep(found: dict[Id, Placement | Absent], id_: Id, verdict: Placement | Absent | Overtaken) -> None:
    if verdict is OVERTAKEN:
        metrics.OVERTAKEN.inc()
    else:
        found[id_] = verdict


async def _wait(wake: asyncio.Event, s_max: float) -> None:
    try:
        async with asyncio.timeout(s_max):
            await wake.wait()
    except TimeoutError:
        return

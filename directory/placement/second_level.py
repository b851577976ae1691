"""The region's shared cache of placements: read under a position, filled under leases, kept true by carrying the feed over.

Why nothing stale is served (docs/decisions/0003): in one generation of names, every entry is at all times at least as new as the
stored position's `applied`. A reader reads the position first and the entry after it, so the entry is as of that position or newer,
and goes through the same acceptance rule as an answer of the directory (`PlacementTable`).
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from directory.feed.client import FeedFollower
from directory.placement import client_metrics as metrics
from directory.placement.circuit import Circuit
from directory.placement.core import FEED_PAGE_MAX, FeedEvent, Placement, PlacementEvent
from directory.placement.remote import Directory, DirectoryUnavailable
from directory.placement.sealed import (
    LEASE,
    Position,
    Seal,
    Undecodable,
    decode_placement,
    decode_position,
    decode_subject,
    encode_body,
)
from directory.placement.table import ABSENT, OVERTAKEN, Absent, AnyId, Overtaken, PlacementTable
from directory.placement.valkey import SecondLevelDown, SecondLevelStore
from foundation import logs
from foundation.clock import Clock
from foundation.words import FeedSeq, LookupKey, SubjectId

log = logs.get(__name__)

Id = TypeVar("Id", bound=AnyId)

TTL_MS = 3_600_000
ABSENT_TTL_MS = 30_000
LEASE_MS = 5_000
FILLS_MAX = 10_000
FILL_BATCH_MAX = 200
GAP_EVENTS_MAX = 10_000
CARRY_BATCH_MAX = 500
AT_ONCE = 0.0
TAKE_OVER_S = 0.02
PROBE_S = 0.1
LOOK_AGAIN_S = 1.0


class Fill(msgspec.Struct, frozen=True):
    """An answer of the directory on its way into the second level. `body`: what `sealed.encode_body` takes."""

    id: AnyId
    as_of: FeedSeq
    body: Placement | SubjectId | None
    generation: int


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
    ) -> None:
        """`follower` must feed `table` before this object: create the client first."""
        self._store = store
        self._seal = seal
        self._table = table
        self._follower = follower
        self._directory = directory
        self._clock = clock
        self._prefix = prefix
        self._position_name = f"{prefix}:position"
        self._generation: str | None = None
        self._watched: bytes | None = None
        self._circuit = Circuit(failures_max=2)
        self._recent: deque[FeedEvent] = deque(maxlen=GAP_EVENTS_MAX)
        self._moved = asyncio.Event()
        self._fills: deque[Fill] = deque()
        self._filled = asyncio.Event()
        follower.listeners.append(self._on_event)

    # --- reading -------------------------------------------------------------------------------------------------------------

    async def keys(self, keys: Sequence[LookupKey]) -> dict[LookupKey, Placement | Absent]:
        """What the second level knows of these keys and the table believes. Never raises for the store's sake: then it knows nothing."""
        generation, now_s = self._table.generation, self._clock.monotonic_s()
        leads: dict[LookupKey, tuple[SubjectId, FeedSeq]] = {}
        absences: dict[LookupKey, FeedSeq] = {}
        for key, (as_of, body) in (await self._read(keys)).items():
            try:
                subject_id = decode_subject(body)
            except Undecodable:
                self._count_bad("shape")
                continue
            if subject_id is None:
                absences[key] = as_of
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
        for subject_id, (as_of, body) in (await self._read(subjects)).items():
            try:
                placement = decode_placement(body)
            except Undecodable:
                self._count_bad("shape")
                continue
            if placement is not None and placement.subject_id == subject_id:
                found[subject_id] = placement, as_of
        return found

    async def _read(self, ids: Sequence[Id]) -> dict[Id, tuple[FeedSeq, bytes]]:
        """Bodies by id, each with the number as of which it may be believed. Empty when the store does not answer."""
        now_s = self._clock.monotonic_s()
        if not self._circuit.allows(now_s):
            return {}
        try:
            return await self._read_at(ids)
        except SecondLevelDown as exc:
            self._down(exc, now_s)
            return {}

    async def _read_at(self, ids: Sequence[Id]) -> dict[Id, tuple[FeedSeq, bytes]]:
        for _ in range(2):
            generation = self._generation or "none"
            names = [self._name(generation, id_) for id_ in ids]
            raw, *values = await self._store.read([self._position_name, *names])
            self._up()
            position = self._open_position(raw)
            # A position or entry from beyond our own is not believed: most likely we learn of it in a moment; if not, it is of a
            # history that the directory no longer has.
            if position is None or position.applied > self._table.position:
                return {}
            if position.generation == generation:
                return await self._opened(ids, names, values, position.applied)
            self._generation = position.generation
        return {}

    async def _opened(
        self, ids: Sequence[Id], names: list[str], values: list[bytes | None], applied: FeedSeq
    ) -> dict[Id, tuple[FeedSeq, bytes]]:
        found = {}
        for id_, name, value in zip(ids, names, values, strict=True):
            if value is None or value.startswith(LEASE):
                continue
            entry = self._seal.open(name, value)
            if entry is None:
                self._count_bad("seal")
                await self._store.discard(name, value)
            elif entry.as_of <= self._table.position:
                found[id_] = max(applied, entry.as_of), entry.body
        return found

    # --- filling -------------------------------------------------------------------------------------------------------------

    def offer(self, id_: AnyId, body: Placement | SubjectId | None, as_of: FeedSeq) -> None:
        """Queues what the directory answered; dropped when the queue is full or the store is down."""
        if len(self._fills) >= FILLS_MAX or self._circuit.open:
            metrics.SECOND_LEVEL_FILLS.labels("dropped").inc()
            return
        self._fills.append(Fill(id_, as_of, body, self._table.generation))
        self._filled.set()

    async def fill_some(self) -> None:
        """One batch: lease the names, then learn how far the feed may have been carried, then fill what is still true by then."""
        generation = self._generation
        if generation is None or not self._fills:
            return
        taken = [self._fills.popleft() for _ in range(min(len(self._fills), FILL_BATCH_MAX))]
        batch = {fill.id: fill for fill in taken}
        lease = LEASE + secrets.token_hex(8).encode()
        fills = [(self._name(generation, fill.id), fill) for fill in batch.values()]
        granted, raw = await self._store.claim([name for name, _ in fills], lease, LEASE_MS, self._position_name)
        position = self._open_position(raw)
        if position is None or position.generation != generation:
            return
        rows = [
            (name, self._seal.seal(name, fill.as_of, encode_body(fill.body)), _ttl_ms(fill))
            for (name, fill), one in zip(fills, granted, strict=True)
            if one and self._may_fill(fill, position.applying)
        ]
        done = await self._store.fill(rows, lease) if rows else []
        metrics.SECOND_LEVEL_FILLS.labels("filled").inc(sum(done))
        metrics.SECOND_LEVEL_FILLS.labels("refused").inc(len(fills) - sum(done))

    def _may_fill(self, fill: Fill, applying: FeedSeq) -> bool:
        """Whether no event that may have been carried over before our lease touches this id after the answer."""
        if fill.generation != self._table.generation:
            return False
        return fill.as_of >= applying or (
            self._table.position >= applying and self._table.still_true(fill.id, fill.as_of)
        )

    # --- carrying the feed over ----------------------------------------------------------------------------------------------

    def _on_event(self, event: FeedEvent) -> None:
        self._recent.append(event)
        self._moved.set()

    async def run(self) -> None:
        """Carries and fills until cancelled; the store's failures only slow it down."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.carry, self._moved), name="second level: carry")
            group.create_task(self._repeat(self._fill_round, self._filled), name="second level: fill")

    async def _repeat(self, step: Callable[[], Coroutine[Any, Any, float | None]], wake: asyncio.Event) -> None:
        """`step` gives the seconds after which it wants to go on, or None when it is done for now."""
        while True:
            wake.clear()
            now_s = self._clock.monotonic_s()
            again: float | None = None
            if self._circuit.allows(now_s):
                try:
                    again = await step()
                    self._up()
                except SecondLevelDown as exc:
                    self._down(exc, now_s)
                except DirectoryUnavailable as exc:
                    log.warning("second_level_gap", reason=exc.reason)
            if again is None:
                await _wait(wake, PROBE_S if self._circuit.open else LOOK_AGAIN_S)
            elif again > 0:
                await asyncio.sleep(again)

    async def _fill_round(self) -> float | None:
        await self.fill_some()
        return AT_ONCE if self._fills and self._generation is not None else None

    async def carry(self) -> float | None:
        """One step towards the follower's position. Seconds after which to go on, None when nothing is left."""
        if self._follower.position is None or self._follower.restored:
            return None
        target = self._table.position
        raw = (await self._store.read([self._position_name]))[0]
        position = self._open_position(raw)
        if position is None:
            return await self._begin(raw, target, "missing" if raw is None else "bad")
        if self._generation is None and self._fills:
            self._filled.set()
        self._generation = position.generation
        metrics.SECOND_LEVEL_POSITION.set(position.applied)
        if position.applied >= target:
            return None
        if target - position.applied > GAP_EVENTS_MAX:
            return await self._begin(raw, target, "gap")
        if position.applying > position.applied and raw != self._watched:
            # Another gateway is at it: look again, and take over only if nothing moved.
            self._watched = raw
            return TAKE_OVER_S
        events = await self._events_after(position.applied)
        upto = events[-1].seq
        begun = Position(
            generation=position.generation, applied=position.applied, applying=max(position.applying, upto)
        )
        begun_raw = self._sealed_position(begun)
        if not await self._store.swap(self._position_name, raw, begun_raw):
            return AT_ONCE
        rows = [
            row
            for event in events
            if isinstance(event, PlacementEvent)
            for row in self._rows(position.generation, event)
        ]
        for start in range(0, len(rows), CARRY_BATCH_MAX):
            await self._store.amend(rows[start : start + CARRY_BATCH_MAX])
        ended = Position(generation=begun.generation, applied=upto, applying=begun.applying)
        await self._store.swap(self._position_name, begun_raw, self._sealed_position(ended))
        return AT_ONCE

    def _rows(self, generation: str, event: PlacementEvent) -> list[tuple[str, bytes]]:
        placement = event.placement
        bodies: list[tuple[AnyId, Placement | SubjectId | None]] = [
            *((key, None) for key in event.keys_removed),
            *((key, placement.subject_id) for key in event.keys_added),
            (placement.subject_id, placement),
        ]
        named = ((self._name(generation, id_), body) for id_, body in bodies)
        return [(name, self._seal.seal(name, event.seq, encode_body(body))) for name, body in named]

    async def _events_after(self, applied: FeedSeq) -> list[FeedEvent]:
        """The next events after `applied`: from memory where they are, else from the directory. Raises DirectoryUnavailable."""
        if self._recent and self._recent[0].seq <= applied + 1:
            start = applied + 1 - self._recent[0].seq
            return [self._recent[index] for index in range(start, min(start + CARRY_BATCH_MAX, len(self._recent)))]
        page = await self._directory.feed(applied, limit=min(CARRY_BATCH_MAX, FEED_PAGE_MAX), wait_ms=0)
        if not page.events or any(event.seq != applied + 1 + index for index, event in enumerate(page.events)):
            raise DirectoryUnavailable("malformed")
        return list(page.events)

    async def _begin(self, raw: bytes | None, target: FeedSeq, reason: str) -> float:
        """A new generation of names, which is empty and so as new as can be."""
        fresh = Position(generation=secrets.token_hex(8), applied=target, applying=target)
        if await self._store.swap(self._position_name, raw, self._sealed_position(fresh)):
            self._generation = fresh.generation
            metrics.SECOND_LEVEL_RESETS.labels(reason).inc()
            log.info("second_level_begun", reason=reason, seq=target)
        return AT_ONCE

    # --- names and health ----------------------------------------------------------------------------------------------------

    def _name(self, generation: str, id_: AnyId) -> str:
        return f"{self._prefix}:{generation}:{id_}"

    def _sealed_position(self, position: Position) -> bytes:
        return self._seal.seal(self._position_name, position.applied, encode_body(position))

    def _open_position(self, raw: bytes | None) -> Position | None:
        if raw is None:
            return None
        entry = self._seal.open(self._position_name, raw)
        position = decode_position(entry.body) if entry else None
        if position is None:
            self._count_bad("position")
        return position

    def _count_bad(self, reason: str) -> None:
        metrics.SECOND_LEVEL_BAD.labels(reason).inc()
        log.warning("second_level_bad", reason=reason)

    def _up(self) -> None:
        if self._circuit.open:
            log.info("second_level_up")
        self._circuit.succeeded()
        metrics.CIRCUIT.labels("valkey").set(0)

    def _down(self, exc: SecondLevelDown, now_s: float) -> None:
        was_open = self._circuit.open
        self._circuit.failed(now_s)
        metrics.CIRCUIT.labels("valkey").set(1 if self._circuit.open else 0)
        if self._circuit.open and not was_open:
            log.warning("second_level_down", reason=str(exc))


def _ttl_ms(fill: Fill) -> int:
    return ABSENT_TTL_MS if fill.body is None else TTL_MS


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

"""Where a subject's home is, for gateways and cell services: process table, then the region's Valkey, then the directory."""

import asyncio
import enum
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from directory.client import metrics
from directory.client.batching import Batcher, TooManyWaiting
from directory.client.circuit import Circuit
from directory.client.remote import Directory, DirectoryUnavailable
from directory.client.said import Said
from directory.client.second_level.level import SecondLevel
from directory.client.second_level.sealed import Seal
from directory.client.second_level.valkey import SecondLevelStore
from directory.client.table import ABSENT, OVERTAKEN, Absent, Overtaken, PlacementTable
from directory.feed.client import FeedFollower
from directory.placement.core import FeedEvent, Placement, Resolved, ResolvedSubjects
from foundation import logs
from foundation.clock import Clock
from foundation.problems import Code, Problem
from foundation.tasks import Chance
from foundation.words import Epoch, FeedSeq, LookupKey, SubjectId

log = logs.get(__name__)

RESOLVE_S_MAX = 1.0
ATTEMPTS_MAX = 3
ABSENT_SURE_S = 0.25
"""How long the directory's own word that a key leads nowhere is not asked for again: who has no home costs it four keys a second."""

Id = TypeVar("Id", LookupKey, SubjectId)


class Why(enum.StrEnum):
    """Why a home cannot be established just now."""

    DIRECTORY_DOWN = "directory_down"
    FEED_STALE = "feed_stale"
    FEED_RESTORED = "feed_restored"
    OVERTAKEN = "overtaken"
    UNRESOLVED = "unresolved"
    """Claimed under a lease that ran out: its cell has yet to say for whom."""
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"


class Known(msgspec.Struct, frozen=True):
    """The subject is placed; its state may still allow nothing (`directory.placement.core.refusal`)."""

    placement: Placement


class Unknown(msgspec.Struct, frozen=True):
    """Nobody can be asked, or no answer can be believed: refuse (503 `home_unknown`)."""

    why: Why


Answer = Known | Absent | Unknown
"""`Absent` (the value `ABSENT`): it is known that there is no such placement (404 `no_home`)."""


Parts: TypeAlias = AsyncIterator[dict[Id, Answer]]
"""Answers of one batch, as they become known."""


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one process's client. `stale_s_max`: how long what is known is served without the feed being confirmed."""

    stale_s_max: float
    entries_max: int = 1_000_000
    absences_max: int = 65_536
    absent_s: float = 30.0
    resolve_s_max: float = RESOLVE_S_MAX


class SecondLevelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The region's store, and the keyring under which its gateways seal entries."""

    store: SecondLevelStore
    seal: Seal
    prefix: str = "domicile"


class DirectoryClient:
    """`lookup` on the hot path; where it gives None, `resolve`.

    The process runs `follower.run` and, where there is a second level, `client.run` as workers, and calls `aclose` at its end.
    """

    def __init__(
        self,
        directory: Directory,
        follower: FeedFollower,
        clock: Clock,
        *,
        limits: ClientLimits,
        second_level: SecondLevelSettings | None = None,
        chance: Chance = random.random,
    ) -> None:
        self._directory = directory
        self._follower = follower
        self._clock = clock
        self._limits = limits
        self._stale_s_max = limits.stale_s_max
        self.table = PlacementTable(
            entries_max=limits.entries_max, absences_max=limits.absences_max, absent_s=limits.absent_s
        )
        self._circuit = Circuit(chance=chance)
        self._hits_found = 0
        self._hits_absent = 0
        self._nowhere = Said(entries_max=limits.absences_max, for_s=ABSENT_SURE_S)
        self._keys = Batcher[LookupKey, Answer](self._answer_keys)
        self._subjects = Batcher[SubjectId, Answer](self._answer_subjects)
        self._fresh_keys = Batcher[LookupKey, Answer](self._ask_keys)
        self._fresh_subjects = Batcher[SubjectId, Answer](self._ask_subjects)
        follower.on_start.append(self.table.reset)
        follower.on_restored.append(self._forget)
        follower.on_round.append(self._check_outrun)
        follower.on_round.append(self._publish_figures)
        follower.listeners.append(self._on_event)
        self._second: SecondLevel | None = None
        if second_level is not None:
            self._second = SecondLevel(
                second_level.store,
                second_level.seal,
                table=self.table,
                follower=follower,
                directory=directory,
                clock=clock,
                prefix=second_level.prefix,
                chance=chance,
            )

    # --- asking --------------------------------------------------------------------------------------------------------------

    def lookup(self, key: LookupKey) -> Placement | Absent | None:
        """What this process knows, without waiting. None: ask `resolve`."""
        now_s = self._clock.monotonic_s()
        if now_s - self._follower.confirmed_at > self._stale_s_max:
            return None
        found = self.table.by_key(key, now_s)
        if found is None:
            return None
        if found is ABSENT:
            self._hits_absent += 1
        else:
            self._hits_found += 1
        return found

    def lookup_subject(self, subject_id: SubjectId) -> Placement | Absent | None:
        """The same for a subject id."""
        now_s = self._clock.monotonic_s()
        if now_s - self._follower.confirmed_at > self._stale_s_max:
            return None
        return self.table.by_subject(subject_id, now_s)

    async def resolve(self, key: LookupKey) -> Answer:
        """The subject's placement by lookup key, from the nearest level that may say. Takes at most `resolve_s_max`."""
        found = self.lookup(key)
        return _answer(found) if found is not None else await self._bounded(self._keys, key)

    async def subject(self, subject_id: SubjectId) -> Answer:
        """The same by subject id."""
        found = self.lookup_subject(subject_id)
        return _answer(found) if found is not None else await self._bounded(self._subjects, subject_id)

    async def refresh(self, subject_id: SubjectId, *, newer_than: Epoch) -> Answer:
        """After a cell refused `newer_than` as stale: what the feed has brought since, or what the directory itself says now.

        The answer's epoch may still be `newer_than`: then the directory knows no newer one.
        """
        found = self.lookup_subject(subject_id)
        if found is not None and found is not ABSENT and found.epoch > newer_than:
            return Known(found)
        return await self._refresh(self._fresh_subjects, subject_id, newer_than)

    async def refresh_key(self, key: LookupKey, *, newer_than: Epoch) -> Answer:
        """The same by lookup key, for when the key may lead to another subject by now, or to one at all.

        An absence is asked for again unless the directory said so just now (`ABSENT_SURE_S`): its end may be on its way in the feed.
        """
        found = self.lookup(key)
        if found is ABSENT:
            if self._nowhere.lately(key, self._clock.monotonic_s()):
                return ABSENT
        elif found is not None and found.epoch > newer_than:
            return Known(found)
        return await self._refresh(self._fresh_keys, key, newer_than)

    async def ask_key(self, key: LookupKey) -> Answer:
        """What the directory itself says of a key now, whatever is known here: who asks so waits the same, and fails the same, for all."""
        return await self._bounded(self._fresh_keys, key)

    async def _refresh(self, batcher: Batcher[Id, Answer], id_: Id, newer_than: Epoch) -> Answer:
        metrics.REFRESHES.inc()
        answer = await self._bounded(batcher, id_)
        if isinstance(answer, Known) and answer.placement.epoch <= newer_than:
            # The question we joined may have been sent before the epoch changed; this one is not.
            answer = await self._bounded(batcher, id_)
        return answer

    async def _bounded(self, batcher: Batcher[Id, Answer], id_: Id) -> Answer:
        try:
            async with asyncio.timeout(self._limits.resolve_s_max):
                answer = await batcher.ask(id_)
        except TimeoutError:
            answer = Unknown(Why.TIMEOUT)
        except TooManyWaiting:
            answer = Unknown(Why.OVERLOADED)
        if isinstance(answer, Unknown):
            metrics.UNKNOWN.labels(answer.why.value).inc()
        return answer

    # --- answering in batches ------------------------------------------------------------------------------------------------

    async def _answer_keys(self, keys: list[LookupKey]) -> Parts[LookupKey]:
        near = await self._second.keys(keys) if self._second and self._trusted() else {}
        yield _count("valkey", near)
        async for part in self._ask_keys([key for key in keys if key not in near]):
            yield part

    async def _answer_subjects(self, subjects: list[SubjectId]) -> Parts[SubjectId]:
        near = await self._second.subjects(subjects) if self._second and self._trusted() else {}
        yield _count("valkey", near)
        async for part in self._ask_subjects([one for one in subjects if one not in near]):
            yield part

    def _ask_keys(self, keys: list[LookupKey]) -> Parts[LookupKey]:
        def learn(resolved: Resolved, key: LookupKey, generation: int, now_s: float) -> Placement | Absent | Overtaken:
            said = resolved.found.get(key, ABSENT)
            verdict = self.table.learn_key(key, said, as_of=resolved.as_of, generation=generation, now_s=now_s)
            if self._second and verdict is said:
                self._second.offer(key, None if said is ABSENT else said.subject_id, resolved.as_of)
                if said is not ABSENT:
                    self._second.offer(said.subject_id, said, resolved.as_of)
            if verdict is ABSENT and said is ABSENT:
                self._nowhere.note(key, now_s)
            return verdict

        return self._ask(keys, self._directory.resolve, learn)

    def _ask_subjects(self, subjects: list[SubjectId]) -> Parts[SubjectId]:
        def learn(
            resolved: ResolvedSubjects, id_: SubjectId, generation: int, now_s: float
        ) -> Placement | Absent | Overtaken:
            said = resolved.found.get(id_, ABSENT)
            verdict = self.table.learn_subject(id_, said, as_of=resolved.as_of, generation=generation, now_s=now_s)
            if self._second and verdict is said and said is not ABSENT:
                self._second.offer(id_, said, resolved.as_of)
            return verdict

        return self._ask(subjects, self._directory.resolve_subjects, learn)

    async def _ask(
        self,
        ids: list[Id],
        call: Callable[[list[Id]], Any],
        learn: Callable[[Any, Id, int, float], Placement | Absent | Overtaken],
    ) -> Parts[Id]:
        """Asks the directory until each answer can be believed, or no more can be done."""
        missing = list(ids)
        why = Why.OVERTAKEN
        for _ in range(ATTEMPTS_MAX):
            if not missing:
                return
            if self._follower.restored:
                why = Why.FEED_RESTORED
                break
            generation = self.table.generation
            resolved = await self._call(call, missing)
            if resolved is None:
                why = Why.DIRECTORY_DOWN if self._trusted() else Why.FEED_STALE
                break
            if self._follower.history not in (None, resolved.history):
                # Numbers of two histories cannot be compared; the feed will say in a moment which one holds.
                why = Why.FEED_RESTORED
                break
            if isinstance(resolved, Resolved) and resolved.unresolved:
                yield {id_: Unknown(Why.UNRESOLVED) for id_ in missing if id_ in resolved.unresolved}
                missing = [id_ for id_ in missing if id_ not in resolved.unresolved]
            now_s = self._clock.monotonic_s()
            verdicts = {id_: learn(resolved, id_, generation, now_s) for id_ in missing}
            believed = {id_: verdict for id_, verdict in verdicts.items() if verdict is not OVERTAKEN}
            yield _count("directory", believed)
            missing = [id_ for id_ in missing if id_ not in believed]
            metrics.OVERTAKEN.inc(len(missing))
        yield dict.fromkeys(missing, Unknown(why))

    async def _call(self, call: Callable[[list[Id]], Any], ids: list[Id]) -> Any:
        """The directory's answer, or None at once while it is known to be down."""
        now_s = self._clock.monotonic_s()
        if not self._circuit.allows(now_s):
            return None
        try:
            resolved = await call(ids)
        except DirectoryUnavailable as exc:
            was_open = self._circuit.open
            self._circuit.failed(self._clock.monotonic_s(), refused=exc.reason == "refused")
            if self._circuit.open and not was_open:
                log.warning("directory_down", reason=exc.reason)
            metrics.CIRCUIT.labels("directory").set(1 if self._circuit.open else 0)
            return None
        if self._circuit.open:
            log.info("directory_up")
        self._circuit.succeeded()
        metrics.CIRCUIT.labels("directory").set(0)
        return resolved

    # --- health and life -----------------------------------------------------------------------------------------------------

    def _trusted(self) -> bool:
        return self._follower.age_s() <= self._stale_s_max

    def problem(self) -> Problem | None:
        """For readiness: None while what is known may be served."""
        if self._follower.restored:
            return Problem(code=Code.NOT_READY, detail="the directory's feed went back, and no new history has begun")
        if not self._trusted():
            return Problem(
                code=Code.NOT_READY, detail="the directory's feed has not been heard in time", retry_after_s=1
            )
        return None

    async def run(self) -> None:
        """The second level's worker."""
        if self._second is None:
            await asyncio.Event().wait()
        else:
            await self._second.run()

    async def aclose(self) -> None:
        """Cancels questions under way."""
        batchers: Sequence[Batcher[Any, Answer]] = (self._keys, self._subjects, self._fresh_keys, self._fresh_subjects)
        for batcher in batchers:
            await batcher.aclose()

    def _on_event(self, event: FeedEvent) -> None:
        self.table.apply(event, self._clock.monotonic_s())

    def _forget(self) -> None:
        self.table.reset(FeedSeq(0))

    def _check_outrun(self) -> None:
        if self._follower.position == self.table.position and self.table.outruns(self._follower.confirmed_at):
            log.warning("answers_lost", seq=self.table.position)
            self.table.reset(self.table.position)

    def _publish_figures(self) -> None:
        """Hot-path counts are kept as plain numbers and handed to the metrics once a feed round."""
        metrics.LOOKUPS.labels("table", "found").inc(self._hits_found)
        metrics.LOOKUPS.labels("table", "absent").inc(self._hits_absent)
        self._hits_found = self._hits_absent = 0
        metrics.ENTRIES.set(self.table.entries)
        metrics.EVICTIONS.set(self.table.evictions)


def _answer(found: Placement | Absent) -> Known | Absent:
    return found if found is ABSENT else Known(found)


def _count(level: str, found: dict[Id, Placement | Absent]) -> dict[Id, Answer]:
    absent = sum(1 for one in found.values() if one is ABSENT)
    metrics.LOOKUPS.labels(level, "absent").inc(absent)
    metrics.LOOKUPS.labels(level, "found").inc(len(found) - absent)
    return {id_: _answer(one) for id_, one in found.items()}

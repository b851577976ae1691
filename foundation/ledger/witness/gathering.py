"""A log's cosignatures, gathered: its newest checkpoint goes to the near witnesses, what these have had goes to the wide ones.

In that order, since a witness that has cosigned a later checkpoint cosigns no earlier one any more: so the two quorums can share witnesses.
A witness that is slow or away holds nobody up but those who wait for it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from foundation import logs
from foundation.clock import Clock
from foundation.http import HttpClient
from foundation.ledger import checkpoints, metrics, notes
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.files import Files
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.notes import Line, NoteRefused, Verifier
from foundation.ledger.reading import LogReader, of_folder
from foundation.ledger.witness import rounds
from foundation.ledger.witness.asking import Asking, Offered, WitnessAt
from foundation.ledger.witness.cosignatures import lines_of, with_lines
from foundation.ledger.witness.quorum import Quorum, Reach, Waiting
from foundation.ledger.witness.standing import age_s
from foundation.tasks import Backoff, Bell

log = logs.get(__name__)

PAUSE_S = {Reach.NEAR: 0.5, Reach.WIDE: 1.0}
"""Between two rounds, however fast the log grows. Whoever waits for the near quorum is waited for no longer."""
RETRY_FIRST_S, RETRY_S_MAX = 0.5, 5.0
"""After a round in which the quorum was not met."""
LOOK_S = 1.0
"""Between two looks at what is overdue."""
AT_START_S = 5.0
"""A quorum that an entry has missed while no process kept the log is no alarm before so long."""
_UNFIT = (*rounds.UNREADABLE, LogBroken)


class Plan(msgspec.Struct, frozen=True):
    """What settings say: the witnesses by their names, and the quorums."""

    witnesses: Mapping[str, WitnessAt]
    quorums: Mapping[Reach, Quorum]


class Cosigned(NamedTuple):
    """A note, and how many entries it is over."""

    size: int
    note: bytes


class Gathering:
    """One log's. Made with its process, run while the log is open; of one event loop."""

    def __init__(self, plan: Plan, folder: Path, verifier: Verifier, http: HttpClient, clock: Clock) -> None:
        self._plan = plan
        self._folder = folder
        self._verifier = verifier
        self._clock = clock
        self._asking = {name: Asking(at, http) for name, at in plan.witnesses.items()}
        self._waiting = {reach: Waiting() for reach in plan.quorums}
        self._overdue: set[Reach] = set()
        self._newest = 0
        self._cosigned: dict[Reach, Cosigned] = {}
        self._offered_near: Cosigned | None = None
        """What the near witnesses have had their turn with, whether or not enough of them cosigned."""
        self._changed = Bell()
        self._hurry = Bell()
        self._hurried = 0

    # --- for others ------------------------------------------------------------------------------------------------------

    def states(self, reach: Reach) -> bool:
        """Whether settings state that quorum."""
        return reach in self._plan.quorums

    def cosigned(self, reach: Reach) -> Cosigned | None:
        """The newest checkpoint that has the quorum."""
        return self._cosigned.get(reach)

    async def until(self, index: int, reach: Reach, *, within_s: float) -> Cosigned | None:
        """The checkpoint with that quorum under which the entry `index` stands, once there is one; None where none came in time.

        Raises ValueError for a quorum that settings do not state.
        """
        if not self.states(reach):
            raise ValueError(f"settings state no {reach.value} quorum")
        self._hurried += 1
        self._hurry.ring()
        try:
            async with asyncio.timeout(within_s):
                while (found := self._cosigned.get(reach)) is None or found.size <= index:
                    await self._changed.heard()
            return found
        except TimeoutError:
            return None
        finally:
            self._hurried -= 1

    def signed(self, checkpoint: Checkpoint) -> None:
        """The log has signed. From its event loop."""
        self._newest = checkpoint.size
        for waiting in self._waiting.values():
            waiting.seen(checkpoint.size, self._clock.monotonic_s())
        self._changed.ring()

    # --- the work --------------------------------------------------------------------------------------------------------

    async def run(self, opened: Log) -> None:
        """For ever. What cannot be read or written is said and tried again. Once it has ended nothing is known to be cosigned."""
        if opened.checkpoint.size < self._newest:
            log.error("ledger_shorter", count=opened.checkpoint.size, limit=self._newest)
            self._waiting = {reach: Waiting() for reach in self._plan.quorums}
        self.signed(opened.checkpoint)
        try:
            await asyncio.to_thread(self._read_back, opened.checkpoint)
            await self._count_what_waited()
            self._changed.ring()
            async with asyncio.TaskGroup() as group:
                for reach in self._plan.quorums:
                    group.create_task(self._follow(reach, opened), name=f"{reach.value} witnesses")
                group.create_task(self._watch(), name="overdue quorums")
        finally:
            self._cosigned.clear()
            self._offered_near = None

    async def _follow(self, reach: Reach, opened: Log) -> None:
        backoff = Backoff(first_s=RETRY_FIRST_S, max_s=RETRY_S_MAX)
        while True:
            while not self._has_news(reach):
                await self._changed.heard()
            try:
                met = await self._round(reach, opened)
            except _UNFIT as exc:
                log.fault("ledger_witnessing_down", exc, kind=reach.value)
                met = False
            if met:
                backoff.reset()
                await self._pause(reach)
            else:
                await asyncio.sleep(backoff.next_s())

    def _has_news(self, reach: Reach) -> bool:
        """Whether there is a checkpoint to be offered that the quorum has not cosigned."""
        had = self._cosigned.get(reach)
        if self._comes_second(reach):
            return self._offered_near is not None and (had is None or had.size < self._offered_near.size)
        return had is None or had.size < self._newest

    def _comes_second(self, reach: Reach) -> bool:
        return reach is Reach.WIDE and Reach.NEAR in self._plan.quorums

    async def _pause(self, reach: Reach) -> None:
        try:
            async with asyncio.timeout(PAUSE_S[reach]):
                while not (reach is Reach.NEAR and self._hurried):
                    await self._hurry.heard()
        except TimeoutError:
            return

    async def _round(self, reach: Reach, opened: Log) -> bool:
        """Offers one checkpoint to the witnesses that have not cosigned it. Whether the quorum is met. Raises what `_UNFIT` lists."""
        quorum, second = self._plan.quorums[reach], self._comes_second(reach)
        note = self._offered_near.note if second and self._offered_near else None
        offered = await asyncio.to_thread(self._offered, note)
        lines = self._lines_in(offered.note, quorum.of)
        had_turn = self._plan.quorums[Reach.NEAR].of if second else ()
        asked = [self._asking[name] for name in quorum.of if name not in lines and name not in had_turn]
        await rounds.gather(asked, offered, quorum, lines)
        found = Cosigned(offered.checkpoint.size, with_lines(offered.note, lines.values()))
        met = quorum.met(lines)
        if met:
            await asyncio.to_thread(self._keep, reach, found, opened)
            self._met(reach, found)
        if reach is Reach.NEAR:
            self._offered_near = found
        self._changed.ring()
        return met

    def _offered(self, note: bytes | None) -> Offered:
        """The checkpoint of a note, without one the newest."""
        reader = LogReader(of_folder(self._folder), self._verifier, note)
        text, _ = notes.taken_apart(reader.signed)
        return Offered(reader.signed, text, reader.checkpoint, reader.hashes)

    def _keep(self, reach: Reach, found: Cosigned, opened: Log) -> None:
        Files(self._folder).write_durably(reach.file, found.note)
        opened.attach(found.note)

    def _met(self, reach: Reach, found: Cosigned) -> None:
        self._cosigned[reach] = found
        self._waiting[reach].cover(found.size)
        metrics.QUORUM_ENTRIES.labels(reach.value).set(found.size)

    def _lines_in(self, note: bytes, names: Iterable[str]) -> dict[str, Line]:
        """Cosignatures that a note bears, by the names that settings give the witnesses."""
        keys = {name: self._plan.witnesses[name].key for name in names}
        found = lines_of(note, keys.values())
        return {name: found[key.name] for name, key in keys.items() if key.name in found}

    # --- at the start, and what is missing -----------------------------------------------------------------------------------

    def _read_back(self, newest: Checkpoint) -> None:
        """What was gathered before, as far as it holds under today's keys and quorums and the log has so much."""
        for reach, quorum in self._plan.quorums.items():
            try:
                note = (self._folder / reach.file).read_bytes()
                size = checkpoints.opened(note, self._verifier).size
                lines = self._lines_in(note, self._plan.witnesses)
            except FileNotFoundError:
                continue
            except (NoteRefused, OSError) as exc:
                log.fault("ledger_cosigned_unreadable", exc, kind=reach.value)
                continue
            for name in lines:
                self._asking[name].remembers(size)
            if size <= newest.size and quorum.met(lines):
                self._met(reach, Cosigned(size, note))
        self._offered_near = self._cosigned.get(Reach.NEAR)

    async def _count_what_waited(self) -> None:
        """Counts from the time that an entry says it was made, whichever process kept the log then: one that is started again and again
        is not patient for ever."""
        try:
            ages = await asyncio.to_thread(self._ages_s)
        except (*_UNFIT, MalformedEntry) as exc:
            log.fault("ledger_witnessing_down", exc)
            return
        for reach, found_s in ages.items():
            waited_s = min(found_s, max(0.0, self._plan.quorums[reach].within_s - AT_START_S))
            self._waiting[reach].since(self._clock.monotonic_s() - waited_s)

    def _ages_s(self) -> dict[Reach, float]:
        reader, now_s = LogReader(of_folder(self._folder), self._verifier), self._clock.unix_s()
        ages = {reach: age_s(reader, waiting.covered, now_s) for reach, waiting in self._waiting.items()}
        return {reach: found for reach, found in ages.items() if found is not None}

    async def _watch(self) -> None:
        while True:
            for reach, quorum in self._plan.quorums.items():
                self._look(reach, quorum, self._waiting[reach].age_s(self._clock.monotonic_s()))
            await asyncio.sleep(LOOK_S)

    def _look(self, reach: Reach, quorum: Quorum, age_s: float) -> None:
        late = age_s > quorum.within_s
        metrics.QUORUM_AGE.labels(reach.value).set(age_s)
        metrics.QUORUM_OVERDUE.labels(reach.value).set(late)
        covered = self._waiting[reach].covered
        if late and reach not in self._overdue:
            log.error(
                "ledger_quorum_overdue", kind=reach.value, count=covered, age_s=round(age_s, 1), limit=quorum.within_s
            )
            self._overdue.add(reach)
        elif not late and reach in self._overdue:
            log.info("ledger_quorum_back", kind=reach.value, count=covered)
            self._overdue.discard(reach)

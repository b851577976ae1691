"""What lies in outboxes, taken into the log: in order, in batches that share a write, each row once.

The position of a source stands in the same record as its entries, so there is no moment in which one is there and the other is not. A
source is asked from the row taken last: when that row is not there any more, the source was restored from an older state, and the log
goes on after the newest row that both have.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Protocol

from foundation import logs
from foundation.ledger import metrics
from foundation.ledger.ahead import LogBehind
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import MalformedEntry, Recorded, event_digest
from foundation.ledger.files import LogBusy, LogDamaged
from foundation.ledger.log import NOTHING, Log, LogBroken
from foundation.ledger.notes import NoteRefused, Signer
from foundation.ledger.reading import Absent, LogReader, of_folder
from foundation.ledger.segments import Seen
from foundation.ledger.tiles import MalformedTile
from foundation.ledger.witness.gathering import Gathering
from foundation.tasks import Backoff

log = logs.get(__name__)

BATCH_MAX = 500
"""Rows of one source that go into one record."""
BATCH_BYTES_MAX = 16 << 20
"""Of their details, beyond the first row's."""
UNSIGNED_BATCHES_MAX = 4
"""So many batches go without tiles and a checkpoint while more is waiting: each costs as much as some hundred entries."""
POLL_S = 0.25
"""Between two looks at outboxes in which nothing was new."""

_UNFIT = (OSError, LogBusy, LogBroken, LogDamaged, MalformedTile, MalformedEntry, NoteRefused, Absent)
"""What a log that cannot be written shows itself as: it is opened again, later. The outboxes keep everything meanwhile."""


class SourceUnavailable(Exception):
    """A source cannot be asked just now."""


class Source(Protocol):
    """An outbox. Each call raises SourceUnavailable."""

    async def rows_from(self, position: int, limit: int) -> Sequence[Recorded]:
        """Rows at and after a position, in order: none of which a lower one can still appear, unless it is there."""
        ...

    async def ids_at(self, positions: Sequence[int]) -> Mapping[int, str]:
        """The ids of the events at those positions that there are."""
        ...


class Writer:
    """The log of a process while it is open, for what else has to be done to it: None while it is not.

    `looks`: how often every source that answered had nothing more. What was recorded before a moment has been taken in once this has gone
    up twice since.
    """

    def __init__(self) -> None:
        self.log: Log | None = None
        self.looks = 0


async def drain(
    folder: Path,
    signer: Signer,
    sources: Callable[[], Mapping[str, Source]],
    gathering: Gathering | None = None,
    writer: Writer | None = None,
) -> None:
    """For ever. `sources`: those that there are just now, by the names under which their entries stand in the log. `gathering`: who gathers
    cosignatures, while the log is open. Keeps `writer` true.

    What was signed is remembered: a folder that was removed or put back from older days meanwhile is not gone on with, nor begun anew."""
    told = writer or Writer()
    backoff = Backoff(first_s=0.5, max_s=10.0)
    signed: Checkpoint | None = None
    while True:
        opened = Log(folder, signer, since=signed)
        try:
            await asyncio.to_thread(opened.open)
            log.info("ledger_open", count=opened.size)
            backoff.reset()
            told.log = opened
            async with _gathered(gathering, opened):
                await _until_unfit(Drain(opened, folder, gathering), sources, told)
        except _UNFIT as exc:
            log.fault("ledger_down", exc)
        finally:
            told.log = None
            # Waits for a write under way in its thread.
            await asyncio.shield(asyncio.to_thread(opened.close))
            signed = opened.remembered
            metrics.WRITABLE.set(0)
        await asyncio.sleep(backoff.next_s())


@asynccontextmanager
async def _gathered(gathering: Gathering | None, opened: Log) -> AsyncIterator[None]:
    """Inside it cosignatures are gathered; a fault of that which nobody foresaw ends the block."""
    async with asyncio.TaskGroup() as group:
        beside = None if gathering is None else group.create_task(gathering.run(opened), name="cosignatures")
        yield
        if beside is not None:
            beside.cancel()


async def _until_unfit(drained: "Drain", sources: Callable[[], Mapping[str, Source]], told: Writer) -> None:
    try:
        while True:
            more = await drained.once(sources())
            metrics.WRITABLE.set(1)
            if not more:
                told.looks += 1
                await asyncio.sleep(POLL_S)
    except _UNFIT as exc:
        log.fault("ledger_down", exc)


class Drain:
    """One open log and what flows into it."""

    def __init__(self, opened: Log, folder: Path, gathering: Gathering | None = None) -> None:
        self._log = opened
        self._folder = folder
        self._gathering = gathering
        self._away: set[str] = set()
        self._unsigned = 0
        metrics.ENTRIES.set(opened.size)

    async def once(self, sources: Mapping[str, Source]) -> bool:
        """Takes in one batch of every source that answers. Whether any may have more. What others have appended is signed for, too. Raises
        what a log that cannot be written raises."""
        if self._log.broken:
            raise LogBroken("a write of somebody else's failed")
        batches: dict[str, Sequence[Recorded]] = {}
        for name, source in sources.items():
            try:
                batches[name] = await self._new_rows(name, source)
                self._away.discard(name)
            except SourceUnavailable as exc:
                if name not in self._away:
                    log.warning("ledger_source_away", source=name, error=str(exc))
                self._away.add(name)
        metrics.SOURCES_AWAY.set(len(self._away.intersection(sources)))
        taken = {name: _within_bytes(rows) for name, rows in batches.items()}
        more = any(len(rows) >= BATCH_MAX or len(taken[name]) < len(rows) for name, rows in batches.items())
        if any(taken.values()) and not await self._appended(taken):
            more = True
        if not more and self._log.size > self._log.checkpoint.size:
            metrics.ENTRIES.set(self._log.size)
            await self._sign()
        return more

    async def _appended(self, taken: Mapping[str, Sequence[Recorded]]) -> bool:
        """Signs what came before while this is on its way to the disk, if enough did. False where there is no room, once there may be."""
        beside = [self._sign()] if self._unsigned >= UNSIGNED_BATCHES_MAX else []
        try:
            await asyncio.gather(asyncio.to_thread(self._log.append, taken), *beside)
        except LogBehind:
            log.warning("ledger_behind", count=self._log.size - self._log.checkpoint.size)
            metrics.WRITABLE.set(0)
            await self._sign()
            return False
        self._unsigned += 1
        metrics.ENTRIES.set(self._log.size)
        return True

    async def _sign(self) -> None:
        self._unsigned = 0
        signed = await asyncio.to_thread(self._log.publish)
        if self._gathering is not None:
            self._gathering.signed(signed)

    async def _new_rows(self, name: str, source: Source) -> Sequence[Recorded]:
        seen = self._log.seen(name)
        if seen == NOTHING:
            return await source.rows_from(0, BATCH_MAX)
        rows = await source.rows_from(seen.position, 1 + BATCH_MAX)
        if rows and rows[0].position == seen.position and event_digest(rows[0].id) == seen.event:
            return rows[1:]
        common = await self._newest_in_both(name, source)
        log.warning("ledger_source_restored", source=name, seq=common.position)
        self._log.resume(name, common)
        return ()

    async def _newest_in_both(self, name: str, source: Source) -> Seen:
        """The newest entry of a source that the source has, too, at the position that the entry says."""
        if self._unsigned:  # what is not signed for is not read
            await self._sign()
        reader = await asyncio.to_thread(LogReader, of_folder(self._folder), self._log.verifier)
        entries = (
            Seen(found.entry.position, found.entry.event) for found in reader.newest() if found.entry.source == name
        )
        while page := await asyncio.to_thread(lambda: list(islice(entries, BATCH_MAX))):
            ids = await source.ids_at([one.position for one in page])
            for one in page:
                if one.position in ids and event_digest(ids[one.position]) == one.event:
                    return one
        return NOTHING


def _within_bytes(rows: Sequence[Recorded]) -> Sequence[Recorded]:
    """As many of the first rows as go into one record, at least one."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row.details)
        if count and size > BATCH_BYTES_MAX:
            return rows[:count]
    return rows

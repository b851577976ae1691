"""Imported users of one shard: their fences are raised part by part, beside the feed, so that nobody who signs up waits for them.

Level-triggered: the directory says which parts are not settled; a feed event only says that it is time to ask. A part is fenced as
reserved, acknowledged as a whole, fenced as active, settled; each step may be repeated, so a process that dies between two of them loses
nothing.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from cells.service.directory import CellDirectory
from cells.shards import store
from cells.shards.core import Home
from cells.shards.homes import Homes
from cells.shards.shard import Open, Shard
from directory.bulk.packed import ID_BYTES, PackedPart, numbers_of, texts_of
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import State
from foundation import logs
from foundation.copying import cut
from foundation.ledger.port import Event, Kind
from foundation.tasks import Backoff
from foundation.words import Epoch, SubjectId

log = logs.get(__name__)

ASK_S = 10.0
"""Asked this often even when no event came."""


class Imports:
    """One shard's. `wake` is set when a bulk event came."""

    def __init__(self, shard: Shard, homes: Homes, directory: CellDirectory) -> None:
        self._shard = shard
        self._homes = homes
        self._directory = directory
        self.wake = asyncio.Event()

    async def run(self, opened: Open) -> None:
        """While the shard is open. The directory's absence is waited out; a fault of the database raises."""
        backoff = Backoff(first_s=0.1, max_s=2.0)
        while True:
            self.wake.clear()
            try:
                await self._settle_all(opened)
            except DirectoryUnavailable as exc:
                log.warning("imports_unavailable", reason=exc.reason, shard=self._shard.id)
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_S):
                    await self.wake.wait()

    async def _settle_all(self, opened: Open) -> None:
        while True:
            waiting = await self._directory.waiting_parts(self._shard.cell, self._shard.id)
            for number in waiting.parts:
                await self._settle(opened, await self._directory.part(number))
            if not waiting.more:
                return

    async def _settle(self, opened: Open, part: PackedPart) -> None:
        if part.cell != self._shard.cell or part.shard != self._shard.id:
            raise DirectoryUnavailable("malformed")
        subjects, epochs = _columns(part)
        if subjects:
            event = self._event(part, subjects, State.RESERVED)
            await store.raise_new(opened.cell, subjects, epochs, part.services, event)
        told = await self._directory.acknowledge_part(part.part)
        if told.missed:
            subjects, epochs = _without(told.missed, subjects, epochs)
        if subjects:
            ids, numbers = texts_of(subjects), [Epoch(one) for one in numbers_of(epochs)]
            await store.settle_new(opened.cell, ids, numbers, self._event(part, subjects, State.ACTIVE))
            homes = [Home(self._shard.id, epoch, State.ACTIVE, part.services) for epoch in numbers]
            self._homes.put_all_new(dict(zip(ids, homes, strict=True)))
        await self._directory.settle_part(part.part)
        log.info("import_settled", shard=self._shard.id, count=len(subjects) // ID_BYTES)

    def _event(self, part: PackedPart, subjects: bytes, state: State) -> Event:
        return Event(
            id=f"fence:{self._shard.cell}:{self._shard.id}:bulk:{part.part}:{state.value}",
            at=self._shard.now(),
            kind=Kind.FENCE,
            actor=f"cell:{self._shard.cell}",
            details={"part": part.part, "count": len(subjects) // ID_BYTES, "state": state.value},
        )


def _columns(part: PackedPart) -> tuple[bytes, bytes]:
    """Its members' ids and epochs. Raises DirectoryUnavailable where the columns do not fit each other."""
    count = len(part.subjects) // ID_BYTES
    if len(part.subjects) != ID_BYTES * count or len(part.epochs) != 8 * count:
        raise DirectoryUnavailable("malformed")
    return part.subjects, part.epochs


def _without(missed: Sequence[SubjectId], subjects: bytes, epochs: bytes) -> tuple[bytes, bytes]:
    gone = {bytes.fromhex(one.replace("-", "")) for one in missed}
    members = zip(cut(subjects, ID_BYTES), cut(epochs, 8), strict=True)
    left = [(subject, epoch) for subject, epoch in members if subject not in gone]
    return b"".join([subject for subject, _ in left]), b"".join([epoch for _, epoch in left])

"""A shard's state told anew, where the feed cannot be followed from its position: the directory's list of the cell, and what the directory
says of everybody who has a fence row here (whoever has left the cell meanwhile stands in no list of it)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from cells.service.directory import CellDirectory
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import Placement
from foundation import logs
from foundation.tasks import Backoff
from foundation.words import CellId, SubjectId

log = logs.get(__name__)

T = TypeVar("T")


async def told_anew(
    directory: CellDirectory, cell: CellId, held: AsyncIterator[list[SubjectId]]
) -> AsyncIterator[tuple[Placement, ...]]:
    """Placements, up to 1,000 at a time; waits for a directory that is away. `held`: pages of at most 1,000 subjects with a fence here.

    Subjects with a fence whom the directory does not know at all were lost with its newest events: their fences stay as they are, and
    the log says how many there are.
    """
    cursor: str | None = None
    while True:
        page = await _answered(partial(directory.subjects_of, cell, cursor))
        yield page.subjects
        cursor = page.next
        if cursor is None:
            break
    unknown = 0
    async for subjects in held:
        resolved = await _answered(partial(directory.resolve_subjects, subjects))
        unknown += len(resolved.absent)
        yield tuple(resolved.found.values())
    if unknown:
        log.error("fences_unknown_to_directory", cell=cell, count=unknown)


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff(first_s=0.1, max_s=2.0)
    while True:
        try:
            return await ask()
        except DirectoryUnavailable as exc:
            log.warning("reload_waits", reason=exc.reason)
        await asyncio.sleep(backoff.next_s())

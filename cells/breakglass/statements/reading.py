"""The door's entries out of a log in its folder, each held against what was signed."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from cells.breakglass import logged
from cells.breakglass.statements import entries
from cells.breakglass.statements.before import NOTHING, Before, before, beginning
from cells.breakglass.statements.entries import KINDS, MalformedSaid
from cells.breakglass.statements.history import History, Kept, Scope, history
from cells.breakglass.steps import Taken
from foundation import logs
from foundation.ledger.beside import with_payloads
from foundation.ledger.draining import Writer
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.files import LogDamaged
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.port import Kind
from foundation.ledger.reading import Absent, LogReader, of_folder
from foundation.ledger.tiles import MalformedTile
from foundation.problems import Code, ProblemError, refuse

log = logs.get(__name__)

LOOK_S = 0.1
"""Between two looks at a log that cannot be read yet."""
T = TypeVar("T")
_KINDS = frozenset(kind.value for kind in KINDS)
_OF_SESSIONS = frozenset({Kind.SESSION.value})
_DAMAGED = (Absent, LogDamaged, MalformedEntry, MalformedSaid, MalformedTile, NoteRefused, OSError)


def kept(
    reader: LogReader,
    folder: Path,
    size: int | None = None,
    until_us: int | None = None,
    *,
    since: int = 0,
    kinds: Collection[str] = _KINDS,
) -> Iterator[Kept]:
    """In the log's order, from the entry `since` on, among the first `size` entries of those that the reader has, nothing later than
    `until_us`. Raises what a reader raises, MalformedSaid."""
    those = reader.of_kinds(kinds, since, size)
    in_time = (found for found in those if until_us is None or found.entry.at_us <= until_us)
    for found, held in with_payloads(folder, in_time):
        if held is None:
            yield Kept(found.index, found.entry.at_us, "", None)
        else:
            details = bytes(held.details)
            yield Kept(found.index, found.entry.at_us, held.actor, entries.read(details), len(details))


class DoorLog:
    """The log of this process's own cell, as it is signed for."""

    def __init__(self, folder: Path, verifier: Verifier) -> None:
        self._folder = folder
        self._verifier = verifier

    async def told(self, size: int | None, until_us: int, scope: Scope) -> tuple[History, int]:
        """Sessions among the first `size` entries (None: all that are signed for), and how many that were. Raises ProblemError."""
        return await self._read(lambda: self._told(size, until_us, scope))

    async def steps(self) -> list[Taken]:
        """Of break-glass, in what is signed for, oldest first. Raises ProblemError, Unfit."""
        return await self._read(lambda: list(logged.steps(self._reader(), self._folder)))

    async def before(self, at_us: int) -> Before:
        """What others have left, in what is signed for. Raises ProblemError."""
        return await self._read(lambda: self._found(at_us))

    async def _read(self, look: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(look)
        except _DAMAGED as exc:
            log.fault("access_log_unreadable", exc)
            raise refuse(Code.NOT_READY, "the cell's log cannot be read just now", retry_after_s=1) from exc

    def _reader(self) -> LogReader:
        return LogReader(of_folder(self._folder), self._verifier)

    def _found(self, at_us: int) -> Before:
        reader = self._reader()
        first = beginning(kept(reader, self._folder, kinds=_OF_SESSIONS), at_us)
        return NOTHING if first is None else before(kept(reader, self._folder, since=first), at_us)

    def _told(self, size: int | None, until_us: int, scope: Scope) -> tuple[History, int]:
        reader = self._reader()
        counted = reader.checkpoint.size if size is None else size
        if counted > reader.checkpoint.size:
            raise refuse(Code.BAD_REQUEST, f"the log has {reader.checkpoint.size} entries")
        return history(kept(reader, self._folder, counted, until_us), scope), counted


class Finding:
    """What processes before this one have left in the log that `writer` writes."""

    def __init__(self, writer: Writer, before: DoorLog) -> None:
        self._writer = writer
        self._before = before

    async def found(self, now_us: Callable[[], int]) -> Before:
        """Waits until the log was opened here: then whatever is durable in it is signed for, and what a killed process had signed last says
        nothing any more. So it may take for ever."""
        while True:
            if self._writer.log is not None:
                with suppress(ProblemError):
                    return await self._before.before(now_us())
            await asyncio.sleep(LOOK_S)

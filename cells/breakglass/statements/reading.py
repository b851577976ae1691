"""The door's entries out of a log in its folder, each held against what was signed."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from cells.breakglass.statements import entries
from cells.breakglass.statements.entries import KINDS, MalformedSaid
from cells.breakglass.statements.history import History, Kept, Left, Scope, history, left
from foundation import logs
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.files import LogDamaged
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.reading import Absent, LogReader, of_folder, payload
from foundation.ledger.tiles import MalformedTile
from foundation.problems import Code, refuse

log = logs.get(__name__)

T = TypeVar("T")
_KINDS = frozenset(kind.value for kind in KINDS)
_DAMAGED = (Absent, LogDamaged, MalformedEntry, MalformedSaid, MalformedTile, NoteRefused, OSError)


def kept(reader: LogReader, folder: Path, size: int | None = None, until_us: int | None = None) -> Iterator[Kept]:
    """In the log's order, among the first `size` entries of those that the reader has, nothing later than `until_us`. Raises what a reader
    raises, MalformedSaid."""
    for found in reader.of_kinds(_KINDS):
        if size is not None and found.index >= size:
            return
        if until_us is None or found.entry.at_us <= until_us:
            held = payload(folder, found)
            said = None if held is None else entries.read(bytes(held.details))
            yield Kept(found.index, found.entry.at_us, "" if held is None else held.actor, said)


class DoorLog:
    """The log of this process's own cell, as it is signed for."""

    def __init__(self, folder: Path, verifier: Verifier) -> None:
        self._folder = folder
        self._verifier = verifier

    async def told(self, size: int | None, until_us: int, scope: Scope) -> tuple[History, int]:
        """Sessions among the first `size` entries (None: all that are signed for), and how many that were. Raises ProblemError."""
        return await self._read(lambda: self._told(size, until_us, scope))

    async def left(self) -> list[Left]:
        """Sessions without an end, in what is signed for. Raises ProblemError."""
        return await self._read(self._left)

    async def _read(self, look: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(look)
        except _DAMAGED as exc:
            log.fault("access_log_unreadable", exc)
            raise refuse(Code.NOT_READY, "the cell's log cannot be read just now", retry_after_s=1) from exc

    def _left(self) -> list[Left]:
        return left(kept(LogReader(of_folder(self._folder), self._verifier), self._folder))

    def _told(self, size: int | None, until_us: int, scope: Scope) -> tuple[History, int]:
        reader = LogReader(of_folder(self._folder), self._verifier)
        counted = reader.checkpoint.size if size is None else size
        if counted > reader.checkpoint.size:
            raise refuse(Code.BAD_REQUEST, f"the log has {reader.checkpoint.size} entries")
        return history(kept(reader, self._folder, counted, until_us), scope), counted

"""The write-ahead files of an open log: the one that is written, the next one, and those before it until tiles hold durably what they hold.

A file gives way in two steps, so that appends wait for one sync alone: the next one is made, empty, with its name on the disk, while they
go on; then its header says how far the log is.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

import msgspec

from foundation.ledger import segments
from foundation.ledger.segments import Header
from foundation.ledger.settling import Settling
from foundation.ledger.wal import WriteAhead

SEGMENT_BYTES_MAX = 8 << 20
"""A write-ahead file longer than that gives way to a new one, and is removed once tiles hold durably what it holds."""
FILES_MAX = 1_024
"""The same after so many files were written: partial tiles are removed with it."""
BEHIND_MAX = 4
"""So many times these bounds may be reached while the tiles before are still being made durable; then it is waited for."""


class Ahead:
    """From its making to `close`. Who may call what while others do, the log says. Each call raises OSError."""

    def __init__(self, folder: Path, aside: Callable[[], Executor]) -> None:
        """Touches nothing yet. `aside`: where tiles are made durable."""
        self.generation = 0
        """Of the newest file."""
        self.current: WriteAhead | None = None
        self._folder = folder
        self._following: WriteAhead | None = None
        self._settling = Settling(folder, aside)

    def close(self) -> None:
        """Waits until older files are removed, or their removal has failed."""
        self._settling.close()
        for held in (self.current, self._following):
            if held is not None:
                held.close()
        self.current = self._following = None

    def check(self, *, place: bool) -> None:
        """Raises what went wrong aside, too; `place`: also where the file that is written lies in its place no more."""
        if place and self.current is not None:
            self.current.check_place()
        self._settling.is_idle()

    def is_due(self, written: int) -> bool:
        """Whether the file has to give way. `written`: tiles and the like since it was begun. Waits where tiles are too far behind."""
        size = 0 if self.current is None else self.current.size
        used = max(size / SEGMENT_BYTES_MAX, written / FILES_MAX)
        if used > BEHIND_MAX:
            self._settling.wait()
        return used > 1 and self._settling.is_idle()

    def make_following(self) -> None:
        """The next file, in which nothing stands yet, once those before the current one are removed."""
        self._settling.wait()
        if self._following is None:
            self._following = WriteAhead(self._folder / segments.name_of(self.generation + 1))
            self.generation += 1

    def give_way(self, header: Header, written: Sequence[str], outgrown: Sequence[Path]) -> None:
        """To the next file, made before. Those before it are removed once what they hold, in the files `written`, is durable there; then
        the folders `outgrown`."""
        begun, self._following = self._following, None
        if begun is None:
            raise ValueError("no file follows")
        before, self.current = self.current, begun
        if before is not None:
            before.close()
        begun.append(msgspec.msgpack.encode(header))
        older = [path for path in segments.segments_in(self._folder) if path != begun.path]
        self._settling.begin(written, older, outgrown)

    def settle(self) -> None:
        """Returns once the files before this one are removed."""
        self._settling.wait()

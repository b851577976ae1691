"""The write-ahead files of an open log: the one that is written, the next one, and those before it until tiles hold durably what they hold.

A file gives way in three steps, so that appends wait for one sync alone: the next one is made, empty, with its name on the disk, while they
go on; then its header says how far the log is; then what the former one holds is made durable in tiles, aside, and it is removed.

Of a log that is written much the next file is made early and filled with zeros, piece by piece beside the appends, so that these wait for
no journal of the file system (`WriteAhead`).

A file has a limit: beyond it nothing more is taken in until it has given way, however long its tiles take.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

from foundation.ledger import segments
from foundation.ledger.segments import Header
from foundation.ledger.settling import Settling
from foundation.ledger.wal import PIECE_BYTES, WriteAhead

SEGMENT_BYTES_MAX = 8 << 20
"""A write-ahead file longer than that gives way to a new one, and is removed once tiles hold durably what it holds."""
FILES_MAX = 1_024
"""The same after so many files were written: partial tiles are removed with it."""
BEHIND_MAX = 4
"""So many times these bounds may be reached while tiles are still being written or made durable; then nothing more is taken in."""
ZEROS_FROM_BYTES = 65_536
"""No zeros are written for a file that holds less: most logs are written little."""
ZEROS_TIMES = 4
"""So many zeros for each byte that is appended, until the next file has as many as it may get: a quarter more than its limit."""
FREE_BYTES_MIN = 64 << 20
"""No zeros are written where a disk has less: they would take the room of what has to be written."""


class LogBehind(Exception):
    """Nothing was written: as much as may be waits for its tiles already. There is room again once these are written."""


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
        self._looked_at = self._came = self._owed = 0
        """Of the current file as of the last look: its size then, what came since the look before, and the zeros that are due for that."""
        self._has_room = True

    def close(self) -> None:
        """Waits until older files are removed, or their removal has failed. The next file goes: nothing stands in it."""
        self._settling.close()
        if self.current is not None:
            self.current.close()
        if self._following is not None:
            with suppress(OSError):
                self._following.check_place()  # else it is another log's
                self._following.path.unlink(missing_ok=True)
            self._following.close()
        self.current = self._following = None

    def check(self, *, place: bool) -> None:
        """Raises what went wrong aside, too; `place`: also where the file that is written lies in its place no more."""
        if place and self.current is not None:
            self.current.check_place()
        self._settling.is_idle()

    def check_room(self) -> None:
        """Raises LogBehind where the file is as long as it may be. One record goes beyond that, whatever its length."""
        if self._size > BEHIND_MAX * SEGMENT_BYTES_MAX:
            raise LogBehind(f"{self._size} bytes wait for their tiles")

    def prepare(self) -> None:
        """Has zeros written into the next file, aside, for what came since it was called last; not while older files are being removed, nor
        where the file has to give way at once."""
        size = self._size
        self._came, self._looked_at = size - self._looked_at, size
        self._owed += ZEROS_TIMES * self._came
        if size < ZEROS_FROM_BYTES or size > SEGMENT_BYTES_MAX or not self._settling.is_idle() or self._is_outdone():
            return
        lacking = SEGMENT_BYTES_MAX + SEGMENT_BYTES_MAX // 4 - self._zeros
        due = min(self._owed, lacking)
        if due <= 0 or due < min(PIECE_BYTES, lacking) or not self._takes_zeros():
            return
        self._owed = 0
        following = self._made_following()
        self._settling.begin_with(lambda: self._fill(following, due))

    def is_due(self, written: int) -> bool:
        """Whether the file has to give way. `written`: tiles and the like since it was begun. Waits where tiles are too far behind."""
        used = max(self._size / SEGMENT_BYTES_MAX, written / FILES_MAX)
        if used > BEHIND_MAX:
            self._settling.wait()
        return (used > 1 or self._is_outdone()) and self._settling.is_idle()

    def make_following(self) -> None:
        """The next file, in which nothing stands yet, once those before the current one are removed."""
        self._settling.wait()
        self._made_following()

    def give_way(self, header: Header) -> None:
        """To the next file, made before."""
        begun, self._following = self._following, None
        if begun is None:
            raise ValueError("no file follows")
        before, self.current = self.current, begun
        if before is not None:
            before.close()
        begun.append(header)
        self._looked_at = self._owed = 0

    def begin_settling(self, written: Sequence[str], outgrown: Sequence[Path]) -> None:
        """Files before the current one are removed once what they hold, in the files `written`, is durable there; then the folders
        `outgrown`."""
        here = None if self.current is None else self.current.path
        older = [path for path in segments.segments_in(self._folder) if path != here]
        self._settling.begin(written, older, outgrown)

    def settle(self) -> None:
        """Returns once the files before this one are removed."""
        self._settling.wait()

    def _made_following(self) -> WriteAhead:
        if self._following is None:
            self._following = WriteAhead(self._folder / segments.name_of(self.generation + 1))
            self.generation += 1
        return self._following

    def _fill(self, following: WriteAhead, by: int) -> None:
        """Aside. Nobody appends to it before this has ended."""
        self._has_room = following.lengthen(by)

    def _takes_zeros(self) -> bool:
        if not self._has_room:
            return False
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize >= FREE_BYTES_MIN

    def _is_outdone(self) -> bool:
        """Whether too few zeros lie ahead in the current file for what comes until the next look, and some in the next one."""
        return self.current is not None and self.current.ahead < self._came and self._zeros >= PIECE_BYTES

    @property
    def _zeros(self) -> int:
        """In the next file."""
        return 0 if self._following is None else self._following.ahead

    @property
    def _size(self) -> int:
        return 0 if self.current is None else self.current.size

"""What was heard of other cells' locks, and the newest telling of this one, in a file beside the cell's log, so that a restart forgets
nothing of it: beside a directory or a database that was restored to an older backup nobody else may know what stood.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec

from cells.breakglass.locks.elsewhere import Elsewhere
from directory.locks.core import CellLocks
from foundation import logs
from foundation.ledger.draining import Writer
from foundation.ledger.files import replace_durably
from foundation.tasks import Backoff

log = logs.get(__name__)

FILE = "heard/locks.json"
"""Below the log's folder."""
LOOK_S = 0.1
"""Between two looks at whether this process has opened the log: whoever has it open writes the file, and nobody else."""
_UNREADABLE = (OSError, msgspec.MsgspecError, UnicodeDecodeError)


class Remembering:
    """`run` is a worker of the process. `recalled` is set once what stands in the file was taken in; nothing is heard before."""

    def __init__(self, folder: Path, writer: Writer, elsewhere: Elsewhere) -> None:
        """`folder`: of the log that `writer` writes."""
        self.recalled = asyncio.Event()
        self._path = folder / FILE
        self._writer = writer
        self._elsewhere = elsewhere

    def begin(self) -> None:
        """Takes in at once what stands in the file, before anybody is let in whom it stops. Where it cannot be read `run` waits for it."""
        with suppress(*_UNREADABLE):
            self._elsewhere.recall(_read(self._path))
            self.recalled.set()

    async def run(self) -> None:
        """For ever."""
        if not self.recalled.is_set():
            await self._recall()
            self.recalled.set()
        backoff = Backoff(first_s=0.1, max_s=5.0)
        while True:
            await self._elsewhere.changed.wait()
            if self._writer.log is None:
                await asyncio.sleep(LOOK_S)
                continue
            self._elsewhere.changed.clear()
            try:
                await asyncio.to_thread(replace_durably, self._path, msgspec.json.encode(self._elsewhere.heard))
            except OSError as exc:
                log.fault("locks_not_kept", exc)
                self._elsewhere.changed.set()
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()

    async def _recall(self) -> None:
        """Waits for a file that can be read, or for none: what cannot be read may say what nobody else does."""
        backoff = Backoff(first_s=0.1, max_s=5.0)
        while True:
            try:
                self._elsewhere.recall(await asyncio.to_thread(_read, self._path))
            except _UNREADABLE as exc:
                log.fault("locks_not_recalled", exc)
                await asyncio.sleep(backoff.next_s())
            else:
                return


def _read(path: Path) -> tuple[CellLocks, ...]:
    """Raises OSError, MsgspecError, UnicodeDecodeError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[CellLocks, ...])
    except FileNotFoundError:
        return ()

"""Making durable what a log has written into tiles, aside of the writer, and removing what is not needed after that."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from foundation.ledger import files
from foundation.ledger.files import sync_path


def one_thread() -> Executor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-settling")


def settle(folder: Path, written: Sequence[str], older: Sequence[Path], outgrown: Sequence[Path]) -> None:
    """Makes `written` durable, then removes the write-ahead files that hold it, then what these alone needed. Raises OSError."""
    if written:
        files.sync(folder, written)
    for path in older:
        path.unlink()
    # A power cut must not bring the older ones back: what they hold may be erased after this.
    sync_path(folder)
    for path in outgrown:
        shutil.rmtree(path, ignore_errors=True)


class Settling:
    """One such work at a time, from making to `close`. Whoever asks how it went is told of its fault: OSError."""

    def __init__(self, folder: Path, make: Callable[[], Executor]) -> None:
        """Touches nothing yet."""
        self._folder = folder
        self._make = make
        self._executor: Executor | None = None
        self._under_way: Future[None] | None = None

    def begin(self, written: Sequence[str], older: Sequence[Path], outgrown: Sequence[Path]) -> None:
        """Waits for the one before."""
        self.begin_with(partial(settle, self._folder, written, older, outgrown))

    def begin_with(self, work: Callable[[], None]) -> None:
        """Any other work that goes on aside and takes its turn. Waits for the one before."""
        self.wait()
        if self._executor is None:
            self._executor = self._make()
        self._under_way = self._executor.submit(work)

    def is_idle(self) -> bool:
        """Waits for nothing, also while another begins a work."""
        under_way = self._under_way
        if under_way is None:
            return True
        if not under_way.done():
            return False
        under_way.result()
        return True

    def wait(self) -> None:
        """While another may look whether it `is_idle`; nobody begins another work meanwhile."""
        under_way = self._under_way
        if under_way is not None:
            under_way.result()
            self._under_way = None

    def close(self) -> None:
        """Waits, however it ends: until it has, the older files hold everything."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)

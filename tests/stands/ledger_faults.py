"""A log to which faults are done: what it has told, and what must be true of it afterwards."""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest

from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.log import Log, LogBroken
from foundation.ledger.settling import one_thread
from tests.stands.ledger import SIGNER, reader, rows, sources_in

ROUNDS_MAX = 10_000


class Written:
    """A log that is written until the disk takes no more, and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = 0
        self.signed: list[Checkpoint] = []

    def until_it_fails(self, aside: Callable[[], Executor] = one_thread) -> OSError:
        with Log(self.folder, SIGNER, aside=aside) as log:
            with pytest.raises(OSError, match=r"\[Errno") as failed:
                self._rounds(log)
            for call in (log.publish, lambda: log.append({"s1": rows(self.kept + 1, 1)})):
                with pytest.raises(LogBroken):
                    call()
        return failed.value

    def _rounds(self, log: Log) -> None:
        self.kept = log.size
        for _ in range(ROUNDS_MAX):
            self.one_round(log, 7)

    def one_round(self, log: Log, count: int) -> None:
        log.append({"s1": rows(log.size + 1, count)})
        self.kept = log.size
        self.signed.append(log.publish())

    def goes_on(self) -> None:
        """Opened again it has what was acknowledged, goes on from all that was signed, and takes more."""
        with Log(self.folder, SIGNER) as log:
            assert log.size >= self.kept
            assert log.seen("s1").position == log.size
            log.append({"s1": rows(log.size + 1, 300)})
            log.publish()
        for earlier in self.signed:
            assert reader(self.folder).verify(earlier, self.folder).without == 0
        assert [position for _, position, _ in sources_in(self.folder)] == list(range(1, log.size + 1))

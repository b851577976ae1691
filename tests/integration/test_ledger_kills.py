"""A process that writes a log is killed at random points: nothing acknowledged is missing, nothing signed is taken back."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foundation.ledger.log import Log
from foundation.ledger.merkle import Frontier, leaf_hash
from tests.stands.ledger import SIGNER, reader

KILLS = int(os.environ.get("LEDGER_KILLS", "30"))
SEED = int(os.environ.get("LEDGER_SEED", "7"))


class Killed:
    """The writer, and what it has said so far."""

    def __init__(self, folder: Path) -> None:
        self.kept = 0
        self.signed: dict[int, str] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.stands.ledger_writer", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True, bufsize=1,
        )  # fmt: skip

    def round(self, seed: int, says_max: int, then_s: float) -> None:
        """Starts a writer, kills it a moment after it has said so many things, and hears the rest."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{seed}\n")
        pid = int(stdout.readline().split()[1])
        for _ in range(says_max):
            self._hear(stdout.readline())
        time.sleep(then_s)  # not to wait for anything: when the kill falls is a matter of chance
        os.kill(pid, signal.SIGKILL)
        while (line := stdout.readline()) != "gone\n":
            self._hear(line)

    def _hear(self, line: str) -> None:
        match line.split():
            case ["kept", size]:
                self.kept = int(size)
            case ["signed", size, root]:
                self.signed[int(size)] = root
            case _:
                raise AssertionError(f"the writer said {line!r}")

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


@pytest.mark.timeout(3_600 if KILLS > 30 else 120)
def test_nothing_acknowledged_is_missing_after_kills_at_random_points(tmp_path: Path) -> None:
    folder, chance = tmp_path / "log", random.Random(SEED)
    killed = Killed(folder)
    try:
        for _ in range(KILLS):
            killed.round(chance.randrange(1 << 30), chance.randrange(8), chance.random() * 0.01)
            if folder.exists():
                with Log(folder, SIGNER) as log:
                    assert log.size >= killed.kept
                    assert log.seen("s1").position == log.size
                    assert log.checkpoint.size == log.size
    finally:
        killed.end()
    assert killed.kept > KILLS, "the writers never came to write"
    entries = list(reader(folder).newest())[::-1]
    assert [found.entry.position for found in entries] == list(range(1, len(entries) + 1))
    assert len(entries) >= killed.kept
    tree, roots = Frontier(), dict[int, str]()
    for found in entries:
        tree.append(leaf_hash(found.raw))
        if tree.size in killed.signed:
            roots[tree.size] = tree.root().hex()
    assert roots == killed.signed
    assert reader(folder).verify(folder=folder).without == 0

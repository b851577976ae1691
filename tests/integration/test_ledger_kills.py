"""A process that writes a log is killed at random points: nothing acknowledged is missing, no index is given twice, nothing signed is
taken back. LEDGER_KILLS=1000 for the deep form, LEDGER_SEED for other points."""

import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.verify import verify
from foundation.ledger import checkpoints, payloads
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.files import LogBusy
from foundation.ledger.log import Log
from foundation.ledger.merkle import consistency, verify_consistency
from foundation.ledger.tiles import WIDTH
from tests.stands.ledger import SIGNER, reader

KILLS = int(os.environ.get("LEDGER_KILLS", "60"))
SEED = int(os.environ.get("LEDGER_SEED", "7"))


class Killed:
    """The writer, what it has said so far, and every checkpoint that stood in its folder when somebody looked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[int, tuple[str, int]] = {}
        """Source and position of the entry at each index that was told."""
        self.signed: dict[int, bytes] = {}
        """Root by size, told or seen."""
        self.seen: dict[int, bytes] = {}
        """Note by size."""
        self.erasing = set[int]()
        self.erased = set[int]()
        self.busy = 0
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
            self.look()
        if says_max:
            with pytest.raises(LogBusy):
                Log(self.folder, SIGNER).__enter__()
            self.busy += 1
        time.sleep(then_s)  # not to wait for anything: when the kill falls is a matter of chance
        os.kill(pid, signal.SIGKILL)
        while (line := stdout.readline()) != "gone\n":
            self._hear(line)
        self.look()

    def look(self) -> None:
        """As anybody may at any moment."""
        if (self.folder / "checkpoint").exists():
            note = (self.folder / "checkpoint").read_bytes()
            signed = checkpoints.opened(note, SIGNER.verifier)
            self._remember(signed.size, signed.root)
            self.seen[signed.size] = note

    def _remember(self, size: int, root: bytes) -> None:
        assert self.signed.setdefault(size, root) == root, f"two trees of {size} entries were signed"

    def _hear(self, line: str) -> None:
        match line.split():
            case ["kept", first, end, source, position]:
                for at, index in enumerate(range(int(first), int(end))):
                    assert index not in self.kept, f"index {index} was given twice"
                    self.kept[index] = (source, int(position) + at)
            case ["signed", size, root]:
                self._remember(int(size), bytes.fromhex(root))
            case ["erasing", index]:
                self.erasing.add(int(index))
            case ["erased", index]:
                self.erased.add(int(index))
            case _:
                raise AssertionError(f"the writer said {line!r}")

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


@pytest.mark.timeout(3_600 if KILLS > 60 else 120)
def test_nothing_acknowledged_is_missing_after_kills_at_random_points(tmp_path: Path) -> None:
    folder, chance = tmp_path / "log", random.Random(SEED)
    killed = Killed(folder)
    try:
        for _ in range(KILLS):
            killed.round(chance.randrange(1 << 30), chance.randrange(8), chance.random() * 0.01)
            if folder.exists() and chance.random() < 0.5:  # else the next writer is the first to open what was left
                with Log(folder, SIGNER) as log:
                    assert log.size > max(killed.kept, default=-1)
                    assert log.seen("s1").position + log.seen("s2").position == log.checkpoint.size == log.size
                killed.look()
    finally:
        killed.end()
    with Log(folder, SIGNER):
        killed.look()
    assert len(killed.kept) > KILLS, "the writers never came to write"
    assert killed.busy > KILLS // 2
    kept_what_was_told(folder, killed)
    go_on_from_each_other(folder, killed.signed)
    go_on_alone(folder, tmp_path, killed)


def kept_what_was_told(folder: Path, killed: Killed) -> None:
    """Every entry at its index, every payload but those that were erased."""
    entries = list(reader(folder).newest())[::-1]
    stand = {found.index: (found.entry.source, found.entry.position) for found in entries}
    assert killed.kept.items() <= stand.items()
    for source in ("s1", "s2"):
        positions = [position for name, position in stand.values() if name == source]
        assert positions == list(range(1, len(positions) + 1))
    openings = [list(payloads.in_bundle(folder, number, WIDTH)) for number in range(len(stand) // WIDTH + 1)]
    without = {index for index in stand if openings[index // WIDTH][index % WIDTH] is None}
    assert killed.erased <= without <= killed.erasing
    assert reader(folder).verify(folder=folder).without == len(without)


def go_on_from_each_other(folder: Path, signed: dict[int, bytes]) -> None:
    """By the product's proofs, each checkpoint from the one before."""
    hashes = reader(folder).hashes
    for old, new in pairwise(sorted(signed)):
        path = consistency(old, new, hashes)
        verify_consistency(old=old, old_root=signed[old], new=new, new_root=signed[new], path=path)


def go_on_alone(folder: Path, tmp_path: Path, killed: Killed) -> None:
    """By the stand-alone verifier: its own tree over the entries has every root that was signed, and it finds the log to go on from each of
    some notes that were seen."""
    (tmp_path / "key").write_text(SIGNER.verifier.text)
    key = verify.key_in(tmp_path / "key")
    read = [verify.checkpoint_of(note, key, "a note") for note in killed.seen.values()]
    assert {one.size: one.root for one in read}.items() <= killed.signed.items()
    tree, roots = verify.Tree(), dict[int, bytes]()
    for found in reversed(list(reader(folder).newest())):
        for _ in tree.grow(verify.leaf(found.raw)):
            pass
        if tree.size in killed.signed:
            roots[tree.size] = tree.root()
    assert roots == {size: root for size, root in killed.signed.items() if size}
    for size in sorted(killed.seen)[:: max(1, len(killed.seen) // 4)]:
        (tmp_path / "since").write_bytes(killed.seen[size])
        assert (
            verify.main(["log", str(folder), "--key", str(tmp_path / "key"), "--since", str(tmp_path / "since")]) == 0
        )


def test_a_checkpoint_of_another_tree_would_be_found(tmp_path: Path) -> None:
    """What the test above would say of a writer that signed two trees of one size."""
    killed = Killed(tmp_path / "log")
    killed.end()
    with Log(killed.folder, SIGNER):
        killed.look()
    other = Checkpoint(SIGNER.verifier.name, 0, b"x" * 32)
    (killed.folder / "checkpoint").write_bytes(checkpoints.signed(other, SIGNER))
    with pytest.raises(AssertionError, match="two trees"):
        killed.look()
    killed._hear("kept 0 1 s1 1")
    with pytest.raises(AssertionError, match="twice"):
        killed._hear("kept 0 1 s1 1")

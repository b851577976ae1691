"""A process that erases a subject is killed at random points: whoever goes on ends where it would have ended; each payload counts once."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from deploy.verify import verify
from foundation.ledger.erasing import Job, digest_of, file_of, waiting_in
from foundation.ledger.files import replace_durably
from foundation.ledger.log import Log
from tests.stands.ledger import SIGNER, reader, rows

KILLS = int(os.environ.get("LEDGER_ERASING_KILLS", "10"))
SEED = int(os.environ.get("LEDGER_SEED", "7"))
ADA = "aaaaaaaa-0000-4000-8000-00000000000a"
SIZE = 256 * 12 + 100
ABOUT = range(0, SIZE, 97)
"""Entries that speak of Ada."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log with an erasure that waits beside it."""
    log = tmp_path / "log"
    given = [
        msgspec.structs.replace(row, subject_id=ADA if row.position - 1 in ABOUT else None) for row in rows(1, SIZE)
    ]
    with Log(log, SIGNER) as writer:
        writer.append({"s1": given})
        writer.publish()
    job = Job(id="one", subject=digest_of(ADA), actor="operator:ann", through=SIZE)
    replace_durably(file_of(log, job.id), msgspec.json.encode(job))
    return log


class Eraser:
    """A process that forks one eraser after the other."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.stands.ledger_eraser", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True, bufsize=1,
        )  # fmt: skip

    def round(self, steps_max: int | None, then_s: float) -> int | None:
        """Starts an eraser and kills it a moment after so many strides; what it counted, if it came to the end."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("go\n")
        pid, said, done = int(stdout.readline().split()[1]), 0, None
        killed = False
        while True:
            if said == steps_max and not killed and done is None:
                time.sleep(then_s)  # not to wait for anything: when the kill falls is a matter of chance
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed = True
            match stdout.readline().split():
                case ["step"]:
                    said += 1
                case ["done", count]:
                    done = int(count)
                case ["gone"]:
                    return done
                case other:
                    raise AssertionError(f"the eraser said {other!r}")

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


@pytest.mark.timeout(120)
def test_an_erasure_that_is_killed_again_and_again_comes_to_its_one_end(folder: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    signed = (folder / "checkpoint").read_bytes()
    eraser = Eraser(folder)
    try:
        for _ in range(KILLS):
            if eraser.round(chance.randrange(3), chance.random() * 0.005) is not None:
                break
            assert verify.main(["log", str(folder), "--key", str(key_in(tmp_path))]) == 0
        assert eraser.round(None, 0) == len(ABOUT)
    finally:
        eraser.end()
    assert waiting_in(folder)[0].finished
    assert not any(ADA.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert (folder / "checkpoint").read_bytes() == signed
    assert reader(folder).verify(folder=folder).without == len(ABOUT)
    assert verify.main(["log", str(folder), "--key", str(key_in(tmp_path))]) == 0


def key_in(folder: Path) -> Path:
    key = folder / "key"
    key.write_text(SIGNER.verifier.text)
    return key

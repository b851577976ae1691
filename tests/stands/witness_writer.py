"""`python -m tests.stands.witness_writer FOLDER LOG LOG`: for each line on standard input, a seed, a process that is the witness `eu` in
FOLDER and cosigns what two histories of one log submit, until it is killed.

It is forked, so that a round takes milliseconds. It says on standard output `pid N`, then `cosigned SIZE ROOT` for each cosignature that
came out; when it is gone, `gone`.
"""

import os
import random
import sys
from pathlib import Path
from typing import NoReturn

from foundation.ledger import checkpoints
from foundation.ledger.merkle import consistency
from foundation.ledger.reading import LogReader, of_folder
from foundation.ledger.witness.held import last_in
from foundation.ledger.witness.requests import Submission
from tests.stands.ledger import SIGNER
from tests.stands.witnesses import cosigner, witness


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def submit(folder: Path, logs: list[Path], seed: int) -> NoReturn:
    """Now a later checkpoint of the one history, now of the other, now an earlier one: each as if the witness held what goes before."""
    say(f"pid {os.getpid()}")
    chance, one = random.Random(seed), witness(folder)
    readers = [LogReader(of_folder(log), SIGNER.verifier) for log in logs]
    while True:
        last = last_in(folder / "eu", cosigner("eu").verifier, SIGNER.verifier)
        held = last.checkpoint.size if last else 0
        reader, log = chance.choice(list(zip(readers, logs, strict=True)))
        size = max(0, held + chance.choice((-3, 0, 1, 1, 2, 7)))
        note = log.parent / f"{log.name}-notes" / str(size)
        if not note.exists():
            continue
        old = min(held, size)
        answer = one.add(Submission(old, tuple(consistency(old, size, reader.hashes)), note.read_bytes()).render())
        if isinstance(answer, bytes):
            said = checkpoints.opened(note.read_bytes(), SIGNER.verifier)
            say(f"cosigned {said.size} {said.root.hex()}")


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                submit(Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]], int(line))
            except BaseException as exc:  # noqa: BLE001 - whoever reads is told
                say(f"fault {type(exc).__name__}: {exc}")
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        say("gone")

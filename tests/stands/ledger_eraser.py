"""`python -m tests.stands.ledger_eraser FOLDER`: for each line on standard input a process that goes on with the erasure that waits beside
the log in FOLDER until it is finished or killed.

It is forked, so that a round takes milliseconds. It says on standard output `pid N`, `step` after each stride, `done N` with the payloads
that are erased; when it is gone, `gone`.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from foundation.ledger import erasing
from foundation.ledger.log import Log
from tests.stands.ledger import SIGNER


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def erase(folder: Path) -> NoReturn:
    say(f"pid {os.getpid()}")
    erasing.STRIDE = 1
    (job,) = erasing.waiting_in(folder)
    with Log(folder, SIGNER) as opened:
        while not job.finished:
            job = erasing.step(opened, folder, job)
            say("step")
    say(f"done {job.erased}")
    os._exit(0)


if __name__ == "__main__":
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                erase(Path(sys.argv[1]))
            except BaseException as exc:  # noqa: BLE001 - whoever reads is told
                say(f"fault {type(exc).__name__}: {exc}")
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        say("gone")

"""`python -m tests.stands.ledger_writer FOLDER`: for each line on standard input, a seed, a process that writes the log in FOLDER until it
is killed.

It is forked, so that a round takes milliseconds. It says on standard output `pid N`, then `kept FIRST END SOURCE POSITION` after each
append that has returned (the indexes, and whose rows from which position on), `signed SIZE ROOT` after each checkpoint, which is signed now
in turn and now beside further appends, `erasing N` and `erased N` before and after a payload is overwritten; when it is gone, `gone`.
"""

import os
import random
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from foundation.ledger import ahead
from foundation.ledger.log import Log
from tests.stands.ledger import SIGNER, rows


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write(folder: Path, seed: int) -> NoReturn:
    say(f"pid {os.getpid()}")
    chance = random.Random(seed)
    ahead.FILES_MAX = chance.choice((5, 50, 1_024))
    ahead.SEGMENT_BYTES_MAX = chance.choice((40_000, 8 << 20))
    ahead.ZEROS_FROM_BYTES = chance.choice((0, 65_536))
    ahead.PIECE_BYTES = chance.choice((4_096, 262_144))
    with Log(folder, SIGNER) as opened, ThreadPoolExecutor(1) as aside:

        def publish() -> None:
            signed = opened.publish()
            say(f"signed {signed.size} {signed.root.hex()}")

        beside: Future[None] | None = None
        while True:
            source = chance.choice(("s1", "s2"))
            position = opened.seen(source).position + 1
            try:
                indexes = opened.append({source: rows(position, chance.choice((1, 3, 40, 300)), tag=source)})
            except ahead.LogBehind:  # nothing was written; there is room once tiles are, as for a drain
                publish()
                continue
            say(f"kept {indexes.start} {indexes.stop} {source} {position}")
            if beside is not None and beside.done():
                beside = beside.result()
            turn = chance.random()
            if turn < 0.35:
                publish()
            elif turn < 0.7:
                beside = beside or aside.submit(publish)
            if chance.random() < 0.05:
                index = chance.randrange(opened.size)
                say(f"erasing {index}")
                opened.erase(index)
                say(f"erased {index}")


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                write(Path(sys.argv[1]), int(line))
            except BaseException as exc:  # noqa: BLE001 - whoever reads is told
                say(f"fault {type(exc).__name__}: {exc}")
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        say("gone")

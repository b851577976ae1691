"""`python -m load_tests.faults.stutter SHARE PERIOD_S PID...`: these processes, and all that they started, stand still for a share of each
period (1: all of it), until the standard input ends. A process of its own, so that they go on also when whoever started this was killed."""

import contextlib
import select
import signal
import sys
from collections.abc import Iterable

import psutil

LOOK_S = 1.0
"""How long what was found of them is believed: a database starts sessions in between."""
HELD = b"held\n"
"""Written once they stand still for the first time."""


def trees(pids: Iterable[int]) -> list[psutil.Process]:
    """Parents first: whoever stands still starts nobody."""
    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
    return found


def send(number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def stutter(pids: list[int], share: float, period_s: float) -> None:
    """Until the standard input ends. However it ends, all of them go on."""
    held = dict.fromkeys(trees(pids))
    believed_s = LOOK_S
    try:
        send(signal.SIGSTOP, held)
        sys.stdout.buffer.write(HELD)
        sys.stdout.buffer.flush()
        while True:
            if believed_s <= 0:
                held |= dict.fromkeys(trees(pids))
                believed_s = LOOK_S
            believed_s -= period_s
            send(signal.SIGSTOP, held)
            if _ended_within(share * period_s):
                return
            if share < 1:
                send(signal.SIGCONT, held)
                if _ended_within((1 - share) * period_s):
                    return
    finally:
        send(signal.SIGCONT, held)


def _ended_within(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    stutter([int(pid) for pid in sys.argv[3:]], float(sys.argv[1]), float(sys.argv[2]))

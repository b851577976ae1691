"""Figures of egress's scanner: MB/s on one core, recall and precision. Run: python -m load_tests.bench.egress.scanner

The corpus comes out of a seed (`corpus`, `clean`, `hostile` beside this) and shares no pattern with the scanner. Speed is processor time of
this process, on text that it has not seen, after some of the same kind.
"""

import argparse
import os
import platform
import time

from cells.egress.scanner.stream import scan
from load_tests.bench.egress.clean import clean_logs
from load_tests.bench.egress.corpus import Held, held, planted, sparse
from load_tests.bench.egress.hostile import HOSTILE

HOSTILE_BYTES = 500_000
ROUNDS = 3


def speed(text: bytes) -> float:
    """MB/s of processor time, the best of some rounds: neighbours on the machine only make it less."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        scan(text)
        best = min(best, time.process_time() - started)
    return len(text) / 1e6 / best


def speeds(size: int) -> None:
    print("\n| text | MB/s |\n| --- | ---: |")
    scan(clean_logs(1, size // 2))
    print(f"| clean logs | {speed(clean_logs(2, size)):.1f} |", flush=True)
    for form in ("log", "prose", "json"):
        for every in (100, 10, 1):
            scan(sparse(1, size // 2, form, every).text())
            print(
                f"| {form}, a value in one of {every} lines | {speed(sparse(2, size, form, every).text()):.1f} |",
                flush=True,
            )
    for name, make in HOSTILE.items():
        print(f"| hostile: {name} | {speed(make(HOSTILE_BYTES)):.1f} |", flush=True)


def recall(rounds: int) -> None:
    corpus = planted(seed=100, rounds=rounds)
    text = corpus.text()
    result = held(corpus, scan(text))
    print(
        f"\n{len(corpus.planted):,} values planted in {len(text) / 1e6:.1f} MB of prose in twenty locales, logs and JSON\n"
    )
    table(result)


def table(result: Held) -> None:
    kinds = sorted({kind for kind, _ in result.recall})
    print("| kind | prose | log | json | of each |\n| --- | ---: | ---: | ---: | ---: |")
    for kind in kinds:
        shares = [f"{hit / of:.4f}" for hit, of in (result.recall[kind, form] for form in ("prose", "log", "json"))]
        print(f"| {kind} | {' | '.join(shares)} | {result.recall[kind, 'prose'][1]:,} |")


def precision(size: int) -> None:
    logs = clean_logs(200, size)
    found = scan(logs)
    print(
        f"\n{len(found)} false findings in {len(logs) / 1e6:.1f} MB of clean logs: {len(found) / (len(logs) / 1e6):.3f} in a megabyte"
    )
    for one in found[:20]:
        print(f"  {one.kind} {one.scheme}: {logs[max(0, one.start - 30) : one.end + 10]!r}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.egress.scanner", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=20, help="of each text (default 20)")
    parser.add_argument("--rounds", type=int, default=40, help="values of each kind, form and locale (default 40)")
    asked = parser.parse_args(arguments)
    size = int(asked.megabytes * 1e6)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    speeds(size)
    recall(asked.rounds)
    precision(size)


if __name__ == "__main__":
    main()

"""Figures of egress's scanner: MB/s on one core, recall and precision. Run: python -m load_tests.bench.egress.scanner

The corpus comes out of a seed (`corpus`, `clean`, `hostile` beside this) and shares no pattern with the scanner. Speed is processor time of
this process, on text that it has not seen, after some of the same kind.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from cells.egress.scanner.findings import Finding, Kind
from cells.egress.scanner.stream import scan
from load_tests.bench.egress import peers
from load_tests.bench.egress.clean import clean_logs
from load_tests.bench.egress.corpus import Held, held, planted, sparse
from load_tests.bench.egress.hostile import HOSTILE

HOSTILE_BYTES = 100_000
ROUNDS = 3
PEERS_PYTHON = Path(sys.prefix).parent / ".venv-peers" / "bin" / "python"
"""Beside the virtual environment that this runs in."""

PEER_S_MAX = 300
WARM_BYTES = 1_000_000
PEER_CLEAN_BYTES = 200_000
PEER_KINDS = ("email", "phone", "card", "iban", "ip", "national_id")


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


class Beside(msgspec.Struct):
    """What a detector told of a text: `peers.py` prints it."""

    version: str
    seconds: float
    found: list[tuple[str, int, int]]

    def seen(self) -> list[Finding]:
        return [Finding(start, end, Kind(kind)) for kind, start, end in self.found]


def peer(name: str, text: bytes) -> Beside | None:
    """One of the peers over a text; None, with its last words, where it cannot be had."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        command = [str(PEERS_PYTHON), str(Path(peers.__file__)), name, file.name]
        done = subprocess.run(command, check=False, capture_output=True, timeout=PEER_S_MAX)
    if done.returncode != 0:
        print(f"left out: {name}: {done.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
        return None
    return msgspec.json.decode(done.stdout, type=Beside)


def scanned(text: bytes) -> Beside:
    scan(clean_logs(301, WARM_BYTES))
    started = time.process_time()
    found = scan(text)
    return Beside("", time.process_time() - started, [(one.kind, one.start, one.end) for one in found])


def beside() -> None:
    """The scanner and its peers over the same two texts."""
    corpus, logs = planted(seed=300, rounds=1), clean_logs(300, PEER_CLEAN_BYTES)
    text = corpus.text()
    print(f"\n{len(text) / 1e6:.2f} MB with {len(corpus.planted)} values, {len(logs) / 1e6:.2f} MB of clean logs\n")
    print(
        f"| detector | clean MB/s | false findings | {' | '.join(PEER_KINDS)} |\n| --- |{' ---: |' * (2 + len(PEER_KINDS))}"
    )
    for name in ("scanner", *peers.PEERS):
        if name != "scanner" and not PEERS_PYTHON.exists():
            print(f"left out: {name}: no {PEERS_PYTHON} (`make bench-egress` makes it where it can)")
            continue
        quiet, loud = (scanned(logs), scanned(text)) if name == "scanner" else (peer(name, logs), peer(name, text))
        if quiet is None or loud is None:
            continue
        result = held(corpus, loud.seen())
        shares = [found_share(result, kind) for kind in PEER_KINDS]
        row = f"| {name} {loud.version} | {len(logs) / 1e6 / quiet.seconds:.2f} | {len(quiet.found)} |"
        print(f"{row} {' | '.join(shares)} |", flush=True)


def found_share(result: Held, kind: str) -> str:
    pairs = [result.recall[kind, form] for form in ("prose", "log", "json")]
    return f"{sum(hit for hit, _ in pairs) / sum(of for _, of in pairs):.2f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.egress.scanner", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=5, help="of each text (default 5)")
    parser.add_argument("--rounds", type=int, default=40, help="values of each kind, form and locale (default 40)")
    asked = parser.parse_args(arguments)
    size = int(asked.megabytes * 1e6)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    speeds(size)
    recall(asked.rounds)
    precision(size)
    beside()


if __name__ == "__main__":
    main()

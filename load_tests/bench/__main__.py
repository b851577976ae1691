"""Every bench, short: `python -m load_tests.bench [NAME …] [--full]` (`make bench`). Prints figures, asserts nothing.

Each is a module beside this one and a process of its own; `python -m load_tests.bench.NAME --help` names its options. What needs a
running stack is left out, and said so, where none runs.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

BENCH_S_MAX = 900


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """`short`: options that keep it under a minute. `stack`: it measures the stack that runs on `.domicile`."""

    headline: str
    short: tuple[str, ...] = ()
    stack: bool = False


BENCHES = {
    "resolve": Bench(headline="Cached resolve: time and memory by entries (docs/benchmarks/resolve.md)"),
    "edge": Bench(
        headline="The edge: CPU time of the gateway for each proxied request (docs/benchmarks/edge.md)",
        short=("--requests", "5000", "--rounds", "2"),
    ),
    "inside": Bench(
        headline="The edge without sockets: CPU time of a request and of its parts (docs/benchmarks/edge.md)",
        short=("--rounds", "20"),
    ),
    "bulkhead": Bench(
        headline="The edge: what one cell that answers late costs the others (docs/benchmarks/edge.md)",
        short=("--rounds", "2", "--seconds", "3"),
    ),
    "latency": Bench(
        headline="The edge: what it adds to a request's time at 60 % of its most (docs/benchmarks/edge.md)",
        short=("--rounds", "2", "--seconds", "3", "--requests", "5000"),
    ),
    "flat": Bench(
        headline="The edge: CPU time by subjects and cells known (docs/benchmarks/edge.md)",
        short=(
            "--subjects",
            "1000",
            "100000",
            "--cells",
            "3",
            "30",
            "--rounds",
            "2",
            "--requests",
            "4000",
            "--askers",
            "4000",
        ),
    ),
    "idle": Bench(
        headline="The edge: memory of idle connections (docs/benchmarks/edge.md)",
        short=("--connections", "1000", "4000"),
    ),
    "workers": Bench(
        headline="The edge: what further processes bring (docs/benchmarks/edge.md)",
        short=("--rounds", "2", "--requests", "4000"),
    ),
    "fence": Bench(
        headline="The fence: cuts under load, statements beside plain ones (docs/benchmarks/fence.md)",
        short=("--cuts", "5", "--statements", "1500"),
    ),
    "records": Bench(
        headline="The records API: requests in process, a large answer's memory (docs/benchmarks/records.md)",
        short=("--rows", "100000", "--requests", "300"),
    ),
    "way": Bench(
        headline="A read's way: asyncpg direct, cell service, gateway (docs/benchmarks/records.md)",
        short=("--rounds", "4"),
        stack=True,
    ),
    "hints": Bench(
        headline="Sign-in hints: whether an observer can tell members from strangers (docs/benchmarks/hints.md)",
        short=("--probes", "2000"),
    ),
    "rules": Bench(headline="The rules: loading, cold and remembered decisions (docs/benchmarks/rules.md)"),
    "scale": Bench(
        headline="The directory at scale: misses over HTTP, boot of a client (docs/scale.md)",
        short=("--subjects", "100000", "--misses", "1000"),
    ),
    "boot": Bench(
        headline="The boot of a cell service beside a million people (docs/scale.md)", short=("--subjects", "100000")
    ),
    "imports": Bench(
        headline="Moving people in: subjects placed a second, beside a plain COPY (docs/benchmarks/imports.md)",
        short=("--subjects", "50000"),
    ),
    "ledger": Bench(
        headline="The ledger: durable appends beside the disk's fdatasync, proofs (docs/benchmarks/ledger.md)",
        short=("--entries", "10000", "50000", "--rounds", "100", "--seconds", "3"),
    ),
    "ledger_flow": Bench(
        headline="The ledger: outboxes drained into it, access records at the edge (docs/benchmarks/ledger.md)",
        short=("--rows", "20000", "--records", "20000"),
    ),
    "door_record": Bench(
        headline="The SQL door's record: a statement's wait to be durable, beside fdatasync (docs/benchmarks/door.md)",
        short=("--statements", "2000", "--rounds", "2"),
    ),
    "door": Bench(
        headline="The SQL door beside Postgres itself (docs/benchmarks/door.md)",
        short=("--statements", "1600", "--rounds", "2", "--rows", "200000"),
    ),
    "egress.scanner": Bench(
        headline="Egress's scanner: MB/s, recall and precision (docs/benchmarks/egress-scanner.md)",
        short=("--megabytes", "2", "--rounds", "4"),
    ),
    "egress.contract": Bench(
        headline="Egress: the contract path alone (docs/decisions/0018-egress.md)", short=("--events", "20000")
    ),
    "egress.memory": Bench(
        headline="Egress: memory of a release by its size (docs/decisions/0018-egress.md)",
        short=("--mebibytes", "8", "32"),
    ),
    "visibility": Bench(headline="The feed: how soon every gateway has taken in a change", stack=True),
}


def command(name: str, *, full: bool) -> list[str]:
    """What runs one bench. Pure."""
    short = () if full else BENCHES[name].short
    return [sys.executable, "-P", "-m", f"load_tests.bench.{name}", *short]


def stack_runs(state: Path) -> bool:
    from deploy.local import lock
    from deploy.local.layout import Paths

    return lock.is_held(Paths(state.absolute()).lock)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 when a bench ended with an error; the others run all the same."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--full", action="store_true", help="with the sizes that docs/benchmarks was measured with")
    asked = parser.parse_args(arguments)
    failed = []
    for name in asked.names or BENCHES:
        print(f"\n== {BENCHES[name].headline}", flush=True)
        if BENCHES[name].stack and not stack_runs(Path(".domicile")):
            print("left out: it measures a running stack, and none runs on .domicile (`make run`)", flush=True)
            continue
        try:
            ended = subprocess.run(command(name, full=asked.full), check=False, timeout=BENCH_S_MAX)
        except subprocess.TimeoutExpired:
            print(f"gave up after {BENCH_S_MAX} s", flush=True)
            failed.append(name)
            continue
        if ended.returncode != 0:
            failed.append(name)
    if failed:
        print(f"\nended with an error: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

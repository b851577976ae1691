"""The harness itself: a stack that keeps its promises passes, and each planted mistake fails the run by its name."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.local import control
from deploy.local.layout import matching
from load_tests import plan
from load_tests.conductor import conducted
from load_tests.oracle import ledger
from load_tests.oracle.ledger import SignedUp
from tests.plants.entry import PLANTS
from tests.stands.stack import Run
from tests.stands.waiting import wait_for

FOLDER = Path(__file__).parent.parent / "plants"


class Plant(NamedTuple):
    """The processes that a mistake sits in, the promise whose breaking must be named, and what its words must hold; `homes`: the regions
    of the people whom it may concern."""

    places: tuple[str, ...]
    found: str
    words: str = ""
    homes: frozenset[str] = frozenset()


PLANTED = {
    "ignores_the_epoch": Plant(("cell-eu-de", "orders-eu-de"), "late_write", homes=frozenset({"eu"})),
    "falls_back_to_a_default_cell": Plant(("directory", "gateway-*"), "placed_without_ground", "BR"),
    "drops_an_acknowledged_write": Plant(
        ("orders-us-va", "orders-in-mum"), "lost_write", homes=frozenset({"us", "in"})
    ),
    "forwards_a_body_before_deciding": Plant(
        ("gateway-in",), "body_before_verdict", "eu->in: no verdict while the body was held back"
    ),
    "forwards_a_body_without_waiting": Plant(
        ("gateway-eu", "gateway-us"), "body_before_verdict", ": the body was asked for before the verdict"
    ),
}
"""All at once, each in a place of its own: what one breaks cannot be what another is found by."""


class Played(NamedTuple):
    """Exit status and findings of a run in `out`, and the home region of each of its people."""

    out: Path
    status: int
    findings: dict[str, Any]
    homes: dict[str, str]

    def words(self, kind: str) -> list[str]:
        return [one["words"] for one in self.findings["violations"] if one["kind"] == kind]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Run(tmp_path_factory.mktemp("load") / "st") as run:
        run.command[1:4] = ["-P", str(FOLDER / "up.py")]
        yield run.start().ready()


@pytest.fixture(scope="module")
def right(running: Run, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A run over the stack as it is."""
    return played(running, tmp_path_factory.mktemp("right"))


@pytest.fixture(scope="module")
def wrong(running: Run, right: Played, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The same over the same stack with every mistake planted."""
    plant(running)
    return played(running, tmp_path_factory.mktemp("wrong"))


class Hand(NamedTuple):
    """What somebody writes for a deployment of their own: its addresses; owners' DSNs."""

    stack: Path
    dsns: Path


@pytest.fixture
def hand(running: Run, tmp_path: Path) -> Hand:
    document = running.document()
    stated = {
        "directory": {"url": document["directory"]["url"]},
        "regions": {
            name: {"gateway": region["gateway"], "issuer": region["issuer"]}
            for name, region in document["regions"].items()
        },
        "cells": {
            name: {"region": cell["region"], "shards": cell["shards"]} for name, cell in document["cells"].items()
        },
    }
    held = json.loads((running.paths.state / "secrets" / "dsns.json").read_text())
    made = Hand(tmp_path / "stack.json", tmp_path / "dsns.json")
    made.stack.write_text(json.dumps(stated))
    made.dsns.touch(mode=0o600)
    made.dsns.write_text(json.dumps({name: dsn for name, dsn in held.items() if name.endswith("_OWNER")}))
    return made


def plant(run: Run) -> None:
    """Restarts the processes that mistakes sit in."""
    planted: dict[str, list[str]] = {}
    for mistake, one in PLANTED.items():
        for name in (name for pattern in one.places for name in matching(pattern)):
            planted.setdefault(name, []).append(mistake)
    (run.paths.state / "plants.json").write_text(json.dumps(planted), encoding="ascii")
    with ThreadPoolExecutor(len(planted)) as together:
        for op in ("stop", "start"):
            list(together.map(lambda name, op=op: control.ask(run.paths, op, name), sorted(planted)))  # type: ignore[misc]


def played(run: Run, out: Path) -> Played:
    status, findings = load(
        "--scenario", str(FOLDER / "planted.toml"), "--stack", str(run.paths.stack), "--out", str(out), out=out
    )
    homes = {line.subject: line.region for line in ledger.lines(out) if isinstance(line, SignedUp)}
    return Played(out, status, findings, homes)


def load(*words: str, out: Path) -> tuple[int, dict[str, Any]]:
    """Exit status and findings."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "load_tests", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert (out / "load.html").exists(), done.stderr.decode()
    return done.returncode, json.loads((out / "load.json").read_text())


@pytest.mark.timeout(200)
def test_a_stack_that_keeps_its_promises_passes(right: Played) -> None:
    findings = right.findings
    assert (right.status, findings["violations"]) == (0, [])
    assert findings["swept"]
    assert findings["cuts"] > 0
    assert findings["writes"]["acknowledged"] > 0
    assert findings["crossings_seen"] > 0


@pytest.mark.timeout(200)
def test_lines_of_two_machines_are_judged_by_a_stack_file_written_by_hand(
    running: Run, right: Played, hand: Hand, tmp_path: Path
) -> None:
    here, there, out = (tmp_path / name for name in ("here", "there", "judged"))
    for folder in (here, there):
        folder.mkdir()
    (here / conducted.FILE).write_bytes((right.out / conducted.FILE).read_bytes())
    lines = b"".join(path.read_bytes() for path in right.out.glob(ledger.PATTERN)).splitlines(keepends=True)
    for folder, part in ((here, lines[::2]), (there, lines[1::2])):
        (folder / "answers-1.ndjson").write_bytes(b"".join(part))
    words = ["judge", str(here), str(there), "--stack", str(hand.stack), "--dsns", str(hand.dsns)]
    words += ["--directory-token", str(running.paths.state / "secrets" / "operator.jwt"), "--out", str(out)]
    status, findings = load(*words, out=out)
    assert (status, findings["violations"], findings["swept"]) == (0, [], True)
    for figure in ("people", "writes", "crossings_seen", "cuts", "errors"):
        assert findings[figure] == right.findings[figure]


@pytest.mark.timeout(200)
def test_a_run_that_is_broken_off_is_judged_by_what_was_answered(running: Run, right: Played, tmp_path: Path) -> None:
    out, judged = tmp_path / "out", tmp_path / "judged"
    words = ["--scenario", "steady", "--users", "6", "--stack", str(running.paths.stack)]
    command = [sys.executable, "-P", "-m", "load_tests", *words, "--out", str(out)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        wait_for((out / plan.BEGUN).exists, s_max=60)
        run.send_signal(signal.SIGINT)
        told = run.communicate(timeout=90)[0].decode()
    assert run.returncode == 2, told
    assert "could not be played: the rest: broken off after" in told
    findings = json.loads((out / "load.json").read_text())
    assert (findings["violations"], findings["swept"]) == ([], True)
    assert findings["people"]
    assert (out / "load.html").exists()
    assert load("judge", str(out), "--stack", str(running.paths.stack), "--out", str(judged), out=judged)[0] == 2


@pytest.mark.timeout(200)
@pytest.mark.parametrize("mistake", PLANTS)
def test_a_planted_mistake_fails_the_run_by_its_name(wrong: Played, mistake: str) -> None:
    planted = PLANTED[mistake]
    assert wrong.status == 1
    found = [words for words in wrong.words(planted.found) if planted.words in words]
    assert found
    if planted.homes:
        concerned = {wrong.homes[subject] for words in found for subject in wrong.homes if subject in words}
        assert concerned <= planted.homes

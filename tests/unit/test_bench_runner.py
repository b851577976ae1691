"""`make bench` runs every bench there is, short, and says where one fails."""

import os
import subprocess
from pathlib import Path

import pytest

from load_tests.bench import __main__ as runner


def test_every_bench_module_is_run() -> None:
    """A module that nobody listed would never be run."""
    folder = Path(runner.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert modules <= set(runner.BENCHES)


def test_short_options_are_known_to_their_bench() -> None:
    """--help after the options parses them first, so an unknown one is an error."""
    for name, bench in runner.BENCHES.items():
        if bench.short:
            done = subprocess.run(
                [*runner.command(name, full=False), "--help"],
                check=False,
                capture_output=True,
                text=True,
                timeout=60,
                env={**os.environ, "COLUMNS": "200"},
            )
            assert done.returncode == 0, done.stderr
            assert all(option in done.stdout for option in bench.short if option.startswith("--"))


def test_one_that_fails_does_not_keep_the_others_from_running(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run(arguments: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        ran.append(arguments[3])
        return subprocess.CompletedProcess(arguments, 1 if arguments[3].endswith("resolve") else 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert runner.main(["resolve", "edge"]) == 1
    assert ran == ["load_tests.bench.resolve", "load_tests.bench.edge"]
    assert "ended with an error: resolve" in capfd.readouterr().err

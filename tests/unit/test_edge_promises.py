"""The table of what the edge promises (docs/decisions/0015-wire.md) names tests that there are."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RECORD = TESTS.parent / "docs" / "decisions" / "0015-wire.md"
_FILE = re.compile(r"`((?:\w+/)?[a-z_0-9]+)`")


def rows() -> dict[str, str]:
    """What stands in the table: the tests by promise."""
    table = RECORD.read_text().partition("| promise | test |\n| --- | --- |\n")[2].partition("\n\n")[0]
    return dict(line.strip("| ").split(" | ") for line in table.splitlines())


def named(tests: str) -> list[tuple[Path, list[str]]]:
    """Files, and the names behind them."""
    found = []
    for part in re.split("; | · ", tests):
        files, _, names = part.partition(": ")
        for file in _FILE.findall(files):
            folder, _, stem = file.rpartition("/")
            found.append((TESTS / (folder or "integration") / f"test_{stem}.py", names.split(", ") if names else []))
    return found


@pytest.mark.parametrize("promise", rows())
def test_a_promise_names_tests_that_there_are(promise: str) -> None:
    files = named(rows()[promise])
    assert files
    for path, names in files:
        source = path.read_text()
        tests = re.findall(r"def (test_\w+)\(", source)
        assert tests
        for name in names:
            table = re.fullmatch("`([A-Z]+)`", name)
            assert f"\n{table[1]} = {{" in source if table else any(name in test for test in tests), (path.name, name)

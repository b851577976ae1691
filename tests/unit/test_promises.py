"""The tables of what is promised, in the records of decisions, name tests that there are."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RECORDS = TESTS.parent / "docs" / "decisions"
_TABLE = "| promise | test |\n| --- | --- |\n"
_FILE = re.compile(r"`((?:\w+/)?[a-z_0-9]+)`")


def rows(record: Path) -> dict[str, str]:
    """What stands in a record's tables: the tests by promise."""
    tables = (table.partition("\n\n")[0] for table in record.read_text().split(_TABLE)[1:])
    return dict(line.strip("| ").split(" | ") for table in tables for line in table.splitlines())


def promised() -> list[tuple[str, str]]:
    """(record, promise)."""
    return [(record.name, promise) for record in sorted(RECORDS.glob("*.md")) for promise in rows(record)]


def named(tests: str) -> list[tuple[Path, list[str]]]:
    """Files, and the names behind them."""
    found = []
    for part in re.split("; | · ", tests):
        files, _, names = part.partition(": ")
        for file in _FILE.findall(files):
            folder, _, stem = file.rpartition("/")
            found.append((TESTS / (folder or "integration") / f"test_{stem}.py", names.split(", ") if names else []))
    return found


@pytest.mark.parametrize(("record", "promise"), promised())
def test_a_promise_names_tests_that_there_are(record: str, promise: str) -> None:
    files = named(rows(RECORDS / record)[promise])
    assert files
    for path, names in files:
        source = path.read_text()
        tests = re.findall(r"def (test_\w+)\(", source)
        assert tests
        for name in names:
            table = re.fullmatch("`([A-Z]+)`", name)
            assert f"\n{table[1]} = {{" in source if table else any(name in test for test in tests), (path.name, name)


def test_the_records_that_promise_are_those_that_say_so() -> None:
    assert {record for record, _ in promised()} >= {"0015-wire.md", "0019-break-glass.md", "0020-sql-door.md"}

"""The tables of what is promised, in the records of decisions, name tests that there are."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RECORDS = TESTS.parent / "docs" / "decisions"
_TABLE = "| promise | test |\n| --- | --- |\n"
_FILE = re.compile(r"`((?:\w+/)?[a-z_0-9]+)`")
_TARGET = re.compile(r"`make ([a-z-]+)`")
_DEEP = re.compile(r"`([A-Z_]+)=\d+`")


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
def test_a_promise_names_tests_or_a_target_that_there_are(record: str, promise: str) -> None:
    proof = rows(RECORDS / record)[promise]
    files, targets = named(proof), _TARGET.findall(proof)
    assert files or targets
    makefile = (TESTS.parent / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)
    deep = "".join(path.read_text() for path, _ in files)
    assert all(f'"{variable}"' in deep for variable in _DEEP.findall(proof)), (
        "a deeper form's variable is what the test reads"
    )
    for path, names in files:
        source = path.read_text()
        tests = re.findall(r"def (test_\w+)\(", source)
        assert tests
        for name in names:
            table = re.fullmatch("`([A-Z]+)`", name)
            assert f"\n{table[1]} = {{" in source if table else any(name in test for test in tests), (path.name, name)


def test_a_promise_is_not_stated_twice() -> None:
    for record in RECORDS.glob("*.md"):
        tables = [table.partition("\n\n")[0] for table in record.read_text().split(_TABLE)[1:]]
        assert sum(len(table.splitlines()) for table in tables) == len(rows(record)), record.name


def test_the_records_that_promise_are_those_that_say_so() -> None:
    said = {"0015-wire.md", "0016-ledger.md", "0018-egress.md", "0019-break-glass.md", "0020-sql-door.md"}
    assert {record for record, _ in promised()} >= said

"""The table of what egress promises (docs/decisions/0018-egress.md) names tests and targets that there are."""

import re

import pytest

from tests.unit.test_edge_promises import TESTS, named

ROOT = TESTS.parent
RECORD = (ROOT / "docs" / "decisions" / "0018-egress.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def rows() -> dict[str, str]:
    """The tests by promise."""
    table = RECORD.partition("| promise | test |\n| --- | --- |\n")[2].partition("\n\n")[0]
    return dict(line.strip("| ").split(" | ") for line in table.splitlines())


def missing(tests: str) -> list[str]:
    """Files without a test, and names that no test of theirs has in its own."""
    lacks = []
    for path, names in named(tests):
        found = re.findall(r"def (test_\w+)\(", path.read_text()) if path.exists() else []
        lacks += [path.name] if not found else [name for name in names if not any(name in one for one in found)]
    return lacks


@pytest.mark.parametrize("promise", rows())
def test_a_promise_names_tests_that_there_are(promise: str) -> None:
    assert named(rows()[promise])
    assert missing(rows()[promise]) == []
    assert set(re.findall(r"`make ([a-z-]+)`", promise)) <= TARGETS


def test_a_promise_without_its_test_is_seen() -> None:
    assert len(rows()) > 30
    assert missing("`unit/egress_nowhere`") == ["test_egress_nowhere.py"]
    assert missing("`unit/egress_plan`: json_is_walked, no_such_test") == ["no_such_test"]

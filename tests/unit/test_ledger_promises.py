"""The table of what the ledger promises (docs/decisions/0016-ledger.md) names tests and targets that there are."""

import re

import pytest

from tests.unit.test_edge_promises import TESTS, named

ROOT = TESTS.parent
RECORD = ROOT / "docs" / "decisions" / "0016-ledger.md"
_TARGET = re.compile(r"`make ([a-z-]+)`")
_DEEP = re.compile(r"`([A-Z_]+)=\d+`")


def rows() -> dict[str, str]:
    """What stands in the table: tests or targets, by promise."""
    table = RECORD.read_text(encoding="utf-8").partition("| promise | test |\n| --- | --- |\n")[2].partition("\n\n")[0]
    return dict(line.strip("| ").split(" | ") for line in table.splitlines())


@pytest.mark.parametrize("promise", rows())
def test_a_promise_names_tests_or_a_target_that_there_are(promise: str) -> None:
    proof = rows()[promise]
    files, targets = named(proof), _TARGET.findall(proof)
    assert files or targets
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}:" in makefile for target in targets)
    for path, names in files:
        tests = re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))
        assert tests, path.name
        for name in names:
            assert any(name in test for test in tests), (path.name, name)


@pytest.mark.parametrize("promise", [promise for promise in rows() if _DEEP.search(promise)])
def test_a_promise_that_has_a_deep_form_names_what_its_test_reads(promise: str) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path, _ in named(rows()[promise]))
    assert all(f'"{variable}"' in sources for variable in _DEEP.findall(promise))


def test_a_promise_is_not_stated_twice() -> None:
    table = RECORD.read_text(encoding="utf-8").partition("| promise | test |\n| --- | --- |\n")[2].partition("\n\n")[0]
    assert len(table.splitlines()) == len(rows()) > 25

"""docs/api.md is what the program says of itself."""

import re
from pathlib import Path

import pytest

from deploy import docs
from foundation.problems import Code

ROOT = Path(docs.__file__).parents[1]


def test_the_committed_document_is_what_the_program_writes() -> None:
    assert docs.API.read_text(encoding="utf-8") == docs.document(), "run `make docs`"


def test_every_code_is_listed_and_only_those_that_nothing_gives_are_marked_reserved() -> None:
    text = docs.document()
    assert all(f"| `{code.value}` |" in text for code in Code)
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("cells", "directory", "foundation", "gateway", "routing_rules")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "problems.py"
    ]
    given = {name for source in sources for name in re.findall(r"\bCode\.([A-Z_]+)", source)}
    assert {code for code in Code if code.name not in given} == docs.NOT_YET_GIVEN


def test_a_call_that_nobody_described_and_a_description_of_none_are_errors() -> None:
    with pytest.raises(LookupError, match="POST /cell/new"):
        docs.agreed(["GET /a", "POST /cell/new"], {"GET /a": ""})
    with pytest.raises(LookupError, match="GET /gone"):
        docs.agreed(["GET /a"], {"GET /a": "", "GET /gone": ""})

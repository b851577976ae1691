"""A deployment is taken as its stack file names it; what is missing is told, or left unproven where nobody asked for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from foundation.settings import SettingsError
from load_tests import target

STACK: dict[str, Any] = {
    "directory": {"url": "https://directory.test"},
    "regions": {"eu": {"gateway": "https://eu.test", "issuer": "https://issuer.test"}},
    "cells": {"eu-de": {"region": "eu", "shards": {"s1": "LOAD_TEST_S1"}}},
}


def written(tmp_path: Path, document: Any, name: str = "stack.json") -> Path:
    file = tmp_path / name
    file.write_text(json.dumps(document))
    file.chmod(0o600)
    return file


def test_a_file_written_by_hand_needs_neither_state_nor_processes(tmp_path: Path) -> None:
    read = target.read(written(tmp_path, STACK))
    assert (read.directory_url, read.state, read.processes) == ("https://directory.test", None, {})
    assert target.token_file(read, None) is None


@pytest.mark.parametrize("missing", ["directory", "regions", "cells"])
def test_a_file_that_is_no_stack_file_is_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(SettingsError, match="not a stack file"):
        target.read(written(tmp_path, {name: value for name, value in STACK.items() if name != missing}))


def test_without_dsns_nothing_is_swept_and_a_file_of_them_must_name_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = target.read(written(tmp_path, STACK))
    assert target.dsns(read, None) is None
    with pytest.raises(SettingsError, match="LOAD_TEST_S1_OWNER"):
        target.dsns(read, written(tmp_path, {"OTHER": "x"}, "dsns.json"))
    monkeypatch.setenv("LOAD_TEST_S1_OWNER", "postgresql://owner@shard.test/s1")
    found = target.dsns(read, None)
    assert found is not None
    assert list(found) == ["LOAD_TEST_S1_OWNER"]
    assert "shard.test" not in repr(found)


def test_a_file_of_dsns_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, {"LOAD_TEST_S1_OWNER": "x"}, "dsns.json")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="open to others"):
        target.dsns(target.read(written(tmp_path, STACK)), file)

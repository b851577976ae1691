"""The form of a run's modules, and the build that compiles them (docs/decisions/0022-compiled.md)."""

import ast
import importlib
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hatchling.builders.wheel import WheelBuilder

import hatch_build
from foundation.compiled import compiled
from tests.stands.compiled import COMPILED, HOOK, LISTED, ROOT


@pytest.mark.parametrize("module", LISTED)
def test_a_listed_module_has_the_form_that_this_run_is_about(module: str) -> None:
    importlib.import_module(module)
    assert (module in compiled()) == (module in COMPILED)


def test_nothing_but_what_is_listed_is_compiled() -> None:
    importlib.import_module("gateway.__main__")
    assert compiled() == COMPILED


def test_the_version_says_which_form_it_is() -> None:
    asked = [sys.executable, "-P", "-c", "from gateway.cli.main import cli; cli()", "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.endswith(f" ({len(COMPILED)} modules compiled)\n" if COMPILED else " (interpreted)\n")


# --- the build ---------------------------------------------------------------------------------------------------------------


def hooks() -> dict[str, Any]:
    return WheelBuilder(str(ROOT)).get_build_hooks("")


def test_a_wheel_is_compiled_only_where_somebody_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HATCH_BUILD_HOOK_ENABLE_CUSTOM", raising=False)
    assert hooks() == {}
    monkeypatch.setenv("HATCH_BUILD_HOOK_ENABLE_CUSTOM", "1")
    assert hooks()["custom"].config["modules"] == HOOK["modules"]


def test_no_listed_module_defines_a_struct() -> None:
    """mypyc drops a class statement's keywords and annotations, of which msgspec makes a struct."""
    found = [value for module in LISTED for value in vars(importlib.import_module(module)).values()]
    structs = [value for value in found if isinstance(value, type) and issubclass(value, msgspec.Struct)]
    assert [one.__qualname__ for one in structs if one.__module__ in LISTED] == []


def test_an_install_of_the_checkout_itself_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HATCH_BUILD_HOOK_ENABLE_CUSTOM", "1")
    with pytest.raises(Exception, match="build a wheel"):
        hooks()["custom"].initialize("editable", {})


def test_what_lacks_to_compile_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -pthread")
    assert "no C compiler (no-such-compiler): install gcc" in (hatch_build.lacking() or "")
    (tmp_path / "cc").touch(mode=0o755)
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert f"no {tmp_path}/Python.h: install" in (hatch_build.lacking() or "")
    (tmp_path / "Python.h").touch()
    assert hatch_build.lacking() is None


def names(statements: Sequence[ast.AST], *, stored: bool) -> set[str]:
    """Of variables and attributes, as they are written."""
    found = [one for each in statements for one in ast.walk(each) if isinstance(one, ast.Name | ast.Attribute)]
    return {ast.unparse(one) for one in found if isinstance(one.ctx, ast.Store) == stored}


@pytest.mark.parametrize("module", LISTED)
def test_no_finally_of_a_listed_module_uses_what_its_try_assigns_or_asks_whether_something_is_none(module: str) -> None:
    """mypyc believes there what mypy knows of the end of the `try`, also where it raised."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    for one in [one for one in ast.walk(tree) if isinstance(one, ast.Try)]:
        asks = [each for end in one.finalbody for each in ast.walk(end) if isinstance(each, ast.Compare)]
        assert [ast.unparse(each) for each in asks if "None" in ast.unparse(each)] == []
        tried = [*one.body, *one.handlers, *one.orelse]
        assert names(tried, stored=True) & names(one.finalbody, stored=False) == set()


@pytest.mark.parametrize("module", LISTED)
def test_no_class_of_a_listed_module_has_the_name_of_one_that_it_builds_on(module: str) -> None:
    """mypyc gives both the same names in C."""
    found = [one for one in vars(importlib.import_module(module)).values() if isinstance(one, type)]
    assert [one.__qualname__ for one in found if one.__name__ in {base.__name__ for base in one.__mro__[1:]}] == []

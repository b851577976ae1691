"""The policy's reference is true: its example loads, its table names every key and no other, and its mistakes are told as it shows them."""

import re
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foundation.words import ServiceId
from routing_rules.policy import Policy
from routing_rules.rules import PolicyError, load

PAPER = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", PAPER, re.DOTALL)


def keys_of(shape: Any, name: str) -> dict[str, dict[str, bool]]:
    """Table as the paper writes it -> its keys, and whether they must be there."""
    hints = typing.get_type_hints(shape)
    tables: dict[str, dict[str, bool]] = {name: {}} if name else {}
    for field in msgspec.structs.fields(shape):
        if name:
            tables[name][field.encode_name] = field.required
        inner, written = inside(hints[field.name]), f"{name.strip('[]')}.{field.encode_name}".lstrip(".")
        if inner is not None:
            entries = "dict" in str(hints[field.name]).partition("[")[0]
            tables |= keys_of(inner, f"[{written}.ID]" if entries else f"[{written}]")
    return tables


def inside(hint: Any) -> Any:
    """The struct inside a hint (`dict[CellId, Cell]`, `Jobs | None`), if any."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    return next((found for one in typing.get_args(hint) if (found := inside(one)) is not None), None)


def rows_of_the_paper() -> dict[str, dict[str, bool]]:
    tables: dict[str, dict[str, bool]] = {}
    table = ""
    for first, second in re.findall(r"^\| ([^|]*)\| ([^|]*)\|", PAPER, re.MULTILINE):
        table = first.strip().strip("`") or table
        key = second.strip()
        if table.startswith("[") and key:
            tables.setdefault(table, {})[key.strip("*").strip("`")] = key.startswith("**")
    return tables


def test_the_table_names_every_key_of_the_policy_and_which_must_be_there() -> None:
    told = rows_of_the_paper()
    known = keys_of(Policy, "")
    assert set(told.pop("[travellers]")) == {"default", "JURISDICTION", '"JURISDICTION->REGION"'}
    known["[[instruments]]"] = known.pop("[instruments]")
    assert told == known


def test_the_example_is_a_policy_without_mistakes_that_uses_every_key() -> None:
    assert load(EXAMPLE).policy.services[ServiceId("clinic")].tags == ("health",)
    for table, keys in rows_of_the_paper().items():
        for key in keys if table != "[travellers]" else ():
            assert re.search(rf"\b{key} = |\.{key}\]", EXAMPLE), (table, key)


def test_mistakes_are_told_as_the_paper_shows_them() -> None:
    text = EXAMPLE
    changes = (
        ("decision_s = 15", "decision_s = 40"),
        ('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "ukk", "ch"]'),
        ('s1 = { dsn_env = "EU_DE_S1", country = "DE" }', 's1 = { dsn_env = "EU_DE_S1", country = "US" }'),
        ('gateway = "impact_assessment"', 'gateway = "dpia"'),
    )
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    with pytest.raises(PolicyError) as caught:
        load(text)
    (shown,) = re.findall(r"```text\n(.*?)```", PAPER, re.DOTALL)
    assert [line.strip() for line in shown.strip().split("\n")[1:]] == list(caught.value.mistakes)

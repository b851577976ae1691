"""Policies at random: each is taken or refused with a place, tags lose their aliases, and no name that is slightly wrong passes."""

import re
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from routing_rules.pack import bundled
from routing_rules.policy.checks import check
from routing_rules.policy.draft import draft_of
from routing_rules.policy.mistakes import Mistakes
from routing_rules.rules import PolicyError, load

PAPER = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", PAPER, re.DOTALL)
NAMES = sorted(bundled().tag_names)
WORDS = sorted(set(re.findall(r'"([a-z*][a-z_*-]+)"', EXAMPLE)))


def mistakes_of(text: str) -> tuple[str, ...]:
    try:
        load(text)
    except PolicyError as exc:
        return exc.mistakes
    return ()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_policy_is_taken_or_refused_with_the_line_of_each_mistake(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE) - 1))
    stop = data.draw(st.integers(start, min(len(EXAMPLE), start + 30)))
    text = EXAMPLE[:start] + data.draw(st.text(alphabet="[]{}=\".,'\n #abA10-_", max_size=5)) + EXAMPLE[stop:]
    found = mistakes_of(text)
    try:
        tables = set(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        assert len(found) == 1
        return
    for one in found:
        number = re.match(r"line (\d+): ", one)
        if number is None:
            assert re.split(r"[.:\[]", one)[0] not in tables, one
        else:
            assert 1 <= int(number.group(1)) <= text.count("\n") + 1


toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates(), st.datetimes(), st.times()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.data(), toml_values)
def test_any_value_at_any_place_is_accepted_or_a_mistake_and_never_a_crash(data: st.DataObject, value: object) -> None:
    document = tomllib.loads(EXAMPLE)
    table: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(table)) if isinstance(table, dict) else st.integers(0, len(table) - 1))
        if not isinstance(table[key], dict | list) or not table[key] or data.draw(st.booleans()):
            break
        table = table[key]
    table[key] = value
    mistakes = Mistakes(EXAMPLE)
    check(draft_of(document, mistakes), bundled(), mistakes)
    assert all(mistakes.lines())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=4))
def test_a_policy_in_aliases_is_the_policy_in_the_packs_own_names(tags: list[str]) -> None:
    own = [bundled().tag_names[tag] for tag in tags]
    spelt, plain = (load(EXAMPLE.replace('["medical"]', repr(each))).policy for each in (tags, own))
    assert spelt == plain
    assert all(len(set(one.tags)) == len(one.tags) for one in spelt.services.values())
    assert {tag for one in spelt.services.values() for tag in one.tags} <= {row.tag for row in bundled().tags}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WORDS), st.integers(0, 8), st.sampled_from("qzx"))
def test_no_word_with_a_letter_too_many_passes(word: str, at: int, letter: str) -> None:
    free = ("service", "care", "analytics")  # purposes are the operator's own words
    assume(word not in free)
    wrong = word[:at] + letter + word[at:]
    assert mistakes_of(EXAMPLE.replace(f'"{word}"', f'"{wrong}"', 1)) != ()

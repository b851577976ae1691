"""Positions of keys in TOML: exactly the paths that `tomllib` reads, each on the line where it is written, in all forms people write."""

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routing_rules.policy.key_lines import DEPTH_MAX, Path, key_lines
from tests.stands.rules import POLICY


def paths(value: object, at: Path = ()) -> Iterator[Path]:
    """Every key path of a parsed document, array elements counted from 1."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value, start=1))
    for key, one in inner:
        yield (*at, key)
        yield from paths(one, (*at, key))


KEYS = ["a", "b", "c-d", '"a"', "'b'", '"e.f"', "'#'", '"\\u0061"', '"]"', '"x = 1"', "1", "3.14", '""']
STRINGS = [
    '""',
    '"# ] }"',
    "'a = \\'",
    '"\\""',
    '"""x"""',
    '"""\n[a]\nb = 1 # ""\\""" """',
    "'''\nb = ''1\n'''",
    '""""q"""""',
]
STRINGS += ["''''q'''''", '"""\\\n  \n x"""', '"é\\t"']
SCALARS = [
    "1",
    "-1_000",
    "0x1F",
    "1.5e3",
    "inf",
    "nan",
    "true",
    "1979-05-27",
    "1979-05-27 07:32:00Z",
    "07:32:00",
    *STRINGS,
]
BLANKS = ["", " ", "\t ", "\n", "\r\n", " # ] = } \" '''\n"]

keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([".", " . ", "\t."]).map(lambda dot: dot.join(parts))
)
gaps = st.sampled_from(BLANKS)


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    comma = st.tuples(gaps, gaps).map(lambda two: f"{two[0]},{two[1]}")
    return st.builds(
        lambda parts, joined, start, end: f"[{start}{joined.join(parts)}{end}]",
        st.lists(inner, max_size=3),
        comma,
        gaps,
        gaps,
    )


def tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.builds("{}={}".format, keys, inner)
    return st.lists(pairs, max_size=2).map(lambda each: "{ " + ", ".join(each) + " }")


values = st.recursive(st.sampled_from(SCALARS), lambda inner: st.one_of(arrays(inner), tables(inner)), max_leaves=5)
statements = st.one_of(
    st.builds("{}{} = {}".format, st.sampled_from(["", "  "]), keys, values),
    st.builds("[{}]".format, keys),
    st.builds("[[ {} ]]".format, keys),
    st.sampled_from(["", "# [x]", "\t"]),
)
ends = st.sampled_from(["\n", "\r\n", " # = [y]\n"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A valid text: statements one after the other, each kept if the text so far stays valid."""
    text = ""
    for _ in range(draw(st.integers(0, 9))):
        longer = text + draw(statements) + draw(ends)
        try:
            tomllib.loads(longer)
        except tomllib.TOMLDecodeError:
            continue
        text = longer
    return text


@settings(max_examples=400, deadline=None)
@given(documents())
@example(POLICY)
@example("a.b.c = 1\n[x.y]\n[[x.z]]\nq = 1\n[x.z.w]\n[[x.z]]\n[[x.z.v]]\n[[x.z.v]]\nu = [{ t.s = 1 }, {}]")
def test_every_key_path_that_the_parser_knows_has_a_line_and_no_other(text: str) -> None:
    assert set(key_lines(text)) == set(paths(tomllib.loads(text)))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["key", "table", "element", "dotted", "inline", "array"]), gaps, values), max_size=8
    )
)
def test_each_line_is_the_one_on_which_the_key_is_written(parts: list[tuple[str, str, str]]) -> None:
    text = "[[all]]\n"
    written: list[str] = []
    for number, (form, blank, value) in enumerate(parts):
        names = [f"n{number}x{k}" for k in range(2)]
        text += {
            "key": f"{names[0]} = {value}\n{names[1]} = {value}\n",
            "table": f"[{names[0]}]\n\n{names[1]} = {value}\n",
            "element": f"[[{names[0]}]]\n{names[1]} = {value}\n",
            "dotted": f"{names[0]} . '{names[1]}' = {value}\n",
            "inline": f'{names[0]} = {{ p = {value}, "{names[1]}" = {value} }}\n',
            "array": f"{names[0]} = [{blank}{{ q = {value} }},{blank} {{ {names[1]} = {value} }}{blank}]\n",
        }[form]
        written += names
    lines = text.split("\n")
    found = {path[-1]: line for path, line in key_lines(text).items()}
    for name in written:
        assert name in lines[found[name] - 1], (name, found[name])


def test_array_elements_stand_on_their_own_lines() -> None:
    lines = key_lines('[t]\na = [ # one\n  "x",\n\n  "y", "z"\n]\n')
    assert [lines["t", "a", n] for n in (1, 2, 3)] == [3, 5, 5]


def test_a_table_stands_at_its_header_even_if_a_longer_name_came_before() -> None:
    assert key_lines("[a.b]\nx = 1\n[a]\ny = 1\n")["a",] == 3


def test_only_a_line_feed_ends_a_line() -> None:
    text = "a = '\u2028\x85'\r\nb = 1"
    assert set(tomllib.loads(text)) == {"a", "b"}
    assert key_lines(text) == {("a",): 1, ("b",): 2}


@pytest.mark.parametrize(
    "text", ["a = ", "[a", "[[a]", "a = [1,", "a = {b", "= 1", "]", '"\\x" = 1', "a = {b = ]}", "\x00"]
)
def test_a_text_that_is_no_toml_is_read_as_far_as_it_goes(text: str) -> None:
    assert len(key_lines(f"first = 1\n{text}")) >= 1


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="[]{}=\".,'\n\\ #ab1", max_size=40))
def test_no_text_makes_it_raise_or_hang(text: str) -> None:
    assert all(line >= 1 for line in key_lines(text).values())


def test_what_is_deeper_than_any_policy_ends_the_reading() -> None:
    depth = 20_000
    assert len(key_lines(f"a = {'[' * depth}{']' * depth}")) == DEPTH_MAX + 1
    assert key_lines(f"a = 1\n{'b.' * depth}b = 1") == {("a",): 1}

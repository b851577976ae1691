"""Whatever a client sends: refused in words, or a statement in which no text of the client's stands."""

import re
from collections.abc import Callable
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from cells.records import body
from cells.records.core import Bound, bind, grant
from cells.records.dialect import parse_query
from cells.records.preferences import Resolution, Returned, parse_preferences
from cells.records.query import IS_VALUES, QUANTIFIED, Operator
from cells.records.ranges import page
from cells.records.statements import Builder, Statement
from foundation.problems import ProblemError
from foundation.words import ServiceId
from tests.stands.shard import notes
from tests.unit.test_records_core import decision

CONTRACT = notes()
GRANTED = grant(CONTRACT, ServiceId("orders"), "service")
BOUND = bind(CONTRACT, decision())
assert isinstance(BOUND, Bound)
BUILDER = Builder(CONTRACT, GRANTED, BOUND)
TEXTS = st.text(max_size=40)
FILTERS = st.lists(
    st.tuples(st.sampled_from([*CONTRACT.columns, "nothing"]), st.sampled_from(list(Operator)), TEXTS), max_size=5
)


def statements(query_text: str) -> list[Statement]:
    query = parse_query(query_text)
    return [
        BUILDER.read(query, page(query, 50), counted=True),
        BUILDER.count(query),
        BUILDER.delete(query, Returned.REPRESENTATION),
    ]


def status(call: Callable[[], object]) -> int:
    """200, or the status of the refusal; anything but a refusal is a fault."""
    try:
        call()
    except ProblemError as exc:
        return exc.problem.status
    return 200


@given(TEXTS)
@example("select=a,,b")
@example("order=.")
@example("a=in.(")
@example('a=in.("')
@example("select=:a")
@example("limit=²")
@example("or=(or=(or=(")
@example("rank.eq.1,not.and(rank.gt.2")
@example("extra->->>")
@example('extra->"a')
@example("extra->-99999999999=eq.1")
def test_any_query_is_refused_in_words_or_understood(text: str) -> None:
    forms = ("{}", "rank=in.({})", "rank={}", "select={}", "order={}", "limit={}", "or=({})", "extra->{}=is.null")
    for query in (form.format(text) for form in forms):
        assert status(lambda asked=query: statements(asked)) in (200, 400, 403)


TREES = st.recursive(
    st.tuples(st.sampled_from(["rank", "body", "extra->a->>b"]), st.sampled_from(sorted(QUANTIFIED)), TEXTS),
    lambda inner: st.tuples(st.sampled_from(["and", "or", "not.and"]), st.lists(inner, min_size=1, max_size=4)),
    max_leaves=8,
)


def written(tree: tuple) -> str:
    if len(tree) == 2:
        return f"{tree[0]}({','.join(written(one) for one in tree[1])})"
    escaped = tree[2].replace("\\", "\\\\").replace('"', '\\"')
    return f'{tree[0]}.{tree[1]}."QX{escaped}QX"'


@given(TREES)
def test_trees_of_filters_are_understood_and_none_of_their_text_reaches_the_statement(tree: tuple) -> None:
    if "\x00" in (text := written(tree)):
        return
    if (status_of_all := status(lambda: statements(f"or={quote(f'({text})')}"))) == 400:
        return  # an operator that does not apply to the column's type
    assert status_of_all == 200
    for statement in statements(f"or={quote(f'({text})')}"):
        assert "QX" not in statement.sql
        assert max(int(n) for n in re.findall(r"\$(\d+)", statement.sql)) == len(statement.arguments)


@given(st.sampled_from(Resolution), st.lists(st.sampled_from(["id", "rank", "subject_id", "body"]), max_size=3))
def test_upserts_carry_the_subject_in_key_and_condition(resolution: Resolution, conflict: list[str]) -> None:
    assert isinstance(BOUND, Bound)
    query = parse_query(f"on_conflict={','.join(conflict)}" if conflict else "")
    rows = body.inserted(b'{"rank": 1}', CONTRACT, GRANTED, BOUND)
    sql = BUILDER.insert(rows, query, Returned.REPRESENTATION, resolution).sql
    assert 'ON CONFLICT ("subject_id"' in sql
    assert resolution is Resolution.IGNORE or 'WHERE t."subject_id" = $1::uuid' in sql


@given(FILTERS)
def test_no_text_of_the_client_reaches_the_statement(filters: list[tuple[str, Operator, str]]) -> None:
    marked = [(column, operator, f"QX{value}QX") for column, operator, value in filters]
    query = "&".join(f"{column}={operator}.{quote(_operand(operator, value))}" for column, operator, value in marked)
    try:
        made = statements(query)
    except ProblemError:
        return
    for statement in made:
        assert "QX" not in statement.sql
        assert max([0, *(int(n) for n in re.findall(r"\$(\d+)", statement.sql))]) == len(statement.arguments)


def _operand(operator: Operator, value: str) -> str:
    if operator is Operator.IN:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'("{escaped}")'
    return "null" if operator is Operator.IS else value


@given(st.lists(TEXTS, max_size=6))
def test_a_quoted_list_comes_back_as_it_was(values: list[str]) -> None:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    query = "rank=in." + quote("(" + ",".join(f'"{value}"' for value in escaped) + ")")
    try:
        found = parse_query(query).where[0].values
    except ProblemError:
        assert any("\x00" in value for value in values)
        return
    assert found == tuple(values)


@given(st.binary(max_size=80))
@example(b'{"subject_id": 1}')
@example(b'[{"rank": 1}, {}]')
@example(b"\xff")
@example(b'{"\\ud800": 1}')
def test_any_body_is_refused_in_words_or_names_writable_columns(raw: bytes) -> None:
    assert isinstance(BOUND, Bound)
    for read in (body.inserted, body.changed):
        if (answered := status(lambda made=read: made(raw, CONTRACT, GRANTED, BOUND))) == 200:
            taken = read(raw, CONTRACT, GRANTED, BOUND)
            batches = taken.batches if isinstance(taken, body.Rows) else [taken.batch]
            assert set().union(*(batch.columns for batch in batches)) <= GRANTED.write
        else:
            assert answered in (400, 403)


@given(st.lists(TEXTS, max_size=4))
def test_any_preference_is_ignored_or_applied_or_refused(headers: list[str]) -> None:
    assert status(lambda: parse_preferences(headers)) in (200, 400)


def test_words_of_is_are_a_closed_list() -> None:
    for word in IS_VALUES:
        assert statements(f"done=is.{word}")

"""Whatever a client sends: refused in words, or a statement in which no text of the client's stands."""

import re
from collections.abc import Callable
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from cells.records import body
from cells.records.core import Bound, bind, grant
from cells.records.dialect import IS_VALUES, Operator, Returned, parse_preferences, parse_query
from cells.records.statements import Builder, Statement
from foundation.problems import ProblemError
from foundation.words import ServiceId
from tests.stands.shard import notes
from tests.unit.test_records_core import decision

CONTRACT = notes()
GRANTED = grant(CONTRACT, ServiceId("orders"), "service")
BOUND = bind(CONTRACT, decision())
assert isinstance(BOUND, Bound)
BUILDER = Builder(CONTRACT, GRANTED, BOUND, rows_max=50)
TEXTS = st.text(max_size=40)
FILTERS = st.lists(
    st.tuples(st.sampled_from([*CONTRACT.columns, "nothing"]), st.sampled_from(list(Operator)), TEXTS), max_size=5
)


def statements(query_text: str) -> list[Statement]:
    query = parse_query(query_text)
    return [BUILDER.read(query), BUILDER.delete(query, Returned.REPRESENTATION)]


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
def test_any_query_is_refused_in_words_or_understood(text: str) -> None:
    for query in (text, f"rank=in.({text})", f"rank={text}", f"select={text}", f"order={text}", f"limit={text}"):
        assert status(lambda asked=query: statements(asked)) in (200, 400, 403)


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
            assert set(read(raw, CONTRACT, GRANTED, BOUND).columns) <= GRANTED.write
        else:
            assert answered in (400, 403)


@given(st.lists(TEXTS, max_size=4))
def test_any_preference_is_ignored_or_applied_or_refused(headers: list[str]) -> None:
    assert status(lambda: parse_preferences(headers)) in (200, 400)


def test_words_of_is_are_a_closed_list() -> None:
    for word in IS_VALUES:
        assert statements(f"done=is.{word}")

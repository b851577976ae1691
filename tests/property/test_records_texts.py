"""A read whose text is remembered is the statement that would have been built, whatever was asked before it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cells.records.core import Bound, bind, grant
from cells.records.dialect import parse_query
from cells.records.query import Condition, Operator
from cells.records.ranges import page
from cells.records.statements import Builder, Statement
from cells.records.texts import ITEMS_MAX, KnownAs, Texts
from foundation.problems import ProblemError
from foundation.words import ServiceId, SubjectId
from tests.stands.shard import notes
from tests.unit.test_records_core import decision

CONTRACT = notes()
COLUMNS = [*CONTRACT.columns, "nothing", "total->a", '"rank"']
VALUES = st.one_of(
    st.sampled_from(["1", "", "null", "(1,2)", "(1)", "{1,2}", "eq.1", "a,b", 'a"b', "not.x", "*"]), st.text(max_size=5)
)
FILTERS = st.tuples(
    st.sampled_from(COLUMNS),
    st.sampled_from(["", "not.", "not.not."]),
    st.sampled_from([one.value for one in Operator]),
    st.sampled_from(["", "", "", "(any)", "(all)"]),
    VALUES,
).map(lambda drawn: (drawn[0], f"{drawn[1]}{drawn[2]}{drawn[3]}.{drawn[4]}"))
OTHERS = st.sampled_from(
    [
        ("select", "id"), ("select", "*"), ("select", "id,rank"), ("select", "rank,id"), ("select", "id,total->a"),
        ("select", "a:rank::text"), ("order", "rank"), ("order", "rank.desc"), ("order", "rank.desc.nullslast,id"),
        ("order", "total->a"), ("limit", "3"), ("limit", "30"), ("offset", "7"), ("or", "(rank.eq.1,rank.eq.2)"),
        ("columns", "rank"), ("on_conflict", "id"),
    ]
)  # fmt: skip
QUERIES = st.lists(st.one_of(FILTERS, OTHERS), max_size=4).map(
    lambda pairs: "&".join(
        f"{name}={value}".replace("&", "").replace("%", "").replace("+", "") for name, value in pairs
    )
)
BOUND = bind(CONTRACT, decision())
assert isinstance(BOUND, Bound)
OWNER = SubjectId("0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77")


class Asked(msgspec.Struct, frozen=True):
    """A read, and who asks."""

    query: str
    service: str
    purpose: str
    counted: bool
    stripped: bool
    owner_only: bool


ASKED = st.builds(
    Asked,
    query=QUERIES,
    service=st.sampled_from(["orders", "records"]),
    purpose=st.sampled_from(["service", "billing"]),
    counted=st.booleans(),
    stripped=st.booleans(),
    owner_only=st.booleans(),
)


def made(asked: Asked, texts: Texts | None) -> Statement | str:
    """The statement, or the words of the refusal."""
    known_as: KnownAs = CONTRACT.table, ServiceId(asked.service), asked.purpose
    bound = msgspec.structs.replace(BOUND, owner=OWNER, owner_only=asked.owner_only)
    builder = Builder(CONTRACT, grant(CONTRACT, *known_as[1:]), bound, stripped=asked.stripped)
    try:
        query = parse_query(asked.query)
        some = page(query, 50)
        if texts is None:
            return builder.read(query, some, counted=asked.counted)
        return texts.read(known_as, builder, query, some, counted=asked.counted)
    except ProblemError as exc:
        return str(exc)


@given(st.lists(ASKED, min_size=2, max_size=6))
def test_a_remembered_text_is_the_one_that_would_be_made(asked: list[Asked]) -> None:
    texts = Texts()
    for one in (*asked, *asked):
        assert made(one, texts) == made(one, None)


def test_reads_that_differ_in_values_share_one_text() -> None:
    texts = Texts()
    first, second = (
        made(Asked(query, "orders", "service", counted=False, stripped=False, owner_only=False), texts)
        for query in ("rank=eq.1&limit=2", "rank=eq.7&limit=3&offset=5")
    )
    assert isinstance(first, Statement)
    assert isinstance(second, Statement)
    assert first.sql is second.sql
    assert first.arguments != second.arguments


def test_a_read_of_very_many_columns_is_not_remembered() -> None:
    texts = Texts()
    for number in range(3):
        select = ",".join(f"a{number}x{item}:id" for item in range(ITEMS_MAX + 1))
        asked = Asked(f"select={select}", "orders", "service", counted=False, stripped=False, owner_only=False)
        assert isinstance(made(asked, texts), Statement)
    assert texts._held == {}


@given(
    name=st.one_of(st.sampled_from(["rank", "a1", "a", "Rank_2"]), st.text(max_size=6)),
    operator=st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte"]),
    value=VALUES,
)
def test_a_plain_filter_is_what_the_grammar_makes_of_it(name: str, operator: str, value: str) -> None:
    """Twice negated, so by the grammar, it is the same condition."""
    sent = "".join(sign for sign in name if sign not in "&%+=;#")
    value = "".join(sign for sign in value if sign not in "&%+")
    assert _condition(f"{sent}={operator}.{value}") == _condition(f"{sent}=not.not.{operator}.{value}")


def _condition(query: str) -> Condition | str:
    try:
        [found] = parse_query(query).where
    except (ProblemError, ValueError) as exc:
        return type(exc).__name__
    assert isinstance(found, Condition)
    return found

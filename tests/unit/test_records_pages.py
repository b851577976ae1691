"""Pages, preferences, media types and paths of the records dialect, without a database."""

import pytest

from cells.records import media
from cells.records.dialect import parse_query
from cells.records.preferences import Resolution, Returned, parse_preferences
from cells.records.query import Condition, Group, Operator, Order, Path, Query, Selected, Star, Step
from cells.records.ranges import Page, content_range, page, status
from foundation.problems import ProblemError


@pytest.mark.parametrize(
    ("query", "header", "offset", "limit"),
    [
        (Query(), None, 0, 100),
        (Query(limit=7, offset=3), None, 3, 7),
        (Query(limit=700), None, 0, 100),
        (Query(limit=0), None, 0, 0),
        (Query(), "0-9", 0, 10),
        (Query(), "items=5-5", 5, 1),
        (Query(), " 20- ", 20, 100),
        (Query(limit=3, offset=2), "0-9", 2, 3),
        (Query(limit=30, offset=2), "4-9", 4, 6),
        (Query(offset=8), "4-9", 8, 2),
        (Query(), "bytes=0-9", 0, 100),
        (Query(limit=0), "0-9", 0, 0),
    ],
)
def test_limit_offset_and_range_are_taken_together(query: Query, header: str | None, offset: int, limit: int) -> None:
    assert page(query, 100, header=header) == Page(offset=offset, limit=limit)


def test_a_range_of_another_unit_is_ignored() -> None:
    assert page(Query(), 100, header="0-1", unit="bytes") == Page(limit=100)


@pytest.mark.parametrize(
    ("query", "header", "refused"),
    [
        (Query(), "9-0", 416),
        (Query(), f"{2**40}-", 416),
        (Query(limit=3), "3-9", 416),
        (Query(), "a-b", 400),
        (Query(), "0-1,3-4", 400),
        (Query(), "items=²-3", 400),
        (Query(), f"0-{'9' * 5000}", 400),
    ],
)
def test_a_range_that_cannot_be_is_refused(query: Query, header: str, refused: int) -> None:
    with pytest.raises(ProblemError) as raised:
        page(query, 100, header=header)
    assert raised.value.problem.status == refused


@pytest.mark.parametrize(
    ("offset", "number", "total", "expected", "text"),
    [
        (0, 3, None, 200, "0-2/*"),
        (0, 0, None, 200, "*/*"),
        (0, 3, 3, 200, "0-2/3"),
        (0, 0, 0, 200, "*/0"),
        (1, 2, 9, 206, "1-2/9"),
        (9, 0, 9, 206, "*/9"),
        (10, 0, 9, 416, None),
    ],
)
def test_status_and_content_range_go_by_the_total(
    offset: int, number: int, total: int | None, expected: int, text: str | None
) -> None:
    asked = Page(offset=offset, limit=5)
    if text is None:
        with pytest.raises(ProblemError) as raised:
            status(asked, number, total)
        assert raised.value.problem.status == expected
    else:
        assert (status(asked, number, total), content_range(asked, number, total)) == (expected, text)


def test_preferences_are_echoed_as_they_were_heeded() -> None:
    found = parse_preferences(
        ["resolution=merge-duplicates, return=representation", "return=minimal, missing=default", "count=planned"]
    )
    assert (found.returned, found.resolution, found.defaults) == (Returned.REPRESENTATION, Resolution.MERGE, True)
    told = "resolution=merge-duplicates, missing=default, return=representation, count=exact"
    assert found.applied("POST") == told
    assert found.applied("GET") == "count=exact"
    assert parse_preferences(["tx=commit, nonsense, timezone=Mars"]).applied("POST") == ""


@pytest.mark.parametrize(
    "header",
    [
        "tx=rollback",
        "handling=strict, tx=commit",
        "handling=strict, tx=",
        "handling=strict, nonsense",
        "handling=strict, max-affected=-1",
        "handling=strict, return=all",
    ],
)
def test_what_would_not_be_kept_or_is_not_understood_under_strict_handling_is_refused(header: str) -> None:
    with pytest.raises(ProblemError) as raised:
        parse_preferences([header])
    assert raised.value.problem.extra["pg_code"] == "PGRST122"


@pytest.mark.parametrize(
    ("header", "single", "stripped"),
    [
        ("*/*", False, False),
        ("text/html, application/json;q=0.5", False, False),
        ("application/json;q=0.5, application/vnd.pgrst.object+json", True, False),
        ("application/vnd.pgrst.object+json;q=0, */*;q=0.1", False, False),
        ("application/vnd.pgrst.object+json;q=much, application/json;q=0.9", True, False),
        ("application/vnd.pgrst.array;nulls=stripped;q=1.0, */*", False, True),
        ("application/vnd.pgrst.object+json", True, False),
        ("application/vnd.pgrst.object+json; nulls=stripped", True, True),
        ("application/vnd.pgrst.array+json;nulls=stripped", False, True),
    ],
)
def test_media_types_are_understood(header: str, single: bool, stripped: bool) -> None:
    assert media.accepted(header) == media.Media(single=single, stripped=stripped)


@pytest.mark.parametrize(
    "header", ["text/csv", "application/json;q=0", "application/vnd.pgrst.plan+json", "application/geo+json"]
)
def test_media_types_that_are_not_offered_are_refused(header: str) -> None:
    with pytest.raises(ProblemError) as raised:
        media.accepted(header)
    assert raised.value.problem.status == 400


def test_trees_of_filters_are_read_as_written() -> None:
    found = parse_query('or=(a.eq.1,not.and(b.gt.2,"c".in.(x,"y,)z")),d->>e.not.like.*f*,g.eq(any).{1,2},h.is.null)')
    assert found.where == (
        Group(
            joint="or",
            terms=(
                Condition(path=Path("a"), operator=Operator.EQ, values=("1",)),
                Group(
                    joint="and",
                    negated=True,
                    terms=(
                        Condition(path=Path("b"), operator=Operator.GT, values=("2",)),
                        Condition(path=Path("c"), operator=Operator.IN, values=("x", "y,)z")),
                    ),
                ),
                Condition(
                    path=Path("d", (Step("e", as_text=True),)), operator=Operator.LIKE, values=("%f%",), negated=True
                ),
                Condition(path=Path("g"), operator=Operator.EQ, values=("{1,2}",), quantifier="any"),
                Condition(path=Path("h"), operator=Operator.IS, values=("null",)),
            ),
        ),
    )


def test_select_and_order_are_read_as_written() -> None:
    path = Path("d", (Step("a b", as_text=False), Step(-1, as_text=False), Step("c", as_text=True)))
    found = parse_query('select=*,x:a::text,"b",d->a b->-1->>c,y:d->0&order=a.desc,d->"a b"->-1->>c.nullslast')
    assert found.select == (
        Star(),
        Selected(Path("a"), "x", "text"),
        Selected(Path("b"), "b"),
        Selected(path, "c"),
        Selected(Path("d", (Step(0, as_text=False),)), "y"),
    )
    assert found.order == (Order(path=Path("a"), descending=True), Order(path=path, nulls="last"))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select=id,lines(*)", "embedding"),
        ("select=...lines(*)", "embedding is not supported"),
        ("select=a::money", "no cast to money"),
        ("select=d->>a->b", "->> gives text and ends a path"),
        ("select=d->>1a", "needs a name"),
        ("lines.a=eq.1", "related tables"),
        ("a=fts.word", "full text search"),
        ("a=wfts(english).word", "full text search"),
        ("select=rank.sum()", "an aggregate is"),
        ("a=like(some).x", "like(some) is not supported"),
        ("a=in(any).(1)", "in(any) is not supported"),
        ("a=eq", "operator.value is expected"),
        ("or=(a.eq.1", "a comma or a closing parenthesis"),
        ("or=(a.eq.1)b", "nothing may follow"),
        ("or=()", "a column's name is expected"),
        ("or=a.eq.1", "(filter,filter) is expected"),
        ("and=" + "(and" * 11 + "(a.eq.1)" + ")" * 11, "nested at most 10"),
        ("or=(" + ",".join(["a.eq.1"] * 201) + ")", "at most 200 filters"),
        ("a=match." + "x" * 201, "at most 200 characters"),
        ("limit=1&limit=2", "stands twice"),
    ],
)
def test_what_is_not_offered_is_refused_by_its_name(query: str, said: str) -> None:
    with pytest.raises(ProblemError) as raised:
        parse_query(query)
    assert said in raised.value.problem.detail

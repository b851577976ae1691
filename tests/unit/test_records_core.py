"""Contracts, access and the dialect's parser, without a database."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cells.records import body
from cells.records.contracts import Contract, parse
from cells.records.core import Bound, Grant, bind, grant
from cells.records.dialect import parse_query
from cells.records.preferences import Returned, parse_preferences
from cells.records.query import Condition, Operator, Path, Query
from cells.records.ranges import page
from cells.records.statements import Builder
from foundation.decision import Decision
from foundation.problems import Problem, ProblemError
from foundation.settings import SettingsError
from foundation.words import RECORDS, ActorId, CellId, Epoch, RulesDigest, ServiceId, SubjectId, Verb, mint_subject_id
from tests.stands.shard import NOTES, notes

ORDERS = ServiceId("orders")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("owner: subject_id", "ownr: subject_id"), "did you mean owner?"),
        (("class: free_text", "clas: free_text"), "did you mean class?"),
        (("class: free_text", "class: fre_text"), "class"),
        (("type: bigint", "type: serial"), "type: 'serial' is not one of"),
        (("placed_by: subject_id", "placed_by: tenant"), "placed_by: 'tenant' is not among the columns"),
        (("placed_by: subject_id", "placed_by: body"), "placed_by: column body is a classified, unsealed uuid"),
        (("write: [body, done, due]", "write: [bdy]"), "access.person.write: column 'bdy' is not in this contract"),
        (("rows: owner", "rows: everybody"), "rows"),
        (("  rank: ", '  "ra\\"nk": '), "is no identifier"),
        (("  rank: ", "  limit: "), "query parameter"),
        (("table: notes", "table: no;tes"), "is no identifier"),
        (("  id:         {type: uuid, class: none}\n", ""), "column id is needed"),
        (("person: {read", "persons: {read"), "did you mean person?"),
        (("table: notes", "- table"), "not YAML"),
    ],
)
def test_a_contract_with_a_mistake_is_refused_with_its_place(change: tuple[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(NOTES.replace(*change), where="notes.yaml")
    assert said in str(refused.value)
    assert "notes.yaml" in str(refused.value)


def decision(**changes: Any) -> Decision:
    subject = mint_subject_id()
    facts: dict[str, Any] = {
        "cell": CellId("eu-de"),
        "service": ORDERS,
        "subject": subject,
        "actor": ActorId(subject),
        "epoch": Epoch(3),
        "verb": Verb.WRITE,
        "purpose": "service",
        "rules": RulesDigest("sha256:" + "0" * 64),
        "expires": 1.0,
        "id": "d",
    }
    return Decision(**facts | changes)


def test_nothing_stated_is_nothing_allowed() -> None:
    assert grant(notes(), ServiceId("warehouse"), "service") == Grant(
        read=(), write=frozenset(), filter=frozenset(), everything=False
    )


def test_a_star_means_every_classified_column_that_serves_the_purpose() -> None:
    found = grant(notes(), ORDERS, "service")
    assert set(found.read) == set(notes().columns) - {"shadow"}
    assert found.write == set(found.read) - {"subject_id"}
    assert found.filter == set(found.read) - {"card"}
    assert "body" not in grant(notes(), ORDERS, "analytics").read


def test_persons_write_what_is_listed_and_nothing_else() -> None:
    found = grant(notes(), RECORDS, "service")
    assert found.write == {"body", "done", "due"}
    assert not found.everything


@pytest.mark.parametrize(
    ("service", "actor", "fits"),
    [
        (RECORDS, "subject", True),
        (RECORDS, "other", False),
        (RECORDS, "service:orders", False),
        (ORDERS, "subject", True),
        (ORDERS, "other", False),
        (ORDERS, "service:orders", True),
    ],
)
def test_only_the_subject_and_services_that_act_for_it_have_its_rows(service: str, actor: str, fits: bool) -> None:
    asked = decision(service=ServiceId(service))
    actors = {"subject": asked.subject, "other": mint_subject_id()}
    found = bind(notes(), decision(service=ServiceId(service), subject=asked.subject, actor=actors.get(actor, actor)))
    if fits:
        assert found == Bound(
            subject=SubjectId(str(asked.subject)), epoch=Epoch(3), owner=asked.subject, owner_only=False
        )
    else:
        assert isinstance(found, Problem)


@pytest.mark.parametrize("missing", ["subject", "actor", "epoch"])
def test_a_decision_without_subject_actor_or_epoch_binds_nothing(missing: str) -> None:
    assert isinstance(bind(notes(), decision(**{missing: None})), Problem)


def test_filters_are_read_as_written() -> None:
    query = parse_query("a=not.in.(1,%22x,y%22,)&b=is.NULL&c=eq.x.y&d=not.not.gt.5")
    assert query.where == (
        Condition(path=Path("a"), operator=Operator.IN, values=("1", "x,y", ""), negated=True),
        Condition(path=Path("b"), operator=Operator.IS, values=("null",)),
        Condition(path=Path("c"), operator=Operator.EQ, values=("x.y",)),
        Condition(path=Path("d"), operator=Operator.GT, values=("5",)),
    )


def test_preferences_are_case_and_space_tolerant_where_they_are_known() -> None:
    found = parse_preferences(["return=representation, count=exact", "handling = lenient"])
    assert (found.returned, found.counted) == (Returned.REPRESENTATION, True)
    assert found.applied("POST") == "return=representation, count=exact, handling=lenient"
    assert found.applied("GET") == "count=exact, handling=lenient"
    assert parse_preferences([]).returned is Returned.MINIMAL


def builder(contract: Contract | None = None) -> Builder:
    held = contract or notes()
    bound = bind(held, decision())
    assert isinstance(bound, Bound)
    return Builder(held, grant(held, ORDERS, "service"), bound)


def test_every_statement_carries_the_fence_and_the_subject() -> None:
    held = notes()
    bound = bind(held, decision())
    assert isinstance(bound, Bound)
    granted = grant(held, ORDERS, "service")
    made = builder()
    query = parse_query("")
    rows = body.inserted(b'{"rank": 1}', held, granted, bound)
    for statement in (
        made.insert(rows, query, Returned.MINIMAL),
        made.update(body.changed(b'{"rank": 1}', held, granted, bound), query, Returned.REPRESENTATION),
        made.delete(query, Returned.HEADERS_ONLY),
    ):
        assert "FOR SHARE OF f" in statement.sql
        assert "domicile.closing" in statement.sql
        assert "FROM h" in statement.sql or "USING h" in statement.sql
    assert "live." in made.read(query, page(query, 10)).sql
    assert "f.epoch = $2" in made.read(query, page(query, 10)).sql


def test_one_request_makes_one_text_whatever_its_values_are() -> None:
    """So that prepared statements are found again."""
    queries = (parse_query(f"rank=eq.{value}&limit={value}") for value in (1, 2))
    one, two = (builder().read(query, page(query, 10)) for query in queries)
    assert one.sql == two.sql
    assert one.arguments[2:] != two.arguments[2:]


def test_a_body_that_states_another_subject_is_refused_whatever_its_form() -> None:
    held = notes()
    bound = bind(held, decision())
    assert isinstance(bound, Bound)
    for value in (f'"{mint_subject_id()}"', "null", "[]", '""', f'" {bound.subject}"'):
        with pytest.raises(ProblemError):
            body.inserted(f'{{"subject_id": {value}}}'.encode(), held, grant(held, ORDERS, "service"), bound)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text('=.()*,ab:"é', max_size=8)), max_size=70))
def test_a_query_string_says_the_same_with_and_without_percent_encoding(pairs: list[tuple[str, str]]) -> None:
    """Those without a percent sign are read another way."""
    plain = "&".join(f"{name}=eq.{value}" for name, value in pairs)
    encoded = "&".join(f"%{ord(name):02x}=eq.{quote(value, safe='')}" for name, value in pairs)
    assert asked(plain) == asked(encoded)


def asked(query: str) -> Query | Problem:
    try:
        return parse_query(query)
    except ProblemError as exc:
        return exc.problem

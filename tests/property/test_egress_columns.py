"""Quicker ways to the same: of whole columns what becomes of each value, and of lines of events what becomes of the objects in them."""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cells.egress import ages
from cells.egress.columns import over
from cells.egress.events import MalformedEvents, Read, RowReader, batch_of, columns_of, of_lines
from cells.egress.formats import liner
from cells.egress.keys import keys_for
from cells.egress.treating import Batch
from cells.egress.treatments import ADDRESS_CHARS_MAX, Means, made
from cells.egress.values import OF_DATABASE, OF_JSON, QUICK, UNFIT
from cells.egress.wording import FORMS, treatment
from cells.records.contracts import parse
from tests.stands.egress import EU, ROOT, TODAY, people, person, treater

MEANS = Means(TODAY, keys_for(ROOT, EU, "analytics", {}), {"tiers": {"gold": "paid"}})
TREATMENTS = ("keep", "mask_domain", "last(4)", "subnet", "initials", "token", "age_band(5)", "age_band(10)", "postal(2)", "month", "year",
              "geohash(4)", "bin(100)", "bins(0,18)", "level(tiers)")  # fmt: skip

texts = st.one_of(
    st.text(max_size=12),
    st.emails(),
    st.sampled_from(
        [
            "ann@mail.example.com",
            "ANN@Mail.Example.COM",
            "a@b@c.example",
            "@x.example",
            "a b@x.example",
            "a\x07@x.example",
            "ä@x.example",
            f"{'a' * ADDRESS_CHARS_MAX}@x.example",
            "a@localhost",
            "gold",
            "203.0.113.7",
            "10117",
            "Ann Carter",
            "u33dc0cppp",
        ]
    ),
)
days = st.one_of(st.dates(), st.dates(datetime.date(1930, 1, 1), TODAY))
moments = st.datetimes(timezones=st.just(datetime.UTC))
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids().map(str),
    "text": texts,
    "boolean": st.booleans(),
    "smallint": st.integers(-40_000, 40_000),
    "bigint": st.integers(-(2**64), 2**64) | st.integers(-200, 200),
    "double precision": st.floats(),
    "date": days,
    "timestamptz": moments,
}
odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.uuids(), st.dates(), st.datetimes(), moments,
    st.datetimes(timezones=st.timezones()), days.map(str), moments.map(datetime.datetime.isoformat), st.binary(max_size=4),
)  # fmt: skip


def columns(of_type: str) -> st.SearchStrategy[list[Any]]:
    """Plain ones mostly, with nulls or something odd among them at times; values that stand there often, at times."""
    plain = BY_TYPE[of_type]
    among = plain if of_type == "uuid" else plain | st.none()
    often = st.lists(plain, min_size=1, max_size=3).flatmap(lambda few: st.lists(st.sampled_from(few), max_size=30))
    return st.one_of(st.lists(plain, max_size=8), often, st.lists(among, max_size=8), st.lists(plain | odd, max_size=8))


typed_columns = st.sampled_from(sorted(BY_TYPE)).flatmap(lambda of_type: st.tuples(st.just(of_type), columns(of_type)))


@settings(max_examples=100, deadline=None)
@given(typed_columns)
def test_the_quick_way_to_read_a_column_gives_what_reading_each_value_gives_or_nothing(
    given_column: tuple[str, list[Any]],
) -> None:
    of_type, values = given_column
    found = QUICK[of_type](values, set(map(type, values)))
    if found is not None:
        assert same(found, [None if one is None else OF_DATABASE[of_type](one) for one in values])


@pytest.mark.parametrize("of_type", BY_TYPE)
def test_the_quick_way_is_one(of_type: str) -> None:
    values = {
        "uuid": [str(uuid.UUID(int=7))],
        "text": ["x", None],
        "boolean": [True, None],
        "smallint": [7, None],
        "bigint": [7, None],
        "double precision": [0.0, 1.5, None],
        "date": [TODAY, None],
        "timestamptz": [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), None],
    }[of_type]
    assert QUICK[of_type](values, set(map(type, values))) == values


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(TREATMENTS), st.data())
def test_of_a_column_becomes_what_becomes_of_each_of_its_values(text: str, data: st.DataObject) -> None:
    stated = treatment(text)
    of_type = data.draw(st.sampled_from(sorted(FORMS[stated.kind].types & set(BY_TYPE))))
    drawn = data.draw(columns(of_type))
    read = [got for one in drawn if one is not None and (got := OF_DATABASE[of_type](one)) is not UNFIT]
    one = made(stated, MEANS)
    assert same(over(stated, MEANS, one)(read), list(map(one, read)))


def same(found: Sequence[Any], wanted: Sequence[Any]) -> bool:
    """To the type: True is not 1, and a zero has its sign."""
    return list(map(repr, found)) == list(map(repr, wanted))


def test_bands_of_ages_are_made_anew_beyond_the_days_that_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ages, "DAYS_MAX", 3)
    table = ages.bands.__wrapped__(10, TODAY)
    born = [datetime.date(1950 + number, 1, 1) for number in range(10)] * 2
    assert list(map(table.__getitem__, born)) == [made(treatment("age_band(10)"), MEANS)(one) for one in born]
    assert len(table) <= 3


# --- events ------------------------------------------------------------------------------------------------------------------------

LITERALS = (
    "null", "true", "0", "-0", "7", "1.0", "0.1", "-0.0", "1e3", "1E400", "9223372036854775807", "9223372036854775808",
    "18446744073709551616", "-9223372036854775809", "123456789012345678901234567890", "1.7976931348623157e308",
    "5e-324", '""', '"x"', r'"\u00e9"', '"é"', r'"\ud83d\ude00"', r'"\ud800"', '"\x01"', '"2026-11-21"',
    r'"2026\u002d11-21"', '"1990-13-40"', '"19900101"',
    '"2026-11-21T10:00:00Z"', '"2026-11-21T10:00:00.1234567+02:00"', '"2026-11-21T10:00:00"', '"0001-01-01T00:00:00+14:00"',
    '"0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"', '"0B4A1F6E-52B1-4C59-9A35-0A2F6A1D3C77"', '"ann@mail.example.com"', '"gold"', "{}", "[1]",
    '{"theme": "dark", "mail": "x", "tries": [1, "two", 3, null]}', '{"theme": 1, "theme": "light", "new": [[]]}', '["a", null]', "nul", "",
)  # fmt: skip
"""Values as JSON writes them, the last two as it does not."""
FITTING = {
    "date": ("null", '"2026-11-21"', r'"2026\u002d11-21"', '"1985-02-28"'),
    "timestamptz": (
        "null",
        '"2026-11-21T10:00:00Z"',
        '"2026-11-21T10:00:00.1234567+02:00"',
        '"2026-11-21T10:00:00"',
        '"0001-01-01T00:00:00+14:00"',
    ),
}
"""Those of which rows make days and moments."""


def _line(held: Sequence[tuple[str, str]]) -> bytes:
    return ("{" + ", ".join(f'"{name}": {literal}' for name, literal in held) + "}").encode()


NAMES = (*people().columns, *people().columns, *people().columns, "new", "Item", r"it\u0065m", "")
members = st.tuples(st.sampled_from(NAMES), st.sampled_from(LITERALS[:-2]))
broken = st.tuples(st.sampled_from(NAMES), st.sampled_from(LITERALS))
lines = st.one_of(
    st.lists(members, max_size=20).map(_line),
    st.lists(members, max_size=20).map(_line),
    st.lists(broken, max_size=3).map(_line),
    st.sampled_from(
        [
            b"",
            b"  ",
            b"[]",
            b"7",
            b"{",
            b'{"item": "\xff"}',
            b'{"new": "\xff"}',
            b'{"item": "x"} ',
            b'{"item": 1}{"item": 2}',
        ]
    ),
)


def of_full_lines(count: int) -> st.SearchStrategy[bytes]:
    """Every member of the contract in its order, nothing else: what is read into rows."""
    writable = tuple(one for one in LITERALS[:-2] if one not in (r'"\ud800"', '"\x01"', "1E400"))
    by_name = {name: FITTING.get(column.type, writable) for name, column in people().columns.items()}
    drawn = st.tuples(*(st.sampled_from(by_name[name]).map(lambda one, name=name: (name, one)) for name in by_name))
    return st.lists(drawn.map(_line), min_size=1, max_size=count).map(b"\n".join)


EVENTS = treater("us-lake", readers=OF_JSON)


def became(read: Read, raw: bytes) -> Any:
    """The lines that leave, and what was counted; or that they are no events."""
    try:
        events = read(raw)
    except MalformedEvents:
        return None
    treated = EVENTS.treat(batch_of(EVENTS.contract, events, [person()] * len(events)))
    return liner(list(treated.columns))(treated.columns), treated.counts, treated.rows


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.lists(lines, max_size=5).map(b"\n".join), of_full_lines(4)), min_size=1, max_size=4))
def test_of_lines_becomes_what_becomes_of_the_objects_in_them_whatever_was_read_before(pieces: list[bytes]) -> None:
    read = RowReader(EVENTS.contract)
    assert [became(read, raw) for raw in pieces] == [became(of_lines, raw) for raw in pieces]


@settings(max_examples=20, deadline=None)
@given(of_full_lines(4))
def test_those_are_rows(raw: bytes) -> None:
    assert not isinstance(RowReader(EVENTS.contract)(raw)[0], dict)


def test_lines_with_the_contracts_members_alone_are_read_into_rows_and_others_are_not() -> None:
    read = RowReader(people())
    assert not isinstance(read(b'{"item": "x"}\n{"email": 7}')[0], dict)
    assert read(b'{"item": "x"}\n{"new": 7}') == [{"item": "x"}, {"new": 7}]


def test_columns_are_taken_for_plain_until_an_event_is_without_a_value_of_their_type() -> None:
    stated = parse(
        "{table: t, placed_by: id, owner: id, columns: "
        "{id: {type: uuid, class: none}, a: {type: text}, b: {type: smallint}, c: {type: date}}}",
        where="t",
    )
    read = RowReader(stated)

    def plain(*events: str) -> set[str]:
        rows = read("\n".join(events).encode())
        return set(columns_of(stated, rows).plain)

    whole = '{"id": "x", "a": "", "b": 1, "c": "2026-11-21"}'
    assert plain(whole) == {"a", "b", "c"}
    assert plain(whole, whole.replace('""', "null")) == set()
    assert plain(whole) == {"b", "c"}
    assert plain(whole.replace("1,", "40000,"), whole) == set()
    assert plain(whole) == {"c"}
    assert plain('{"id": "x"}') == set()
    assert plain(whole) == set()


def test_rows_of_people_who_are_the_same_in_all_that_decides_stay_together_in_their_order() -> None:
    made = treater("us-lake")
    kinds = [person(), person("GB"), person(), None, person("FR"), person()]
    columns_of_rows = {name: [None] * 6 for name in made.contract.columns} | {"item": list("abcdef")}
    treated = made.treat(Batch(kinds, columns_of_rows))
    assert treated.columns["item"] == ["a", "c", "f", "e"]
    assert sum(treated.stayed.values()) == 2

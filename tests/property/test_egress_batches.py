"""Events as record batches of Arrow and as JSON: the same leaves, stays, is counted, owed and held. EGRESS_DRIFTS=N looks longer.

And streams that a stranger wrote: they are read, or refused, whatever they hold."""

import datetime
import decimal
import functools
import os
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cells.egress.asking import EgressAnswer, EgressSaid, answer_of, duties_of, said
from cells.egress.events import batch_of
from cells.egress.treating import Nobody, Treater, Whose
from cells.egress.values import OF_JSON
from routing_rules.release import Consent
from tests.stands.egress import CONSENT_SCHEME, PEOPLE, Found, people, person, rules, treater

pa = pytest.importorskip("pyarrow")
from cells.egress.arriving import Refused, arrived  # noqa: E402 - needs pyarrow
from cells.egress.batches import SAID, treated_of, written  # noqa: E402
from tests.stands.arrow import stream  # noqa: E402

DRIFTS = int(os.environ.get("EGRESS_DRIFTS", "80"))
PLANTED = "planted-7f3a"
MORE = """
  truth:      {type: boolean, class: none, leaving: {default: keep}}
  small:      {type: smallint, class: none, leaving: {default: keep}}
  whole:      {type: int, class: none, leaving: {default: keep}}
  part:       {type: "double precision", class: none, leaving: {default: keep}}
  money:      {type: numeric, class: none, leaving: {default: keep}}
  day:        {type: date, class: none, leaving: {default: keep}}
  clock:      {type: time, class: none, leaving: {default: keep}}
  local:      {type: timestamp, class: none, leaving: {default: keep}}
  moment:     {type: timestamptz, class: none, leaving: {default: keep}}
  ref:        {type: uuid, class: none, leaving: {default: keep}}
  words:      {type: "text[]", class: none, leaving: {default: keep}}
"""
CONTRACT = people(PEOPLE.rstrip("\n") + MORE)
KINDS: tuple[Whose, ...] = (
    person(), person("GB"), person("IN"), person("FR"), person(consent=Consent.WITHHELD), person("GB", Consent.GIVEN), None,
    Nobody.UNOWNED, Nobody.UNHEARD,
)  # fmt: skip


def scan(strings: Sequence[str], _name: str) -> list[list[Found]]:
    return [[Found("planted", 0, len(one))] if PLANTED in one else [] for one in strings]


texts = st.text(max_size=6) | st.sampled_from(
    [
        "ann@mail.example.com",
        "ANN@b.example",
        "203.0.113.7",
        "u33dc0cppp",
        "10117",
        "gold",
        "+49 30 1234567",
        "Ann Carter",
        "1990-05-17",
    ]
)
rarely_planted = st.integers(0, 60).flatmap(lambda one: texts if one else st.just(PLANTED))
moments = st.datetimes(datetime.datetime(1900, 1, 1), timezones=st.just(datetime.UTC))  # noqa: DTZ001 - the zone comes beside it
objects = st.dictionaries(
    st.sampled_from(["theme", "mail", "tries", "new"]),
    st.none() | texts | st.integers(-9, 9) | st.lists(st.integers(-9, 9) | texts, max_size=3),
    max_size=3,
) | st.sampled_from([{"theme": "x", "new": 1, "tries": [1, "x"]}, {"theme": PLANTED}])
"""Some of them often: their members are counted, and looked at, each time."""
wholes = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300)
Shape = tuple[Any, st.SearchStrategy[Any]]
TEXT: tuple[Shape, ...] = (
    (pa.string(), rarely_planted),
    (pa.large_string(), texts),
    (pa.dictionary(pa.int8(), pa.string()), texts),
    (pa.dictionary(pa.uint32(), pa.large_string()), texts),
)
SHAPES: dict[str, tuple[Shape, ...]] = {
    "text": TEXT,
    "uuid": ((pa.string(), st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper()) | texts),),
    "bigint": ((pa.int64(), wholes), (pa.uint64(), st.integers(0, 2**64 - 1)), (pa.int16(), st.integers(-9, 9))),
    "boolean": ((pa.bool_(), st.booleans()),),
    "double precision": (
        (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
        (pa.int32(), st.integers(-9, 9)),
    ),
    "numeric": (
        (pa.decimal128(12, 2), st.decimals(-9_999, 9_999, places=2)),
        (pa.string(), st.sampled_from(["1.50", "x"])),
    ),
    "date": ((pa.date32(), st.dates()),),
    "time": ((pa.time64("us"), st.times()),),
    "timestamp": ((pa.timestamp("us"), st.datetimes(datetime.datetime(1900, 1, 1))),),  # noqa: DTZ001 - a local time has none
    "timestamptz": ((pa.timestamp("us", "UTC"), moments), (pa.timestamp("us", "Europe/Berlin"), moments)),
    "jsonb": ((pa.string(), objects),),
    "text[]": (
        (pa.list_(pa.string()), st.lists(st.none() | rarely_planted, max_size=3)),
        (pa.large_list(pa.large_string()), st.just([])),
    ),
}
SHAPES |= {"smallint": SHAPES["bigint"], "int": SHAPES["bigint"]}
CHANGED: tuple[Shape, ...] = (
    (pa.string(), texts),
    (pa.int64(), wholes),
    (pa.bool_(), st.booleans()),
    (pa.list_(pa.string()), st.lists(texts, max_size=2)),
    (pa.null(), st.none()),
)
"""What may come in a column of any type; JSON has the same of it."""


class Sent(msgspec.Struct, frozen=True):
    """The same events in both forms, and whose they are."""

    raw: bytes
    events: list[dict[str, Any]]
    whose: list[Whose]


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    rows = draw(st.integers(1, 12))
    columns: dict[str, Any] = {}
    held: dict[str, list[Any]] = {}
    names = st.sampled_from([*CONTRACT.columns, "new", "newer"])
    for name in draw(st.lists(names, unique=True, min_size=1, max_size=8)):
        of_type = CONTRACT.columns[name].type if name in CONTRACT.columns else "text"
        as_json = of_type == "jsonb"
        changed = not as_json and not draw(st.integers(0, 9))
        kind, values = draw(st.sampled_from(CHANGED if changed else SHAPES[of_type]))
        drawn = draw(st.lists(values | st.none() if draw(st.booleans()) else values, min_size=rows, max_size=rows))
        held[name] = drawn
        texts_of = [None if one is None else msgspec.json.encode(one).decode() for one in drawn] if as_json else drawn
        columns[name] = pa.array(texts_of, kind)
    raw = stream(columns, *draw(st.lists(st.integers(0, rows), max_size=2)))
    events = [{name: values[index] for name, values in held.items()} for index in range(rows)]
    whose = draw(
        st.lists(st.sampled_from(KINDS), min_size=rows, max_size=rows)
        | st.sampled_from(KINDS).map(lambda one: [one] * rows)
    )
    return Sent(raw, msgspec.json.decode(msgspec.json.encode(events)), whose)


def by_json(made: Treater, given_events: list[dict[str, Any]], whose: Sequence[Whose]) -> EgressAnswer:
    return answer_of(made.treat(batch_of(made.contract, given_events, whose)), duties_of(made, whose))


def by_arrow(made: Treater, raw: bytes, whose: Sequence[Whose]) -> tuple[EgressSaid, list[dict[str, Any]]]:
    """What is said, and the rows as JSON's answer has them."""
    found = treated_of(made, whose, arrived(made.contract, raw))
    answer = pa.ipc.open_stream(written(made, said(found.said, duties_of(made, whose)), found.batches))
    told = msgspec.json.decode(answer.schema.metadata[SAID.encode()], type=EgressSaid)
    table = answer.read_all()
    table.validate(full=True)
    assert table.num_rows == found.said.rows
    documents = {name for name, kind in made.schema if kind.value == "json"}
    return told, [
        {
            name: msgspec.json.decode(value) if name in documents and value is not None else value
            for name, value in one.items()
        }
        for one in table.to_pylist()
    ]


def plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


@settings(max_examples=DRIFTS, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(sent(), st.sampled_from(["uk-lake", "us-lake", "de-lake"]))
def test_events_as_record_batches_leave_and_stay_as_they_do_as_json(given_both: Sent, to: str) -> None:
    held = rules(CONSENT_SCHEME)
    json_answer = by_json(
        treater(to, contract=CONTRACT, held=held, scan=scan, readers=OF_JSON), given_both.events, given_both.whose
    )
    told, rows = by_arrow(treater(to, contract=CONTRACT, held=held, scan=scan), given_both.raw, given_both.whose)
    other = msgspec.structs.asdict(json_answer)
    assert plain(rows) == plain(other.pop("events"))
    assert plain(msgspec.structs.asdict(told) | {"release": ""}) == plain(other | {"release": ""})


def test_a_finding_in_one_kind_of_person_holds_all_of_the_stream_back() -> None:
    whose = [person(), person("FR"), person("GB", Consent.WITHHELD)]
    made = treater("uk-lake", contract=CONTRACT, scan=scan)
    raw = stream({"item": pa.array(["x", PLANTED, PLANTED])})
    told, rows = by_arrow(made, raw, whose)
    assert (rows, told.counts, [(one.field, one.count) for one in told.held]) == ([], {}, [("item", 1)])
    assert sum(told.stayed.values()) == 1
    clean, left = by_arrow(made, stream({"item": pa.array(["x", "y", "z"])}), whose)
    assert (len(left), clean.held, clean.counts["item"]) == (2, (), {"passed": 2}), "nothing is left of what was held"


def test_what_broke_off_is_none_of_the_next_ones() -> None:
    made, whose = treater("uk-lake", contract=CONTRACT, scan=scan), [person(), person("FR")]
    came = arrived(CONTRACT, stream({"item": pa.array([PLANTED, "y"])}))
    with pytest.raises(AttributeError):
        treated_of(made, [whose[0], "nobody"], came)  # type: ignore[list-item]
    told, rows = by_arrow(made, stream({"item": pa.array(["x"])}), [person()])
    assert (len(rows), told.held, told.counts["item"]) == (1, (), {"passed": 1})


def _whole() -> bytes:
    count = 5
    columns = {
        "subject_id": pa.array([str(uuid.UUID(int=one)) for one in range(count)]),
        "item": pa.array(["gold", None, "x", "gold", "yy"]),
        "tier": pa.array(["gold", "x", None, "gold", "gold"]).dictionary_encode(),
        "born": pa.array([datetime.date(1990, 1, 1)] * count),
        "moment": pa.array([datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)] * count, pa.timestamp("us", "UTC")),
        "clock": pa.array([datetime.time(1)] * count, pa.time64("us")),
        "money": pa.array([decimal.Decimal("1.50")] * count, pa.decimal128(12, 2)),
        "words": pa.array([["a", "b"], [], None, ["c"], [None]], pa.list_(pa.string())),
        "new": pa.array([{"a": [1]}] * count),
    }
    return stream(columns, 2)


WHOLE = _whole()


@functools.cache
def made_once() -> Treater:
    return treater("uk-lake", contract=CONTRACT)


def read_or_refused(raw: bytes) -> bool:
    """Whether it was read; then it can be treated and written, too."""
    made = made_once()
    try:
        came = arrived(CONTRACT, raw)
    except Refused:
        return False
    by_arrow(made, raw, [person() if index % 2 else person("FR") for index in range(came.batch.num_rows)])
    return True


def test_a_stream_that_is_cut_anywhere_is_refused() -> None:
    assert read_or_refused(WHOLE)
    assert not any(read_or_refused(WHOLE[:cut]) for cut in range(len(WHOLE)))
    assert not read_or_refused(WHOLE + b"\0" * 8)
    assert not read_or_refused(WHOLE + WHOLE)


flips = st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=20 * DRIFTS, deadline=None)
@given(flips)
def test_a_stream_with_other_octets_in_it_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    spoilt = bytearray(WHOLE)
    for place, octet in changes:
        spoilt[place] = octet
    read_or_refused(bytes(spoilt))


@settings(max_examples=DRIFTS, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(WHOLE)))
def test_garbage_is_refused(garbage: bytes, cut: int) -> None:
    assert not read_or_refused(garbage)
    read_or_refused(WHOLE[:cut] + garbage + WHOLE[cut:])

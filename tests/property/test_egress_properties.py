"""Contracts and rows that drift in every way: no unknown field passes, nothing raw passes a treatment. EGRESS_DRIFTS=N looks longer."""

import datetime
import decimal
import os
import uuid
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cells.egress import wording
from cells.egress.compiled import Counts, Watch, Workshop
from cells.egress.formats import liner
from cells.egress.keys import keys_for
from cells.egress.plan import Field, TablePlan, places_of
from cells.egress.scan import redacted
from cells.egress.treating import Batch, Treated, Treater
from cells.egress.treatments import Means, Unmeant, made
from cells.egress.values import OF_DATABASE, OF_JSON, UNFIT
from cells.egress.wording import FORMS, selector, treatment
from cells.records.contracts import TYPES, Class, Column, Contract
from foundation.words import DestinationId
from tests.stands.egress import EU, ROOT, TODAY, Found, batch, people, person, row, rules, treated, treater

DRIFTS = int(os.environ.get("EGRESS_DRIFTS", "80"))
MEANS = Means(TODAY, keys_for(ROOT, EU, "analytics", {}), {"tiers": {"gold": "paid"}})
SECRET = "planted-7f3a"
"""Every text, number and day that is generated carries it, or is it."""

TREATMENTS = ("drop", "keep", "mask_domain", "last(4)", "subnet", "initials", "token", "age_band(10)", "postal(2)", "month", "year",
              "geohash(4)", "bin(100)", "bins(0,18)", "level(tiers)", "scan", "walk")  # fmt: skip
SELECTORS = ("default", "purpose:analytics", "to:uk", "to:us", "from:eu", "from:in", "to:uk+purpose:analytics")

words = st.text(max_size=8).map(lambda text: f"{SECRET}{text}")
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), words, st.dates(), st.datetimes(),
    st.datetimes(timezones=st.just(datetime.UTC)), st.uuids(), st.binary(max_size=8), st.decimals(), st.times(),
)  # fmt: skip
leaves = st.one_of(st.none(), st.booleans(), st.integers(-10, 10), words)
documents = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(words | st.sampled_from(["a", "b"]), inner, max_size=3)
    ),
    max_leaves=8,
)
telling = st.sampled_from(
    [
        f"{SECRET}@mail.example.com",
        f"{SECRET} x",
        "203.0.113.7",
        "u33dc0cppp",
        "10117",
        "gold",
        datetime.date(1990, 1, 1),
        1234,
    ]
)
objects = st.dictionaries(words | st.sampled_from(["a", "b"]), documents, min_size=1, max_size=3)
texts_of_json = st.one_of(objects, objects, st.lists(documents, max_size=3)).map(
    lambda one: msgspec.json.encode(one).decode()
)
values = st.one_of(scalars, telling, texts_of_json, st.lists(scalars, max_size=3))
"""Anything, and what treatments can do something with."""


@st.composite
def columns(draw: st.DrawFn, deep: int = 0) -> Column:
    """A column as a contract may state it: mostly one that leaves in some way."""
    chosen = draw(st.sampled_from((*TREATMENTS, *["walk"] * 6) if deep < 2 else TREATMENTS[:-1]))
    fitting = sorted(FORMS[treatment(chosen).kind].types) or sorted(TYPES)
    of_type = draw(st.sampled_from(fitting))
    klass = draw(st.sampled_from([*Class, None]))
    sealed = draw(st.sampled_from([False] * 9 + [True]))
    leaving = draw(st.dictionaries(st.sampled_from(SELECTORS[2:]), st.sampled_from(TREATMENTS), max_size=1))
    leaving |= {draw(st.sampled_from(SELECTORS[:2])): chosen}
    walked = of_type in ("json", "jsonb") and deep < 2
    members = draw(st.dictionaries(st.sampled_from(["a", "b"]), columns(deep=deep + 1), max_size=2)) if walked else {}
    items = draw(st.none() | columns(deep=deep + 1)) if walked and not members else None
    return Column(
        type=of_type,
        klass=klass,
        sealed=sealed,
        leaving={key: text for key, text in leaving.items() if _may_be_stated(key, text, of_type, klass, sealed)},
        purposes=draw(st.sampled_from([None, None, None, ("service",), ("analytics",)])),
        tags=draw(st.sampled_from([(), (), (), ("health",)])),
        members=members,
        items=items,
    )


def _may_be_stated(key: str, text: str, of_type: str, klass: Class | None, sealed: bool) -> bool:
    return not any(wording.mistakes({key: text}, of_type, klass=klass and klass.value, sealed=sealed))


Drift: TypeAlias = tuple[Contract, list[dict[str, Any]], tuple[str, ...]]
"""A contract, rows of what its table holds by now, and the columns that are known not to be as stated."""


@st.composite
def drifts(draw: st.DrawFn) -> Drift:
    stated = {f"c{number}": draw(columns()) for number in range(draw(st.integers(1, 4)))}
    keys = {"subject_id": Column(type="uuid", klass=Class.PSEUDONYMOUS), "id": Column(type="uuid", klass=Class.NONE)}
    contract = Contract(
        table="drifted",
        placed_by="subject_id",
        owner="subject_id",
        hierarchies={"tiers": {"gold": "paid"}},
        columns=keys | stated,
    )
    new = [f"new_{number}" for number in range(draw(st.integers(0, 2)))]
    held = {
        name: texts_of_json | texts_of_json | values if column.type.startswith("json") else values
        for name, column in stated.items()
    }
    row = st.fixed_dictionaries(held | dict.fromkeys([*keys, *new], values))
    rows = draw(st.lists(row, min_size=1, max_size=3))
    away = tuple(draw(st.lists(st.sampled_from(list(stated)), max_size=1)))
    return contract, rows, away


@settings(max_examples=DRIFTS, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drifts(), st.sampled_from(["uk-lake", "us-lake"]), st.sampled_from(["DE", "DE", "GB", "IN"]))
def test_no_field_passes_that_no_contract_lets_leave_so_and_every_value_is_counted(
    drifted: Drift, to: str, residence: str
) -> None:
    contract, rows, away = drifted
    made = treater(to, contract=contract)
    found = made.treat(batch(*rows, whose=person(residence), drifted=away))
    assert leaks(found, made.plan_of(person(residence)), contract, made, away) == []
    for name in contract.columns if found.rows else ():
        assert sum(found.counts[name][fate] for fate in found.counts[name] if fate != "unnamed") == len(rows)
        assert not found.columns.get(name) or len(found.columns[name]) == len(rows)
    # What is left can be written, whatever was read.
    liner(list(found.columns))(found.columns)


def leaks(found: Treated, plan: TablePlan, contract: Contract, made: Treater, away: Sequence[str]) -> list[str]:
    """Fields with a value that may not be there, each once, by the contract's words alone, read anew."""
    fields = {one.name: one for one in plan.fields if one.leaves and one.name not in away}
    bad = {name for name in found.columns if not may_ever_leave(contract, name, made)}
    for name, held in found.columns.items():
        present = [one for one in held if one is not None]
        if present and (name not in fields or not all(fits(one, fields[name]) for one in present)):
            bad.add(name)
    return sorted(bad)


def may_ever_leave(contract: Contract, name: str, made: Treater) -> bool:
    places = places_of(rules().policy.destinations[DestinationId(made.release.destination)], rules())
    column = contract.columns.get(name)
    if column is None or column.klass is None or column.sealed:
        return False
    return any(
        text != "drop" and selector(key).purpose in (None, made.release.purpose) and selector(key).to in (None, *places)
        for key, text in column.leaving.items()
    )


def fits(value: Any, field: Field) -> bool:
    """Members that the contract names, all the way down; what is not kept whole does not hold what every raw text holds."""
    if value is None:
        return True
    if field.treatment.kind == "keep":
        return not isinstance(value, dict)
    if field.treatment.kind != "walk":
        return SECRET not in repr(value)
    value = msgspec.json.decode(value) if isinstance(value, str) else value
    if field.items is not None:
        return isinstance(value, list) and all(fits(one, field.items) for one in value)
    members = {one.name: one for one in field.members if one.leaves}
    return isinstance(value, dict) and all(name in members and fits(one, members[name]) for name, one in value.items())


def test_the_checker_of_drifts_finds_what_is_planted() -> None:
    made, contract = treater("uk-lake"), people()
    found, plan = treated(made, row()), made.plan_of(person())
    assert leaks(found, plan, contract, made, ()) == []
    planted: dict[str, Any] = {
        "shadow": "x",
        "card": "4111",
        "new": "x",
        "id": "00000000-0000-0000-0000-000000000001",
        "email": f"{SECRET}@mail.example.com",
        "extra": {"mail": "x"},
    }
    for name, value in planted.items():
        spoilt = msgspec.structs.replace(found, columns=found.columns | {name: [value]})
        assert leaks(spoilt, plan, contract, made, ()) == [name]
    assert leaks(found, plan, contract, made, ("item",)) == ["item"]


@settings(max_examples=DRIFTS, deadline=None)
@given(values, st.sampled_from(sorted(OF_DATABASE)))
def test_readers_are_total_and_what_they_read_they_read_again(value: Any, of_type: str) -> None:
    for readers in (OF_DATABASE, OF_JSON):
        found = readers[of_type](value)
        if found is not UNFIT and of_type not in ("json", "jsonb"):
            assert readers[of_type](found) == found


@settings(max_examples=3 * DRIFTS, deadline=None)
@given(values, st.sampled_from([one for one in TREATMENTS if one not in ("drop", "keep", "scan", "walk")]))
def test_treatments_are_total_and_never_give_back_what_they_were_given(value: Any, text: str) -> None:
    stated = treatment(text)
    for of_type in FORMS[stated.kind].types:
        read = OF_DATABASE[of_type](value)
        if read is UNFIT or read is None:
            continue
        try:
            found = made(stated, MEANS)(read)
        except Unmeant:
            continue
        assert found is UNFIT or found != read or stated.kind in ("bin", "month")
        assert SECRET not in repr(found) or stated.kind == "mask_domain"
        assert made(stated, MEANS)(read) == found


@given(st.emails())
def test_of_an_address_only_the_domain_is_left(address: str) -> None:
    local, _, domain = address.rpartition("@")
    found = made(treatment("mask_domain"), MEANS)(address)
    assert found is UNFIT or (found == domain.lower() and "@" not in found and len(found) < len(local) + 1 + len(found))


@given(st.dates(datetime.date(1900, 1, 1), TODAY), st.integers(5, 50))
def test_an_age_lies_in_its_band(born: datetime.date, width: int) -> None:
    found = made(treatment(f"age_band({width})"), MEANS)(born)
    age = TODAY.year - born.year - ((TODAY.month, TODAY.day) < (born.month, born.day))
    if age >= 90:
        assert found == "90+"
    else:
        low, high = map(int, found.split("-"))
        assert low <= age <= high <= low + width - 1
        assert low % width == 0


@given(st.integers(-(2**62), 2**62), st.integers(2, 10**9))
def test_a_number_lies_in_its_bin(value: int, width: int) -> None:
    low = made(treatment(f"bin({width})"), MEANS)(value)
    assert low <= value < low + width
    assert low % width == 0


@given(st.floats(-90, 90), st.floats(-180, 180), st.integers(1, 5))
def test_a_shorter_geohash_begins_the_longer_one(latitude: float, longitude: float, length: int) -> None:
    point = f"{latitude:.6f},{longitude:.6f}"
    found = made(treatment(f"geohash({length})"), MEANS)(point)
    assert len(found) == length
    assert made(treatment("geohash(5)"), MEANS)(point).startswith(found)


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5))
def test_nothing_of_a_finding_is_left_in_a_redacted_text(text: str, spans: list[tuple[int, int]]) -> None:
    marked = "".join(chr(0xE000 + index) for index in range(len(text)))
    found = [
        Found("x", min(span), min(max(span), len(text))) for span in spans if min(span) < min(max(span), len(text))
    ]
    left = redacted(marked, found)
    covered = {index for one in found for index in range(one.start, one.end)}
    kept = [ord(char) - 0xE000 for char in left if ord(char) >= 0xE000]
    assert kept == [index for index in range(len(text)) if index not in covered]


@settings(max_examples=DRIFTS, deadline=None)
@given(st.lists(st.none() | words | st.integers(), max_size=20))
def test_the_quick_way_of_a_column_gives_what_the_slow_one_gives(given_values: list[Any]) -> None:
    counts, watch = Counts(), Watch()
    workshop = Workshop(MEANS, OF_DATABASE, lambda strings, _: [[] for _ in strings], counts, watch)
    plan = treater("uk-lake", contract=_kept()).plan_of(person())
    (ready,) = (one for one in workshop.compiled(plan).fields if one.name == "kept")
    found = ready.treat(given_values)
    assert found == [one if type(one) is str else None for one in given_values]
    assert sum(counts.take().get("kept", {}).values()) == len(given_values)
    assert watch.take().get(("kept", "kept"), []) == [one for one in given_values if type(one) is str]


def _kept() -> Contract:
    text = Column(type="text", klass=Class.NONE, leaving={"default": "keep"})
    key = Column(type="uuid", klass=Class.PSEUDONYMOUS)
    return Contract(table="t", placed_by="id", owner="id", columns={"id": key, "kept": text})


def test_numbers_that_json_cannot_hold_do_not_leave() -> None:
    for value in (float("nan"), float("inf"), decimal.Decimal("Infinity")):
        assert OF_DATABASE["double precision"](value) is UNFIT
    assert OF_DATABASE["uuid"](uuid.UUID(int=0)) == "00000000-0000-0000-0000-000000000000"


addresses = st.one_of(
    st.none(),
    st.emails(),
    st.sampled_from(["ann@mail.example.com", "ANN@Mail.Example.COM", "a@b@c.example", "@x.example", "a b@x.example"]),
    st.sampled_from(["a@localhost", "", "ä@x.example"]),
    st.text(max_size=8),
)  # fmt: skip
numbers = st.none() | st.integers(-(2**63), 2**63 - 1)
ids = st.none() | st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper()) | st.text(max_size=4)
arrow_rows = st.lists(
    st.fixed_dictionaries(
        {
            "subject_id": ids,
            "item": st.none() | st.text(max_size=5),
            "email": addresses,
            "born": st.none() | st.dates(),
            "seen": st.none() | st.datetimes(datetime.datetime(1900, 1, 1), timezones=st.just(datetime.UTC)),  # noqa: DTZ001 - the zone comes beside it
            "total": numbers,
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=DRIFTS, deadline=None)
@given(arrow_rows)
def test_a_record_batch_becomes_what_its_rows_become(given_rows: list[dict[str, Any]]) -> None:
    pa = pytest.importorskip("pyarrow")
    from cells.egress import vectors

    types = {"born": pa.date32(), "seen": pa.timestamp("us", tz="UTC"), "total": pa.int64()}
    fields = [pa.field(name, types.get(name, pa.string())) for name in given_rows[0]]
    made, whose = treater("us-lake"), person()
    absent = tuple(name for name in people().columns if name not in given_rows[0])
    rows = made.treat(
        Batch([whose] * len(given_rows), {name: [one[name] for one in given_rows] for name in given_rows[0]}, absent)
    )
    found = vectors.treat(made, whose, pa.RecordBatch.from_pylist(given_rows, schema=pa.schema(fields)))
    assert found.batch.to_pydict() == rows.columns
    assert found.said.counts == rows.counts


def test_a_record_batch_of_people_whose_data_may_not_go_is_none() -> None:
    pa = pytest.importorskip("pyarrow")
    from cells.egress import vectors

    made = treater("us-lake")
    found = vectors.treat(made, person("GB"), pa.RecordBatch.from_pylist([{"item": "x", "new": 1}]))
    assert found.batch is None
    assert sum(found.said.stayed.values()) == 1

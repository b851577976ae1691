"""Columns of Arrow become what their rows become, however they lie in their buffers: sliced, with nulls, as dictionaries, in large texts,
empty, each value once or often."""

import hmac
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cells.egress.keys import keys_for
from cells.egress.tokens import token, tokens
from cells.egress.treating import Batch
from cells.egress.treatments import ADDRESS_CHARS_MAX
from cells.records.contracts import parse
from tests.stands.egress import EU, ROOT, person, treater

pa = pytest.importorskip("pyarrow")
from cells.egress import buffers, vectors  # noqa: E402 - needs pyarrow

STATED = parse(
    """
table: visits
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token}}
  id:         {type: uuid, class: none}
  name:       {type: text, class: direct, leaving: {default: token}}
  email:      {type: text, class: direct, leaving: {default: mask_domain}}
""",
    where="visits.yaml",
)
KEY = keys_for(ROOT, EU, "analytics", {})[None].reveal()
ids = st.uuids().map(str)
odd_ids = st.none() | ids.map(str.upper) | st.text(max_size=3) | st.just("g" * 36)
names = st.text(max_size=6)
before_the_at = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@"), min_size=1, max_size=6
)
behind_it = st.sampled_from(["mail.example.com", "Mail.Example.COM", "b.example", "localhost", "", "a@b.example"])
plain_addresses = st.builds("{}@{}".format, before_the_at, behind_it)
odd_addresses = st.none() | st.emails() | st.text(max_size=6) | st.sampled_from(
    ["@x.example", "a b@x.example", "a\x7f@x.example", "ä@x.example", "a@ä.example", "\xa0@x.example", "x", "",
     f"{'a' * (ADDRESS_CHARS_MAX - 10)}@x.example", f"{'a' * (ADDRESS_CHARS_MAX - 9)}@x.example"]
)  # fmt: skip


def columns(plain: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Plain ones; with nulls; with something odd; values that stand there often; nothing but nulls; nothing."""
    often = st.lists(plain, min_size=1, max_size=3).flatmap(
        lambda few: st.lists(st.sampled_from([*few, None]), max_size=20)
    )
    return st.one_of(st.lists(plain, max_size=8), st.lists(plain | st.none(), max_size=8), st.lists(plain | odd, max_size=8), often,
                     st.lists(st.none(), max_size=3))  # fmt: skip


by_name = st.one_of(
    st.tuples(st.just("subject_id"), columns(ids, odd_ids)),
    st.tuples(st.just("name"), columns(names, st.none())),
    st.tuples(st.just("email"), columns(plain_addresses, odd_addresses)),
)
LYING = {
    "as they are": lambda values: pa.array(values, pa.string()),
    "in a slice": lambda values: pa.array(["x@y", *values, "é"], pa.string()).slice(1, len(values)),
    "behind a null": lambda values: pa.array([None, *values], pa.string()).slice(1),
    "large": lambda values: pa.array(values, pa.large_string()),
    "as views": lambda values: pa.array(values, pa.string_view()),
    "in a dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
    "in a dictionary of each": lambda values: pa.DictionaryArray.from_arrays(
        pa.array(range(len(values)), pa.int32()), pa.array(values, pa.string())
    ),
    "in a dictionary turned round": lambda values: pa.DictionaryArray.from_arrays(
        pa.array(range(len(values))[::-1], pa.int32()), pa.array(values[::-1], pa.string())
    ),
    "in a slice of a dictionary": lambda values: (
        pa.DictionaryArray.from_arrays(
            pa.array([0, *range(len(values))], pa.int8()), pa.array(["x", *values], pa.string()).slice(1)
        ).slice(1)
        if values
        else pa.array(values, pa.string())
    ),
}


def as_rows(name: str, values: Sequence[Any]) -> Any:
    absent = tuple(one for one in STATED.columns if one != name)
    treated = treater("uk-lake", contract=STATED).treat(Batch([person()] * len(values), {name: values}, absent))
    return treated.columns[name] if values else [], treated.counts


@settings(max_examples=200, deadline=None)
@given(by_name, st.sampled_from(sorted(LYING)))
@example(("email", ["a@b.example", None, "b@b.example", "c@B.Example"]), "behind a null")
@example(("subject_id", [str(uuid.UUID(int=7)), str(uuid.UUID(int=8))]), "in a dictionary turned round")
def test_a_column_becomes_what_its_rows_become_however_it_lies(column: tuple[str, list[Any]], lying: str) -> None:
    name, values = column
    array = LYING[lying](values)
    assert array.to_pylist() == values
    found = vectors.treat(treater("uk-lake", contract=STATED), person(), pa.record_batch([array], names=[name]))
    left = found.batch.column(found.batch.schema.names.index(name))
    left.validate(full=True)
    assert left.type == pa.string()
    assert (left.to_pylist(), found.said.counts) == as_rows(name, values)


def _many(count: int) -> list[Any]:
    return [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(count)]


MANY: dict[str, tuple[list[Any], bool]] = {
    "each once": (_many(3_000), True),
    "each once, one of them odd": ([*_many(2_999), "x"], True),
    "each twice, far apart": (_many(1_500) * 2, False),
    "each twice, a power of two apart": (_many(2_048) * 2, False),
    "each twice, one after the other": ([one for one in _many(1_500) for _ in range(2)], False),
    "once, one of them null": ([*_many(2_999), None], False),
    "a few": (_many(8), False),
}


@pytest.mark.parametrize("which", MANY)
def test_tokens_of_many_values_become_what_their_rows_become_whether_they_differ_or_not(which: str) -> None:
    values, differ = MANY[which]
    held = pa.array(["before", *values, "behind"], pa.string()).slice(1, len(values))
    assert buffers.all_differ(held) is differ
    for name in ("subject_id", "name"):
        found = vectors.treat(treater("uk-lake", contract=STATED), person(), pa.record_batch([held], names=[name]))
        left = found.batch.column(found.batch.schema.names.index(name))
        assert (left.to_pylist(), found.said.counts) == as_rows(name, values)


def test_a_value_that_is_there_again_where_nobody_looked_has_one_token() -> None:
    values = _many(3_000)
    values[2_999] = values[2_998]
    held = pa.array(values, pa.string())
    assert buffers.all_differ(held)
    found = vectors.treat(treater("uk-lake", contract=STATED), person(), pa.record_batch([held], names=["name"]))
    assert (found.batch.column("name").to_pylist(), found.said.counts) == as_rows("name", values)


@settings(max_examples=100, deadline=None)
@given(st.lists(plain_addresses, min_size=1, max_size=8))
def test_domains_of_plain_addresses_are_cut_from_them(addresses: list[str]) -> None:
    """The quick way is one, wherever the column begins."""
    held = pa.array(["before@it", *addresses, "behind"], pa.string()).slice(1, len(addresses))
    found = buffers.of_their_domains(held)
    assert pa.types.is_dictionary(found.type)
    assert found.to_pylist() == [f"a@{one.partition('@')[2]}" for one in addresses]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=5), st.lists(st.integers(-(2**70), 2**70), max_size=3))
def test_tokens_are_the_macs_that_hmac_makes(texts: list[str], numbers: list[int]) -> None:
    def mac(said: bytes) -> str:
        return hmac.digest(KEY, said, "sha256").hex()[:32]

    assert tokens(KEY)(texts) == list(map(token(KEY), texts)) == [mac(b"t" + one.encode()) for one in texts]
    assert list(map(token(KEY), numbers)) == [mac(b"i%d" % one) for one in numbers]


def test_a_batch_of_no_rows_leaves_as_one() -> None:
    given_batch = pa.record_batch([pa.array([], pa.string())] * 4, names=list(STATED.columns))
    found = vectors.treat(treater("uk-lake", contract=STATED), person(), given_batch)
    assert found.batch.num_rows == 0
    assert found.batch.schema.types == [pa.string()] * 3
    assert found.said.counts == {}


@pytest.mark.parametrize("name", ["name", "email"])
def test_a_text_that_is_no_utf8_stops_the_batch_as_it_would_where_it_is_read(name: str) -> None:
    octets = b"a@b.example" + b"\xff@b.example"
    offsets = pa.array([0, 11, len(octets)], pa.int32())
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets.buffers()[1], pa.py_buffer(octets)])
    with pytest.raises(UnicodeDecodeError):
        vectors.treat(treater("uk-lake", contract=STATED), person(), pa.record_batch([broken], names=[name]))

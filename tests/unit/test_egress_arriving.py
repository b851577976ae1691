"""Streams of Arrow that a stranger wrote are held to their bounds before anything of them is unpacked."""

import datetime
import struct
from typing import Any

import pytest

from cells.records.contracts import parse
from tests.stands.egress import person, treater

pa = pytest.importorskip("pyarrow")
from cells.egress.arriving import (  # noqa: E402 - needs pyarrow
    COLUMNS_MAX,
    MESSAGES_MAX,
    ROWS_MAX,
    Refused,
    TooLarge,
    arrived,
)
from cells.egress.batches import treated_of  # noqa: E402
from tests.stands.arrow import stream, stream_of  # noqa: E402

STATED = parse(
    """
table: visits
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token}}
  id:         {type: uuid, class: none}
  name:       {type: text, class: none, leaving: {default: keep}}
  price:      {type: numeric, class: none, leaving: {default: keep}}
  rank:       {type: bigint, class: none, leaving: {default: keep}}
  day:        {type: date, class: none, leaving: {default: keep}}
  clock:      {type: time, class: none, leaving: {default: keep}}
  local:      {type: timestamp, class: none, leaving: {default: keep}}
  moment:     {type: timestamptz, class: none, leaving: {default: keep}}
  words:      {type: "text[]", class: none, leaving: {default: keep}}
""",
    where="visits.yaml",
)


def refused(raw: bytes, saying: str, kind: type[Refused] = Refused) -> None:
    with pytest.raises(Refused, match=saying) as told:
        arrived(STATED, raw)
    assert type(told.value) is kind


@pytest.mark.parametrize("by", ["lz4", "zstd"])
def test_what_would_be_longer_unpacked_is_not_unpacked(by: str) -> None:
    refused(stream({"name": pa.array(["x" * 1_000] * 100)}, compression=by), "compressed")
    refused(stream({"name": pa.array(["x" * 1_000] * 100).dictionary_encode()}, compression=by), "compressed")


def test_texts_of_dictionaries_are_counted_before_they_are_written_out() -> None:
    places = pa.array([0] * 1_000, pa.int8())
    many = pa.DictionaryArray.from_arrays(places, pa.array(["x" * (1 << 20)]))
    refused(stream({"name": many}), "written out", TooLarge)
    halves = pa.DictionaryArray.from_arrays(places, pa.array(["x" * 10_000]))
    assert arrived(STATED, stream({"name": halves})).batch.column("name").nbytes > 10_000_000
    refused(stream({"name": halves, "subject_id": halves}), "written out", TooLarge)


HOSTILE = {
    "views": pa.array(["x", "y"], pa.string_view()),
    "structs": pa.array([{"a": 1}]),
    "maps": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
    "lists of nothing": pa.array([[None] * 3], pa.list_(pa.null())),
    "fixed lists of nothing": pa.array([[None] * 3], pa.list_(pa.null(), 3)),
    "views of lists": pa.array([["x"]], pa.list_view(pa.string())),
    "lists of dictionaries": pa.array([["x"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    "dictionaries of numbers": pa.array([1, 1]).dictionary_encode(),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["x"])),
    "exponents": pa.array([None], pa.decimal128(1, -30)),
    "longer decimals": pa.array([None], pa.decimal256(50, 2)),
    "octets": pa.array([b"x"]),
    "half a float": pa.array([None], pa.float16()),
    "durations": pa.array([1], pa.duration("s")),
    "other days": pa.array([1], pa.date64()),
    "extensions": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16], pa.binary(16))),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_types_that_may_stand_for_more_than_they_hold_are_not_read(what: str) -> None:
    refused(stream({"name": HOSTILE[what]}), "column name has a type that is not read; send text")
    rows = len(HOSTILE[what])
    came = arrived(STATED, stream({"new": HOSTILE[what], "rank": pa.array([1] * rows)}))
    assert (came.unnamed, came.batch.column("rank").to_pylist()) == (rows, [1] * rows), "nor is what no contract names"


def test_bounds_on_rows_columns_and_batches() -> None:
    assert arrived(STATED, stream({"name": pa.nulls(ROWS_MAX)})).batch.num_rows == ROWS_MAX
    refused(stream({"name": pa.nulls(ROWS_MAX + 1)}), f"{ROWS_MAX} rows", TooLarge)
    refused(stream({"name": pa.nulls(ROWS_MAX + 1)}, 7), f"{ROWS_MAX} rows", TooLarge)
    refused(stream({f"c{number}": pa.nulls(1) for number in range(COLUMNS_MAX + 1)}), f"{COLUMNS_MAX} columns")
    one = pa.record_batch([pa.array([1])], names=["rank"])
    assert arrived(STATED, stream_of([one] * MESSAGES_MAX)).batch.num_rows == MESSAGES_MAX
    refused(stream_of([one] * (MESSAGES_MAX + 1)), f"{MESSAGES_MAX} batches", TooLarge)


def test_streams_without_rows_with_a_name_twice_or_of_another_form_are_refused() -> None:
    refused(b"", "empty")
    refused(b'{"events": []}', "no whole")
    refused(stream({"name": pa.array([], pa.string())}), "no rows")
    refused(stream_of([pa.record_batch([pa.array([1])] * 2, names=["rank", "rank"])]), "another name")
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([pa.array([1])], names=["rank"])
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    refused(bytes(sink.getvalue()), "no whole")


def test_dictionaries_that_grow_are_refused_and_those_that_are_replaced_are_read() -> None:
    pieces = [
        pa.record_batch([pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(texts))], names=["name"])
        for texts in (["a", "b"], ["a", "b", "c"])
    ]
    refused(stream_of(pieces, emit_dictionary_deltas=True), "deltas")
    assert arrived(STATED, stream_of(pieces)).batch.column("name").to_pylist() == ["a", "b", "a", "b"]


def changed(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert raw.count(old) == 1
    return raw.replace(old, new)


def test_offsets_beyond_their_buffers_are_refused() -> None:
    raw = stream({"name": pa.array(["abc", "def"])})
    for offsets in ((0, 3, 0x7FFFFFFF), (0, -3, 6), (3, 0, 6), (-9, 3, 6)):
        refused(changed(raw, struct.pack("<3i", 0, 3, 6), struct.pack("<3i", *offsets)), "no whole")
    refused(changed(raw, b"abcdef", b"abc\xffef"), "no whole")
    listed = stream({"words": pa.array([["a"], ["b", "c", "d", "e"]])})
    refused(changed(listed, struct.pack("<3i", 0, 1, 5), struct.pack("<3i", 0, 1, 50_000)), "no whole")
    coded = stream({"name": pa.DictionaryArray.from_arrays(pa.array([258, 1], pa.int32()), pa.array(["x"] * 300))})
    refused(changed(coded, struct.pack("<2i", 258, 1), struct.pack("<2i", 70_000, 1)), "no whole")


def test_buffers_that_lie_outside_their_message_or_one_upon_the_other_are_refused() -> None:
    raw = stream({"rank": pa.array(range(1_000)), "new": pa.array(range(1_000), pa.int32())})
    second = struct.pack("<qq", 8_000, 4_000)
    refused(changed(raw, second, struct.pack("<qq", 0, 12_000)), "one upon the other")
    for offset, length in ((8_000, 1 << 40), (-8, 4_000), (1 << 62, 1 << 62), (8_000, -4_000)):
        refused(changed(raw, second, struct.pack("<qq", offset, length)), "outside")


def leaving(name: str, given: Any) -> tuple[list[Any], dict[str, int]]:
    """What leaves of a column, and what is counted of it."""
    made = treater("uk-lake", contract=STATED)
    found = treated_of(made, [person()] * len(given), arrived(STATED, stream({name: given})))
    return found.batch.column(name).to_pylist(), found.said.counts[name]


def test_days_and_moments_beyond_a_calendar_are_unfit() -> None:
    far, near = 1 << 30, datetime.date(2026, 1, 1)
    assert leaving("day", pa.array([far, 20_454, None], pa.date32())) == (
        [None, near, None],
        {"null": 1, "passed": 1, "unfit": 1},
    )
    seconds = 1_767_225_600
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for zone in ("UTC", "Nowhere/Nothing", "Europe/Berlin"):
        given = pa.array([1 << 62, seconds * 10**6, None], pa.timestamp("us", tz=zone))
        assert leaving("moment", given) == ([None, moment, None], {"null": 1, "passed": 1, "unfit": 1})
    nanos = pa.array([seconds * 10**9 + 1], pa.timestamp("ns", tz="UTC"))
    assert leaving("moment", nanos) == ([moment], {"passed": 1})
    local = pa.array([-(1 << 62), seconds * 10**6], pa.timestamp("us"))
    assert leaving("local", local) == ([None, moment.replace(tzinfo=None)], {"passed": 1, "unfit": 1})
    refused(stream({"moment": pa.array([1 << 62], pa.timestamp("s", tz="UTC"))}), "no whole")


def test_a_time_that_no_clock_shows_is_refused_or_unfit() -> None:
    raw = stream({"clock": pa.array([7, 8], pa.time64("us"))})
    refused(changed(raw, struct.pack("<2q", 7, 8), struct.pack("<2q", -1, 1 << 62)), "no whole")


def test_a_stream_that_begins_with_another_message_or_with_none_is_refused() -> None:
    raw = stream({"name": pa.array(["a", "b"])})
    (length,) = struct.unpack_from("<i", raw, 4)
    refused(raw[8 + length :], "begins with its schema")
    refused(raw[-8:], "empty")
    for place in range(8 + length):
        for octet in (0, 1, 2, 4, 127, 255):
            spoilt = raw[:place] + bytes([octet]) + raw[place + 1 :]
            try:
                came = arrived(STATED, spoilt)
            except Refused:
                continue
            assert came.batch.num_rows == 2, (place, octet)

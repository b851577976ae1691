"""What somebody would try who wants a value out that the contract does not let out: each way once."""

import base64
import csv
import gzip
import io
import json
from typing import Any

import pytest

from cells.egress.events import MalformedEvents, RowReader, columns_of, of_lines
from cells.egress.formats import Format, writer
from cells.egress.looks import look_at
from cells.egress.scan import BEGINNINGS, redacted
from cells.egress.scanner.findings import Kind
from cells.egress.scanner.strings import scan_each
from cells.egress.scanner.unpacking import GZIP_BYTES_MAX
from cells.egress.treating import Batch, Treated
from cells.egress.values import OF_DATABASE, OF_JSON, UNFIT
from cells.egress.values import Kind as Holds
from cells.records.contracts import Contract, parse
from tests.stands.egress import person, treater

CARD = 4111111111111111
KEPT = """
table: t
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {{type: uuid, class: pseudonymous}}
  id:         {{type: uuid, class: none}}
  {name}: {{type: {type}, class: {klass}, leaving: {{default: {treatment}}}}}
  hidden: {{type: text, class: direct}}
"""

WALKED = """
table: t
placed_by: subject_id
owner: subject_id
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  extra:
    type: jsonb
    class: none
    leaving: {default: walk}
"""


def contract(name: str, of_type: str, treatment: str = "keep", klass: str = "none") -> Contract:
    return parse(KEPT.format(name=name, type=of_type, treatment=treatment, klass=klass), where="t.yaml")


def treated(of: Contract, *values: Any) -> Treated:
    name = list(of.columns)[2]
    made = treater("uk-lake", contract=of, scan=scan_each)
    nothing = [None] * len(values)
    columns = {"subject_id": nothing, "id": nothing, name: list(values), "hidden": nothing}
    return made.treat(Batch([person()] * len(values), columns))


@pytest.mark.parametrize(
    ("name", "of_type", "value"),
    [
        ("reference", "bigint", CARD),
        ("reference", "bigint", -CARD),
        ("reference", "numeric", f"{CARD}"),
        ("amount", "numeric", f"{CARD}.00"),
        ("reference", "double precision", float(CARD)),
        ("ssn", "int", 536904399),
        ("phone", "bigint", 493012345678),
        ("phone_2", "bigint", 493012345678),
        ("phone", "numeric", "-493012345678.000"),
        ("phone_count", "bigint", CARD),
        ("ssn_us", "int", 536904399),
        ("phone_us", "bigint", 493012345678),
    ],
)
def test_a_number_that_is_somebodys_is_seen_in_a_column_of_numbers(name: str, of_type: str, value: Any) -> None:
    found = (
        treated(contract(name, of_type), 1, value)
        if of_type in ("bigint", "int")
        else treated(contract(name, of_type), value)
    )
    assert (found.rows, [one.field for one in found.held][:1]) == (0, [name])


@pytest.mark.parametrize(
    ("name", "of_type", "values"),
    [
        ("value", "bigint", [0, -1, 990, 1_234_567, 1_760_000_000_000, True, None]),
        ("value", "numeric", ["9.90", "1234567.25", "0.3333333333333333"]),
        ("value", "double precision", [0.5, -0.0, 1e300, 1_760_000_000.25]),
        ("phone_verified_at_ms", "bigint", [1_760_000_000_000, 1_760_000_000, 1_760_000_123]),
        ("phone_verified_at", "double precision", [1_760_000_000_000.0, 1_760_000_000.0]),
        ("mobile_data_bytes", "bigint", [12_345_678]),
        ("fiscal_revenue_cents", "bigint", [536_904_399, 123_456_789]),
        ("phone_price", "numeric", ["199.99000", "1999999.99"]),
        ("phone_fee", "numeric", ["4000.0000"]),
        ("phone", "numeric", ["199.99000", "4000.0000", "0.49301234567"]),
        ("taxpayer_share", "numeric", ["123456.789"]),
        ("taxpayer", "numeric", ["123456.789", "536904399.5"]),
    ],
)
def test_amounts_counts_and_moments_are_nobodys_numbers(name: str, of_type: str, values: list[Any]) -> None:
    found = treated(contract(name, of_type), *values)
    assert (found.rows, found.held) == (len(values), ())


@pytest.mark.parametrize(
    ("field", "measure"),
    [
        *(
            ("extra.phoneUS", False),
            ("extra.phones.us", False),
            ("extra.téléphones_associés", False),
            ("call_us", False),
        ),
        *(("extra.verifiedAtMs", True), ("seen_at", True), ("phone_quantities", True), ("us", False)),
    ],
)
def test_a_last_word_of_two_letters_says_a_measure_only_behind_another_or_what_was_done(
    field: str, measure: bool
) -> None:
    look = look_at(field, "bigint")
    assert look is not None
    assert look.named == ("" if measure else field)


def test_digits_of_another_script_are_no_number_in_a_column_of_numbers() -> None:
    for text in ("٤١١١١١١١١١١١١١١١", "\uff14\uff11\uff11\uff11", "१२३"):
        assert OF_DATABASE["numeric"](text) is OF_JSON["numeric"](text) is UNFIT


def test_every_kind_of_which_the_beginning_alone_is_told_is_one_of_the_scanners() -> None:
    assert set(Kind) >= BEGINNINGS


def test_a_private_key_does_not_leave_behind_its_first_line() -> None:
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
    note = f"here it is: -----BEGIN PRIVATE KEY-----\n{body}\n{body}\n-----END PRIVATE KEY-----\nthanks"
    (left,) = treated(contract("note", "text", "scan", "free_text"), note).columns["note"]
    assert left == "here it is: [private_key]"


def test_what_nobody_can_look_into_does_not_leave_behind_its_first_bytes() -> None:
    packed = base64.b64encode(gzip.compress(b"anna@example.org " + bytes(4 * GZIP_BYTES_MAX))).decode()
    (left,) = treated(contract("note", "text", "scan", "free_text"), f"see {packed} there").columns["note"]
    assert packed[8:40] not in left
    assert left.startswith("see ")


def test_a_value_that_goes_on_beyond_what_a_scanner_sees_of_it_does_not_leave_in_part() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm5hIn0."
    note = "x " * 125_000 + token + "s" * 30_000 + "Zz9"
    (left,) = treated(contract("note", "text", "scan", "free_text"), note).columns["note"]
    assert left.endswith("[jwt]")
    assert "Zz9" not in left


def test_a_beginning_within_another_finding_counts() -> None:
    class Told:
        def __init__(self, kind: str, start: int, end: int) -> None:
            self.kind, self.start, self.end = kind, start, end

    found = [Told("email", 0, 6), Told("opaque", 2, 3)]
    assert redacted("abcdefghij", found) == "[email][opaque]"


def test_a_subject_named_twice_in_an_event_is_the_same_one_for_law_and_for_the_row() -> None:
    of = contract("item", "text")
    ann, ben = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77", "1b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"
    line = f'{{"subject_id": "{ann}", "item": "a", "subject_id": "{ben}", "i\\u0074em": "b"}}'.encode()
    for events in (RowReader(of)(line), of_lines(line), RowReader(of)(line[:-1] + b', "more": 1}')):
        columns = columns_of(of, events).values
        assert (list(columns["subject_id"]), list(columns["item"])) == ([ben], ["b"])


@pytest.mark.parametrize(
    "line",
    [
        b'{"item": "\\ud800"}',
        b'{"item": "\xed\xa0\x80"}',
        b'{"item": NaN}',
        b'{"item": Infinity}',
        b'{"item": -}',
        b"[1]",
        b'{"item": "a',
    ],
)
def test_what_is_no_json_is_no_event(line: bytes) -> None:
    for read in (of_lines, RowReader(contract("item", "text"))):
        with pytest.raises(MalformedEvents):
            read(line)


def test_numbers_beyond_their_type_stay() -> None:
    for of_type in ("smallint", "int", "bigint", "real", "numeric"):
        for value in (1 << 80, -(1 << 80), 10**400, True):
            fits = of_type == "numeric" and value is not True and abs(value) < 10**200
            assert (OF_JSON[of_type](value) is UNFIT) != fits, (of_type, value)


def test_a_cell_of_csv_holds_whatever_stands_in_it() -> None:
    texts = ['a"b', "a,b", "a\r\nb", '",', "", "=1+1", "\t", "a\x00b", "'", '"""', "\n"]
    out = io.BytesIO()
    made = writer(Format.CSV, (("text", Holds.TEXT), ("extra", Holds.JSON), ("next", Holds.INT)), out)
    made.write({"text": texts, "extra": [{"k": one} for one in texts], "next": list(range(len(texts)))})
    made.finish()
    header, *rows = csv.reader(io.StringIO(out.getvalue().decode(), newline=""), strict=True)
    assert header == ["text", "extra", "next"]
    assert [(row[0], json.loads(row[1])["k"], row[2]) for row in rows] == [
        (text, text, str(number)) for number, text in enumerate(texts)
    ]


SECRET = "planted-7f3a@leak.example-and-more-of-it"


@pytest.mark.parametrize("of_type", ["text", "bigint"])
def test_a_record_batch_leaves_without_what_its_buffers_hold_beside_its_values(of_type: str) -> None:
    """Under a null, beyond a slice, and in a dictionary that nothing points at."""
    pa = pytest.importorskip("pyarrow")
    from cells.egress import vectors

    mark = SECRET.encode() if of_type == "text" else (0x7F3A7F3A7F3A7F3A).to_bytes(8, "little")
    secret = SECRET if of_type == "text" else 0x7F3A7F3A7F3A7F3A
    plain = "x" if of_type == "text" else 7
    kind = pa.string() if of_type == "text" else pa.int64()
    array = pa.array([plain, secret, plain, secret], kind)
    nulls = pa.Array.from_buffers(kind, 4, [pa.py_buffer(b"\x05"), *array.buffers()[1:]], null_count=2)
    pointed = pa.DictionaryArray.from_arrays(pa.array([0, 0, None, 0]), pa.array([plain, secret], kind))
    for column in (nulls, array.slice(0, 1), array.slice(2, 1), pointed):
        given = pa.record_batch([column], names=["value"])
        assert mark in file_of(given) or column is not nulls
        found = vectors.treat(treater("uk-lake", contract=contract("value", of_type)), person(), given)
        assert set(found.batch.column(found.batch.schema.names.index("value")).to_pylist()) <= {plain, None}
        assert mark[:6] not in file_of(found.batch)


def file_of(batch: Any) -> bytes:
    """As it lies in an IPC file, which is not compressed."""
    import pyarrow as pa

    out = io.BytesIO()
    with pa.ipc.new_file(out, batch.schema) as made:
        made.write_batch(batch)
    return out.getvalue()


def test_a_number_in_json_is_told_by_its_members_name_where_that_says_no_measure() -> None:
    members = "{{phone: {{type: bigint, {0}}}, phoneVerifiedAt: {{type: bigint, {0}}}, fax_list: {{type: json, {1}}}}}".format(
        "class: none, leaving: {default: keep}",
        "class: none, leaving: {default: walk}, items: {type: bigint, class: none, leaving: {default: keep}}",
    )
    of = parse(WALKED + f"    members: {members}\n", where="t.yaml")

    def held(value: dict[str, Any]) -> list[str]:
        made = treater("uk-lake", contract=of, scan=scan_each)
        batch = Batch([person()], {"subject_id": [None], "id": [None], "extra": [json.dumps(value)]})
        return [one.field for one in made.treat(batch).held]

    assert held({"phoneVerifiedAt": 1_760_000_000, "phone": 990, "fax_list": [1]}) == []
    assert held({"phone": 493012345678}) == ["extra.phone"]
    assert held({"fax_list": [493012345678]}) == ["extra.fax_list[]"]


def test_a_number_that_becomes_a_text_in_a_record_batch_is_looked_at_before() -> None:
    pa = pytest.importorskip("pyarrow")
    from cells.egress import vectors

    stated = contract("value", "bigint", 'keep, "from:fr": "bins(0,50)"')
    made = treater("uk-lake", contract=stated, scan=scan_each)
    assert dict(made.schema)["value"] is Holds.TEXT
    for values, held in (([990, None], []), ([990, CARD], ["value"])):
        found = vectors.treat(made, person(), pa.record_batch([pa.array(values, pa.int64())], names=["value"]))
        assert [one.field for one in found.said.held] == held
        assert (found.batch is None) == bool(held)


def test_a_column_of_truths_leaves_without_those_in_the_rest_of_its_byte() -> None:
    pa = pytest.importorskip("pyarrow")
    from cells.egress import vectors

    given = pa.record_batch([pa.array([False, True, True, True, True]).slice(0, 1)], names=["value"])
    found = vectors.treat(treater("uk-lake", contract=contract("value", "boolean")), person(), given)
    column = found.batch.column(found.batch.schema.names.index("value"))
    assert column.to_pylist() == [False]
    assert column.buffers()[1].to_pybytes()[:1] == b"\x00"

"""Rows of a file become blinded rows: where fields come from, what is refused here, and that nothing personal is left in them."""

import contextlib
import random
from pathlib import Path

import msgspec
import pytest

from directory.bulk.answers import BulkRow
from foundation.blinding import Blinder, BlindingKey
from foundation.mute import Secret
from foundation.settings import SettingsError
from gateway.cli.directory.lines import LINE_CHARS_MAX, Lines, Records
from gateway.cli.directory.rows import Malformed, Reader, Taken, batches, mapping, passed

BLINDER = Blinder((BlindingKey("k1", Secret(b"k" * 32)), BlindingKey("k0", Secret(b"j" * 32))))
SET = ("issuer=https://id.example", "services=orders, records")


def reader(*maps: str, constants: tuple[str, ...] = SET) -> Reader:
    return Reader(mapping(maps, constants, {}), BLINDER)


def test_a_row_is_blinded_under_every_live_key_and_holds_nothing_personal() -> None:
    record = {"sub": "ada", "email": "Ada@Example.org", "residence": "de", "name": "Ada Lovelace"}
    row = reader().row(3, record)
    assert isinstance(row, BulkRow)
    assert [one.kind for one in row.keys] == ["login", "login", "email", "email"]
    assert tuple(one.key for one in row.keys) == (
        *BLINDER.login("https://id.example", "ada"),
        *BLINDER.email("ada@example.org"),
    )
    assert [one.kid for one in row.keys] == ["k1", "k0", "k1", "k0"]
    assert (row.residence, row.services, row.row) == ("DE", ("orders", "records"), 3)
    sent = msgspec.json.encode(row).decode().lower()
    assert not any(word in sent for word in ("ada", "example", "lovelace"))


def test_columns_are_mapped_and_lists_split() -> None:
    taken = reader("sub=uid", "residence=land", "tags=kinds", "citizenships=passports", "subdivision=part")
    row = taken.row(0, {"uid": "u1", "land": "US", "kinds": ["b", "a"], "passports": "us,fr", "part": "us-tx"})
    assert isinstance(row, BulkRow)
    assert (row.tags, row.citizenships, row.subdivision) == (("a", "b"), ("FR", "US"), "US-TX")


def test_a_region_of_the_stack_stands_for_its_issuer() -> None:
    mapped = mapping((), ("issuer=eu",), {"eu": "http://127.0.0.1:7000"})
    assert mapped.constants == {"issuer": "http://127.0.0.1:7000"}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("the line is no JSON object", "JSON"),
        ({"sub": "ada"}, "residence"),
        ({"residence": "DE"}, "names nobody"),
        ({"email": "no address", "residence": "DE"}, "@"),
        ({"sub": "ada", "residence": "Deutschland"}, "residence"),
    ],
)
def test_what_is_no_row_is_refused_here_without_quoting_it(record: dict[str, str] | str, said: str) -> None:
    constants = SET if isinstance(record, str) or "sub" in record else SET[1:]
    row = reader(constants=constants).row(7, record)
    assert isinstance(row, Malformed)
    assert row.row == 7
    assert said in row.detail
    values = {} if isinstance(record, str) else record
    assert not any(value in row.detail for value in values.values() if value != "DE")


@pytest.mark.parametrize("text", ["nonsense=x", "sub", "sub=", "=x"])
def test_a_mapping_that_names_no_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="FIELD"):
        mapping((text,), (), {})
    with pytest.raises(ValueError, match="twice"):
        mapping(("sub=a", "sub=b"), (), {})


def test_both_forms_of_file_are_streamed_and_give_the_same_rows(tmp_path: Path) -> None:
    as_csv, as_ndjson = tmp_path / "a.csv", tmp_path / "a.ndjson"
    as_csv.write_text('\ufeffsub,residence\nada,DE\n"b,ob",FR\neve\n', encoding="utf-8")
    as_ndjson.write_text('{"sub":"ada","residence":"DE"}\n{"sub":"b,ob","residence":"FR"}\n[1]\n', encoding="utf-8")
    rows = [{"sub": "ada", "residence": "DE"}, {"sub": "b,ob", "residence": "FR"}]
    assert list(Records(as_csv)) == [*rows, "line 4 has not as many columns as the header"]
    assert list(Records(as_ndjson)) == [*rows, "the line is no JSON object"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", b"x"), ("a.csv", b""), ("a.csv", b"a,\xff\nb,1\n"), ("a.csv", b'"a"b\n'), ("a.csv", b"a" * 70_000)],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(SettingsError):
        list(Records(file))


def test_batches_are_the_same_wherever_one_begins(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text("".join(f'{{"sub":"p{n}","residence":"DE"}}\n' for n in range(25)))
    every = list(batches(Records(file), reader(), 10))
    assert [one.rows for one in every] == [10, 10, 5]
    again = Records(file)
    assert passed(again, 20) == every[1].sent
    assert list(batches(again, reader(), 10, first=20)) == every[2:]


ROW = {".csv": "p{},DE", ".ndjson": '{{"sub":"p{}","residence":"DE"}}'}


@pytest.mark.parametrize("form", [".csv", ".ndjson"])
def test_rows_are_known_again_by_their_digest_wherever_one_was_changed(tmp_path: Path, form: str) -> None:
    file = tmp_path / f"a{form}"
    lines = ["sub,residence"] * (form == ".csv") + [ROW[form].format(f"{n:06}") for n in range(10_000)]

    def of(written: list[str], rows: int, end: str = "\n") -> str:
        file.write_text("\n".join(written) + end)
        return passed(Records(file), rows)

    sent = of(lines, 8_000)
    assert file.stat().st_size > 100_000
    assert of(lines + lines[-3:], 8_000) == sent
    for changed in (1, 4_000, 8_000 - (form == ".ndjson")):
        other = lines.copy()
        other[changed] = other[changed].replace("DE", "FR")
        assert of(other, 8_000) != sent
    assert of(lines[:7_900], 8_000) != sent
    # a last line that had no end yet has one when rows are appended
    assert of(lines[:-1], 20_000, end="") == of(lines[:-1], 20_000)


LONG = "x" * (LINE_CHARS_MAX + 10)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('"x"y,DE', "line 3 is no CSV"),
        ('"a","b"c"",FR', "line 3 is no CSV"),
        ('x"y,D"E,', "line 3 has not as many columns"),
        (f"{LONG},DE", "line 3 is longer than 65536 characters"),
        (f'"{LONG}",DE', "line 3 is longer"),
        ("\udcff,DE", "line 3 is not UTF-8"),
        ('"ada,\n,FR\n"b,DE', "lines 3 to 5 is no CSV"),
    ],
)
def test_a_wrong_row_of_csv_is_refused_and_the_next_ones_are_read(tmp_path: Path, wrong: str, said: str) -> None:
    file = tmp_path / "a.csv"
    text = f"sub,residence\nada,DE\n{wrong}\nbob,FR\n"
    file.write_bytes(text.encode(errors="surrogateescape"))
    first, second, third = Records(file)
    assert (first, third) == ({"sub": "ada", "residence": "DE"}, {"sub": "bob", "residence": "FR"})
    assert isinstance(second, str)
    assert second.startswith(said)


@pytest.mark.parametrize("wrong", [f'{{"sub":"{LONG}"}}', "[" * 60_000, '{"sub":', "\udcff", ""])
def test_a_wrong_line_of_ndjson_is_refused_and_the_next_ones_are_read(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "a.ndjson"
    file.write_bytes(f'{{"sub":"a"}}\n{wrong}\n{{"sub":"b"}}'.encode(errors="surrogateescape"))
    first, second, third = Records(file)
    assert (first, third) == ({"sub": "a"}, {"sub": "b"})
    assert isinstance(second, str)


@pytest.mark.parametrize("wrong", ['"p4,DE', 'p4,"DE', f'"{LONG},DE', '"p"4",DE'])
@pytest.mark.parametrize("after", ["", '"q1",DE\nq2,DE\n', "q,DE\n" * 60_000])
def test_a_quote_that_nothing_closes_stops_the_reading_after_the_rows_before_it(
    tmp_path: Path, wrong: str, after: str
) -> None:
    file = tmp_path / "a.csv"
    before = "sub,residence\np0,DE\np1,DE\np2,DE\np3,DE\n"
    file.write_text(f"{before}{wrong}\n{after}")
    coming = batches(Records(file), reader(), 3)
    taken = [next(coming), next(coming)]
    with pytest.raises(SettingsError, match="line 6 holds a quote that nothing closes"):
        next(coming)
    assert [one.rows for one in taken] == [3, 1]
    file.write_text(f"{before}p4,DE\nq,DE\n")
    mended = Records(file)
    assert passed(mended, 4) == taken[-1].sent
    assert [one.rows for one in batches(mended, reader(), 3, first=4)] == [2]


def test_hostile_bytes_never_stop_the_reading_of_ndjson_and_of_csv_only_at_a_quote(tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(300):
        raw = bytes(chance.choice(b'",\n\ra\xff{}\x00') for _ in range(chance.randrange(200)))
        ndjson, as_csv = tmp_path / "a.ndjson", tmp_path / "a.csv"
        ndjson.write_bytes(raw)
        as_csv.write_bytes(b"sub,residence\n" + raw)
        assert len(list(Records(ndjson))) <= len(raw) + 1, number
        try:
            list(Records(as_csv))
        except SettingsError as exc:
            assert "holds a quote" in str(exc), number  # noqa: PT017
            assert raw.count(b'"'), number


def irregular(chance: random.Random) -> str:
    """A row of some kind: most are as they should be."""
    sub = chance.choice(("ada", "bob", "eve", "ünal", "", '"q,uoted"', 'x"y'))
    email = chance.choice(("a@example.org", "A.B@Example.ORG ", "ä@bücher.example", "", "no address", "a@b@c.de"))
    land = chance.choice(("DE", "de", " FR", "", "Deutschland", "US"))
    phone = chance.choice(("", "", "+49 30 1234567", "030", "letters"))
    more = chance.choice(("", "orders", "b; a"))
    line = f"{sub},{email},{land},{phone},{more}"
    return chance.choice((line, line, line, line, "", f"{line},", "\udcff,,,,", f"{'x' * LINE_CHARS_MAX},,,,"))


@pytest.mark.parametrize("issuer", ["issuer=https://id.example", "issuer=eu"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_the_same_read_at_once_or_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issuer: str, end: str
) -> None:
    chance, file, seen = random.Random(end + issuer), tmp_path / "a.csv", 0
    for number in range(24):
        plain = number % 3  # of two in three nothing has to be looked at by itself
        lines = [irregular(chance) for _ in range(60)]
        if plain:
            lines = [line for line in lines if '"' not in line and "\udcff" not in line and len(line) < 200]
        file.write_bytes(
            end.join(("sub,email,residence,phone,tags", *lines)).encode(errors="surrogateescape") + b"\n" * (number % 2)
        )

        def everything(*, plain: int = plain) -> list[object]:
            found: list[object] = []
            with contextlib.suppress(SettingsError):
                for one in batches(Records(file), reader(constants=(issuer, SET[1])), 7):
                    found.append(one)  # noqa: PERF402 - what came before an error counts
            return [*found, passed(Records(file), 20) if plain else ""]

        at_once = everything()
        with monkeypatch.context() as patched:
            patched.setattr(Lines, "block", lambda *_, **__: [])
            assert everything() == at_once
        seen += sum(one.good is not None for one in at_once if isinstance(one, Taken))
    assert seen > 50

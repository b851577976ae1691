"""Rows of a file become blinded rows: where fields come from, what is refused here, and that nothing personal is left in them."""

from pathlib import Path

import msgspec
import pytest

from directory.bulk.answers import BulkRow
from foundation.blinding import Blinder, BlindingKey
from foundation.mute import Secret
from foundation.settings import SettingsError
from gateway.cli.directory.lines import Records
from gateway.cli.directory.rows import Malformed, Reader, batches, mapping, passed

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
        (None, "form"),
        ({"sub": "ada"}, "residence"),
        ({"residence": "DE"}, "names nobody"),
        ({"email": "no address", "residence": "DE"}, "@"),
        ({"sub": "ada", "residence": "Deutschland"}, "residence"),
    ],
)
def test_what_is_no_row_is_refused_here_without_quoting_it(record: dict[str, str] | None, said: str) -> None:
    constants = SET if record is None or "sub" in record else SET[1:]
    row = reader(constants=constants).row(7, record)
    assert isinstance(row, Malformed)
    assert row.row == 7
    assert said in row.detail
    assert not any(value in row.detail for value in (record or {}).values() if value != "DE")


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
    assert list(Records(as_csv)) == list(Records(as_ndjson))
    assert list(Records(as_csv))[1:] == [{"sub": "b,ob", "residence": "FR"}, None]


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b"x"), ("a.csv", b""), ("a.csv", b"a,b\n\xff,1\n"), ("a.csv", b'a\n"x"y\n')]
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

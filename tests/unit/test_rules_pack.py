"""The pack: rows as stated, contradictions refused, every byte in the digest."""

import csv
import io
from importlib import resources

import pytest

from routing_rules.pack import Kind, PackError, bundled, parse
from tests.stands.rules import EU, IN, US, pack_text


def _bundled_texts() -> tuple[str, str]:
    here = resources.files("routing_rules.pack")
    return (here / "jurisdictions.csv").read_text("utf-8"), (here / "sources.csv").read_text("utf-8")


def test_the_bundled_pack_equals_a_fresh_parse_of_its_files() -> None:
    assert bundled() == parse(*_bundled_texts())


def test_every_country_has_exactly_one_owner_and_there_are_249() -> None:
    text, _ = _bundled_texts()
    owning = [row for row in csv.DictReader(io.StringIO(text)) if row["kind"] in ("state", "bloc", "default")]
    countries = [code for row in owning for code in row["countries"].split(";") if code]
    assert len(countries) == len(set(countries)) == 249
    assert set(bundled().owners) == set(countries)


def test_a_subdivision_that_lists_a_country_does_not_own_it() -> None:
    assert bundled().rows["eu-de"].countries == ("DE",)
    assert bundled().owners["DE"] == "eu"


def test_each_row_of_a_state_or_bloc_has_its_source_in_words() -> None:
    pack = bundled()
    for row in pack.rows.values():
        assert pack.source_of(row)[:2] in ("S:", "K:"), row.id


def test_a_source_that_the_pack_does_not_hold_is_shown_as_the_reference() -> None:
    pack = parse(pack_text({**EU, "source": "=jurisdictions.csv:eu"}))
    assert pack.source_of(pack.rows["eu"]) == "=jurisdictions.csv:eu"


def test_a_source_in_words_is_shown_as_it_stands() -> None:
    pack = parse(pack_text({**EU, "source": "K: GDPR"}))
    assert pack.source_of(pack.rows["eu"]) == "K: GDPR"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ((EU, EU), "eu stands there twice"),
        ((EU, {"id": "fr", "countries": "FR"}), "FR belongs to eu and to fr"),
        (({**EU, "kind": "empire"},), "row eu"),
        (({**EU, "status": "maybe"},), "row eu"),
        (({**EU, "since": "2026-02"},), "row eu"),
        (({"id": "us-ca", "kind": "subdivision"},), "us-ca names no parent"),
        (({"id": "us-ca", "kind": "subdivision", "parent": "us"},), "us-ca names parent us"),
        (
            (US, {"id": "a", "kind": "subdivision", "parent": "us"}, {"id": "b", "kind": "subdivision", "parent": "a"}),
            "b names",
        ),
    ],
)
def test_contradictory_facts_are_refused_by_name(rows: tuple[dict[str, str], ...], named: str) -> None:
    with pytest.raises(PackError, match=named):
        parse(pack_text(*rows))


def test_a_file_without_a_needed_column_is_refused() -> None:
    with pytest.raises(PackError, match="row eu"):
        parse("id,name,kind\neu,Europe,bloc\n")


def test_the_digest_changes_with_each_file_and_when_text_moves_between_them() -> None:
    one, two = pack_text(EU, US), "id,source\neu,K: one\n"
    digests = {
        parse(one, two).digest,
        parse(one, "").digest,
        parse(one, two.replace("one", "two")).digest,
        parse(pack_text(EU, {**US, "note": "x"}), two).digest,
        parse(pack_text(US, EU), two).digest,
        parse(pack_text(EU, US, IN), two).digest,
    }
    assert len(digests) == 6


def test_kinds_of_the_bundled_rows_are_those_that_rules_know() -> None:
    assert {row.kind for row in bundled().rows.values()} == set(Kind)

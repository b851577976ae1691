"""The pack: rows as their files state them, what is not in its form refused by place, every byte in the digest."""

import csv
import datetime
import io
import json
import re
from pathlib import Path

import pytest

from foundation.words import Country, JurisdictionId
from routing_rules.pack import FILES, Kind, Pack, PackError, bundled, bundled_texts, parse
from routing_rules.pack.pack import TABLES, digest_of
from routing_rules.pack.rows import DataVerb, Fact, Requirement
from routing_rules.pack.triggers import OTHER_TRIGGERS, TRANSFER_TRIGGERS
from tests.stands.rules import EU, US, VALID, pack_files, table_text

ROOT = Path(__file__).parents[2]
FACTS = ROOT.parent / "shared" / "facts"
ISO = Path("/usr/share/iso-codes/json")
FOLDER = ROOT / "routing_rules" / "pack"


def small(*rows: dict[str, str], **tables: str) -> Pack:
    return parse(pack_files(*rows, **tables))


def rows_of_text(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(bundled_texts()[file])))


def test_the_bundled_pack_equals_a_fresh_parse_of_its_files() -> None:
    assert bundled() == parse(bundled_texts())


def test_every_csv_in_the_folder_is_a_file_of_the_pack_and_the_other_way_round() -> None:
    assert {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.csv")} == set(FILES)


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.file)
def test_every_cell_of_every_file_is_read(kind: type[Fact]) -> None:
    """Each struct, written as its row's cells would be, is the row again: nothing is dropped, filled in or moved."""
    renamed = {"name": "label", "from": "origin", "breach_notice_hours": "breach_notice"}
    if kind.file == "gateways":
        renamed["threshold_id"] = "threshold_ids"
    if kind.file == "tags":
        del renamed["name"]
    texts, structs = rows_of_text(f"{kind.file}.csv"), getattr(bundled(), kind.file)
    assert len(texts) == len(structs) > 10
    for number, (cells, struct) in enumerate(zip(texts, structs, strict=True), start=2):
        written = {column: as_cell(getattr(struct, renamed.get(column, column))) for column in cells}
        assert written == cells
        assert struct.line == number
        assert struct.file == kind.file


def as_cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ";".join(as_cell(one) for one in value)
        case datetime.date():
            return value.isoformat()
        case _:
            return str(value)


def test_every_country_has_exactly_one_owner_and_there_are_249() -> None:
    owning = [row for row in rows_of_text("jurisdictions.csv") if row["kind"] in ("state", "bloc", "default")]
    countries = [code for row in owning for code in row["countries"].split(";") if code]
    assert len(countries) == len(set(countries)) == 249
    assert set(bundled().owners) == set(countries)


@pytest.mark.skipif(
    not (ISO / "iso_3166-1.json").exists(), reason="the ISO lists of the package iso-codes are not installed"
)
def test_countries_and_parts_are_those_of_iso_3166() -> None:
    countries = {row["alpha_2"] for row in json.loads((ISO / "iso_3166-1.json").read_text("utf-8"))["3166-1"]}
    parts = {row["code"] for row in json.loads((ISO / "iso_3166-2.json").read_text("utf-8"))["3166-2"]}
    assert set(bundled().owners) == countries
    assert {part for row in bundled().jurisdictions for part in row.subdivisions} <= parts


@pytest.mark.skipif(not FACTS.is_dir(), reason="the facts that this pack was copied from are not beside the clone")
@pytest.mark.parametrize("file", FILES)
def test_the_files_are_the_facts_byte_for_byte(file: str) -> None:
    origin = FACTS / file.removeprefix("prose/") if file.startswith("prose/") else FACTS / "structured" / file
    assert (FOLDER / file).read_bytes() == origin.read_bytes()


def test_kinds_of_the_bundled_rows_are_those_that_rules_know() -> None:
    assert {row.kind for row in bundled().rows.values()} == set(Kind)


def test_a_subdivision_that_lists_a_country_does_not_own_it() -> None:
    assert bundled().rows[JurisdictionId("eu-de")].countries == ("DE",)
    assert bundled().owners[Country("DE")] == "eu"


def test_a_tag_is_found_by_its_name_and_by_each_alias() -> None:
    names = bundled().tag_names
    assert (names["race"], names["ethnic"], names["colour"]) == ("race", "race", "race")
    for row in bundled().tags:
        assert {names[name] for name in (row.tag, *row.aliases)} == {row.tag}
    assert set(names.values()) == {row.tag for row in bundled().tags}


def test_a_threshold_is_found_by_its_id() -> None:
    assert bundled().thresholds_by_id["us-bulk-human-genomic"].min == 100
    assert len(bundled().thresholds_by_id) == len(bundled().thresholds)


# what a row rests on


def test_every_source_of_the_bundled_rows_is_in_words() -> None:
    for kind in TABLES:
        for row in getattr(bundled(), kind.file):
            if isinstance(row, Fact):
                assert bundled().source_of(row).strip("=; "), row.name
                assert "=jurisdictions.csv:" not in bundled().source_of(row), row.name


def test_each_row_of_a_regime_has_its_source_in_words() -> None:
    for row in bundled().rows.values():
        assert bundled().source_of(row)[:2] in ("S:", "K:"), row.id


def test_several_sources_are_all_shown() -> None:
    row = next(row for row in bundled().groups if row.source == "=jurisdictions.csv:ua;=jurisdictions.csv:by")
    sources = {name: bundled().prose[f"jurisdictions.csv:{name}"].source for name in ("ua", "by")}
    assert bundled().source_of(row) == f"{sources['ua']}; {sources['by']}"


def test_a_source_that_the_pack_does_not_hold_is_shown_as_the_reference() -> None:
    pack = small({**EU, "source": "=jurisdictions.csv:eu"})
    assert pack.source_of(pack.rows[JurisdictionId("eu")]) == "=jurisdictions.csv:eu"


def test_a_source_in_words_is_shown_as_it_stands() -> None:
    pack = small({**EU, "source": "K: GDPR; =not a reference"})
    assert pack.source_of(pack.rows[JurisdictionId("eu")]) == "K: GDPR; =not a reference"


PROSE_EU = {"id": "eu", "as_of": "2025-03", "source": "S: read"}
PROSE_US = {"id": "us", "as_of": "2024-11", "source": "S: read too"}


@pytest.mark.parametrize(
    ("fact_ref", "month"),
    [
        ("jurisdictions.csv:eu", "2025-03"),
        ("jurisdictions.csv:eu;jurisdictions.csv:us", "2024-11"),
        ("transfers.csv:us->eu", "2026-01"),
        ("jurisdictions.csv:nowhere", "2026-01"),
    ],
)
def test_evidence_is_as_old_as_the_oldest_prose_cited_else_as_the_rows_own_regime(fact_ref: str, month: str) -> None:
    edges = table_text("edges.csv", VALID | {"fact_ref": fact_ref, "from": "us", "to": "eu"})
    files = pack_files(EU, US, edges=edges) | {
        "prose/jurisdictions.csv": table_text("prose/jurisdictions.csv", PROSE_EU, PROSE_US)
    }
    pack = parse(files)
    assert pack.as_of(pack.edges[0]) == month


def test_a_regime_says_itself_what_month_it_speaks_for() -> None:
    assert bundled().as_of(bundled().rows[JurisdictionId("us-dpf")]) == bundled().rows[JurisdictionId("us-dpf")].as_of


def test_a_member_of_a_group_is_as_old_as_the_regime_that_its_reference_names() -> None:
    """It has no jurisdiction of its own: `transfers.csv:eu->ad` speaks for `eu`."""
    member = next(row for row in bundled().groups if row.fact_ref == ("transfers.csv:eu->ad",))
    assert bundled().as_of(member) == bundled().rows[JurisdictionId("eu")].as_of


def test_no_bundled_row_is_without_a_month() -> None:
    facts = [row for kind in TABLES for row in getattr(bundled(), kind.file) if isinstance(row, Fact)]
    assert [row.name for row in facts if re.fullmatch(r"\d{4}-\d{2}", bundled().as_of(row) or "") is None] == []


def test_a_row_that_cites_nothing_the_pack_holds_has_no_month() -> None:
    groups = table_text("groups.csv", VALID | {"group": "g", "member": "eu", "membership_complete": "true"})
    pack = small(EU, groups=groups)
    assert pack.as_of(pack.groups[0]) is None


def test_the_words_behind_a_row_are_those_of_its_references() -> None:
    edge = next(row for row in bundled().edges if (row.origin, row.to) == ("eu", "us-dpf"))
    assert [row.ref for row in bundled().prose_of(edge)] == list(edge.fact_ref)
    assert bundled().prose_of(edge)[0].cells["scope"] == "certified organisations only"


def test_prose_of_a_place_with_two_rows_is_told_apart_by_its_start() -> None:
    assert {ref for ref in bundled().prose if ref.startswith("localisation.csv:ca-ns/")} == {
        "localisation.csv:ca-ns/public_bodies@2006-11-15",
        "localisation.csv:ca-ns/public_bodies@2027-04-01",
    }


@pytest.mark.parametrize(
    ("regime", "refs"),
    [
        ("bh", {"transfers.csv:bh->group:bh_order42"}),
        ("eu-de", {"localisation.csv:eu:DE/tax_books", "localisation.csv:eu:DE/health_social_cloud"}),
        ("au", {"localisation.csv:au/my_health_records"}),
        ("ca-ns", {"localisation.csv:ca-ns/public_bodies@2027-04-01"}),
        ("default", {"jurisdictions.csv:default"}),
        ("eu-fr", set()),
        ("nowhere", set()),
    ],
)
def test_what_is_open_is_found_by_the_regime_that_it_is_about(regime: str, refs: set[str]) -> None:
    assert {ref for line in bundled().open_lines(JurisdictionId(regime)) for ref in line.fact_ref} == refs


def test_open_lines_reach_every_regime_that_was_made_of_one_row_of_the_prose() -> None:
    split = [
        {"id": f"us-{part}", "kind": "subdivision", "parent": "us", "fact_ref": "jurisdictions.csv:us-2027"}
        for part in ("ok", "vt")
    ]
    line = {"fact_ref": "jurisdictions.csv:us-2027", "field": "law", "text": "start", "why": "not read"}
    pack = small(US, *split, unresolved=table_text("unresolved.csv", line))
    assert [len(pack.open_lines(JurisdictionId(name))) for name in ("us", "us-ok", "us-vt")] == [0, 1, 1]


def test_only_sections_of_the_compilation_are_open_for_no_regime_in_particular() -> None:
    reached = {line.line for lines in bundled().open_by_regime.values() for line in lines}
    rest = [line for line in bundled().unresolved if line.line not in reached]
    assert {ref.partition(":")[0] for line in rest for ref in line.fact_ref} == {"jurisdictions.md"}


# what is refused


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ((EU, EU), "line 3: eu stands there twice"),
        ((EU, {"id": "fr", "countries": "FR"}), "line 3: FR belongs to eu and to fr"),
        (({**EU, "kind": "empire"},), "line 2: column kind: 'empire' must be one of state, bloc, "),
        (({**EU, "status": "maybe"},), "line 2: column status: 'maybe' must be one of in_force, "),
        (({**EU, "since": "2026-02"},), "line 2: column since: '2026-02' must be a date, YYYY-MM-DD"),
        (({**EU, "since": "2026-02-30"},), "column since: '2026-02-30' must be a day that the calendar has"),
        (({**EU, "since": "20260201"},), "column since: '20260201' must be a date"),
        (({**EU, "as_of": "2026-13"},), "column as_of: '2026-13' must be a month like 2026-02"),
        (({**EU, "countries": "DE;fr"},), "column countries: 'DE;fr' must be a country"),
        (({**EU, "countries": "DE;DE"},), "column countries: 'DE;DE' must not name anything twice"),
        (({**EU, "countries": "DE;"},), "column countries: 'DE;' must be a country"),
        (({**EU, "subdivisions": "DE_BY"},), "column subdivisions: 'DE_BY' must be a part of a country"),
        (({**EU, "id": "E U"},), "column id: 'E U' must be a jurisdiction's id"),
        (({**EU, "name": " "},), "column name: ' ' must not be blank"),
        (({**EU, "source": ""},), "column source: '' must not be blank"),
        (({**EU, "fact_ref": ""},), "column fact_ref: '' must not be blank"),
        (({**EU, "erasure": "yes"},), "column erasure: 'yes' must be one of true, false"),
        (({**EU, "dsar_access": "-1"},), "column dsar_access: '-1' must be a whole number"),
        (({**EU, "dsar_access": "٣"},), "column dsar_access: '٣' must be a whole number"),
        (({**EU, "dsar_access": "1" * 10},), "must be a whole number of at most 9 digits"),
        (({"id": "us-ca", "kind": "subdivision"},), "subdivision us-ca names no parent"),
        (({"id": "ae-x", "kind": "overlay"},), "overlay ae-x names no parent"),
        (({"id": "us-ca", "kind": "subdivision", "parent": "us"},), "us-ca names parent us, which is no state or bloc"),
        ((EU, {**US, "parent": "eu"}), "us is a state and names parent eu"),
        (
            (US, {"id": "a", "kind": "subdivision", "parent": "us"}, {"id": "b", "kind": "subdivision", "parent": "a"}),
            "line 4: b names parent a",
        ),
    ],
)
def test_a_row_that_is_not_in_its_form_is_refused_by_file_line_and_column(
    rows: tuple[dict[str, str], ...], named: str
) -> None:
    with pytest.raises(PackError, match=r"^jurisdictions\.csv: line \d+: ") as refused:
        small(*rows)
    assert named in str(refused.value)


STORAGE = {"jurisdiction": "eu", "tag": "*", "rule": "local_only", "region": "eu", "key": "residence", "verbs": "store"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"verbs": ""}, "column verbs: '' must not be blank"),
        ({"verbs": "store;keep"}, f"must be one of {', '.join(DataVerb)}"),
        ({"lifted_by": "bribe"}, "column lifted_by: 'bribe' must be one of scc, "),
        ({"region": ""}, "column region: '' must not be blank"),
        ({"tag": ""}, "column tag: '' must be a word"),
        ({"tag": "health "}, "column tag: 'health ' must be a word without space around it"),
        ({"ttl_hours_abroad": "a day"}, "column ttl_hours_abroad: 'a day' must be a whole number"),
    ],
)
def test_other_files_are_read_as_strictly(changes: dict[str, str], named: str) -> None:
    with pytest.raises(PackError) as refused:
        small(EU, storage=table_text("storage.csv", VALID | STORAGE, VALID | STORAGE | changes))
    assert str(refused.value).startswith("storage.csv: line 3: ")
    assert named in str(refused.value)


def test_blank_cells_stay_unknown() -> None:
    pack = small({**EU, "general_storage_rule": "", "since": "", "erasure": "", "law": ""})
    row = pack.rows[JurisdictionId("eu")]
    assert (row.general_storage_rule, row.since, row.erasure, row.dsar_access, row.subdivisions, row.law) == (
        None,
        None,
        None,
        None,
        (),
        "",
    )


EDGES = "edges.csv"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("fact_ref,from,to,", "fact_ref,from,too,", "line 1: unknown column 'too'; did you mean to?"),
        ("fact_ref,from,to,", "fact_ref,from,", "line 1: column to is missing"),
        ("fact_ref,from,to,", "fact_ref,from,to,to,", "line 1: column to stands there twice"),
        (",eu,ad,,,,,in_force", ",eu,ad,,,,in_force", "line 2: has 15 cells, but the header names 16 columns"),
        (",eu,ad,,,,,in_force", ',eu,"ad"x,,,,,in_force', "line 2: is not CSV"),
        (",eu,ar,,,,,in_force", ",eu,ar,,,,,in_force,", "line 3: has 17 cells"),
        ("transfers.csv:eu->ar", "\n", "line 3: has 0 cells"),
    ],
)
def test_a_file_of_another_shape_is_refused(old: str, new: str, named: str) -> None:
    text = bundled_texts()[EDGES]
    assert old in text
    with pytest.raises(PackError) as refused:
        parse(bundled_texts() | {EDGES: text.replace(old, new, 1)})
    assert str(refused.value).startswith(f"{EDGES}: {named}")


def test_columns_may_stand_in_any_order() -> None:
    rows = rows_of_text("thresholds.csv")
    out = io.StringIO()
    writer = csv.DictWriter(out, list(reversed(rows[0])))
    writer.writeheader()
    writer.writerows(rows)
    assert parse(bundled_texts() | {"thresholds.csv": out.getvalue()}).thresholds == bundled().thresholds


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(PackError, match=r"^denies\.csv: is empty; its first line must name the columns fact_ref, "):
        parse(bundled_texts() | {"denies.csv": ""})


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(PackError, match=r"^denies\.csv: is longer than"):
        parse(bundled_texts() | {"denies.csv": " " * (5 << 20)})
    with pytest.raises(PackError, match=r"a file holds at most 20000 rows"):
        small(EU, unresolved=table_text("unresolved.csv") + "a,b,c,d\n" * 20_001)


def test_a_missing_file_and_one_too_many_are_refused() -> None:
    texts = bundled_texts()
    with pytest.raises(PackError, match=r"^gateways\.csv: is missing$"):
        parse({file: text for file, text in texts.items() if file != "gateways.csv"})
    with pytest.raises(PackError, match=r"^sources\.csv: is no file of the pack"):
        parse(texts | {"sources.csv": ""})


def test_what_would_give_a_lookup_two_answers_is_refused() -> None:
    tag = VALID | {"kind": "sector", "label": "a tag"}
    with pytest.raises(PackError, match=r"^tags\.csv: line 3: money names banking and cash"):
        small(
            EU,
            tags=table_text(
                "tags.csv", tag | {"tag": "banking", "aliases": "money"}, tag | {"tag": "cash", "aliases": "money"}
            ),
        )
    with pytest.raises(PackError, match=r"^tags\.csv: line 3: banking names banking and banking"):
        small(EU, tags=table_text("tags.csv", tag | {"tag": "banking"}, tag | {"tag": "banking"}))
    texts = bundled_texts()
    again = texts["thresholds.csv"].splitlines()[1]
    with pytest.raises(PackError, match=r"^thresholds\.csv: line 19: us-bulk-human-genomic stands there twice"):
        parse(texts | {"thresholds.csv": f"{texts['thresholds.csv']}{again}\n"})
    with pytest.raises(PackError, match=r"^prose/jurisdictions\.csv: line 3: jurisdictions.csv:eu stands there twice"):
        parse(pack_files(EU) | {"prose/jurisdictions.csv": table_text("prose/jurisdictions.csv", PROSE_EU, PROSE_EU)})


def test_a_tag_may_list_its_own_name_among_its_aliases() -> None:
    tags = table_text(
        "tags.csv", VALID | {"kind": "sector", "label": "a tag", "tag": "banking", "aliases": "banking;bank"}
    )
    assert small(EU, tags=tags).tag_names == {"banking": "banking", "bank": "banking"}


def test_the_digest_changes_with_each_file_though_its_rows_stay_the_same() -> None:
    texts = bundled_texts()
    changed = {parse(texts | {file: texts[file].replace("\n", "\r\n")}).digest for file in FILES}
    assert len(changed | {bundled().digest}) == len(FILES) + 1


def test_the_digest_changes_when_texts_change_places() -> None:
    files = pack_files(EU)
    same_columns = table_text("edges.csv", VALID | {"from": "eu", "to": "eu"})
    moved = digest_of(files | {"edges.csv": files["denies.csv"], "denies.csv": files["edges.csv"]})
    assert len({digest_of(files), moved, parse(files | {"edges.csv": same_columns}).digest}) == 3


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(PackError, match="not Unicode"):
        small({**EU, "note": "\ud800"})


def test_every_word_for_evidence_is_in_use() -> None:
    used = {row.requirement for row in bundled().gateways} | {
        word for row in bundled().storage for word in row.lifted_by
    }
    assert used == set(Requirement.__args__)


def test_the_triggers_of_a_transfer_are_those_of_the_definition() -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    table = text.partition("| trigger | fits when |")[2].partition("| any other |")[0]
    named = {
        word
        for line in table.splitlines()
        for word in re.findall(r"`([a-z_]+)`", line.split("|")[1] if "|" in line else "")
    }
    assert named == TRANSFER_TRIGGERS
    assert not TRANSFER_TRIGGERS & OTHER_TRIGGERS


def test_every_trigger_of_the_lists_is_in_use() -> None:
    used = {row.trigger for row in bundled().obligations}
    assert used >= TRANSFER_TRIGGERS | OTHER_TRIGGERS


def test_every_row_of_every_file_has_a_name_to_be_cited_by() -> None:
    for kind in TABLES:
        rows = getattr(bundled(), kind.file)
        assert rows
        assert all(row.name for row in rows), kind.file

"""Contracts held against tables, written from tables, compared with one another, without a database; each meets planted violations."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from cells.records.contracts import TYPES, Contract, parse
from cells.schema.compare import Way, differences
from cells.schema.core import ABSENT, Attribute, Key, Mismatch, Stops, Table, mismatches, reason, unclassified
from cells.schema.files import check, read
from cells.schema.generate import contract_text, merged_text
from foundation.settings import SettingsError
from foundation.words import Verb
from tests.stands.shard import NOTES, notes

PRIMARY = Key(kind="unique", is_primary=True, name="notes_pkey", columns=("subject_id", "id"))


def fitting(**changes: Any) -> Table:
    columns = {name: Attribute(type=TYPES[column.type]) for name, column in notes().columns.items()}
    return msgspec.structs.replace(Table(kind="r", columns=columns, keys=(PRIMARY,)), **changes)


def with_column(name: str, **stated: Any) -> Table:
    return fitting(columns={**fitting().columns, name: Attribute(**stated)})


def key(kind: str, *columns: str, **more: Any) -> tuple[Key, ...]:
    return (PRIMARY, Key(kind=kind, is_primary=False, name="k", columns=columns, **more))


def test_a_table_as_its_contract_says_fits() -> None:
    assert mismatches(notes(), fitting()) == ()
    assert reason((), Verb.WRITE) is None


@pytest.mark.parametrize(
    ("table", "said", "stops"),
    [
        (ABSENT, "there is no table product.notes", Stops.EVERYTHING),
        (fitting(kind="v"), "product.notes is no table but a view", Stops.EVERYTHING),
        (fitting(keys=()), "the primary key of product.notes must be (subject_id, id), it has none", Stops.EVERYTHING),
        (
            fitting(keys=key("unique", "body")),
            "unique key k of product.notes must contain subject_id",
            Stops.EVERYTHING,
        ),
        (
            fitting(keys=key("foreign", "id")),
            "foreign key k of product.notes must contain subject_id",
            Stops.EVERYTHING,
        ),
        (fitting(missing_rights=("DELETE",)), "role domicile_records lacks DELETE on product.notes", Stops.EVERYTHING),
        (fitting(secured=True), "row security is on for product.notes", Stops.EVERYTHING),
        (fitting(rules=("r",)), "rule r of product.notes rewrites writes", Stops.WRITES),
        (with_column("due", type="date"), "product.notes.due is date, the contract says timestamptz", Stops.EVERYTHING),
        (with_column("new", type="text", required=True), "product.notes.new must have a value", Stops.WRITES),
        (with_column("shadow", type="text", required=True), "product.notes.shadow must have a value", Stops.WRITES),
        (with_column("done", type="boolean", generated=True), "product.notes.done is generated", Stops.WRITES),
        (with_column("subject_id", type="uuid", generated=True), "and every write sets it", Stops.WRITES),
    ],
)
def test_each_contradiction_is_named_with_what_it_stops(table: Table, said: str, stops: Stops) -> None:
    (found,) = mismatches(notes(), table)
    assert said in found.what
    assert (found.stops, bool(found.remedy)) == (stops, True)
    assert (reason((found,), Verb.READ) is None) == (stops is Stops.WRITES)
    assert reason((found,), Verb.WRITE) == found.what


@pytest.mark.parametrize(
    "table",
    [
        with_column("new", type="varchar(20)"),
        with_column("new", type="text", required=True, filled=True),
        with_column("new", type="text", generated=True),
        with_column(
            "rank", type="integer", generated=True
        ),  # nobody's write list names it; "*" means what can be written
        with_column("body", type="text", required=True),
        fitting(kind="p"),
        fitting(keys=key("unique", "rank", "subject_id")),
        fitting(triggers=("stamp",)),
    ],
)
def test_what_a_contract_does_not_speak_of_is_no_contradiction(table: Table) -> None:
    assert mismatches(notes(), table) == ()


def test_all_mismatches_are_found_at_once_and_a_renamed_column_is_guessed() -> None:
    columns = {name: one for name, one in fitting().columns.items() if name not in ("price", "due")}
    columns["prices"] = Attribute(type="numeric")
    found = mismatches(notes(), fitting(columns=columns, missing_rights=("SELECT",), keys=key("unique", "body")))
    assert [one.what.removeprefix("product.notes ") for one in found[:2]] == [
        "has no column price",
        "has no column due",
    ]
    assert "renamed to prices?" in found[0].remedy
    assert len(found) == 4
    assert reason(found, Verb.READ) == "; ".join(one.what for one in found)


def test_a_table_that_nobody_writes_needs_no_values() -> None:
    contract = parse(
        NOTES.replace("write: [body, done, due]", "write: []").replace('write: "*"', "write: []"), where="n"
    )
    assert mismatches(contract, with_column("new", type="text", required=True)) == ()


def test_unclassified_columns_are_those_that_nobody_is_shown() -> None:
    assert unclassified(notes(), with_column("new", type="text")) == ("shadow", "new")


# --- files ---------------------------------------------------------------------------------------------------------------------

BROKEN = """\
table: notes
placed_by: subject
owner: subject_id
row: owner
access:
  person: {read: [bodi], write: "*", sees: "*"}
columns:
  subject_id: {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  body:       {type: txt, clas: free_text}
  body:       {type: text, class: free}
  limit:      {class: none}
  Rank:       {type: int, sealed: 3}
"""


def test_all_mistakes_of_a_file_are_told_with_their_lines_and_the_nearest_name() -> None:
    contract, found = check(BROKEN.replace("body:       {type: text", "text:       {type: text"), "f.yaml")
    told = {(one.line, one.what) for one in found}
    assert contract is None
    for line, part in [
        (2, "placed_by: 'subject' is not among the columns; did you mean subject_id?"),
        (4, "unknown key row; did you mean rows?"),
        (6, "access.person.read: column 'bodi' is not in this contract; did you mean body?"),
        (6, "unknown key access.person.sees"),
        (10, "columns.body.type: 'txt' is no type of contracts; did you mean text?"),
        (10, "unknown key columns.body.clas; did you mean class?"),
        (11, "columns.text.class: Invalid enum value 'free'"),
        (12, "columns.limit.type is missing"),
        (12, "column 'limit' has the name of a query parameter"),
        (13, "'Rank' is no identifier"),
        (13, "columns.Rank.sealed: Expected `bool`, got `int`"),
    ]:
        assert any(at == line and part in what for at, what in told), (line, part, told)
    assert len(told) == 11


def test_a_column_that_stands_twice_is_a_mistake() -> None:
    _, found = check(NOTES + "  body: {type: text, class: none}\n", "f.yaml")
    (one,) = found
    assert one.line == NOTES[: NOTES.index("  body:")].count("\n") + 1
    assert one.what.startswith(f"columns.body stands here again, in line {NOTES.count(chr(10)) + 1};")


def test_what_a_cell_would_not_take_is_no_faultless_file() -> None:
    for change in (
        ("type: bigint", "type: serial"),
        ("rows: owner", "rows: all"),
        ("class: none}", "class: none, retention_days: x}"),
    ):
        text = NOTES.replace(*change)
        with pytest.raises(SettingsError):
            parse(text, where="n")
        assert check(text, "n")[1] != []
    for text in ("- a", "a: [", "", "table: notes"):
        assert check(text, "n")[1] != []
    assert check(NOTES, "n") == (notes(), [])


def test_a_folder_tells_of_every_file_and_of_a_table_that_comes_twice(folder: Path) -> None:
    (folder / "a.yaml").write_text(NOTES)
    (folder / "b.yaml").write_text(NOTES)
    (folder / "c.yaml").write_text("table: [\n")
    (folder / "d.yaml").write_bytes(b"\xff")
    found = read(folder)
    assert list(found.contracts) == ["notes"]
    assert [Path(one.file).name for one in found.mistakes] == ["b.yaml", "c.yaml", "d.yaml"]
    assert "has a contract already" in found.mistakes[0].what
    with pytest.raises(SettingsError):
        read(folder / "nowhere")


# --- generate ------------------------------------------------------------------------------------------------------------------


def test_a_generated_contract_is_taken_as_it_stands_and_opens_nothing() -> None:
    columns = {
        **fitting().columns,
        "name": Attribute(type="varchar(20)"),
        "limit": Attribute(type="text"),
        "on": Attribute(type="uuid[]"),
    }
    text = contract_text("notes", fitting(columns=columns))
    contract, mistakes = check(text, "notes.yaml")
    assert mistakes == []
    assert contract is not None
    assert {name: column.type for name, column in contract.columns.items() if name in notes().columns} == {
        name: column.type for name, column in notes().columns.items()
    }
    assert contract.columns["on"].type == "uuid[]"
    assert contract.classified == ("subject_id", "id")
    assert differences({}, {"notes": contract})[0].way is Way.CHANGES
    assert not [one for one in differences({}, {"notes": contract}) if one.way is Way.WIDENS]
    assert "  # name: varchar(20) is no type of contracts\n" in text
    assert "  # limit: the name is a query parameter of the dialect\n" in text
    assert mismatches(contract, fitting(columns=columns)) == ()


@pytest.mark.parametrize("stated", sorted(set(TYPES.values())))
def test_every_type_of_contracts_is_found_again(stated: str) -> None:
    contract, mistakes = check(contract_text("notes", with_column("x", type=stated)), "n")
    assert mistakes == []
    assert contract is not None
    assert TYPES[contract.columns["x"].type] == stated


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ((), "the table has none"),
        ((msgspec.structs.replace(PRIMARY, columns=("id",)),), "it is (id)"),
        ((msgspec.structs.replace(PRIMARY, columns=("id", "subject_id")),), "it is (id, subject_id)"),
        ((msgspec.structs.replace(PRIMARY, columns=("rank", "id")),), "in (rank, id) not both are uuid"),
    ],
)
def test_a_key_that_does_not_tell_is_asked_about(keys: tuple[Key, ...], why: str) -> None:
    text = contract_text("notes", fitting(keys=keys))
    assert f"{why}.\n# placed_by:\n# owner:\n" in text
    told = {one.what for one in check(text, "n")[1]}
    assert {"placed_by is missing", "owner is missing"} <= told
    filled = text.replace("# placed_by:", "placed_by: subject_id").replace("# owner:", "owner: subject_id")
    filled = filled.replace("subject_id: {type: uuid}", "subject_id: {type: uuid, class: pseudonymous}")
    filled = filled.replace("id:         {type: uuid}", "id:         {type: uuid, class: none}")
    assert yaml.safe_load(filled)["placed_by"] == "subject_id"
    assert check(filled, "n")[1] == [] or "subject_id" not in text


COMMENTED = NOTES + "# the end\n"
BLOCK = NOTES.replace("shadow:     {type: text}\n", "shadow:\n      type: text\n") + "# the end\n"
FIRST = "columns:\n" + NOTES.split("columns:\n")[1] + "\n# then the rest\n" + NOTES.split("columns:\n")[0].lstrip()


@pytest.mark.parametrize(
    "text", [NOTES, NOTES.rstrip(), COMMENTED, BLOCK, BLOCK.replace("# the end\n", "").rstrip(), FIRST]
)
def test_merging_keeps_what_is_written_and_adds_new_columns_unclassified(text: str) -> None:
    table = with_column("first", type="text")
    table = msgspec.structs.replace(
        table, columns={**table.columns, "second": Attribute(type="uuid[]"), "no": Attribute(type="xml")}
    )
    merged, added = merged_text(text, notes(), table)
    assert added == ("first", "second")
    contract, mistakes = check(merged, "n")
    assert mistakes == []
    assert contract is not None
    assert {name: column for name, column in contract.columns.items() if name in notes().columns} == notes().columns
    assert {name: (column.type, column.klass) for name, column in contract.columns.items() if name in added} == {
        "first": ("text", None), "second": ("uuid[]", None)
    }  # fmt: skip
    kept = [line for line in merged.splitlines() if "first:" not in line and "second:" not in line]
    assert kept == text.splitlines()
    assert merged_text(merged, contract, table) == (merged, ())


def test_columns_in_one_line_are_not_merged_into() -> None:
    text = "{table: notes, columns: {id: {type: uuid}}}"
    with pytest.raises(SettingsError, match="one a line"):
        merged_text(text, notes(), with_column("x", type="text"))


# --- compare -------------------------------------------------------------------------------------------------------------------


def changed(*change: str) -> Contract:
    text = NOTES.replace(*change)
    assert text != NOTES
    return parse(text, where="n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("shadow:     {type: text}", "shadow:     {type: text, class: none}"), "the person may read for any purpose"),
        (("write: [body, done, due]", "write: [body, done, due, rank]"), "the person may write for any purpose"),
        (("write: [body, done, due]", 'write: "*"'), "the person may delete rows for any purpose"),
        (
            ("purposes: [service]", "purposes: [service, support]"),
            "the person may read for service, support, before for service",
        ),
        ((", purposes: [service]", ""), "service analytics may read for any purpose, before for service"),
        ((", sealed: true", ""), "the person may filter and order by for any purpose"),
        ((", sealed: true", ""), "no longer sealed"),
        (
            ("read: [subject_id, id, rank, body]", "read: [subject_id, id, rank, body, card]"),
            "service analytics may read for any purpose",
        ),
        (("analytics: {", 'new: {read: "*"}, analytics: {'), "service new may read for any purpose"),
        (("rows: owner", "rows: all_of_subject"), "rows: owner -> all_of_subject"),
        (("class: direct", "class: none"), "class: direct -> none"),
    ],
)
def test_what_opens_is_marked_as_widening(change: tuple[str, str], said: str) -> None:
    new = {"notes": changed(*change)}
    found = differences({"notes": notes()}, new)
    assert said in {one.what for one in found if one.way is Way.WIDENS}
    # And what is taken back again narrows.
    assert Way.WIDENS not in {one.way for one in differences(new, {"notes": notes()})}


def test_retention_and_treatments_widen_where_more_is_kept_or_leaves() -> None:
    def ways(old: str, new: str) -> set[Way]:
        before, after = (changed("class: free_text", f"class: direct, {one}") for one in (old, new))
        return {one.way for one in differences({"notes": before}, {"notes": after})}

    days, leaves = "retention_days: {}", "leaving: {{default: {}}}"
    assert ways(days.format(30), days.format(31)) == {Way.WIDENS}
    assert ways(days.format(30), "sealed: false") == {Way.WIDENS}
    assert ways(days.format(30), days.format(29)) == {Way.NARROWS}
    assert ways(leaves.format("drop"), leaves.format("mask_domain")) == {Way.WIDENS}
    assert ways(leaves.format("mask_domain"), leaves.format("keep")) == {Way.WIDENS}
    assert ways("sealed: false", leaves.format("keep")) == {Way.WIDENS}
    assert ways(leaves.format("keep"), leaves.format("drop")) == {Way.NARROWS}
    assert ways(leaves.format("mask_domain"), leaves.format("initials")) == {Way.CHANGES}
    assert ways("sealed: false", leaves.format("drop")) == {Way.CHANGES}


def test_what_leaves_of_json_and_by_whose_law_widens_and_narrows_too() -> None:
    def said(old: str, new: str) -> list[tuple[Way, str | None]]:
        before, after = (changed("extra:      {type: jsonb, class: none", one) for one in (old, new))
        return [(one.way, one.column) for one in differences({"notes": before}, {"notes": after})]

    mail = "mail: {{type: text, class: direct, leaving: {{default: {}}}}}"
    json = f"extra:      {{{{type: jsonb, class: none, members: {{{{{mail}}}}}"
    assert said(json.format("drop"), json.format("initials")) == [(Way.WIDENS, "extra.mail")]
    assert said(json.format("keep"), json.format("drop")) == [(Way.NARROWS, "extra.mail")]
    tagged = "extra:      {{type: jsonb, class: none, tags: [{}]"
    assert said(tagged.format("health"), tagged.format("")) == [(Way.WIDENS, "extra")]
    assert said(tagged.format(""), tagged.format("health")) == [(Way.NARROWS, "extra")]
    asking = msgspec.structs.replace(notes(), asks={"analytics": "opt_in"})
    assert [one.way for one in differences({"notes": asking}, {"notes": notes()})] == [Way.WIDENS]
    assert [one.way for one in differences({"notes": notes()}, {"notes": asking})] == [Way.NARROWS]


def test_a_contract_that_comes_opens_its_table_and_one_that_goes_closes_it() -> None:
    assert differences({"notes": notes()}, {"notes": notes()}) == ()
    come = differences({}, {"notes": notes()})
    assert {one.what for one in come if one.way is Way.WIDENS} >= {"service orders may delete rows for any purpose"}
    gone = differences({"notes": notes()}, {})
    assert {one.way for one in gone} == {Way.NARROWS}
    assert [
        one.column for one in differences({"notes": notes()}, {"notes": changed("class: direct", "class: special")})
    ] == ["card"]


def test_other_rows_are_somebodys_where_the_owner_changes() -> None:
    tenants = NOTES.replace("  body:  ", "  person_id: {type: uuid, class: pseudonymous}\n  body:  ")
    old = parse(tenants, where="n")
    new = parse(tenants.replace("owner: subject_id", "owner: person_id"), where="n")
    assert "owner: subject_id -> person_id: rows belong to others" in {
        one.what for one in differences({"notes": old}, {"notes": new}) if one.way is Way.WIDENS
    }


def test_a_mismatch_is_plain_data() -> None:
    one = Mismatch(what="a", remedy="b")
    assert msgspec.json.decode(msgspec.json.encode(one)) == {"what": "a", "remedy": "b", "stops": "everything"}

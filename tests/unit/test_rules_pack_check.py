"""Mistakes in the facts: the bundled ones have none, and each kind is found when planted."""

import csv
import io
import re

import pytest

from routing_rules.pack import bundled, bundled_texts, parse
from routing_rules.pack.check import mistakes
from tests.stands.rules import EU, US, pack_files


def planted(file: str, row: dict[str, str], changes: dict[str, str]) -> tuple[str, ...]:
    """The mistakes of the bundled facts after the first row of a file that has these cells was changed."""
    return _edited(file, row, lambda found: [found | changes])


def without(file: str, row: dict[str, str]) -> tuple[str, ...]:
    return _edited(file, row, lambda _: [])


def with_another(file: str, row: dict[str, str], changes: dict[str, str] | None = None) -> tuple[str, ...]:
    return _edited(file, row, lambda found: [found, found | (changes or {})])


def _edited(file, row, edit) -> tuple[str, ...]:
    rows = list(csv.DictReader(io.StringIO(bundled_texts()[file])))
    place = next(number for number, cells in enumerate(rows) if row.items() <= cells.items())
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows[:place], *edit(rows[place]), *rows[place + 1 :]])
    return mistakes(parse(bundled_texts() | {file: out.getvalue()}))


def test_the_bundled_facts_hang_together() -> None:
    assert mistakes(bundled()) == ()


AD = {"from": "eu", "to": "ad"}
SCC = {"from": "eu", "to": "*", "alternative": "1", "requirement": "scc"}
PAYMENTS = {"jurisdiction": "in", "tag": "payments"}
GENOMIC = {"id": "us-bulk-human-genomic"}


@pytest.mark.parametrize(
    ("file", "row", "changes", "named"),
    [
        # what points nowhere
        ("edges.csv", AD, {"from": "euu"}, "origin names euu, which is no id; did you mean eu?"),
        ("edges.csv", AD, {"to": "andorra"}, "to names andorra, which is no place"),
        (
            "edges.csv",
            AD,
            {"to": "group:eu_adequat"},
            "to names group:eu_adequat, which is no place; did you mean group:eu_adequate?",
        ),
        ("edges.csv", AD, {"to": "*"}, "to names *, which is no place"),
        ("edges.csv", AD, {"tags_only": "helth"}, "tags_only names helth, which is no tag; did you mean health?"),
        ("edges.csv", AD, {"tags_except": "ethnic"}, "tags_except names ethnic, which is no tag"),
        ("gateways.csv", SCC, {"from": "nowhere"}, "origin names nowhere"),
        ("gateways.csv", SCC, {"to": "everywhere"}, "to names everywhere, which is no place or any"),
        ("gateways.csv", SCC, {"tags_only": "nothing"}, "tags_only names nothing"),
        ("gateways.csv", SCC, {"tags_except": "nothing"}, "tags_except names nothing"),
        ("gateways.csv", SCC, {"threshold_id": "many"}, "threshold_ids names many, which is no threshold"),
        ("denies.csv", {"from": "us"}, {"from": "u-s"}, "origin names u-s"),
        ("denies.csv", {"from": "us"}, {"to": "mars"}, "to names mars"),
        ("denies.csv", {"from": "us"}, {"tag": "anything"}, "tag names anything, which is no tag or any"),
        ("denies.csv", {"from": "us"}, {"threshold_id": "us-bulk"}, "threshold_id names us-bulk"),
        ("storage.csv", PAYMENTS, {"jurisdiction": "ind"}, "jurisdiction names ind"),
        (
            "storage.csv",
            PAYMENTS,
            {"tag": "payment"},
            "tag names payment, which is no tag or any; did you mean payments?",
        ),
        ("storage.csv", PAYMENTS, {"region": "in;group:friends"}, "region names group:friends"),
        ("storage.csv", PAYMENTS, {"region": "*"}, "region names *"),
        ("thresholds.csv", GENOMIC, {"jurisdiction": "usa"}, "jurisdiction names usa"),
        ("thresholds.csv", GENOMIC, {"tag": "genes"}, "tag names genes"),
        ("obligations.csv", {"jurisdiction": "eu"}, {"jurisdiction": "europe"}, "jurisdiction names europe"),
        ("special_categories.csv", {"jurisdiction": "eu"}, {"jurisdiction": "europe"}, "jurisdiction names europe"),
        ("special_categories.csv", {"jurisdiction": "eu"}, {"tag": "ethnic"}, "tag names ethnic"),
        ("groups.csv", {"group": "eaeu"}, {"member": "eurasia"}, "member names eurasia"),
        ("tags.csv", {"tag": "race"}, {"may_be": "colour"}, "may_be names colour, which is no tag"),
        # what contradicts itself
        ("edges.csv", AD, {"until": "2010-10-18"}, "eu -> ad: ends on 2010-10-18, before it starts on 2010-10-19"),
        ("storage.csv", PAYMENTS, {"until": "2000-01-01"}, "ends on 2000-01-01, before it starts"),
        ("edges.csv", AD, {"since": ""}, "is in force and has no since"),
        ("edges.csv", {"status": "promised"}, {"since": "2026-01-01"}, "is a promise and has since 2026-01-01"),
        (
            "groups.csv",
            {"group": "bh_order42"},
            {"membership_complete": "true"},
            "has no member and says that the list is complete",
        ),
        (
            "groups.csv",
            {"group": "eu_adequate"},
            {"since": "2010-10-20"},
            "no edge in force of eu says so for the same days",
        ),
        (
            "edges.csv",
            {"from": "uk", "to": "jp"},
            {"since": "2021-01-02"},
            "group uk_adequate does not list it for the same days",
        ),
        (
            "gateways.csv",
            SCC,
            {"tags_except": "health"},
            "differs in tags_except from line 2, which is of the same alternative",
        ),
        ("gateways.csv", SCC, {"since": "2026-02-27"}, "differs in since from line 2"),
        ("gateways.csv", SCC, {"profile": "common"}, "differs in profile from line 2"),
        ("gateways.csv", SCC, {"recipient_class": "processor"}, "differs in recipient_class from line 2"),
        ("thresholds.csv", GENOMIC, {"max": "100"}, "no count is at least 100 and below 100"),
        ("thresholds.csv", GENOMIC, {"months": ""}, "months and window_kind disagree"),
        ("thresholds.csv", GENOMIC, {"window_kind": "none"}, "months and window_kind disagree"),
        ("thresholds.csv", GENOMIC, {"months": "0"}, "counts over 0 months"),
        ("thresholds.csv", GENOMIC, {"jurisdiction": "cn"}, "counts by us-bulk-human-genomic, a threshold of cn"),
        (
            "jurisdictions.csv",
            {"id": "uk"},
            {"countries": "GB;XX"},
            "250 countries belong to a row; ISO 3166-1 has 249",
        ),
        ("jurisdictions.csv", {"id": "uk"}, {"countries": ""}, "a state lists countries and no parts of them"),
        ("jurisdictions.csv", {"id": "uk"}, {"subdivisions": "GB-SCT"}, "a state lists countries and no parts of them"),
        ("jurisdictions.csv", {"id": "us-dpf"}, {"countries": "US"}, "schemes are no places and list none"),
        ("jurisdictions.csv", {"id": "ae-difc"}, {"subdivisions": "AE-DU"}, "overlays are no places and list none"),
        (
            "jurisdictions.csv",
            {"id": "us-tx"},
            {"countries": "US"},
            "a subdivision lists either countries or parts of them",
        ),
        (
            "jurisdictions.csv",
            {"id": "us-tx"},
            {"subdivisions": ""},
            "a subdivision lists either countries or parts of them",
        ),
        ("jurisdictions.csv", {"id": "us-tx"}, {"subdivisions": "CA-TX"}, "CA-TX is no part of its parent us"),
        ("jurisdictions.csv", {"id": "us-tx"}, {"subdivisions": "US-CA"}, "US-CA stands in us-ca too"),
        ("jurisdictions.csv", {"id": "eu-de"}, {"countries": "GB"}, "GB is no part of its parent eu"),
        (
            "jurisdictions.csv",
            {"id": "eu"},
            {"unit": ""},
            "unit stands if and only if dsar_access or dsar_extension does",
        ),
        (
            "jurisdictions.csv",
            {"id": "eu"},
            {"breach_unit": ""},
            "breach_unit stands if and only if breach_notice_hours does",
        ),
        (
            "obligations.csv",
            {"trigger": "transfer_planned"},
            {"trigger": "transfer_plannd"},
            "trigger transfer_plannd is not in the list",
        ),
        (
            "obligations.csv",
            {"trigger": "breach_known"},
            {"trigger": "threshold_gone"},
            "trigger threshold_gone is not in the list",
        ),
        # what was made from nothing, or nothing from it
        (
            "edges.csv",
            AD,
            {"fact_ref": "transfers.csv:eu->adx"},
            "fact_ref transfers.csv:eu->adx is no row of the prose; did you mean",
        ),
        ("edges.csv", AD, {"fact_ref": "jurisdictions.md:0"}, "fact_ref jurisdictions.md:0 is no row of the prose"),
        (
            "unresolved.csv",
            {"field": "erasure"},
            {"fact_ref": "jurisdictions.csv:ca-qq"},
            "fact_ref jurisdictions.csv:ca-qq is no row",
        ),
        (
            "gateways.csv",
            SCC,
            {"source": "=jurisdictions.csv:eux"},
            "source jurisdictions.csv:eux is no row of the prose",
        ),
        (
            "prose/transfers.csv",
            {"from": "ar", "to": "us"},
            {"to": "us;ca"},
            "ar->us;ca: names more than one destination",
        ),
        (
            "prose/transfers.csv",
            {"from": "ar", "to": "us"},
            {"status": "likely"},
            "status is 'likely', but must be one of in_force",
        ),
        (
            "prose/thresholds.csv",
            {"class": "human genomic"},
            {"class": "genomes"},
            "genomes/100 US persons: no row was made from it",
        ),
    ],
)
def test_a_planted_mistake_is_found_and_named(
    file: str, row: dict[str, str], changes: dict[str, str], named: str
) -> None:
    found = planted(file, row, changes)
    assert any(named in line for line in found), found
    assert [line for line in found if re.match(r"(prose/)?[a-z_]+\.csv: (line [1-9]|249|250|248)", line) is None] == []


@pytest.mark.parametrize(
    ("file", "row", "named"),
    [
        ("edges.csv", AD, "edges.csv: line 3: eu -> ad: is named like line 2 by origin, to"),
        ("groups.csv", {"group": "eea"}, "is named like line 2"),
        ("special_categories.csv", {"jurisdiction": "eu"}, "is named like line 2"),
        ("gateways.csv", SCC, "is named like line 2"),
        ("denies.csv", {"from": "us"}, "is named like line 2"),
        ("storage.csv", PAYMENTS, "is named like line 2"),
        ("obligations.csv", {"jurisdiction": "eu"}, "is named like line 2"),
        ("unresolved.csv", {"field": "to"}, "is named like line 2"),
    ],
)
def test_a_row_that_stands_twice_is_found(file: str, row: dict[str, str], named: str) -> None:
    assert any(
        named in line
        for line in with_another(file, row, {"source": "K: another"} if file != "unresolved.csv" else None)
    )


def test_one_reading_for_each_profile_is_two_rows_and_no_mistake() -> None:
    assert with_another("storage.csv", PAYMENTS, {"profile": "common"}) == ()


@pytest.mark.parametrize(
    ("file", "row", "named"),
    [
        ("edges.csv", {"from": "uk", "to": "jp"}, "uk_adequate: jp: no edge in force of uk says so"),
        ("groups.csv", {"group": "eu_adequate", "member": "jp"}, "eu -> jp: group eu_adequate does not list it"),
    ],
)
def test_what_one_lists_as_adequate_and_what_others_say_it_lists_are_held_together(
    file: str, row: dict[str, str], named: str
) -> None:
    assert any(named in line for line in without(file, row))


def test_a_row_of_the_prose_that_led_to_nothing_is_found() -> None:
    ref = "localisation.csv:lk/public_authorities"
    texts = bundled_texts()
    without_it = {
        file: text.replace(ref, "localisation.csv:in/payments") for file, text in texts.items() if file[:6] != "prose/"
    }
    assert any(f"{ref}: no row was made from it" in line for line in mistakes(parse(texts | without_it)))


def test_a_row_of_the_prose_is_not_lost_while_another_row_was_made_from_it() -> None:
    assert without("unresolved.csv", {"fact_ref": "localisation.csv:in/payments"}) == ()


def test_countries_that_nobody_owns_are_counted() -> None:
    assert "jurisdictions.csv: 3 countries belong to a row; ISO 3166-1 has 249" in mistakes(parse(pack_files(EU, US)))


def test_a_mistake_names_file_line_and_row() -> None:
    found = planted("edges.csv", AD, {"to": "ax"})
    assert any(re.match(r"edges\.csv: line 2: eu -> ax: to names ax, which is no place", line) for line in found)

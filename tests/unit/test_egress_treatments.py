"""Each treatment of egress: what becomes of a value, what never leaves, and that contracts can state nothing else."""

import datetime
import hmac
import uuid
from decimal import Decimal
from typing import Any

import pytest

from cells.egress import wording
from cells.egress.keys import check_of, join_key, keys_for
from cells.egress.scan import redacted
from cells.egress.treatments import Means, Unmeant, made
from cells.egress.values import OF_DATABASE, OF_JSON, UNFIT
from cells.egress.wording import MalformedTreatment, Selector, selector, treatment
from cells.records.contracts import parse
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.words import CellId
from tests.stands.egress import EU, PEOPLE, ROOT, TODAY, Found, people

MEANS = Means(TODAY, keys_for(ROOT, EU, "analytics", {}), {"tiers": {"gold": "paid"}})


def become(text: str, value: Any) -> Any:
    return made(treatment(text), MEANS)(value)


@pytest.mark.parametrize(
    ("text", "value", "becomes"),
    [
        ("keep", "as it is", "as it is"),
        ("mask_domain", "Ann.Carter+x@Mail.Example.com", "mail.example.com"),
        ("mask_domain", "no address", UNFIT),
        ("mask_domain", "two@at@example.com", UNFIT),
        ("mask_domain", "ann@localhost", UNFIT),
        ("last(4)", "4111 1111 1111 1234", "1234"),
        ("last(4)", "1234567", UNFIT),
        ("subnet", "203.0.113.77", "203.0.113.0/24"),
        ("subnet", "2001:db8:1:2::1", "2001:db8:1::/48"),
        ("subnet", "::ffff:203.0.113.77", "203.0.113.0/24"),
        ("subnet", "2002:cb00:714d::1", "203.0.113.0/24"),
        ("subnet", "203.0.113", UNFIT),
        ("initials", "Ann-Marie van Dijk", "A. v. D."),
        ("initials", "A B", UNFIT),
        ("initials", "4 Privet Drive", UNFIT),
        ("age_band", datetime.date(1990, 11, 21), "30-39"),
        ("age_band", datetime.date(1996, 11, 22), "20-29"),
        ("age_band(5)", datetime.date(1938, 1, 1), "85-89"),
        ("age_band", datetime.date(1930, 1, 1), "90+"),
        ("age_band", datetime.date(2027, 1, 1), UNFIT),
        ("postal(2)", "10117", "10"),
        ("postal(3)", "sw1a 1aa", "SW1"),
        ("postal(3)", "1011", UNFIT),
        ("postal(2)", "Berlin!", UNFIT),
        ("month", datetime.date(2026, 4, 3), "2026-04"),
        ("year", datetime.datetime(2026, 4, 3, tzinfo=datetime.UTC), 2026),
        ("geohash(4)", "u33dc0cppp", "u33d"),
        ("geohash(5)", "57.64911, 10.40744", "u4pru"),
        ("geohash(4)", "u33d", UNFIT),
        ("geohash(4)", "Alexanderplatz", UNFIT),
        ("geohash(4)", "91, 10", UNFIT),
        ("bin(100)", 1234, 1200),
        ("bin(100)", -1, -100),
        ("bins(0,18,65)", -1, "<0"),
        ("bins(0,18,65)", "18", "18..65"),
        ("bins(0,18,65)", 65.0, ">=65"),
        ("level(tiers)", "gold", "paid"),
        ("level(tiers)", "platinum", UNFIT),
    ],
)
def test_a_value_becomes_what_its_treatment_says_or_does_not_leave(text: str, value: Any, becomes: Any) -> None:
    assert become(text, value) == becomes


def test_tokens_join_within_a_cell_and_purpose_and_nowhere_else() -> None:
    def token(cell: CellId, purpose: str, root: Secret[bytes] = ROOT) -> str:
        means = Means(TODAY, keys_for(root, cell, purpose, {}), {})
        return str(made(treatment("token"), means)("ann"))

    here = token(EU, "analytics")
    assert token(EU, "analytics") == here
    others = {token(EU, "sale"), token(CellId("us-va"), "analytics"), token(EU, "analytics", Secret(b"x" * 32))}
    assert len(others | {here}) == 4
    assert here == hmac.digest(keys_for(ROOT, EU, "analytics", {})[None].reveal(), b"tann", "sha256").hex()[:32]


def test_tokens_of_two_cells_join_where_both_were_granted_the_join_and_a_join_that_was_not_is_not_made() -> None:
    granted = {"lake": Secret(b"j" * 32)}

    def token(cell: CellId, purpose: str, joins: dict[str, Secret[bytes]]) -> str:
        means = Means(TODAY, keys_for(ROOT, cell, purpose, joins), {})
        return str(made(treatment("token(lake)"), means)("ann"))

    assert token(EU, "analytics", granted) == token(CellId("us-va"), "care", granted)
    assert join_key(granted["lake"], "lake") != join_key(granted["lake"], "other")
    with pytest.raises(Unmeant, match="join key lake is not granted"):
        token(EU, "analytics", {})


def test_a_check_of_keys_tells_them_apart_and_nothing_of_them() -> None:
    own, joined = keys_for(ROOT, EU, "analytics", {}), keys_for(ROOT, EU, "analytics", {"lake": ROOT})
    others = (joined, keys_for(ROOT, EU, "sale", {}), keys_for(Secret(b"x" * 32), EU, "analytics", {}))
    assert len({check_of(one) for one in (own, *others)}) == 4
    assert check_of(dict(reversed(joined.items()))) == check_of(joined)


def test_a_number_and_its_text_have_different_tokens() -> None:
    assert become("token", 12) != become("token", "12")


@pytest.mark.parametrize(
    ("of_type", "value", "read"),
    [
        ("uuid", uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("text", b"bytes", UNFIT),
        ("boolean", 1, UNFIT),
        ("smallint", 40_000, UNFIT),
        ("int", True, UNFIT),
        ("bigint", 1 << 63, UNFIT),
        ("numeric", Decimal("1.10"), "1.10"),
        ("numeric", Decimal("NaN"), UNFIT),
        ("double precision", float("inf"), UNFIT),
        ("date", datetime.datetime(2026, 1, 1), UNFIT),  # noqa: DTZ001 - a naive one on purpose
        ("timestamptz", datetime.datetime(2026, 1, 1), UNFIT),  # noqa: DTZ001 - a naive one on purpose
        ("timestamp", datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), UNFIT),
        ("jsonb", "{", UNFIT),
        ("jsonb", '{"a": 1}', {"a": 1}),
        ("text[]", ["a", None], ["a", None]),
        ("text[]", ["a", 1], UNFIT),
    ],
)
def test_a_value_that_is_not_of_its_type_is_unfit(of_type: str, value: Any, read: Any) -> None:
    assert OF_DATABASE[of_type](value) == read


def test_json_documents_write_days_and_ids_as_text() -> None:
    assert OF_JSON["date"]("2026-04-03") == datetime.date(2026, 4, 3)
    assert OF_JSON["date"]("3 April") is UNFIT
    assert OF_JSON["timestamptz"]("2026-04-03T12:00:00+02:00") == datetime.datetime(2026, 4, 3, 10, tzinfo=datetime.UTC)
    assert OF_JSON["timestamptz"]("2026-04-03T12:00:00") is UNFIT
    assert OF_JSON["uuid"]("0B4A1F6E-52B1-4C59-9A35-0A2F6A1D3C77") == "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"
    assert OF_JSON["numeric"]("1e9") is UNFIT


def test_findings_are_redacted_where_they_overlap_too() -> None:
    text = "ann@example.com, 030 1234567"
    found = [Found("phone", 17, 28), Found("email", 0, 15), Found("url", 4, 15)]
    assert redacted(text, found) == "[email], [phone]"
    assert redacted("abcdef", [Found("one", 0, 3), Found("two", 2, 5)]) == "[one]f"


@pytest.mark.parametrize(
    "text",
    [
        "Keep",
        "hide",
        "last(5)",
        "last(0)",
        "last(a)",
        "bin",
        "bin(1)",
        "bins(5,1)",
        "level",
        "token(A)",
        "age_band(10",
        "postal(1.5)",
    ],
)
def test_what_is_no_treatment_is_refused(text: str) -> None:
    with pytest.raises(MalformedTreatment):
        treatment(text)


def test_selectors_are_default_or_named_parts() -> None:
    assert selector("default") == Selector()
    assert selector("from:in+to:us+purpose:sale") == Selector("in", "us", "sale")
    for text in ("", "us", "to:", "to:us+to:uk", "purpose:Sale", "default+to:us"):
        with pytest.raises(MalformedTreatment):
            selector(text)


@pytest.mark.parametrize(
    ("stated", "instead", "says"),
    [
        (
            "leaving: {default: month}",
            "leaving: {default: months}",
            "columns.seen.leaving.default: 'months' is no treatment",
        ),
        ("leaving: {default: month}", "leaving: {default: age_band}", "age_band is for date, not for timestamptz"),
        ("leaving: {default: month}", "leaving: {usually: month}", "columns.seen.leaving.usually"),
        ("leaving: {default: scan}", "leaving: {default: keep}", "free text leaves scanned and redacted or not at all"),
        ("sealed: true", "sealed: true, leaving: {default: last(4)}", "a sealed column never leaves"),
        ("level(tiers)", "level(ranks)", "the contract has no hierarchy 'ranks'"),
        ("mail:  {type: text", "mail:  {type: string", "columns.extra.members.mail.type: 'string'"),
        ("tier:       {type: text", "tier:       {members: {a: {type: text}}, type: text", "members are for objects"),
    ],
)
def test_a_contract_that_states_what_cannot_be_is_refused_with_the_place(stated: str, instead: str, says: str) -> None:
    assert PEOPLE.count(stated) == 1
    with pytest.raises(SettingsError) as refused:
        parse(PEOPLE.replace(stated, instead), where="people.yaml")
    assert says in str(refused.value)


def test_every_treatment_that_contracts_may_state_is_made_or_is_one_of_those_made_elsewhere() -> None:
    arguments = {"bin": "(10)", "bins": "(1,2)", "level": "(tiers)"}
    for kind in wording.FORMS:
        stated = treatment(kind + arguments.get(kind, ""))
        if kind in (wording.DROP, wording.WALK, wording.SCAN):
            with pytest.raises(Unmeant):
                made(stated, MEANS)
        else:
            assert callable(made(stated, MEANS))
    assert people().columns["extra"].members["tries"].items is not None

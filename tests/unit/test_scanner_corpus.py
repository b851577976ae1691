"""Recall and precision on the benches' corpus: one detector, no settings, for both. The benches measure on a larger one."""

import importlib
from random import Random

import pytest

from cells.egress.scanner.findings import Finding, Kind
from cells.egress.scanner.identifiers import _check
from cells.egress.scanner.stream import scan
from cells.egress.scanner.strings import scan_text
from load_tests.bench.egress.clean import clean_logs
from load_tests.bench.egress.corpus import KINDS, Held, held, planted
from load_tests.bench.egress.identities import NATIONAL
from load_tests.bench.egress.locales import LOCALES

RECALL = {"card": 1.0, "iban": 1.0, "email": 1.0}
OTHERS = 0.98
PHONES_IN_PROSE = 0.95
FALSE_PER_MB_MAX = 1
OWN = {"ru.snils", "sg.nric", "cn.ric"}
"""Schemes that the library does not know, or knows with a list of counties."""
SIGNED = {"fi.hetu", "se.personnummer"}
CENTURY_LAST = {"is_.kennitala"}


@pytest.fixture(scope="module")
def result() -> Held:
    corpus = planted(seed=20, rounds=6)
    return held(corpus, scan(corpus.text()))


def test_there_are_twenty_locales_and_thirty_schemes() -> None:
    assert len(LOCALES) >= 20
    assert len(NATIONAL) >= 30


@pytest.mark.parametrize("form", ["prose", "log", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_planted_values_are_found(result: Held, kind: str, form: str) -> None:
    hit, of = result.recall[kind, form]
    least = PHONES_IN_PROSE if (kind, form) == ("phone", "prose") else RECALL.get(kind, OTHERS)
    assert of >= 100
    assert hit / of >= least, [one for one in result.missed if (one.kind, one.form) == (kind, form)]


def test_clean_logs_have_no_more_than_one_false_finding_in_a_megabyte() -> None:
    logs = clean_logs(seed=20, size=2_000_000)
    assert len(scan(logs)) <= FALSE_PER_MB_MAX * len(logs) / 1e6


def test_a_value_in_clean_logs_is_found_and_nothing_else() -> None:
    lines = clean_logs(seed=21, size=200_000).splitlines(keepends=True)
    whole = b"".join([*lines[:400], b"user=anna@example.org\n", *lines[400:]])
    assert [one.kind for one in scan(whole)] == [Kind.EMAIL]


def test_the_measure_sees_what_a_scanner_misses() -> None:
    """The checker that guards the border gets a violation: one finding taken away, one of another kind, one elsewhere."""
    corpus = planted(seed=3, rounds=1)
    found = scan(corpus.text())
    whole = held(corpus, found)
    first = corpus.planted[0]
    at = next(one for one in found if one.start <= first.start < one.end)
    for spoilt in ([], [Finding(at.start, at.end, Kind.OPAQUE)], [Finding(at.end, at.end + 9, at.kind)]):
        less = held(corpus, [*(one for one in found if one != at), *spoilt])
        assert len(less.missed) == len(whole.missed) + 1


@pytest.mark.parametrize("scheme", NATIONAL)
def test_computed_identifiers_are_the_librarys_and_are_found(scheme: str) -> None:
    label, make = NATIONAL[scheme]
    chance = Random(7)
    for _ in range(20):
        number = make(chance)
        if scheme not in OWN:
            assert importlib.import_module(f"stdnum.{scheme}").is_valid(number), number
        assert [one for one in scan_text(f"{label}: {number}") if one.kind is Kind.NATIONAL_ID], (label, number)


@pytest.mark.parametrize("scheme", sorted(set(NATIONAL) - {"us.ssn", "dk.cpr", "in_.pan"}))
def test_a_wrong_check_digit_is_not_this_schemes(scheme: str) -> None:
    """Those left out have none: their ranges alone are checked."""
    make = NATIONAL[scheme][1]
    chance = Random(8)
    refused = 0
    for _ in range(20):
        number = "".join(sign for sign in make(chance).upper() if sign.isalnum() or (sign == "-" and scheme in SIGNED))
        at = max(place for place, sign in enumerate(number) if sign.isdigit()) - (scheme in CENTURY_LAST)
        spoilt = number[:at] + str((int(number[at]) + 1) % 10) + number[at + 1 :]
        refused += not _check(scheme)(spoilt)
    assert refused >= 18


def test_nine_digits_alone_are_no_identifier() -> None:
    assert scan_text("shipped 123456788 yesterday") == []
    assert [one.kind for one in scan_text("SSN 123456788")] == [Kind.NATIONAL_ID]

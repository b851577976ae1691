"""Gates only spare work: what they let through is all that is found where every pattern is searched for everywhere."""

import re
from collections.abc import Iterator
from random import Random
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cells.egress.scanner import core, identifiers, necessary, phones
from cells.egress.scanner.findings import Hit
from load_tests.bench.egress import values
from load_tests.bench.egress.clean import clean_logs
from load_tests.bench.egress.corpus import planted
from load_tests.bench.egress.hostile import HOSTILE
from load_tests.bench.egress.identities import NATIONAL

SIGNS = [
    "@",
    "a",
    "b@",
    ".",
    "de",
    "。",
    "ü",
    "日本",
    "xn--p1ai",
    "[",
    "1.2.3.4",
    "]",
    " ",
    "\n",
    "\v",
    ":",
    "://",
    "http",
    "s3cret",
]
SIGNS += [
    '"',
    "'",
    "<",
    "/",
    "?",
    "%",
    "-",
    "eyJ",
    "x" * 40,
    "anna@example.org",
    "ftp://a:b@c",
    "phone 030 123456",
    "4111 1111 1111 1111",
]
SIGNS += [
    "AKIA",
    "sk_live_",
    "sk-",
    "hf_",
    "SG.",
    ":AA",
    "12345678",
    "Authorization: Basic ",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop",
    "eyJhbGciOiJI.eyJzdWIiOiJ.x",
    "-----BEGIN PRIVATE KEY-----",
    "52.52000, 13.40500",
    "lat: 52.52 lon: 13.40",
    "né le 3 mai 1980",
]
HOSTILE_BYTES = 1_000
TRIES = 400


def everywhere(data: bytes) -> Iterator[Hit]:
    """As without gates."""
    for gate in core.gates():
        ends = [0] * len(gate.finders)
        for low in range(0, len(data), core.SLICE_BYTES):
            for at, (finder, confirm) in enumerate(gate.finders):
                for start, end in core._found(finder, data, max(low, ends[at]), low + core.SLICE_BYTES):
                    ends[at] = end
                    yield from confirm(data, start, end)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(SIGNS), max_size=60), st.booleans())
def test_no_gate_keeps_anything_back(signs: list[str], cut: bool) -> None:
    data = "".join(signs).encode()[1 if cut else 0 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "SLICE_BYTES", 64)
        assert sorted(core._hits(data)) == sorted(everywhere(data))


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["anna@example.org", "a://b:c@d", "a@[10.0.0.1]"]))
def test_nor_among_bytes_of_chance(around: bytes, value: str) -> None:
    data = around + value.encode() + around
    assert sorted(core._hits(data)) == sorted(everywhere(data))


@pytest.mark.parametrize("kind", HOSTILE)
def test_nor_of_hostile_text(kind: str) -> None:
    data = HOSTILE[kind](HOSTILE_BYTES)
    assert sorted(core._hits(data)) == sorted(everywhere(data))


def test_nor_of_logs_and_prose() -> None:
    data = planted(seed=11, rounds=1).text()[:30_000] + clean_logs(11, 30_000)
    found = sorted(core._hits(data))
    assert found == sorted(everywhere(data))
    assert len({kind for kind, *_ in found}) > 8


def of_all_plans() -> tuple[Any, Any]:
    """Every plan's numbers with its code, and within its country, in one set each."""
    abroad, within = [], []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        plan = phonenumbers.PhoneMetadata.metadata_for_region(region)
        numbers = phones._numbers(plan)
        abroad.append(f"{plan.country_code}{numbers}")
        within.append(numbers)
    for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        plan = phonenumbers.PhoneMetadata.metadata_for_nongeo_region(code)
        abroad.append(f"{code}(?:{plan.general_desc.national_number_pattern})")
    return phones._set(abroad), phones._set(within)


def test_plans_asked_by_country_code_and_the_broad_ones_first_answer_as_all_at_once() -> None:
    abroad, within = of_all_plans()
    chance, answers = Random(12), set()
    for _ in range(300):
        number = values.number(chance, chance.choice(values.REGIONS), values.TYPES)
        plain = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
        for digits in (plain, plain[:-1], plain[3:], f"0{plain[2:]}", str(chance.getrandbits(chance.randint(14, 56)))):
            raw = digits.encode()
            found = phones._abroad(raw), phones._within(raw)
            assert found == (bool(abroad.Match(raw)), bool(within.Match(raw))), digits
            answers.add(found)
    assert len(answers) == 4


@pytest.mark.parametrize(("scheme", "count"), necessary.RULES)
def test_a_rule_keeps_no_number_from_the_library_that_it_holds_for_valid(scheme: str, count: int) -> None:
    """Of numbers of chance and, as dates are rare among them, of dates; and it keeps most others from it."""
    chance, rule = Random(f"{scheme}{count}"), necessary.RULES[scheme, count]
    valid = kept = 0
    for _ in range(TRIES):
        number = _drawn(chance, scheme, count)
        written = f"{number[:-4]}-{number[-4:]}" if scheme == "se.personnummer" else number
        passes = rule(tuple(map(int, number)))
        kept += not passes
        if identifiers._check(scheme)(written):
            valid += 1
            assert passes, number
    assert kept > TRIES // 2
    assert valid > 0


def _drawn(chance: Random, scheme: str, count: int) -> str:
    """Mostly what is none: of chance, or with a date in it."""
    made = re.sub(r"[^0-9]", "", NATIONAL[scheme][1](chance)) if scheme in NATIONAL else ""
    if scheme == "fr.nif":
        first = chance.randrange(4 * 10**9)
        made = f"{first:010}{first % 511:03}"
    if len(made) == count and chance.random() < 0.1:
        return made
    return _dated(chance, count) if chance.random() < 0.8 else f"{chance.getrandbits(60):018}"[-count:]


def _dated(chance: Random, count: int) -> str:
    """Digits with a date near their beginning, in any order of day, month and year, as identifiers have it."""
    day, month, year = f"{chance.randint(1, 28):02}", f"{chance.randint(1, 12):02}", f"{chance.randint(0, 99):02}"
    begin = chance.choice(("", "1", "3", "4", "5", "756"))
    date = chance.choice((f"{day}{month}{year}", f"{year}{month}{day}", f"{day}{month}9{year}"))
    return (begin + date + f"{chance.getrandbits(60):018}")[:count]

"""Gates only spare work: what they let through is all that is found where every pattern is searched for everywhere."""

import re
from collections.abc import Iterator
from random import Random
from typing import Any

import phonenumbers
import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cells.egress.scanner import context, core, identifiers, necessary, phones
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
    """As without gates, stretches and what is remembered: each pattern over the whole text."""
    for one in (*(one for one, _ in core.ADDRESSES), *core.ANNOUNCED, *core.NUMBERS):
        for found in PATTERNS[one.pattern].finditer(core.in_utf8(data)):
            yield from one.confirm(data, *found.span())


PATTERNS = {
    one.pattern: re2.compile(one.pattern)
    for one in (*(one for one, _ in core.ADDRESSES), *core.ANNOUNCED, *core.NUMBERS)
}


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(SIGNS), max_size=60), st.booleans(), st.integers(1, 80))
def test_no_gate_keeps_anything_back(signs: list[str], cut: bool, stretch: int) -> None:
    data = "".join(signs).encode()[1 if cut else 0 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "STRETCH_BYTES", stretch)
        assert sorted(core._hits(data)) == sorted(everywhere(data))


SPOKEN = [
    "phone",
    "tel ",
    "card",
    "cards_",
    "born ",
    "ssn ",
    "id",
    "tax",
    "personal ",
    "national",
    "number",
    "_",
    "=",
    ": ",
    " ",
    "true ",
    "\n",
]
SPOKEN += [
    "1",
    "2",
    "30",
    "1980",
    "4111111111111111",
    "0301234567",
    "130692544",
    "ya",
    "29.",
    "dop_v",
    "dop_v1_",
    "AKIA",
    "8" * 9,
    ":AA",
    "x" * 30,
]
SPOKEN += [
    "phone_verified=true cards_total=",
    "é",
    "A",
    "sk-",
    "eyJhbGciOiJI.eyJzdWIiOiJ.x",
    "-----BEGIN PRIVATE KEY-----",
]
SPOKEN += ["ya29." + "a" * 20, "dop_v1_" + "a1" * 32, "123456789:AA" + "b" * 33, "AKIAIOSFODNN7EXAMPLE"]


@settings(max_examples=1_500, deadline=None)
@given(st.lists(st.sampled_from(SPOKEN), max_size=24))
def test_nor_what_is_remembered_of_the_texts_before_numbers(signs: list[str]) -> None:
    data = "".join(signs).encode()
    assert sorted(core._hits(data)) == sorted(everywhere(data))


DETECTORS = [one for one in (*core.ANNOUNCED, *core.NUMBERS) if one.opens and not one.pattern.startswith(one.opens)]
"""Of the others the pattern is written as that beginning and more."""


def written_for_python(pattern: str) -> str:
    """What the two engines write differently: flags within, characters by their number. `[^` is of ASCII, as other characters are many."""
    pattern = re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), pattern)
    return re.sub(r"\(\?i\)", "", pattern)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.confirm.__qualname__)
def test_every_match_of_a_pattern_begins_as_the_gate_looks_for_it(detector: core.Detector) -> None:
    """Values drawn out of the pattern itself, each branch of it, with what may stand around them."""
    finder, opens = re2.compile(detector.pattern), re2.compile(detector.opens)
    loosely = re.compile(written_for_python(detector.pattern), re.IGNORECASE if "(?i)" in detector.pattern else 0)
    matched = []

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.from_regex(loosely), st.sampled_from(["", " ", "x", "-", "\n", "9", "_", "."]))
    def hold(value: str, before: str) -> None:
        data = f"{before}{value}".encode()
        for found in finder.finditer(data):
            matched.append(found.span())
            assert opens.match(data, found.start()) is not None, data

    hold()
    assert len(matched) > 20


def test_every_match_in_texts_of_all_locales_begins_as_the_gate_looks_for_it() -> None:
    data = planted(seed=12, rounds=2).text() + clean_logs(12, 100_000)
    for detector in DETECTORS:
        finder, opens = re2.compile(detector.pattern), re2.compile(detector.opens)
        assert all(opens.match(data, found.start()) for found in finder.finditer(data)), detector


def test_a_word_that_may_go_on_with_a_digit_is_named_as_one() -> None:
    """Nothing is remembered of a text that ends in the middle of such a word."""
    for words in (context.PHONE, context.CARD, context.IDENTIFIER, context.BIRTH):
        heads = re.findall(r"\(\?:([^()]*)\)\.\{|([^|()]*)(?<!\\)\.\?", words)
        for head in {one for pair in heads for many in pair if many for one in many.split("|")}:
            assert re.search(context.IDENTIFIER_BEFORE_DIGIT.replace(r"\z", r"\Z"), f"{head}7"), head
        assert not re.search(r"\\[dDwWsS]|\[[^]]*[0-9]", words)


LONG = {
    "jwt": (b"eyJ", b"hbGciOi1", b".eyJzdWIiOiIx.c2ln"),
    "url_credentials": (b"https://user:", b"s3cret-", b"@db.example.org/"),
    "email": (b"a", b"long.name", b"@example.org"),
    "ip": (b"/", b"0a1b2c", b"/10.0.0.5"),
}
"""Values by what they begin with, what may go on for long in them, and what they are recognised by."""


@pytest.mark.parametrize("size", [400, 600, 1_100, 1_600, 3_000, 7_000])
@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("before", [b"", b"Authorization: Bearer ", b"from 10.0.0.1 to=", b"key: " + b"x" * 300 + b" "])
def test_nor_of_values_longer_than_a_stretch(kind: str, size: int, before: bytes) -> None:
    begin, part, end = LONG[kind]
    value = begin + part * (size // len(part)) + end
    data = before + value + b" and more"
    found = {(one, start, stop) for one, start, stop, _ in core._hits(data)}
    assert found >= {(one, start, stop) for one, start, stop, _ in everywhere(data)}
    assert any(one == kind and stop > len(before) + len(value) - len(end) for one, _, stop in found)


@pytest.mark.parametrize("kind", ["jwt", "url_credentials", "email"])
@pytest.mark.parametrize("gap", [990, 1_000, 1_010, 1_020, 1_023, 1_024, 1_025, 1_270, 1_280, 1_535, 1_536])
def test_nor_of_a_long_value_across_the_end_of_a_stretch(kind: str, gap: int) -> None:
    begin, part, end = LONG[kind]
    sign = {"jwt": b"authorization", "url_credentials": b"a://b:c@d.ee", "email": b"a@d.ee"}[kind]
    data = sign + b" " + b"x" * gap + b" " + begin + part * 300 + end
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

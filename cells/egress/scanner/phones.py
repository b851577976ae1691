"""Phone numbers of all regions: patterns, and what confirms them out of phonenumbers' numbering plans. Pure."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import re2

from cells.egress.scanner.context import PHONE, Words
from cells.egress.scanner.findings import Hit, Kind
from cells.egress.scanner.libraries import library
from cells.egress.scanner.shapes import first_digit, in_longer_token

DIGITS_MIN, DIGITS_MAX = 6, 17
KEYED_DIGITS_MIN = 4
"""Of a number right after its key (`phone=8528`): some islands have so few."""
GROUPS_MAX = 8
_PLAN_MEMORY_BYTES = 64 << 20
CODE_DIGITS = (1, 2, 3)
"""A country code has so many."""
BROAD = frozenset({"AT", "BR", "CN", "DE", "FI", "ID", "IN", "IT", "JP", "US"})
"""Regions whose plans, together, have most of the numbers that any has. They are asked first: a set of all builds states for nearly every
number that it meets."""
Plans: TypeAlias = Callable[[bytes], bool]
"""Whether digits are a number of some plan."""

INTERNATIONAL = r"\+[ ]?\(?[1-9][0-9 ().\-/]{5,24}[0-9]"
INTERNATIONAL_BEGIN = r"\+[ ]?\(?[1-9][0-9 ().\-/]{5}"
GROUPED = (
    r"\([0-9]{2,5}\)[ ]?[0-9]{2,5}(?:[ \-.][0-9]{2,5}){0,3}"
    r"|(?:^|[^0-9A-Za-z.,:/\-])(?:0[0-9]{1,4}[ /\-.][0-9]{5,9}|0[0-9]{1,4}(?:[ /\-.][0-9]{2,5}){2,5}"
    r"|(?:1[ .\-])?[2-9][0-9]{2}[.\-][2-9][0-9]{2}[.\-][0-9]{4})\b"
)
"""What reads as a phone number without a word beside it: an area in brackets, a leading zero in groups, or the North American form."""
BESIDE = Words(PHONE, r"[0-9](?:[ ().\-/]*[0-9]){3}")
_KEYED = re.compile(rb"\\?[\"']?\s?[=:]\s?\\?[\"']?\Z")
ANNOUNCED, WORDS = BESIDE.pattern, BESIDE.words
_NUMBER = re.compile(rb"\(?[0-9](?:[ ().\-/]{0,3}[0-9]){3,16}")
_GROUP_END = re.compile(rb"[0-9](?=[ ().\-/]|\Z)")
_ADDRESS = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])")
_DATED = re.compile(rb"[0-9]{2}([.\-/ ])[0-9]{2}\1(?:19|20)[0-9]{2}")
_NOT_DIGITS = bytes(byte for byte in range(256) if byte not in b"0123456789")
_TYPES = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)


def _set(numbers: Iterable[str]) -> re2.Set:
    """Answers for all of them in one pass."""
    options = re2.Options()
    options.max_mem = _PLAN_MEMORY_BYTES
    made = re2.Set.FullMatchSet(options)
    for one in numbers:
        made.Add(one)
    made.Compile()
    return made


def _numbers(plan: Any) -> str:
    """Of a plan's numbers, as they are dialled within the country."""
    kinds = {kind.national_number_pattern for name in _TYPES if (kind := getattr(plan, name)) is not None}
    trunk = f"(?:{plan.national_prefix})?" if plan.national_prefix else ""
    return f"{trunk}(?:{'|'.join(sorted(kind for kind in kinds if kind))})"


def _of_regions(regions: Iterable[str]) -> list[Any]:
    plans = (library("phonenumbers").PhoneMetadata.metadata_for_region(region) for region in sorted(regions))
    return [plan for plan in plans if plan is not None]


@functools.cache
def _of_code(code: bytes) -> re2.Set | None:
    """Numbers with this country code, None where nobody has it. So few plans that a set soon knows all its states."""
    phonenumbers = library("phonenumbers")
    regions = None if code.startswith(b"0") else phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code))
    if regions is None:
        return None
    if int(code) not in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        return _set(f"{plan.country_code}{_numbers(plan)}" for plan in _of_regions(regions))
    plan = phonenumbers.PhoneMetadata.metadata_for_nongeo_region(int(code))
    stated = plan is not None and plan.general_desc is not None
    return _set([f"{int(code)}(?:{plan.general_desc.national_number_pattern})"]) if stated else None


@functools.cache
def _broad() -> re2.Set:
    return _set(map(_numbers, _of_regions(BROAD)))


@functools.cache
def _narrow() -> re2.Set:
    return _set(map(_numbers, _of_regions(library("phonenumbers").SUPPORTED_REGIONS - BROAD)))


def _abroad(digits: bytes) -> bool:
    """Whether some plan has them with its country's code."""
    plans = (_of_code(digits[:size]) for size in CODE_DIGITS)
    return any(one is not None and one.Match(digits) for one in plans)


def _within(digits: bytes) -> bool:
    """Whether some plan has them as they are dialled within the country."""
    return bool(_broad().Match(digits) or _narrow().Match(digits))


def _longest(data: bytes, start: int, plans: Plans, end: int, least: int = DIGITS_MIN) -> int | None:
    """Where the longest beginning ends that is a number of some plan and ends with a group."""
    ends = [start + found.end() for found in _GROUP_END.finditer(data[start:end])]
    for stop in reversed(ends[:GROUPS_MAX]):
        digits = data[start:stop].translate(None, _NOT_DIGITS)
        if least <= len(digits) <= DIGITS_MAX and plans(digits):
            return stop
    return None


def international(data: bytes, start: int, end: int) -> Iterator[Hit]:
    stop = _longest(data, start, _abroad, end)
    if stop is not None and not data[start - 1 : start].isalnum() and not data[stop : stop + 1].isalnum():
        yield Kind.PHONE, start, stop, "international"


def grouped(data: bytes, start: int, end: int) -> Iterator[Hit]:
    if data[start : start + 1] != b"(":
        start = first_digit(data, start, end)
    digits = data[start:end].translate(None, _NOT_DIGITS)
    if (
        len(digits) < 9
        or _DATED.match(data, start)
        or in_longer_token(data, start, end)
        or data[end : end + 1].isalnum()
    ):
        return
    if _within(digits):
        yield Kind.PHONE, start, end, "national"


def announced(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """After a word any number that some region's plan has. `00` in front of it is a plus."""
    near = BESIDE.near(data, start, end)
    if near is None:
        return
    digit, gap = near
    begin = digit - 1 if data[digit - 1 : digit] in (b"(", b"+") else digit
    found = _NUMBER.match(data, begin if data[begin : begin + 1] == b"(" else digit)
    if found is None or _DATED.match(data, digit) or _ADDRESS.match(data, digit):
        return
    end = found.end()
    least = KEYED_DIGITS_MIN if _KEYED.match(gap) else DIGITS_MIN
    stop = _longest(data, digit, _within, end, least) or _longest(data, digit, _abroad, end)
    if stop is None and data.startswith(b"00", digit):
        stop = _longest(data, digit + 2, _abroad, end)
    if stop is not None and not data[stop : stop + 1].isalnum():
        yield Kind.PHONE, begin, stop, "national"

"""Cases as values, and how their files are read: strictly, every mistake at once. Pure.

A file is TOML: `[[case]]` tables with `name`, `at`, `ask`, `given`, `expect`, `cite`. `transfer` and `storage` are asked of the law as the
file's `[world]` (or the case's own `given`) states the operator; `place` and `decide` of a whole policy.
"""

import datetime
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from foundation.words import CellId, Country, JurisdictionId, RegionId, ServiceId, Verb
from routing_rules.hints import nearest, shown
from routing_rules.pack import Kind, Pack
from routing_rules.policy import Instrument, Operator, Profile

CASES_BYTES_MAX = 4 << 20
CASES_MAX = 10_000

Ask = Literal["transfer", "storage", "place", "decide"]
_HEADER = re.compile(r"\s*\[\[\s*case\s*\]\]")
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_PART = re.compile(r"([A-Z]{2})-[A-Z0-9]{1,3}\Z")


class CasesError(Exception):
    """The file cannot be used. `mistakes` are all of them, each with its line."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are mistakes."""


class World(_Strict, frozen=True, kw_only=True):
    """What the law is told of the operator."""

    profile: Profile = "cautious"
    operator: Operator = Operator()
    instruments: tuple[Instrument, ...] = ()


class _Asked(_Strict, frozen=True, kw_only=True):
    """Of the law: the person's `regimes`, or what they follow from. The last three change the file's world for this case."""

    regimes: tuple[JurisdictionId, ...] | None = None
    residence: Country | None = None
    part: str | None = None
    tags: tuple[str, ...] = ()
    profile: Profile | None = None
    operator: Operator | None = None
    instruments: tuple[Instrument, ...] | None = None


class TransferGiven(_Asked, frozen=True, kw_only=True):
    """`to`: a jurisdiction (`us`), a country (`US`) or a part of one (`US-TX`), as every place here."""

    to: str
    purpose: str = "service"
    recipient_classes: tuple[str, ...] | None = None


class StorageGiven(_Asked, frozen=True, kw_only=True):
    """What is left out happens where the `primary` copy lies; `citizenships` are countries, left out: not known."""

    citizenships: tuple[Country, ...] | None = None
    primary: str
    stores: tuple[str, ...] | None = None
    processes: tuple[str, ...] | None = None
    accesses: tuple[str, ...] | None = None
    copies: tuple[str, ...] = ()
    hours_abroad: int | None = None


class PlaceGiven(_Strict, frozen=True, kw_only=True):
    residence: Country
    part: str | None = None
    citizenships: tuple[Country, ...] | None = None
    tags: tuple[str, ...] = ()
    terms: str | None = None
    services: tuple[ServiceId, ...]
    declared: Country | None = None
    observed: Country | None = None


class DecideGiven(_Strict, frozen=True, kw_only=True):
    """`services`: what the placement was made for; left out: for `service`."""

    residence: Country
    part: str | None = None
    citizenships: tuple[Country, ...] | None = None
    tags: tuple[str, ...] = ()
    terms: str | None = None
    service: ServiceId
    services: tuple[ServiceId, ...] | None = None
    verb: Verb = Verb.READ
    ingress: RegionId
    cell: CellId
    actor: ServiceId | None = None


Given: TypeAlias = TransferGiven | StorageGiven | PlaceGiven | DecideGiven

_GIVEN: dict[str, type[Given]] = {
    "transfer": TransferGiven,
    "storage": StorageGiven,
    "place": PlaceGiven,
    "decide": DecideGiven,
}


class Expect(_Strict, frozen=True, kw_only=True):
    """`answer` is compared always, the rest where it is stated.

    `lacks`: all that is missing, an alternative each, its requirements joined by ` + `. `duties`: actions that must come with the answer.
    `rows`: rows (`edges: eu -> uk`) that must be among the reasons. `until`: the answer's `valid_until` is that day or an earlier one.
    """

    answer: str
    lacks: tuple[str, ...] | None = None
    duties: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None
    until: datetime.date | None = None
    regimes: tuple[JurisdictionId, ...] | None = None
    cells: tuple[CellId, ...] | None = None
    code: str | None = None
    region: RegionId | None = None
    questions: tuple[str, ...] | None = None


_ANSWERS = {
    "transfer": ("allow", "allow_with", "deny", "unknown"),
    "storage": ("allow", "deny", "unknown"),
    "place": ("allowed", "no_cell"),
    "decide": ("serve", "hairpin", "elsewhere", "refuse"),
}
_EXPECTED = {
    "transfer": {"answer", "lacks", "duties", "rows", "until"},
    "storage": {"answer", "rows", "until"},
    "place": {"answer", "lacks", "until", "regimes", "cells", "code", "questions"},
    "decide": {"answer", "until", "code", "region"},
}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`line` of its header; `cite`: the rows or articles that the expectation was read from."""

    line: int
    name: str
    at: datetime.date
    ask: Ask
    given: Given
    expect: Expect
    cite: tuple[str, ...]


class CaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """`policy`: the file beside it that place and decide are asked of; None: the caller's, as with `world`."""

    policy: str | None
    world: World | None
    cases: tuple[Case, ...]


class _Head(_Strict, frozen=True, kw_only=True):
    policy: str | None = None
    world: World | None = None
    case: tuple[dict[str, Any], ...] = ()


class _Entry(_Strict, frozen=True, kw_only=True):
    name: str
    at: datetime.date
    ask: Ask
    given: dict[str, Any]
    expect: Expect
    cite: str | tuple[str, ...]


def read(text: str, pack: Pack) -> CaseFile:
    """The cases of a TOML text. Raises CasesError with every mistake."""
    head = _head(text)
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if _HEADER.match(line)]
    mistakes: list[str] = []
    cases: list[Case] = []
    names: dict[str, int] = {}
    for index, entry in enumerate(head.case):
        line = lines[index] if index < len(lines) else 0
        found, wrong = _case(entry, line, pack)
        if found is not None and names.setdefault(found.name, line) != line:
            wrong = [*wrong, f"the name {shown(found.name)} belongs to the case of line {names[found.name]}"]
        mistakes += [f"line {line}: {what}" for what in wrong]
        if found is not None:
            cases.append(found)
    if mistakes:
        raise CasesError(tuple(mistakes))
    return CaseFile(policy=head.policy, world=head.world, cases=tuple(cases))


def _head(text: str) -> _Head:
    if len(text.encode(errors="surrogatepass")) > CASES_BYTES_MAX:
        raise CasesError((f"the file is larger than {CASES_BYTES_MAX} bytes",))
    try:
        head = msgspec.convert(tomllib.loads(text), _Head)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise CasesError((f"not TOML: {exc}",)) from exc
    except msgspec.ValidationError as exc:
        raise CasesError((str(exc),)) from exc
    if not head.case:
        raise CasesError(("there is no [[case]] in it",))
    if len(head.case) > CASES_MAX:
        raise CasesError((f"there are more than {CASES_MAX} cases in it",))
    return head


def _case(entry: dict[str, Any], line: int, pack: Pack) -> tuple[Case | None, list[str]]:
    try:
        read_entry = msgspec.convert(entry, _Entry)
        given = msgspec.convert(read_entry.given, _GIVEN[read_entry.ask])
    except msgspec.ValidationError as exc:
        return None, [f"case {shown(entry.get('name', ''))}: {exc}"]
    cite = (read_entry.cite,) if isinstance(read_entry.cite, str) else read_entry.cite
    case = Case(
        line=line,
        name=read_entry.name,
        at=read_entry.at,
        ask=read_entry.ask,
        given=given,
        expect=read_entry.expect,
        cite=cite,
    )
    return case, [f"case {shown(case.name)}: {what}" for what in _wrong(case, pack)]


def _wrong(case: Case, pack: Pack) -> list[str]:
    found = [] if any(one.strip() for one in case.cite) else ["cite is empty; name the row or article that says so"]
    if case.expect.answer not in _ANSWERS[case.ask]:
        found.append(f"expect.answer {shown(case.expect.answer)} is no answer to {case.ask}{_of(_ANSWERS[case.ask])}")
    stated = {key for key, value in msgspec.structs.asdict(case.expect).items() if value is not None}
    found += [
        f"expect.{key} says nothing of {case.ask}{_of(_EXPECTED[case.ask])}"
        for key in sorted(stated - _EXPECTED[case.ask])
    ]
    given = case.given
    if isinstance(given, TransferGiven | StorageGiven):
        if (given.regimes is None) == (given.residence is None):
            found.append("given needs either residence or regimes")
        if given.regimes is not None and given.part is not None:
            found.append("given.part goes with residence")
        found += [what for regime in given.regimes or () for what in _no_jurisdiction(regime, pack)]
    if given.residence is not None:
        found += _no_place(given.residence, pack, countries=True)
    found += [what for place in _places(given) for what in _no_place(place, pack)]
    unknown = [tag for tag in given.tags if tag not in pack.tag_names]
    return found + [f"no tag {shown(tag)}{nearest(tag, pack.tag_names)}" for tag in unknown]


def _of(words: Iterable[str]) -> str:
    return f"; there are {', '.join(sorted(words))}"


def _places(given: Given) -> list[str]:
    match given:
        case TransferGiven():
            return [given.to]
        case StorageGiven():
            return [
                given.primary,
                *(given.stores or ()),
                *(given.processes or ()),
                *(given.accesses or ()),
                *given.copies,
            ]
        case PlaceGiven() | DecideGiven():
            return []


def country_and_part(place: str) -> tuple[Country, str | None] | None:
    """`US` and `US-TX` as a country and its part; None for a jurisdiction id."""
    if _COUNTRY.match(place):
        return Country(place), None
    part = _PART.match(place)
    return None if part is None else (Country(part.group(1)), place)


def _no_place(place: str, pack: Pack, *, countries: bool = False) -> list[str]:
    parsed = country_and_part(place)
    if parsed is None:
        return [f"{shown(place)} is no country such as DE"] if countries else _no_jurisdiction(place, pack)
    return [] if parsed[0] in pack.owners else [f"no country {shown(parsed[0])} in the pack"]


def _no_jurisdiction(name: str, pack: Pack) -> list[str]:
    row = pack.rows.get(JurisdictionId(name))
    if row is None:
        return [f"no jurisdiction {shown(name)} in the pack{nearest(name, pack.rows)}"]
    if row.kind is Kind.SCHEME:
        return [
            f"{name} is a scheme, a class of recipients inside {row.parent}: never a place, and nobody lives under it"
        ]
    return []

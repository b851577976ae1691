"""Cases asked: what the rules answer, and where that differs from what was expected. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

import msgspec

from foundation.words import JurisdictionId
from routing_rules.cases.read import (
    Case,
    CaseFile,
    DecideGiven,
    Expect,
    PlaceGiven,
    StorageGiven,
    TransferGiven,
    World,
    country_and_part,
)
from routing_rules.decide import decide
from routing_rules.explain import outcome
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.law import Law
from routing_rules.law.questions import Finding, Lack, Location, StorageQuestion, TransferQuestion
from routing_rules.pack import Pack
from routing_rules.place import place
from routing_rules.policy import Policy
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, Elsewhere, Hairpin, NoCell, Refuse, Verdict

ROWS_SHOWN_MAX = 8


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`key` of `expect` that does not hold."""

    key: str
    expected: str
    got: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`ground`: what the rules rest their answer on. `differences` empty: as expected."""

    case: Case
    answer: str
    ground: str
    differences: tuple[Difference, ...]


def run(file: CaseFile, pack: Pack, rules: Rules | None) -> tuple[Outcome, ...]:
    """Each case asked. `rules`: the policy's, for place and decide, and for the law where the file states no world."""
    usual = file.world or (World() if rules is None else world_of(rules.policy))
    laws = _Laws(pack)
    return tuple(_asked(case, usual, laws, rules) for case in file.cases)


def world_of(policy: Policy) -> World:
    return World(profile=policy.product.profile, operator=policy.operator, instruments=policy.instruments)


class _Laws:
    """One law for each world; many cases share one."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._held: dict[bytes, Law] = {}

    def of(self, world: World) -> Law:
        key = msgspec.json.encode(world)
        if key not in self._held:
            self._held[key] = Law(self._pack, world.profile, world.operator, world.instruments)
        return self._held[key]


def _asked(case: Case, usual: World, laws: _Laws, rules: Rules | None) -> Outcome:
    match case.given:
        case TransferGiven() | StorageGiven():
            return _of_law(case, case.given, laws, usual)
        case PlaceGiven():
            return _of_place(case, case.given, rules) if rules is not None else _unasked(case)
        case DecideGiven():
            return _of_decide(case, case.given, rules) if rules is not None else _unasked(case)
        case _:
            assert_never(case.given)


def _unasked(case: Case) -> Outcome:
    why = f"{case.ask} is asked of a policy, and none was named"
    difference = Difference(key="answer", expected=case.expect.answer, got="not asked")
    return Outcome(case=case, answer="not asked", ground=why, differences=(difference,))


def _of_law(case: Case, given: TransferGiven | StorageGiven, laws: _Laws, usual: World) -> Outcome:
    world = World(
        profile=given.profile or usual.profile,
        operator=usual.operator if given.operator is None else given.operator,
        instruments=usual.instruments if given.instruments is None else given.instruments,
    )
    law = laws.of(world)
    regimes = _regimes(case, given, law)
    if isinstance(given, TransferGiven):
        finding = law.transfer(_transfer(given, regimes, law), case.at)
    else:
        finding = law.storage(_storage(given, regimes, law, case), case.at)
    got: dict[str, Sequence[str]] = {
        "lacks": _lacks(finding.lacks),
        "duties": sorted({duty.action for duty in finding.duties}),
        "rows": _rows(finding),
    }
    found = [
        *_answer(case.expect, finding.answer.value),
        *_sets(case.expect, got),
        *_until(case.expect, finding),
    ]
    return Outcome(case=case, answer=finding.answer.value, ground=finding.ground, differences=tuple(found))


def _regimes(case: Case, given: TransferGiven | StorageGiven, law: Law) -> tuple[JurisdictionId, ...]:
    if given.regimes is not None or given.residence is None:
        return given.regimes or ()
    return law.regimes_of(SubjectFacts(residence=given.residence, subdivision=given.part), case.at).ids


def _transfer(given: TransferGiven, regimes: tuple[JurisdictionId, ...], law: Law) -> TransferQuestion:
    return TransferQuestion(
        regimes=regimes,
        to=_location(given.to, law),
        purpose=given.purpose,
        tags=given.tags,
        recipient_classes=given.recipient_classes,
    )


def _storage(given: StorageGiven, regimes: tuple[JurisdictionId, ...], law: Law, case: Case) -> StorageQuestion:
    def places(stated: tuple[str, ...] | None) -> tuple[Location, ...]:
        return tuple(_location(one, law) for one in ((given.primary,) if stated is None else stated))

    return StorageQuestion(
        regimes=regimes,
        citizenships=None if given.citizenships is None else law.regimes_of_countries(given.citizenships, case.at),
        tags=given.tags,
        primary=_location(given.primary, law),
        stores=places(given.stores),
        processes=places(given.processes),
        accesses=places(given.accesses),
        copies=places(given.copies),
        hours_abroad=given.hours_abroad,
    )


def _location(text: str, law: Law) -> Location:
    parsed = country_and_part(text)
    return Location(JurisdictionId(text)) if parsed is None else law.location(*parsed)


def _of_place(case: Case, given: PlaceGiven, rules: Rules) -> Outcome:
    facts = PlaceFacts(
        subject=_subject(given), services=given.services, declared=given.declared, observed=given.observed
    )
    answer = place(facts, rules, case.at)
    got: dict[str, Sequence[str]] = {}
    if isinstance(answer, Allowed):
        got = {"cells": answer.cells, "regimes": answer.regimes, "questions": answer.questions, "lacks": ()}
    else:
        got = {"lacks": _lacks(lack for _, lack in answer.lacks)}
    return _judged(case, answer, got)


def _of_decide(case: Case, given: DecideGiven, rules: Rules) -> Outcome:
    facts = RequestFacts(
        service=given.service,
        verb=given.verb,
        ingress=given.ingress,
        cell=given.cell,
        subject=_subject(given),
        services=(given.service,) if given.services is None else given.services,
        actor=given.actor,
    )
    return _judged(case, decide(facts, rules, case.at), {})


def _subject(given: PlaceGiven | DecideGiven) -> SubjectFacts:
    return SubjectFacts(
        residence=given.residence,
        subdivision=given.part,
        citizenships=given.citizenships,
        tags=given.tags,
        terms=given.terms,
    )


def _judged(case: Case, answer: Allowed | NoCell | Verdict, got: dict[str, Sequence[str]]) -> Outcome:
    word = outcome(answer)
    found = [*_answer(case.expect, word), *_sets(case.expect, got), *_until(case.expect, answer)]
    code = answer.code.value if isinstance(answer, Refuse | NoCell) else "none"
    region = answer.region if isinstance(answer, Elsewhere | Hairpin) else "none"
    for key, stated, is_so in (("code", case.expect.code, code), ("region", case.expect.region, region)):
        if stated is not None and stated != is_so:
            found.append(Difference(key=key, expected=stated, got=is_so))
    return Outcome(case=case, answer=word, ground=answer.ground, differences=tuple(found))


def _answer(expect: Expect, got: str) -> list[Difference]:
    return [] if expect.answer == got else [Difference(key="answer", expected=expect.answer, got=got)]


def _contains(expected: set[str], got: set[str]) -> bool:
    return expected <= got


def _equals(expected: set[str], got: set[str]) -> bool:
    return expected == got


_COMPARED: dict[str, Callable[[set[str], set[str]], bool]] = {
    "lacks": _equals,
    "cells": _equals,
    "regimes": _equals,
    "questions": _equals,
    "duties": _contains,
    "rows": _contains,
}


def _sets(expect: Expect, got: dict[str, Sequence[str]]) -> list[Difference]:
    found = []
    for key, holds in _COMPARED.items():
        stated = getattr(expect, key)
        if stated is None:
            continue
        wanted, is_so = {_canonical(key, one) for one in stated}, {str(one) for one in got.get(key, ())}
        if not holds(wanted, is_so):
            found.append(Difference(key=key, expected=_listed(wanted), got=_listed(is_so)))
    return found


def _canonical(key: str, text: str) -> str:
    return " + ".join(sorted(part.strip() for part in text.split("+"))) if key == "lacks" else text


def _listed(words: set[str]) -> str:
    shown = sorted(words)[:ROWS_SHOWN_MAX]
    return ", ".join(shown) + (" …" if len(words) > ROWS_SHOWN_MAX else "") if words else "none"


def _until(expect: Expect, answer: Finding | Allowed | NoCell | Verdict) -> list[Difference]:
    if expect.until is None or (answer.valid_until is not None and answer.valid_until <= expect.until):
        return []
    got = "for ever" if answer.valid_until is None else str(answer.valid_until)
    return [Difference(key="until", expected=f"{expect.until} or earlier", got=got)]


def _lacks(lacks: Iterable[Lack]) -> list[str]:
    return sorted({" + ".join(sorted(lack.requirements)) for lack in lacks})


def _rows(finding: Finding) -> list[str]:
    """Every row that the finding names, as `file: name`."""
    named = [reason.row for reason in finding.reasons if reason.row is not None]
    named += [lack.row for lack in finding.lacks]
    return sorted({f"{row.file}: {row.name}" for row in named})

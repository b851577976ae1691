"""Two rules compared by what they decide: which countries x services change their answer, and how. Pure.

Not the texts: a policy may be rewritten and decide alike, and one changed date may close a continent. What is asked is a read by citizens
of the country they live in, no part of it stated; `rewritten` names the keys that differ, so that what this does not ask is not overlooked.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

import msgspec

from foundation.words import CellId, Country, JurisdictionId, RegionId, ServiceId, Verb
from routing_rules.decide import decide
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.law.questions import Regimes
from routing_rules.place import place
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, Elsewhere, Hairpin, NoCell, Refuse, Serve, Verdict

HOME = "home"
ABSENT = "no such service"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """People of these `countries` (all of `regime`) get another answer from `service`. `where`: `home`, or the region they are in.

    `ground`: why the new answer is what it is, for the first of the countries.
    """

    regime: JurisdictionId
    countries: tuple[Country, ...]
    service: ServiceId
    where: str
    before: str
    after: str
    ground: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What one service answers people of a country: in words at home, and in each region that is not their home's."""

    home: str
    ground: str
    away: tuple[tuple[RegionId, str], ...]


def resident(country: Country) -> SubjectFacts:
    """Somebody who lives in the country whose citizen they are, of whom no more is known."""
    return SubjectFacts(residence=country, citizenships=(country,))


def differences(a: Rules, b: Rules, at: datetime.date) -> tuple[Change, ...]:
    """What changes on day `at` where `b` follows `a`, in the order of regimes, services, countries. Total."""
    services = sorted({*a.policy.services, *b.policy.services})
    found: dict[tuple[JurisdictionId, ServiceId, str, str, str], tuple[list[Country], str]] = {}
    for countries in _alike(a, b, at):
        regime = _owner(countries[0], b)
        for service in services:
            before, after = (standing(rules, countries[0], service, at) for rules in (a, b))
            for where, was, is_now, ground in _parted(before, after):
                held = found.setdefault((regime, service, where, was, is_now), ([], ground))
                held[0].extend(countries)
    return tuple(
        Change(
            regime=regime,
            countries=tuple(sorted(countries)),
            service=service,
            where=where,
            before=was,
            after=is_now,
            ground=ground,
        )
        for (regime, service, where, was, is_now), (countries, ground) in sorted(found.items())
    )


def rewritten(a: Rules, b: Rules) -> tuple[str, ...]:
    """Keys of the policy whose values differ, such as `actors.support-desk.verbs`, and `pack` where the facts of law do."""
    pack = () if a.pack.digest == b.pack.digest else ("pack",)
    return (*pack, *_parted_keys((), msgspec.to_builtins(a.policy), msgspec.to_builtins(b.policy)))


def _parted_keys(path: tuple[str, ...], a: object, b: object) -> Iterator[str]:
    if a == b:
        return
    if not (isinstance(a, dict) and isinstance(b, dict)):
        yield ".".join(path)
        return
    for key in sorted({*a, *b}):
        if key in a and key in b:
            yield from _parted_keys((*path, key), a[key], b[key])
        else:
            yield ".".join((*path, key))


def standing(rules: Rules, country: Country, service: ServiceId, at: datetime.date) -> Standing:
    """What people of the country get from the service. Total."""
    if service not in rules.policy.services:
        return Standing(home=ABSENT, ground=f"policy declares no service {service}", away=())
    subject = resident(country)
    answer = place(PlaceFacts(subject=subject, services=(service,)), rules, at)
    if isinstance(answer, NoCell):
        return Standing(home=f"refused ({answer.code.value})", ground=answer.ground, away=())
    verdicts = {
        region: tuple(
            decide(_read(subject, service, cell, region), rules, at)
            for cell in answer.cells
            if rules.policy.cells[cell].region != region
        )
        for region in sorted(rules.policy.regions)
    }
    return Standing(home=_served(answer), ground=answer.ground, away=_away(verdicts))


def _alike(a: Rules, b: Rules, at: datetime.date) -> Iterable[list[Country]]:
    """Countries that both rules put under the same regimes: asking one of them answers for all."""
    groups: dict[tuple[Regimes, Regimes], list[Country]] = {}
    for country in sorted({*a.pack.owners, *b.pack.owners}):
        subject = resident(country)
        under = (a.law.regimes_of(subject, at), b.law.regimes_of(subject, at))
        groups.setdefault(under, []).append(country)
    return groups.values()


def _owner(country: Country, rules: Rules) -> JurisdictionId:
    return rules.pack.owners.get(country, JurisdictionId("default"))


def _read(subject: SubjectFacts, service: ServiceId, cell: CellId, ingress: RegionId) -> RequestFacts:
    return RequestFacts(
        service=service, verb=Verb.READ, ingress=ingress, cell=cell, subject=subject, services=(service,)
    )


def _served(answer: Allowed) -> str:
    return f"served by {', '.join(answer.cells)}"


def _away(verdicts: Mapping[RegionId, tuple[Verdict, ...]]) -> tuple[tuple[RegionId, str], ...]:
    return tuple(
        (region, " or ".join(sorted({_word(one) for one in found}))) for region, found in verdicts.items() if found
    )


def _word(verdict: Verdict) -> str:
    match verdict:
        case Serve():
            return "served"
        case Hairpin():
            return "carried home"
        case Elsewhere():
            return "sent home"
        case Refuse():
            return f"refused ({verdict.code.value})"
        case _:
            assert_never(verdict)


def _parted(before: Standing, after: Standing) -> list[tuple[str, str, str, str]]:
    """Where, before, after, ground. A region that only one of them speaks of follows from what changed at home."""
    found = []
    if before.home != after.home:
        found.append((HOME, before.home, after.home, after.ground))
    was = dict(before.away)
    found += [
        (f"in {region}", was[region], word, after.ground)
        for region, word in after.away
        if region in was and was[region] != word
    ]
    return found

"""What policy and the law say of one cell as a person's home: the questions that placing, deciding and explaining have in common. Pure.

Policy first (`serves`, tenant terms, hosts), then the law: the data may lie and be handled there, and, where that is not the regime's own
ground, may go there (docs/evaluation.md section 6).
"""

import datetime
from collections.abc import Iterable, Iterator

import msgspec

from foundation.words import CellId, JurisdictionId, RegionId, ServiceId
from routing_rules.facts import SubjectFacts
from routing_rules.hints import nearest, shown
from routing_rules.law.questions import (
    Answer,
    Duty,
    Finding,
    Lack,
    Location,
    Reason,
    Regimes,
    StorageQuestion,
    TransferQuestion,
)
from routing_rules.pack import Kind
from routing_rules.policy import Cell, Policy
from routing_rules.rules import Rules

_WORST_FIRST = (Answer.DENY, Answer.UNKNOWN, Answer.ALLOW_WITH, Answer.ALLOW)


class Handling(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with the data besides lying in the cell: for which services, where it is processed and from where accessed."""

    services: tuple[ServiceId, ...]
    processed: tuple[Location, ...] = ()
    accessed: tuple[Location, ...] = ()


def regimes_of(subject: SubjectFacts, rules: Rules, at: datetime.date) -> Regimes:
    return rules.law.regimes_of(subject, at)


def unmet(subject: SubjectFacts, rules: Rules) -> str | None:
    """What of the facts names nothing that there is, so that nothing is known: a ground, or None."""
    for tag in subject.tags:
        if tag not in rules.pack.tag_names:
            return f"unknown: the pack has no tag {shown(tag)}{nearest(tag, rules.pack.tag_names)}"
    if subject.terms is not None and subject.terms not in rules.policy.terms:
        return f"unknown: policy declares no terms {shown(subject.terms)}{nearest(subject.terms, rules.policy.terms)}"
    return None


def serves(cell: Cell, regimes: Regimes) -> bool:
    """Does policy let the cell hold people of these regimes? Serving a whole covers its parts, never the other way round."""
    return any(regime in cell.serves for regime in (regimes.owner, *regimes.stated))


def within_terms(cell: CellId, subject: SubjectFacts, policy: Policy) -> bool:
    """Terms that policy declares (`unmet` is asked before) narrow the cells."""
    return subject.terms is None or cell in policy.terms[subject.terms].cells


def hosting(cell: CellId, services: Iterable[ServiceId], policy: Policy) -> bool:
    """Does the cell run every one of these services (all declared in policy)?"""
    return all(policy.services[service].hosts.get(cell) for service in services)


def within(place: Location, jurisdiction: JurisdictionId, rules: Rules) -> bool:
    """Does the place lie in the jurisdiction, itself or as a part of it?"""
    row = rules.pack.rows.get(place.id)
    return place.id == jurisdiction or (row is not None and row.kind is Kind.SUBDIVISION and row.parent == jurisdiction)


def region_location(region: RegionId, rules: Rules) -> Location:
    stated = rules.policy.regions[region]
    return rules.law.location(stated.country, stated.subdivision)


def may_hold(
    subject: SubjectFacts, regimes: Regimes, cell: CellId, handling: Handling, rules: Rules, at: datetime.date
) -> Finding:
    """May the cell hold and handle this person's data? Every shard that might, every service, every place of handling."""
    region = region_location(rules.policy.cells[cell].region, rules)
    places = (*stores_of(cell, rules), region, *copies_of(cell, rules), *handling.accessed)
    handling = msgspec.structs.replace(
        handling, processed=(region, *handling.processed), accessed=(region, *handling.accessed)
    )
    return together(
        (
            *_transfers(subject, regimes, places, handling.services, rules, at),
            *_storages(subject, regimes, cell, handling, rules, at),
        )
    )


def may_carry(
    subject: SubjectFacts,
    regimes: Regimes,
    cell: CellId,
    through: RegionId,
    service: ServiceId,
    rules: Rules,
    at: datetime.date,
) -> Finding:
    """May another region handle a request of this person in flight? That is processing there, of which nothing is left.

    What holds of the home itself is `may_hold`'s to answer.
    """
    there = region_location(through, rules)
    region = region_location(rules.policy.cells[cell].region, rules)
    handling = Handling(services=(service,), processed=(region, there), accessed=(region,))
    return together(
        (
            *_transfers(subject, regimes, (there,), (service,), rules, at),
            *_storages(subject, regimes, cell, handling, rules, at),
        )
    )


def stores_of(cell: CellId, rules: Rules) -> tuple[Location, ...]:
    shards = rules.policy.cells[cell].shards.values()
    return distinct(rules.law.location(shard.country, shard.subdivision) for shard in shards)


def copies_of(cell: CellId, rules: Rules) -> tuple[Location, ...]:
    return tuple(rules.law.location(country, None) for country in rules.policy.cells[cell].copies)


def _storages(
    subject: SubjectFacts, regimes: Regimes, cell: CellId, handling: Handling, rules: Rules, at: datetime.date
) -> Iterator[Finding]:
    """One answer for each place where a shard of the cell is."""
    tags = _tags(subject, handling.services, rules.policy)
    citizenships = citizenships_of(subject, rules, at)
    for store in stores_of(cell, rules):
        question = StorageQuestion(
            regimes=regimes.ids,
            citizenships=citizenships,
            tags=tags,
            primary=store,
            stores=(store,),
            processes=distinct(handling.processed),
            accesses=distinct(handling.accessed),
            copies=copies_of(cell, rules),
            hours_abroad=0,
        )
        yield rules.law.storage(question, at)


def _transfers(
    subject: SubjectFacts,
    regimes: Regimes,
    places: Iterable[Location],
    services: Iterable[ServiceId],
    rules: Rules,
    at: datetime.date,
) -> Iterator[Finding]:
    for service in services:
        for place in distinct(places):
            yield _transfer(subject, regimes, place, service, rules, at)


def _transfer(
    subject: SubjectFacts, regimes: Regimes, to: Location, service: ServiceId, rules: Rules, at: datetime.date
) -> Finding:
    return rules.law.transfer(
        TransferQuestion(
            regimes=regimes.ids,
            to=to,
            purpose=rules.policy.services[service].purpose,
            tags=_tags(subject, (service,), rules.policy),
            recipient_classes=rules.policy.operator.recipient_classes,
        ),
        at,
    )


def _tags(subject: SubjectFacts, services: Iterable[ServiceId], policy: Policy) -> tuple[str, ...]:
    return tuple(sorted({*subject.tags, *(tag for service in services for tag in policy.services[service].tags)}))


def citizenships_of(subject: SubjectFacts, rules: Rules, at: datetime.date) -> tuple[JurisdictionId, ...] | None:
    """Regimes of the citizenships; those of the residence where policy takes the one for the other; None: not known."""
    countries = subject.citizenships
    if countries is None and rules.policy.product.citizenship == "residence":
        countries = (subject.residence,)
    if countries is None:
        return None
    return rules.law.regimes_of_countries(countries, at)


def distinct(places: Iterable[Location]) -> tuple[Location, ...]:
    return tuple(dict.fromkeys(places))


def together(findings: Iterable[Finding]) -> Finding:
    """All must allow: the worst answer of them, its reasons first; what is lacking and owed united; good until the first changes."""
    ordered = sorted(findings, key=lambda one: _WORST_FIRST.index(one.answer))
    answer = ordered[0].answer
    reasons: dict[Reason, None] = {}
    lacks: dict[Lack, None] = {}
    duties: dict[Duty, None] = {}
    for finding in ordered:
        reasons |= dict.fromkeys(finding.reasons)
        lacks |= dict.fromkeys(finding.lacks)
        duties |= dict.fromkeys(finding.duties)
    changes = earliest(finding.valid_until for finding in ordered)
    return Finding(answer=answer, reasons=tuple(reasons), lacks=tuple(lacks), duties=tuple(duties), valid_until=changes)


def earliest(dates: Iterable[datetime.date | None]) -> datetime.date | None:
    return min((date for date in dates if date is not None), default=None)

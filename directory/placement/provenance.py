"""Why a placement is where it is: kept with the entry of its history that placed it. Pure."""

import datetime
import enum

import msgspec

from directory.placement.core import Facts
from foundation.words import Country, JurisdictionId, RulesDigest
from routing_rules.facts import PlaceFacts
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed


class Basis(enum.StrEnum):
    """What the residence that was placed by rests on."""

    DECLARED = "declared"
    VERIFIED = "verified"


class LawRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row of the pack that a regime is known by: `row` is its file and line, `as_of` the month that its evidence speaks for."""

    regime: JurisdictionId
    row: str
    law: str
    source: str
    as_of: str | None
    confidence: str


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Decided on day `on` under `rules`. `declared`: the declared residence where a verified one was placed by instead.

    `questions` did not decide but should be asked. `valid_until`: the first day on which the rules may answer otherwise.
    """

    basis: Basis
    declared: Country | None = None
    questions: tuple[str, ...]
    ground: str
    rules: RulesDigest
    on: datetime.date
    valid_until: datetime.date | None
    law: tuple[LawRow, ...]


def provenance(facts: PlaceFacts, basis: Basis, allowed: Allowed, rules: Rules, on: datetime.date) -> Provenance:
    """What to keep of a placement that `allowed` led to."""
    return Provenance(
        basis=basis,
        declared=facts.declared,
        questions=allowed.questions,
        ground=allowed.ground,
        rules=allowed.digest,
        on=on,
        valid_until=allowed.valid_until,
        law=tuple(_row(regime, rules) for regime in allowed.regimes if regime in rules.pack.rows),
    )


def facts_kept(facts: PlaceFacts, allowed: Allowed) -> Facts:
    """The facts that rules need later, not yet stored, with the regimes that followed from them."""
    subject = facts.subject
    return Facts(
        facts_id=0,
        regimes=allowed.regimes,
        residence=subject.residence,
        subdivision=subject.subdivision,
        citizenships=subject.citizenships,
        tags=subject.tags,
        terms=subject.terms,
    )


def _row(regime: JurisdictionId, rules: Rules) -> LawRow:
    row = rules.pack.rows[regime]
    return LawRow(
        regime=regime,
        row=f"{row.file}.csv:{row.line}",
        law=row.law,
        source=rules.pack.source_of(row),
        as_of=rules.pack.as_of(row),
        confidence=row.confidence,
    )

"""May it be kept and handled there? docs/evaluation.md, section 5."""

import bisect
import datetime
from collections.abc import Iterable

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.calendar import eligible, first_after, holds, turning_days
from routing_rules.law.evidence import Register
from routing_rules.law.keeping import Keeping, Sites
from routing_rules.law.places import Atlas, Place
from routing_rules.law.questions import Answer, Effect, Finding, Location, Reason, StorageQuestion
from routing_rules.law.reasons import Citations, worst_first
from routing_rules.law.standing import Regimens
from routing_rules.law.tags import SPECIAL, Data, Sight, Specials, Vocabulary
from routing_rules.law.transfer import no_place, stray_words
from routing_rules.law.truth import Truth
from routing_rules.pack import Jurisdiction, Kind, Pack
from routing_rules.pack.rows import Storage
from routing_rules.policy import Operator, Profile


class Whose(msgspec.Struct, frozen=True):
    """Whom rules bind: regimes of the person, of their citizenships and of the operator; None: not known."""

    regimes: frozenset[JurisdictionId]
    citizenships: frozenset[JurisdictionId] | None
    operator: frozenset[JurisdictionId] | None

    def bound_by(self, row: Storage) -> Truth:
        """Does the row's key apply?"""
        at_home = row.jurisdiction in self.regimes
        match row.key:
            case "residence":
                return Truth.YES if at_home else Truth.NO
            case "citizenship":
                return _among(row.jurisdiction, self.citizenships)
            case "operator":
                return Truth.YES if at_home else _among(row.jurisdiction, self.operator)
            case "place_of_collection":
                return Truth.YES if at_home else Truth.UNKNOWN


class Storages:
    """What the regimes of a pack say of keeping data. Immutable."""

    def __init__(
        self,
        pack: Pack,
        profile: Profile,
        operator: Operator,
        *,
        atlas: Atlas,
        regimens: Regimens,
        vocabulary: Vocabulary,
        specials: Specials,
        register: Register,
        citations: Citations,
    ) -> None:
        self._pack_rows = pack.rows
        self._operator = operator
        self._atlas = atlas
        self._regimens = regimens
        self._vocabulary = vocabulary
        self._specials = specials
        self._register = register
        self._citations = citations
        self._rows = eligible(pack.storage, profile)
        self._turns = sorted(self._turning(), key=lambda turn: (turn[0], turn[1].line))
        self._days = [day for day, _ in self._turns]
        keyed = {row.jurisdiction for row in self._rows if row.key == "operator"}
        self._operator_days = [
            day for row in pack.jurisdictions if row.id in keyed and row.parent for day in turning_days(row)
        ]

    def ask(self, question: StorageQuestion, at: datetime.date) -> Finding:
        standing = self._regimens.standing(question.regimes, at)
        unknown = standing.unknown or self._general_unknown(standing.regimes)
        sites = self._sites(question)
        if not unknown and isinstance(sites, Reason):
            unknown = (sites,)
        if unknown or isinstance(sites, Reason):
            return Finding(answer=Answer.UNKNOWN, reasons=unknown, valid_until=standing.changes)
        data = self._vocabulary.read(question.tags)
        whose = Whose(frozenset(standing.regimes), _set(question.citizenships), self._operator_regimes(at))
        changes = first_after([standing.changes, self._changes(whose, data, at)], at)
        certain, possible = self._applying(whose, data, at)
        return self._judged(
            standing.regimes, certain, possible, Keeping(sites, self._atlas, self._register, at), data, changes
        )

    def _judged(
        self,
        regimes: tuple[JurisdictionId, ...],
        certain: list[Storage],
        possible: list[Storage],
        keeping: Keeping,
        data: Data,
        changes: datetime.date | None,
    ) -> Finding:
        lifted = {row.line: refs for row in (*certain, *possible) if (refs := keeping.lifted_by(row)) is not None}
        standing = [row for row in certain if row.line not in lifted]
        truth, unmet = keeping.unmet(standing)
        if truth is Truth.NO:
            return self._denied(unmet, keeping, changes)
        truth, unmet = keeping.unmet([*standing, *(row for row in possible if row.line not in lifted)])
        if truth is not Truth.YES or data.strays:
            reasons = (*stray_words(data, regimes[0]), *(self._may_forbid(row, row in possible) for row in unmet))
            return Finding(answer=Answer.UNKNOWN, reasons=reasons, valid_until=changes)
        permits = [self._permits(row, lifted.get(row.line)) for row in certain]
        general = [self._general(regime) for regime in regimes]
        return Finding(answer=Answer.ALLOW, reasons=(*permits, *general), valid_until=changes)

    def _denied(self, unmet: tuple[Storage, ...], keeping: Keeping, changes: datetime.date | None) -> Finding:
        reasons = [
            self._citations.reason(
                row.jurisdiction, Effect.FORBIDS, row, f"is not met in {' or '.join(row.region)}", item=_item(row)
            )
            for row in unmet
        ]
        liftable = all(row.lifted_by for row in unmet)
        lacks = tuple(lack for row in unmet for lack in keeping.lacks(row, self._citations)) if liftable else ()
        return Finding(answer=Answer.DENY, reasons=worst_first(reasons), lacks=lacks, valid_until=changes)

    def _may_forbid(self, row: Storage, is_possible: bool) -> Reason:
        what = "would not be met, and whether it applies is not known" if is_possible else "may not be met"
        return self._citations.reason(
            row.jurisdiction, Effect.MAY_FORBID, row, f"{what}: {_asked(row, is_possible)}", item=_item(row)
        )

    def _permits(self, row: Storage, lifted: tuple[str, ...] | None) -> Reason:
        what = "is met" if lifted is None else "is lifted by evidence on file"
        return self._citations.reason(
            row.jurisdiction, Effect.PERMITS, row, what, item=_item(row), instruments=lifted or ()
        )

    def _general(self, regime: JurisdictionId) -> Reason:
        row = self._general_row(self._pack_rows[regime])
        return self._citations.reason(
            regime, Effect.PERMITS, row, f"its general storage rule is {row.general_storage_rule}"
        )

    def _general_row(self, row: Jurisdiction) -> Jurisdiction:
        """Whose general rule holds: overlays and parts with a blank use their parent's."""
        if row.general_storage_rule is None and row.kind in (Kind.OVERLAY, Kind.SUBDIVISION) and row.parent:
            return self._pack_rows[row.parent]
        return row

    def _general_unknown(self, regimes: Iterable[JurisdictionId]) -> tuple[Reason, ...]:
        found: list[Reason] = []
        for regime in regimes:
            row = self._general_row(self._pack_rows[regime])
            if row.general_storage_rule in (None, "unknown"):
                what = "whether data may lie abroad in general is not known"
                found.append(self._citations.reason(regime, Effect.IS_OPEN, row, what))
                found += self._citations.open_storage(regime)
        return tuple(found)

    def _sites(self, question: StorageQuestion) -> Sites | Reason:
        """The question's locations as places, or which of them is none."""
        known: dict[Location, Place] = {}
        listed = (
            (question.primary,),
            question.stores,
            question.processes,
            question.accesses,
            question.copies,
        )
        for locations in listed:
            for location in locations:
                if location not in known:
                    place = self._atlas.place(location)
                    if place is None:
                        return no_place(location.id)
                    known[location] = place
        stores, processes, accesses, copies = (tuple(known[one] for one in some) for some in listed[1:])
        return Sites(
            primary=known[question.primary],
            stores=stores,
            processes=processes,
            accesses=accesses,
            copies=copies,
            hours_abroad=question.hours_abroad,
        )

    def _operator_regimes(self, at: datetime.date) -> frozenset[JurisdictionId] | None:
        if self._operator.country is None:
            return None
        return frozenset(self._regimens.of(self._operator.country, None, at).ids)

    def _applying(self, whose: Whose, data: Data, at: datetime.date) -> tuple[list[Storage], list[Storage]]:
        """The rows that apply, and those that may."""
        certain: list[Storage] = []
        possible: list[Storage] = []
        for row in self._rows:
            if holds(row, at):
                applies = whose.bound_by(row)
                if applies is not Truth.NO:
                    applies = min(applies, self._sight(row.jurisdiction, data, at).restricts(row.tag))
                if applies is not Truth.NO:
                    (certain if applies is Truth.YES else possible).append(row)
        return certain, possible

    def _sight(self, regime: JurisdictionId, data: Data, at: datetime.date) -> Sight:
        return Sight(data, self._specials.of(regime, at), self._vocabulary.may_be)

    def _turning(self) -> Iterable[tuple[datetime.date, Storage]]:
        """The days on which a row, a group in its region, what is special for it, or an instrument that may lift it starts or ends."""
        for row in self._rows:
            groups = [self._atlas.groups[name] for name in row.region if name in self._atlas.groups]
            dated = (row, *(member for group in groups for member in group.members))
            days = [day for one in dated for day in turning_days(one)]
            days += [day for day, _ in self._specials.turns(row.jurisdiction)]
            days += [day for day, _ in self._register.turns(row.jurisdiction)] if row.lifted_by else []
            for day in sorted(set(days)):
                yield day, row

    def _changes(self, whose: Whose, data: Data, at: datetime.date) -> datetime.date | None:
        operator = first_after(self._operator_days, at)
        for day, row in self._turns[bisect.bisect_right(self._days, at) :]:
            if operator is not None and operator <= day:
                return operator
            if self._may_bear(row, whose, data, at):
                return day
        return operator

    def _may_bear(self, row: Storage, whose: Whose, data: Data, at: datetime.date) -> bool:
        """What is special changes by the day, so where that matters every tag may bear."""
        if whose.bound_by(row) is Truth.NO:
            return False
        by_day = row.tag == SPECIAL or SPECIAL in data.may
        return by_day or self._sight(row.jurisdiction, data, at).restricts(row.tag) is not Truth.NO


def _among(regime: JurisdictionId, regimes: frozenset[JurisdictionId] | None) -> Truth:
    if regimes is None:
        return Truth.UNKNOWN
    return Truth.YES if regime in regimes else Truth.NO


def _set(regimes: tuple[JurisdictionId, ...] | None) -> frozenset[JurisdictionId] | None:
    return None if regimes is None else frozenset(regimes)


def _item(row: Storage) -> str | None:
    return None if row.tag == "*" else row.tag


def _asked(row: Storage, is_possible: bool) -> str:
    """What would have to be known."""
    if not is_possible:
        return f"who belongs to {' or '.join(row.region)} is not wholly known"
    match row.key:
        case "citizenship":
            return "the person's citizenships"
        case "operator":
            return "operator.country and operator.sectors"
        case "place_of_collection":
            return "where it was collected, and operator.sectors"
        case "residence":
            return "operator.sectors"

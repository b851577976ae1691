"""May it be kept and handled there? docs/evaluation.md, section 5."""

import datetime
from collections.abc import Iterable, Iterator

from foundation.words import Country, JurisdictionId
from routing_rules.law.calendar import first_after, turning_days
from routing_rules.law.evidence import Register
from routing_rules.law.places import Atlas, Place
from routing_rules.law.questions import Answer, Effect, Finding, Location, Reason, StorageQuestion
from routing_rules.law.reasons import Citations, no_place, stray_words, worst_first
from routing_rules.law.standing import Regimens
from routing_rules.law.storage.bindings import Bindings, Operators, Whose
from routing_rules.law.storage.sites import SiteCheck, Sites
from routing_rules.law.tags import ANY_DATA, Data, Specials, Vocabulary
from routing_rules.law.truth import Truth
from routing_rules.pack import Jurisdiction, Kind, Pack
from routing_rules.pack.rows import Storage
from routing_rules.policy import Operator, Profile


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
        self._atlas = atlas
        self._regimens = regimens
        self._register = register
        self._citations = citations
        self._vocabulary = vocabulary
        self._bindings = Bindings(
            pack, profile, atlas=atlas, vocabulary=vocabulary, specials=specials, register=register
        )
        self._operators = Operators(self._operator_spans(operator.country))
        rows = self._bindings.rows
        self._forbidding = {row.line: self._says(row, Effect.FORBIDS, _not_met(row)) for row in rows}
        self._unsure = {row.line: self._says(row, Effect.MAY_FORBID, _unsure(row)) for row in rows}
        self._undecided = {row.line: self._says(row, Effect.MAY_FORBID, _undecided(row)) for row in rows}
        self._met = {row.line: self._says(row, Effect.PERMITS, "is met") for row in rows}

    def ask(self, question: StorageQuestion, at: datetime.date) -> Finding:
        standing = self._regimens.standing(question.regimes, at)
        unknown = standing.unknown or self._general_unknown(standing.regimes)
        sites = self._sites(question)
        if not unknown and isinstance(sites, Reason):
            unknown = (sites,)
        if unknown or isinstance(sites, Reason):
            return Finding(answer=Answer.UNKNOWN, reasons=unknown, valid_until=standing.changes)
        data = self._vocabulary.read(question.tags)
        citizenships = None if question.citizenships is None else frozenset(question.citizenships)
        whose = Whose(frozenset(standing.regimes), citizenships, self._operators.regimes(at))
        changes = first_after(
            (standing.changes, self._bindings.changes(whose, data, at), self._operators.changes(at)), at
        )
        certain, possible = self._bindings.applying(whose, data, at)
        return self._judged(
            standing.regimes, certain, possible, SiteCheck(sites, self._atlas, self._register, at), data, changes
        )

    def _judged(
        self,
        regimes: tuple[JurisdictionId, ...],
        certain: list[Storage],
        possible: list[Storage],
        check: SiteCheck,
        data: Data,
        changes: datetime.date | None,
    ) -> Finding:
        lifted = {row.line: refs for row in (*certain, *possible) if (refs := check.lifted_by(row)) is not None}
        standing = [row for row in certain if row.line not in lifted]
        truth, unmet = check.unmet(standing)
        if truth is Truth.NO:
            return self._denied(unmet, check, changes)
        truth, unmet = check.unmet([*standing, *(row for row in possible if row.line not in lifted)])
        if truth is not Truth.YES or data.strays:
            lines = {row.line for row in possible}
            open_rows = [(self._unsure if row.line in lines else self._undecided)[row.line] for row in unmet]
            reasons = worst_first((*stray_words(data, regimes[0]), *open_rows))
            return Finding(answer=Answer.UNKNOWN, reasons=reasons, valid_until=changes)
        permits = [self._permits(row, lifted.get(row.line)) for row in certain]
        general = [self._general(regime) for regime in regimes]
        return Finding(answer=Answer.ALLOW, reasons=(*permits, *general), valid_until=changes)

    def _denied(self, unmet: tuple[Storage, ...], check: SiteCheck, changes: datetime.date | None) -> Finding:
        liftable = all(row.lifted_by for row in unmet)
        lacks = tuple(lack for row in unmet for lack in check.lacks(row, self._citations)) if liftable else ()
        return Finding(
            answer=Answer.DENY,
            reasons=tuple(self._forbidding[row.line] for row in unmet),
            lacks=lacks,
            valid_until=changes,
        )

    def _permits(self, row: Storage, lifted: tuple[str, ...] | None) -> Reason:
        if lifted is None:
            return self._met[row.line]
        return self._says(row, Effect.PERMITS, "is lifted by evidence on file", lifted)

    def _says(self, row: Storage, effect: Effect, what: str, instruments: tuple[str, ...] = ()) -> Reason:
        item = None if row.tag == ANY_DATA else row.tag
        return self._citations.reason(row.jurisdiction, effect, row, what, item=item, instruments=instruments)

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
        places: list[Place] = []
        position: dict[Location, int] = {}
        for location in (question.primary, *question.stores, *question.copies, *question.processes, *question.accesses):
            if location not in position:
                place = self._atlas.place(location)
                if place is None:
                    return no_place(location.id)
                position[location] = len(places)
                places.append(place)
        return Sites(
            places=tuple(places),
            lying=tuple(position[one] for one in (question.primary, *question.stores, *question.copies)),
            processes=tuple(position[one] for one in question.processes),
            accesses=tuple(position[one] for one in question.accesses),
            hours_abroad=question.hours_abroad,
        )

    def _operator_spans(self, country: Country | None) -> Iterator[tuple[datetime.date, frozenset[JurisdictionId]]]:
        if country is not None:
            keyed = frozenset(row.jurisdiction for row in self._bindings.rows if row.key == "operator")
            days = {day for regime in keyed for day in turning_days(self._pack_rows[regime])}
            for day in sorted({datetime.date.min, *days}):
                yield day, keyed.intersection(self._regimens.of(country, None, day).ids)


def _not_met(row: Storage) -> str:
    return f"is not met: it asks for {' or '.join(row.region)}"


def _undecided(row: Storage) -> str:
    return f"may not be met: who belongs to {' or '.join(row.region)} is not wholly known"


def _unsure(row: Storage) -> str:
    """What would have to be known."""
    missing = {
        "citizenship": "the person's citizenships",
        "operator": "operator.country and operator.sectors",
        "place_of_collection": "where it was collected, and operator.sectors",
        "residence": "operator.sectors",
    }
    return f"would not be met, and whether it applies is open: it rests on {missing[row.key]}"

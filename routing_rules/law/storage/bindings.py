"""Which storage rules bind whom for which data. docs/evaluation.md, section 5, the table of keys."""

import bisect
import datetime
from collections.abc import Iterable, Mapping

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.calendar import eligible, first_after, holds, turning_days
from routing_rules.law.evidence import Register
from routing_rules.law.places import Atlas
from routing_rules.law.tags import ANY_DATA, SPECIAL, Data, Sight, Specials, Vocabulary
from routing_rules.law.truth import Truth
from routing_rules.pack import Pack
from routing_rules.pack.rows import Storage
from routing_rules.policy import Profile


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


class _Day(msgspec.Struct, frozen=True):
    """The rows of a span of days: all, and by tag."""

    rows: tuple[Storage, ...]
    by_tag: Mapping[str, tuple[Storage, ...]]


class Bindings:
    """The storage rows of a pack. Immutable."""

    def __init__(
        self,
        pack: Pack,
        profile: Profile,
        *,
        atlas: Atlas,
        vocabulary: Vocabulary,
        specials: Specials,
        register: Register,
    ) -> None:
        self._vocabulary = vocabulary
        self._specials = specials
        self.rows = eligible(pack.storage, profile)
        starts = sorted({datetime.date.min, *(day for row in self.rows for day in turning_days(row))})
        self._starts = starts
        self._days = [_day([row for row in self.rows if holds(row, start)]) for start in starts]
        turns = [(day, row) for row in self.rows for day in self._turning(row, atlas, register)]
        self._turns = sorted(turns, key=lambda turn: (turn[0], turn[1].line))
        self._turn_days = [day for day, _ in self._turns]

    def applying(self, whose: Whose, data: Data, at: datetime.date) -> tuple[list[Storage], list[Storage]]:
        """The rows of the day that apply, and those that may."""
        certain: list[Storage] = []
        possible: list[Storage] = []
        for row in self._candidates(data, at):
            applies = whose.bound_by(row)
            if applies is not Truth.NO:
                applies = min(applies, self._restricts(row, data, at))
                if applies is not Truth.NO:
                    (certain if applies is Truth.YES else possible).append(row)
        return certain, possible

    def changes(self, whose: Whose, data: Data, at: datetime.date) -> datetime.date | None:
        """The first day after `at` on which something starts or ends that a row rests on which may bear on the question."""
        for day, row in self._turns[bisect.bisect_right(self._turn_days, at) :]:
            if whose.bound_by(row) is not Truth.NO and self._may_bear(row, data, at):
                return day
        return None

    def _candidates(self, data: Data, at: datetime.date) -> Iterable[Storage]:
        """The rows of the day whose tag may apply, and perhaps others."""
        day = self._days[bisect.bisect_right(self._starts, at) - 1]
        if data.unsure or SPECIAL in data.may:
            return day.rows
        return [row for tag in (ANY_DATA, SPECIAL, *sorted(data.may)) for row in day.by_tag.get(tag, ())]

    def _may_bear(self, row: Storage, data: Data, at: datetime.date) -> bool:
        """What is special changes by the day, so where that matters every tag may bear."""
        return row.tag == SPECIAL or SPECIAL in data.may or self._restricts(row, data, at) is not Truth.NO

    def _restricts(self, row: Storage, data: Data, at: datetime.date) -> Truth:
        """Does the row's tag apply? What is special asks its regime."""
        tag = row.tag
        if tag == ANY_DATA or tag in data.may:
            return Truth.YES
        if tag == SPECIAL or SPECIAL in data.may:
            special = self._specials.of(row.jurisdiction, at)
            return Sight(data, special, self._vocabulary.may_be).restricts(tag)
        return Truth.UNKNOWN if tag in data.unsure else Truth.NO

    def _turning(self, row: Storage, atlas: Atlas, register: Register) -> Iterable[datetime.date]:
        """The days on which the row, a group in its region, what is special for it, or an instrument that may lift it changes."""
        groups = [atlas.groups[name] for name in row.region if name in atlas.groups]
        days = {*turning_days(row), *(day for group in groups for one in group.members for day in turning_days(one))}
        days.update(day for day, _ in self._specials.turns(row.jurisdiction))
        if row.lifted_by:
            days.update(day for day, _ in register.turns(row.jurisdiction))
        return days


class Operators:
    """Under which regimes the operator is, by the day, of those that bind operators."""

    def __init__(self, spans: Iterable[tuple[datetime.date, frozenset[JurisdictionId]]]) -> None:
        """`spans`: from which day on which hold, from the first of days; none: the operator's country is not declared."""
        self._days: list[datetime.date] = []
        self._regimes: list[frozenset[JurisdictionId]] = []
        for day, regimes in spans:
            if not self._regimes or self._regimes[-1] != regimes:
                self._days.append(day)
                self._regimes.append(regimes)

    def regimes(self, at: datetime.date) -> frozenset[JurisdictionId] | None:
        return self._regimes[bisect.bisect_right(self._days, at) - 1] if self._regimes else None

    def changes(self, at: datetime.date) -> datetime.date | None:
        return first_after(self._days, at)


def _day(rows: list[Storage]) -> _Day:
    by_tag: dict[str, tuple[Storage, ...]] = {}
    for row in rows:
        by_tag[row.tag] = (*by_tag.get(row.tag, ()), row)
    return _Day(tuple(rows), by_tag)


def _among(regime: JurisdictionId, regimes: frozenset[JurisdictionId] | None) -> Truth:
    if regimes is None:
        return Truth.UNKNOWN
    return Truth.YES if regime in regimes else Truth.NO

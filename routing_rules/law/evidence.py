"""What the operator can show: instruments on file, and counts of persons against thresholds. docs/evaluation.md, section 4."""

import datetime
from collections.abc import Iterable, Mapping

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.calendar import Turn, eligible, holds, turning_days
from routing_rules.law.places import ANYWHERE, Place
from routing_rules.law.tags import ANY_DATA, UNDECLARED, Vocabulary
from routing_rules.law.truth import Truth
from routing_rules.pack import Pack
from routing_rules.pack.rows import Threshold
from routing_rules.policy import Instrument, Operator, Profile

CONSENT = "consent"
"""The gateway that is a scheme for asking persons, and evidence for those alone who said yes."""


class Held(msgspec.Struct, frozen=True):
    """An instrument with the tags that it covers in their canonical names; `*` covers all."""

    instrument: Instrument
    tags: frozenset[str]

    def covers(self, item: str | None) -> bool:
        """The data as such (None) always; undeclared sectors only as part of everything."""
        if item is None or ANY_DATA in self.tags:
            return True
        return item != UNDECLARED and item in self.tags


class Register:
    """The instruments of a policy, by the regime that asks for them."""

    def __init__(self, instruments: Iterable[Instrument], vocabulary: Vocabulary) -> None:
        self._by_regime: dict[JurisdictionId, tuple[Held, ...]] = {}
        for one in instruments:
            held = Held(one, vocabulary.canonical(one.tags))
            self._by_regime[one.origin] = (*self._by_regime.get(one.origin, ()), held)

    def on_file(
        self, regime: JurisdictionId, place: Place, at: datetime.date, *, consented: bool = True
    ) -> tuple[Held, ...]:
        """Those that hold on the day for transfers from the regime to the place; without consent schemes for who has not consented."""
        found = self._by_regime.get(regime)
        if not found:
            return ()
        return tuple(
            held
            for held in found
            if (held.instrument.to == ANYWHERE or held.instrument.to in place.names)
            and holds(held.instrument, at)
            and (consented or held.instrument.gateway != CONSENT)
        )

    def turns(self, regime: JurisdictionId) -> list[Turn]:
        return [
            (day, held.instrument.to)
            for held in self._by_regime.get(regime, ())
            for day in turning_days(held.instrument)
        ]


def evidence(
    requirement: str, detail: str | None, item: str | None, on_file: Iterable[Held], *, any_detail: bool = False
) -> Instrument | None:
    """The first instrument that shows the requirement for the item. One that states a detail serves only rows that ask for it."""
    for held in on_file:
        one = held.instrument
        if one.gateway == requirement and held.covers(item) and (any_detail or one.detail in (None, detail)):
            return one
    return None


class Tally:
    """The operator's counts against the thresholds of a pack. A threshold that does not count on the day is neither met nor fitted."""

    def __init__(self, pack: Pack, profile: Profile, operator: Operator) -> None:
        self._rows: Mapping[str, Threshold] = pack.thresholds_by_id
        self._eligible = frozenset(row.id for row in eligible(pack.thresholds, profile))
        self._counts = operator.counts

    def reached(self, threshold: str, at: datetime.date) -> Truth:
        """Is the count at least `min`? A count that is not declared reaches everything; so does a threshold that has no row."""
        row = self._rows.get(threshold)
        if row is None:
            return Truth.YES
        if not self._holds(row, at):
            return Truth.NO
        count = self._count(row)
        return Truth.YES if count is None or count >= row.min else Truth.NO

    def fits(self, thresholds: tuple[str, ...], at: datetime.date) -> bool:
        """Do the declared counts lie in these ranges? Of one tag any will do, of different tags each must."""
        fitted: dict[str, bool] = {}
        for name in thresholds:
            row = self._rows.get(name)
            tag = row.tag if row is not None else f"?{name}"
            fitted[tag] = fitted.get(tag, False) or (row is not None and self._fits(row, at))
        return all(fitted.values())

    def _holds(self, row: Threshold, at: datetime.date) -> bool:
        return row.id in self._eligible and holds(row, at)

    def _fits(self, row: Threshold, at: datetime.date) -> bool:
        count = self._count(row)
        return self._holds(row, at) and count is not None and row.min <= count and (row.max is None or count < row.max)

    def _count(self, row: Threshold) -> int | None:
        return self._counts.get(f"{row.jurisdiction}/{row.tag}")

    def turns(self, thresholds: Iterable[str]) -> list[Turn]:
        named = [self._rows[name] for name in thresholds if name in self._eligible]
        return [(day, None) for row in named for day in turning_days(row)]

"""Whose law it is: the regimes of a person, and whether each is known on a day. docs/evaluation.md, section 2."""

import datetime
from collections.abc import Iterable

import msgspec

from foundation.words import Country, JurisdictionId
from routing_rules.law.calendar import counts, first_after, turning_days
from routing_rules.law.places import UNOWNED
from routing_rules.law.questions import Effect, Reason, Regimes
from routing_rules.law.reasons import Citations
from routing_rules.pack import Jurisdiction, Kind, Pack, Status
from routing_rules.policy import Profile


class Standing(msgspec.Struct, frozen=True):
    """The regimes of a question that are left on a day; `unknown`: why nothing is known, if so. `changes`: when this may be otherwise."""

    regimes: tuple[JurisdictionId, ...]
    unknown: tuple[Reason, ...]
    changes: datetime.date | None


class Regimens:
    """Who is under which regimes. Pure lookups, made once."""

    def __init__(
        self, pack: Pack, profile: Profile, overlays: tuple[JurisdictionId, ...] | None, citations: Citations
    ) -> None:
        self._rows = pack.rows
        self._turning = {row.id: turning_days(row) for row in pack.jurisdictions}
        self._owners = pack.owners
        self._profile = profile
        self._citations = citations
        self._parts = tuple(row for row in pack.jurisdictions if row.kind is Kind.SUBDIVISION)
        every = [row for row in pack.jurisdictions if row.kind is Kind.OVERLAY]
        self._overlays = () if overlays is None else tuple(row for row in every if row.id in overlays)
        self._undeclared = {row.parent: row for row in reversed(every)} if overlays is None else {}

    def of(self, country: Country, part: str | None, at: datetime.date) -> Regimes:
        """The regimes of who lives in the country, and in the part of it (None: not stated)."""
        owner = self._owners.get(country, UNOWNED)
        stated = [row for row in self._parts if row.parent == owner and country in row.countries]
        assumed: list[Jurisdiction] = []
        if part is not None:
            stated += [row for row in self._parts if part in row.subdivisions and row not in stated]
        elif self._profile == "cautious":
            inside = f"{country}-"
            assumed = [
                row
                for row in self._parts
                if row.parent == owner and row not in stated and any(one.startswith(inside) for one in row.subdivisions)
            ]
        left_in = [row.id for row in (*stated, *assumed) if not self._is_to_come(row, at)]
        found = (owner, *left_in)
        overlays = tuple(row.id for row in self._overlays if row.parent in found)
        standing = self.standing((*found, *overlays), at)
        return Regimes(
            owner=owner,
            stated=tuple(row.id for row in stated if row.id in left_in),
            assumed=tuple(row.id for row in assumed if row.id in left_in),
            overlays=overlays,
            unknown=standing.unknown[0] if standing.unknown else None,
            valid_until=first_after([standing.changes, *_days((*stated, *assumed))], at),
        )

    def standing(self, regimes: Iterable[JurisdictionId], at: datetime.date) -> Standing:
        """Each must have a row that counts; parts whose law is still to come are left out; none left is unknown."""
        left: list[JurisdictionId] = []
        unknown: list[Reason] = []
        changes: datetime.date | None = None
        for regime in dict.fromkeys(regimes):
            row = self._rows.get(regime)
            if row is None:
                unknown.append(
                    Reason(regime=regime, effect=Effect.IS_OPEN, what=f"no row of the pack speaks of {regime}")
                )
                continue
            for day in self._turning[regime]:
                if day > at and (changes is None or day < changes):
                    changes = day
            if self._is_to_come(row, at):
                continue
            left.append(regime)
            if row.kind is Kind.DEFAULT or not counts(row, self._profile, at):
                unknown += self._unknown(row, at)
        if not left and not unknown:
            unknown.append(
                Reason(regime=UNOWNED, effect=Effect.IS_OPEN, what="no regime speaks of this person on that day")
            )
        return Standing(tuple(left), tuple(unknown), changes)

    def undeclared_overlays(self, regimes: Iterable[JurisdictionId]) -> tuple[Reason, ...]:
        """Regimes that have overlays, of which the operator does not say whether it is registered in them."""
        return tuple(
            self._citations.reason(
                row.id, Effect.IS_OPEN, row, f"operator.overlays does not say whether it holds beside {regime}"
            )
            for regime in regimes
            if (row := self._undeclared.get(regime)) is not None
        )

    def _is_to_come(self, row: Jurisdiction, at: datetime.date) -> bool:
        return row.kind is Kind.SUBDIVISION and row.status is Status.ENACTED and (row.since is None or row.since > at)

    def _unknown(self, row: Jurisdiction, at: datetime.date) -> tuple[Reason, ...]:
        return (self._citations.reason(row.id, Effect.IS_OPEN, row, self._why(row, at)), *self._open(row.id))

    def _open(self, regime: JurisdictionId) -> tuple[Reason, ...]:
        return tuple(dict.fromkeys((*self._citations.open_transfers(regime), *self._citations.open_storage(regime))))

    def _why(self, row: Jurisdiction, at: datetime.date) -> str:
        if row.kind is Kind.DEFAULT:
            return "nothing is known of its law"
        if row.status in (Status.PROMISED, Status.DISPUTED):
            return f"is {row.status} and never counts"
        if row.profile not in ("both", self._profile):
            return f"counts under the profile {row.profile} only"
        if row.since is None:
            return "has no day from which it counts"
        return f"counts from {row.since} only" if at < row.since else f"counted until {row.until}"


def _days(rows: Iterable[Jurisdiction]) -> list[datetime.date]:
    return [day for row in rows for day in turning_days(row)]

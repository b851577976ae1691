"""Duties: which come with a transfer, and all that a regime has. docs/evaluation.md, section 4, point 7."""

import datetime
from collections.abc import Callable, Sequence

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.calendar import Turn, eligible, holds, turns
from routing_rules.law.evidence import Tally
from routing_rules.law.places import Place
from routing_rules.law.questions import Duty
from routing_rules.law.reasons import Citations
from routing_rules.law.tags import Sight
from routing_rules.law.truth import Truth
from routing_rules.pack import Pack
from routing_rules.pack.rows import Gateway, Obligation
from routing_rules.pack.triggers import THRESHOLD_TRIGGER
from routing_rules.policy import Profile

_EU = JurisdictionId("eu")
_SALE = "sale"


class AllowedTransfer(msgspec.Struct, frozen=True):
    """A transfer that a regime allows. `evidenced`: rows that instruments were shown for; `relied_on`: every row of their alternatives;
    `by_gateway`: something goes without an edge."""

    purpose: str
    to: Place
    sight: Sight
    evidenced: Sequence[Gateway]
    relied_on: Sequence[Gateway]
    by_gateway: bool


def _always(_made: AllowedTransfer) -> bool:
    return True


def _by_contract_terms(made: AllowedTransfer) -> bool:
    return any(row.requirement in ("scc", "bcr") for row in made.evidenced)


def _by_standard_contract(made: AllowedTransfer) -> bool:
    return any(row.requirement == "scc" for row in made.evidenced)


def _by_equivalent_measures(made: AllowedTransfer) -> bool:
    return any(row.detail_tag == "equivalent_measures" for row in made.relied_on)


def _sells_consumer_health(made: AllowedTransfer) -> bool:
    return made.purpose == _SALE and "consumer_health" in made.sight.may


FITS: dict[str, Callable[[AllowedTransfer], bool]] = {
    "transfer_planned": _always,
    "first_transfer": _always,
    "foreign_processing": _always,
    "foreign_provider_used": _always,
    "disclosure_to_provider_or_third_party": _always,
    "special_category_transfer_planned": lambda made: made.sight.special_holds(),
    "transfer_by_scc_or_bcr": _by_contract_terms,
    "transfer_to_non_adequate": lambda made: made.by_gateway,
    "transfer_to_eu": lambda made: _EU in made.to.names,
    "standard_contract_signed": _by_standard_contract,
    "equivalent_measures_transfer": _by_equivalent_measures,
    "payment_processed_abroad": lambda made: "payments" in made.sight.data.held,
    "sale_of_consumer_health": _sells_consumer_health,
    "data_brokerage_to_foreign_person": lambda made: made.purpose == _SALE,
}
"""Trigger -> whether a transfer pulls it. Others never fit a transfer, but for thresholds."""


class Obligations:
    """The duties of every regime, made once."""

    def __init__(self, pack: Pack, profile: Profile, tally: Tally, citations: Citations) -> None:
        self._tally = tally
        self._by_regime: dict[JurisdictionId, list[tuple[Obligation, Duty]]] = {}
        for row in eligible(pack.obligations, profile):
            self._by_regime.setdefault(row.jurisdiction, []).append((row, _duty(row, citations)))

    def listed(self, regime: JurisdictionId, at: datetime.date) -> tuple[Duty, ...]:
        return tuple(duty for row, duty in self._by_regime.get(regime, ()) if holds(row, at))

    def of(self, regime: JurisdictionId, made: AllowedTransfer, at: datetime.date) -> tuple[Duty, ...]:
        """Those that this transfer pulls."""
        found = self._by_regime.get(regime)
        if not found:
            return ()
        return tuple(duty for row, duty in found if holds(row, at) and self._fits(row.trigger, made, at))

    def turns(self, regime: JurisdictionId) -> list[Turn]:
        """The days on which duties of a transfer change."""
        rows = [row for row, _ in self._by_regime.get(regime, ()) if _is_of_transfers(row.trigger)]
        thresholds = [
            row.trigger.removeprefix(THRESHOLD_TRIGGER) for row in rows if row.trigger.startswith(THRESHOLD_TRIGGER)
        ]
        return [*turns(rows), *self._tally.turns(thresholds)]

    def _fits(self, trigger: str, made: AllowedTransfer, at: datetime.date) -> bool:
        fits = FITS.get(trigger)
        if fits is not None:
            return fits(made)
        if trigger.startswith(THRESHOLD_TRIGGER):
            return self._tally.reached(trigger.removeprefix(THRESHOLD_TRIGGER), at) is Truth.YES
        return False


def _is_of_transfers(trigger: str) -> bool:
    return trigger in FITS or trigger.startswith(THRESHOLD_TRIGGER)


def _duty(row: Obligation, citations: Citations) -> Duty:
    return Duty(
        regime=row.jurisdiction,
        trigger=row.trigger,
        action=row.action,
        deadline=row.deadline,
        unit=row.unit,
        relative_to=row.relative_to,
        row=citations.ref(row),
    )

"""Which law stands on a day: the rows of the pack that a country or a regime leads to, and until when that answer holds. Pure.

First form: a row owns a country or it does not; what the law demands of storage and transfer is not evaluated here. The statuses are
those of the pack's notes: `in_force` and `repealed` count inside their dates, `enacted` from its start, `promised` and `disputed` never.
"""

import datetime
from collections.abc import Iterable
from typing import assert_never

import msgspec

from foundation.words import Country, JurisdictionId
from routing_rules.mistakes import shown
from routing_rules.pack import Jurisdiction, Kind, Status
from routing_rules.policy import Cell
from routing_rules.rules import Rules


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the pack says on a day. `row` counts if `unknown` is None; else `unknown` says why nothing is known.

    `changes`: the first day on which this may be answered otherwise, None if no row speaks of such a day.
    """

    row: Jurisdiction | None
    unknown: str | None
    changes: datetime.date | None


def of_country(country: Country, rules: Rules, at: datetime.date) -> Standing:
    """The regime that owns the country. Unknown when the pack has no such country, or only a row that says nothing is known."""
    owner = rules.pack.owners.get(country)
    if owner is None:
        return _unknown(None, f"no row of the pack owns country {shown(country)}")
    return of_regime(owner, rules, at)


def of_regime(regime: JurisdictionId, rules: Rules, at: datetime.date) -> Standing:
    """The regime's row if it counts on that day. A subdivision that is enacted but not in force yet leaves its parent to decide alone."""
    row = rules.pack.rows.get(regime)
    if row is None:
        return _unknown(None, f"the pack has no jurisdiction {shown(regime)}")
    match row.kind:
        case Kind.DEFAULT:
            return _unknown(row, f"{cited(row)} says that nothing is known of its law")
        case Kind.OVERLAY | Kind.SCHEME:
            return _unknown(row, f"{cited(row)} is of kind {row.kind}, under which nobody lives")
        case Kind.STATE | Kind.BLOC | Kind.SUBDIVISION:
            pass
        case _:
            assert_never(row.kind)
    standing = _on_day(row, rules.policy.product.profile, at)
    waits = row.kind is Kind.SUBDIVISION and row.status is Status.ENACTED and row.since is not None and at < row.since
    if waits and row.parent is not None:
        above = of_regime(row.parent, rules, at)
        return msgspec.structs.replace(above, changes=earliest((above.changes, standing.changes)))
    return standing


def _on_day(row: Jurisdiction, profile: str, at: datetime.date) -> Standing:
    if row.status in (Status.PROMISED, Status.DISPUTED):
        return _unknown(row, f"{cited(row)} is {row.status} and never counts")
    if row.profile not in ("both", profile):
        return _unknown(row, f"{cited(row)} counts under the profile {row.profile} only")
    if row.since is None:
        return _unknown(row, f"{cited(row)} has no date from which it counts")
    if at < row.since:
        return _unknown(row, f"{cited(row)} counts from {row.since} only", row.since)
    if row.until is None:
        return Standing(row=row, unknown=None, changes=None)
    if at > row.until:
        return _unknown(row, f"{cited(row)} counted until {row.until}")
    after = row.until + datetime.timedelta(days=1) if row.until < datetime.date.max else None
    return Standing(row=row, unknown=None, changes=after)


def _unknown(row: Jurisdiction | None, why: str, changes: datetime.date | None = None) -> Standing:
    return Standing(row=row, unknown=f"unknown: {why}", changes=changes)


def covers(cell: Cell, row: Jurisdiction) -> bool:
    """Does the cell serve this regime? Serving a whole covers its subdivisions, never the other way round."""
    return row.id in cell.serves or (row.kind is Kind.SUBDIVISION and row.parent in cell.serves)


def cited(row: Jurisdiction) -> str:
    """A row named in a ground: its id and the month that its evidence speaks for."""
    return f"row {row.id} (as of {row.as_of})"


def earliest(dates: Iterable[datetime.date | None]) -> datetime.date | None:
    return min((date for date in dates if date is not None), default=None)


def open_questions(tags: Iterable[str], terms: str | None) -> str | None:
    """Facts that no rule of this form reads make the answer unknown: why, or None. Unknown is never allowed."""
    named = sorted(set(tags))
    if named:
        listed = ", ".join(shown(tag) for tag in named[:5])
        return f"unknown: what the law says of data tagged {listed} is not evaluated by these rules"
    if terms is not None:
        return f"unknown: terms {shown(terms)} are not evaluated by these rules"
    return None

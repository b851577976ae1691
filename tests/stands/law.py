"""The law for tests: the bundled pack or one of a few rows, and questions in a line."""

import datetime
from typing import Any

from foundation.words import Country, JurisdictionId
from routing_rules.facts import SubjectFacts
from routing_rules.law import Law
from routing_rules.law.questions import Finding, Location, StorageQuestion, TransferQuestion
from routing_rules.pack import Pack, bundled, parse
from routing_rules.policy import Instrument, Operator, Profile
from tests.stands.rules import VALID, pack_files, table_text

TODAY = datetime.date(2026, 11, 21)
DECLARED: dict[str, Any] = {"country": "DE", "sectors": (), "recipient_classes": (), "overlays": ()}
"""An operator of whom everything is known, and nothing special."""

Rows = list[dict[str, str]]


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def law(pack: Pack | None = None, *instruments: Instrument, profile: Profile = "cautious", **operator: Any) -> Law:
    """An operator's facts replace those of DECLARED; `sectors=None` and the like make one unknown."""
    return Law(bundled() if pack is None else pack, profile, Operator(**(DECLARED | operator)), instruments)


def shown(origin: str, to: str, gateway: str, *tags: str, **more: Any) -> Instrument:
    """An instrument, valid from 2020 to 2040."""
    dates = {"since": day("2020-01-01"), "until": day("2040-01-01"), "ref": f"{origin}-{to}-{gateway}"}
    return Instrument(origin=JurisdictionId(origin), to=to, gateway=gateway, tags=tags, **(dates | more))


def made(*jurisdictions: dict[str, str], **tables: Rows) -> Pack:
    """A pack of these rows; what a row leaves out is filled with something valid, or blank."""
    texts = {name: table_text(f"{name}.csv", *(_filled(name, row) for row in rows)) for name, rows in tables.items()}
    return parse(pack_files(*jurisdictions, **texts))


def _filled(table: str, row: dict[str, str]) -> dict[str, str]:
    match table:
        case "unresolved":
            return row
        case "tags":
            return VALID | {"label": row["tag"], "kind": "special_category"} | row
        case "gateways":
            return VALID | {"alternative": "1"} | row
        case "groups":
            return VALID | {"membership_complete": "true"} | row
        case "storage":
            return VALID | {"key": "residence", "verbs": "store", "region": row["jurisdiction"]} | row
        case "thresholds":
            return VALID | {"unit": "persons", "window_kind": "none", "effect": "notify"} | row
        case "obligations":
            return VALID | {"deadline": "0", "unit": "days", "relative_to": "before", "action": "do"} | row
        case _:
            return VALID | row


def crossing(
    of: Law, regimes: str, to: str, *tags: str, at: datetime.date = TODAY, purpose: str = "service", classes: Any = ()
) -> Finding:
    """May data under these regimes (ids, blank separated) go to an id, or to `id/COUNTRY`? Nothing is proven of the recipient."""
    place, _, country = to.partition("/")
    question = TransferQuestion(
        regimes=_ids(regimes),
        to=_location(place, country),
        purpose=purpose,
        tags=tags,
        recipient_classes=None if classes is None else tuple(classes),
    )
    return of.transfer(question, at)


def keeping(
    of: Law,
    regimes: str,
    primary: str,
    *tags: str,
    at: datetime.date = TODAY,
    citizens: str | None = "",
    stores: str | None = None,
    processes: str | None = None,
    accesses: str | None = None,
    copies: str = "",
    hours: int | None = None,
) -> Finding:
    """May it be kept so? Places are ids, blank separated; what is not stated is where the primary lies."""
    return of.storage(
        StorageQuestion(
            regimes=_ids(regimes),
            citizenships=None if citizens is None else _ids(citizens),
            tags=tags,
            primary=_location(primary),
            stores=_locations(primary if stores is None else stores),
            processes=_locations(primary if processes is None else processes),
            accesses=_locations(primary if accesses is None else accesses),
            copies=_locations(copies),
            hours_abroad=hours,
        ),
        at,
    )


def person(residence: str, part: str | None = None) -> SubjectFacts:
    return SubjectFacts(residence=Country(residence), subdivision=part)


def rows_named(finding: Finding) -> list[str]:
    """The rows of the reasons, as `file: name`."""
    return [f"{reason.row.file}: {reason.row.name}" for reason in finding.reasons if reason.row is not None]


def _ids(text: str) -> tuple[JurisdictionId, ...]:
    return tuple(JurisdictionId(one) for one in text.split())


def _location(place: str, country: str = "") -> Location:
    return Location(JurisdictionId(place), Country(country) if country else None)


def _locations(text: str) -> tuple[Location, ...]:
    return tuple(_location(one) for one in text.split())

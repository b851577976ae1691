"""What aimed questions are made of: days, places, tags, evidence and counts of one row."""

import datetime
from collections.abc import Iterator, Sequence

from foundation.words import Country, JurisdictionId
from routing_rules.law.questions import Location, TransferQuestion
from routing_rules.policy import Instrument, Operator
from tests.oracle.tables import Row, Tables, words

TODAY = "2026-11-21"
FAR = ("br", "jp", "us", "in")
"""Places outside of most regions and lists."""


def days_of(tables: Tables, row: Row, regime: str) -> list[datetime.date]:
    """A day on which the row and its regime count, if there is one; today or as near to it as can be."""
    rows = tables.of("jurisdictions", "id", regime)
    first = max([row["since"] or TODAY, *(one["since"] for one in rows)])
    last = row["until"] or "2099-12-31"
    found = min(max(first, TODAY), last) if first <= last else first
    return sorted({datetime.date.fromisoformat(day) for day in (found, first)})


def profiles_of(row: Row) -> tuple[str, ...]:
    return ("cautious", "common") if row["profile"] == "both" else (row["profile"],)


def place(tables: Tables, one: str, carved: Sequence[str] = ()) -> Location:
    """The place of an id; a scheme's is its parent."""
    for row in tables.of("jurisdictions", "id", one):
        if row["kind"] == "scheme" and row["parent"]:
            return place(tables, row["parent"], carved)
        up = tables.of("jurisdictions", "id", row["parent"]) if row["parent"] else []
        countries = words(row["countries"]) or [country for top in up for country in words(top["countries"])]
        country = next((country for country in countries if country not in carved), None)
        return Location(JurisdictionId(one), None if country is None else Country(country))
    return Location(JurisdictionId(one))


def destinations(tables: Tables, row: Row) -> list[Location]:
    """Where a row's `to` leads."""
    carved, to = words(row.get("to_except_countries", "")), row["to"]
    if to == "*":
        return [place(tables, one) for one in FAR if one != row["from"]]
    if to.startswith("group:"):
        members = [one["member"] for one in tables.of("groups", "group", to.removeprefix("group:")) if one["member"]]
        return [place(tables, one, carved) for one in members or FAR if one != row["from"]]
    return [place(tables, to, carved)]


def specials_of(tables: Tables, regime: str) -> list[str]:
    return [row["tag"] for row in tables.of("special_categories", "jurisdiction", regime)]


def tags_for(tables: Tables, regime: str, listed: Sequence[str]) -> list[str]:
    """The tags that a row names, one special one where it names them all."""
    named = [tag for tag in listed if tag not in ("*", "special_category")]
    return [*named, *(["special_category", *specials_of(tables, regime)[:1]] if "special_category" in listed else [])]


def evidence_for(origin: str, rows: Sequence[Row], tags: tuple[str, ...] = ("*",)) -> tuple[Instrument, ...]:
    day = datetime.date
    needed = dict.fromkeys(row["requirement"] for row in rows if row["requirement"] != "none")
    return tuple(
        Instrument(
            origin=JurisdictionId(origin),
            to="*",
            gateway=name,
            ref=name,
            tags=tags,
            since=day(1900, 1, 1),
            until=day(2099, 12, 31),
        )
        for name in needed
    )


def counts_of(tables: Tables, names: Sequence[str]) -> Iterator[dict[str, int]]:
    """Nothing counted; then for each range named: its lowest count, the lowest of the others named, and none of what is not named."""
    yield {}
    rows = [row for name in names for row in tables.of("thresholds", "id", name)]
    none = {f"{row['jurisdiction']}/{row['tag']}": 0 for row in tables.rows["thresholds"]}
    lowest = {f"{row['jurisdiction']}/{row['tag']}": int(row["min"]) for row in reversed(rows)}
    for chosen in rows:
        yield {**none, **lowest, f"{chosen['jurisdiction']}/{chosen['tag']}": int(chosen["min"])}


def alternatives_of(tables: Tables, origin: str) -> list[list[Row]]:
    ways: dict[tuple[str, str], list[Row]] = {}
    for row in tables.of("gateways", "from", origin):
        ways.setdefault((row["to"], row["alternative"]), []).append(row)
    return list(ways.values())


def asked(
    regime: str, to: Location, tags: Sequence[str], classes: Sequence[str] | None = (), purpose: str = "service"
) -> TransferQuestion:
    return TransferQuestion(
        regimes=(JurisdictionId(regime),),
        to=to,
        purpose=purpose,
        tags=tuple(tags),
        recipient_classes=None if classes is None else tuple(classes),
    )


def declaring(counts: dict[str, int] | None = None, country: str | None = None) -> Operator:
    return Operator(
        country=None if country is None else Country(country),
        sectors=(),
        overlays=(),
        recipient_classes=(),
        counts=counts or {},
    )

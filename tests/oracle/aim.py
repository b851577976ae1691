"""Questions aimed at one row: those that should answer otherwise if the row were not there.

They are made of the row's own columns: its day, its profile, a destination or place that it names, the tags, purpose, recipients and counts
that it asks for, and evidence for everything but what the row itself provides.
"""

import datetime
from collections.abc import Iterator

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.questions import Location, StorageQuestion
from tests.oracle.ask import Case
from tests.oracle.naive import World
from tests.oracle.named import members
from tests.oracle.parts import (
    FAR,
    alternatives_of,
    asked,
    counts_of,
    days_of,
    declaring,
    destinations,
    evidence_for,
    place,
    profiles_of,
    specials_of,
    tags_for,
)
from tests.oracle.tables import Row, Tables, words

KEYS = {
    "jurisdictions": ("id",),
    "groups": ("group", "member"),
    "special_categories": ("jurisdiction", "tag"),
    "edges": ("from", "to"),
    "gateways": ("from", "to", "alternative", "requirement"),
    "denies": ("from", "to", "tag", "recipient_class", "purpose"),
    "storage": ("jurisdiction", "tag", "rule"),
    "thresholds": ("id",),
    "obligations": ("jurisdiction", "trigger", "action"),
}
"""The files whose rows have to matter, and the columns that name a row in them."""


def label(file: str, row: Row) -> str:
    """What names a row in its file."""
    return " ".join([*(row[column] or "-" for column in KEYS[file]), row["profile"], row["since"] or "never"])


def aimed(tables: Tables, file: str, row: Row) -> Iterator[Case]:
    yield from {
        "jurisdictions": _at_jurisdiction,
        "groups": _at_member,
        "special_categories": _at_special,
        "edges": _at_edge,
        "gateways": _at_gateway,
        "denies": _at_deny,
        "storage": _at_storage,
        "thresholds": _at_threshold,
        "obligations": _at_obligation,
    }[file](tables, row)


def _at_edge(tables: Tables, row: Row, only: Location | None = None) -> Iterator[Case]:
    """Without evidence, so that nothing else leads there."""
    tags = tags_for(tables, row["from"], words(row["tags_only"]))
    others = [tag for one in tables.of("gateways", "from", row["from"]) for tag in words(one["tags_except"])]
    for at in days_of(tables, row, row["from"]):
        for profile in profiles_of(row):
            for to in [only] if only else destinations(tables, row):
                for data in ([], tags[:1], others[:1]):
                    question = asked(row["from"], to, data, words(row["recipient_class"]))
                    yield Case(World(profile, declaring(), ()), question, at)


def _at_gateway(tables: Tables, row: Row, only: Location | None = None) -> Iterator[Case]:
    """With the evidence of its alternative, with all of that but its own, and with its own for the data as such alone."""
    origin = row["from"]
    same = [one for way in alternatives_of(tables, origin) for one in way if row in way]
    tags = tags_for(tables, origin, words(row["tags_only"]))
    others = specials_of(tables, origin)[:1]
    rest = evidence_for(origin, [one for one in same if one["requirement"] != row["requirement"]])
    held = [evidence_for(origin, same), rest, (*rest, *evidence_for(origin, [row], ()))]
    for at in days_of(tables, row, origin):
        for profile in profiles_of(row):
            for counts in counts_of(tables, words(row["threshold_id"])):
                for instruments in held:
                    for to in [only] if only else destinations(tables, row):
                        for data in ([], tags[:1], tags[1:], others):
                            question = asked(origin, to, data, words(row["recipient_class"]))
                            yield Case(World(profile, declaring(counts), instruments), question, at)


def _at_member(tables: Tables, row: Row) -> Iterator[Case]:
    """Asked through every row that names the group, for this member."""
    if not row["member"]:
        return
    name, to = f"group:{row['group']}", place(tables, row["member"])
    for file, aim in (("edges", _at_edge), ("gateways", _at_gateway), ("denies", _at_deny)):
        for one in tables.of(file, "to", name):
            for case in aim(tables, one, to):
                yield case._replace(at=datetime.date.fromisoformat(max(case.at.isoformat(), row["since"])))
    for one in tables.rows["storage"]:
        if name in words(one["region"]):
            for at in days_of(tables, one, one["jurisdiction"]):
                for profile in profiles_of(one):
                    first = datetime.date.fromisoformat(max(at.isoformat(), row["since"]))
                    yield Case(World(profile, declaring(), ()), _kept(one, to, to, to, to), first)


def _at_deny(tables: Tables, row: Row, only: Location | None = None) -> Iterator[Case]:
    origin = row["from"]
    tags = tags_for(tables, origin, [row["tag"]])
    for at in days_of(tables, row, origin):
        for profile in profiles_of(row):
            for counts in counts_of(tables, words(row["threshold_id"])):
                for to in [only] if only else destinations(tables, row):
                    for data in [[tag] for tag in tags] or [[]]:
                        classes = words(row["recipient_class"])
                        question = asked(origin, to, data, classes, row["purpose"] or "service")
                        yield Case(World(profile, declaring(counts), ()), question, at)


def _kept(row: Row, primary: Location, store: Location, process: Location, access: Location) -> StorageQuestion:
    return StorageQuestion(
        regimes=(JurisdictionId(row["jurisdiction"]),),
        citizenships=(JurisdictionId(row["jurisdiction"]),),
        tags=() if row["tag"] == "*" else (row["tag"],),
        primary=primary,
        stores=(primary, store),
        processes=(process,),
        accesses=(access,),
        hours_abroad=48,
    )


def _at_storage(tables: Tables, row: Row) -> Iterator[Case]:
    """Everything inside but what one verb is about; with nothing lifted, and with what lifts wider rows."""
    own = row["jurisdiction"]
    inside = [place(tables, one) for word in words(row["region"]) for one in members(tables, word)] or [
        place(tables, own)
    ]
    keeping = [
        {"requirement": word} for one in tables.of("storage", "jurisdiction", own) for word in words(one["lifted_by"])
    ]
    other = [place(tables, one["parent"]) for one in tables.of("jurisdictions", "id", inside[0].id) if one["parent"]]
    outside = [*(place(tables, one) for one in FAR if one not in {place.id for place in inside}), *other]
    for at in days_of(tables, row, own):
        for profile in profiles_of(row):
            for instruments in ((), evidence_for(own, keeping, ())):
                for here in inside[:1]:
                    for out in outside:
                        for places in (
                            (out, out, out, out),
                            (out, here, here, here),
                            (here, out, here, here),
                            (here, here, out, here),
                            (here, here, here, out),
                        ):
                            yield Case(World(profile, declaring(), instruments), _kept(row, *places), at)


def _at_threshold(tables: Tables, row: Row) -> Iterator[Case]:
    """Through the rows that name it, at its count and just under."""
    under = {f"{row['jurisdiction']}/{row['tag']}": max(0, int(row["min"]) - 1)}
    for file, aim in (("denies", _at_deny), ("gateways", _at_gateway)):
        for one in tables.rows[file]:
            if row["id"] in words(one["threshold_id"]):
                for case in aim(tables, one):
                    yield case
                    operator = case.world.operator
                    fewer = msgspec.structs.replace(operator, counts={**operator.counts, **under})
                    yield case._replace(world=case.world._replace(operator=fewer))
    for one in tables.rows["obligations"]:
        if one["trigger"] == f"threshold_{row['id']}":
            for case in _at_obligation(tables, one):
                less = msgspec.structs.replace(case.world.operator, counts=under)
                yield case._replace(world=case.world._replace(operator=less))


def _at_obligation(tables: Tables, row: Row) -> Iterator[Case]:
    """Every way out of the regime, with evidence for it, with the data and the purpose that triggers are about."""
    own = row["jurisdiction"]
    data = [[], ["payments"], ["consumer_health"], specials_of(tables, own)[:1]]
    for at in days_of(tables, row, own)[-1:]:
        for profile in profiles_of(row):
            for way in alternatives_of(tables, own):
                for to in ("br", "eu", "us"):
                    for tags in data:
                        for purpose in ("service", "sale"):
                            question = asked(own, place(tables, to), tags, words(way[0]["recipient_class"]), purpose)
                            yield Case(World(profile, declaring(), evidence_for(own, way)), question, at)


def _at_special(tables: Tables, row: Row) -> Iterator[Case]:
    """Data with the tag, and data that says no more than `special_category`, on every way out and in every place abroad."""
    own = row["jurisdiction"]
    keeping = tables.of("storage", "jurisdiction", own)
    ways = [
        [],
        *([edge] for edge in tables.of("edges", "from", own) if edge["tags_except"]),
        *alternatives_of(tables, own),
    ]
    for at in days_of(tables, row, own)[-1:]:
        for profile in profiles_of(row):
            for data in ([row["tag"]], ["special_category"]):
                for one in keeping:
                    yield from _special_abroad(tables, one, data, profile, at)
                for way in [*ways, *([one] for one in tables.of("denies", "from", own))]:
                    yield from _special_out(tables, own, way, data, profile, at)


def _special_abroad(tables: Tables, one: Row, data: list[str], profile: str, at: datetime.date) -> Iterator[Case]:
    own = one["jurisdiction"]
    out = place(tables, next(far for far in FAR if far != own))
    asked = msgspec.structs.replace(_kept(one, out, out, out, out), tags=tuple(data))
    for instruments in ((), evidence_for(own, [{"requirement": word} for word in words(one["lifted_by"])], ())):
        yield Case(World(profile, declaring(), instruments), asked, at)


def _special_out(
    tables: Tables, own: str, way: list[Row], data: list[str], profile: str, at: datetime.date
) -> Iterator[Case]:
    first: Row = way[0] if way else {}
    wanted = [row for row in way if "requirement" in row]
    to = destinations(tables, first)[0] if way else place(tables, next(far for far in FAR if far != own))
    for counts in counts_of(tables, words(first.get("threshold_id", ""))):
        world = World(profile, declaring(counts), evidence_for(own, wanted))
        question = asked(own, to, data, words(first.get("recipient_class", "")), first.get("purpose") or "service")
        yield Case(world, question, at)


def _at_jurisdiction(tables: Tables, row: Row) -> Iterator[Case]:
    """As the origin, as the destination, as the parent or scheme of one, and as where data is kept."""
    own = row["id"]
    here = place(tables, own)
    for at in days_of(tables, row, own):
        for profile in profiles_of(row):
            for way in [[], *alternatives_of(tables, own)]:
                question = asked(
                    own,
                    place(tables, "br" if own != "br" else "us"),
                    [],
                    words(way[0]["recipient_class"]) if way else (),
                )
                yield Case(World(profile, declaring(), evidence_for(own, way)), question, at)
            for origin in ("in", "us", "hk"):
                yield Case(
                    World(profile, declaring(), ()),
                    asked(origin, Location(JurisdictionId(own), here.country), []),
                    at,
                )
            for edge in [one for one in tables.rows["edges"] if one["to"] == own]:
                yield Case(
                    World(profile, declaring(), ()),
                    asked(edge["from"], here, [], words(edge["recipient_class"])),
                    at,
                )

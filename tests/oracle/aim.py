"""Questions aimed at one row: those that should answer otherwise if the row were not there.

They are made of the row's own columns: its day, its profile, a destination or place that it names, the tags, purpose, recipients and counts
that it asks for, and evidence for everything but what the row itself provides.
"""

import datetime
from collections.abc import Iterator, Sequence

import msgspec

from foundation.words import Country, JurisdictionId
from routing_rules.law.questions import Location, StorageQuestion, TransferQuestion
from routing_rules.policy import Instrument, Operator
from tests.oracle.ask import Case
from tests.oracle.naive import World
from tests.oracle.tables import Row, Tables, words

TODAY = "2026-11-21"
FAR = ("br", "jp", "us", "in")
"""Places outside of most regions and lists."""
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


# Parts of a question


def _days(tables: Tables, row: Row, regime: str) -> list[datetime.date]:
    """A day on which the row and its regime count, if there is one; today or as near to it as can be."""
    rows = tables.of("jurisdictions", "id", regime)
    first = max([row["since"] or TODAY, *(one["since"] for one in rows)])
    last = row["until"] or "2099-12-31"
    found = min(max(first, TODAY), last) if first <= last else first
    return sorted({datetime.date.fromisoformat(day) for day in (found, first)})


def _profiles(row: Row) -> tuple[str, ...]:
    return ("cautious", "common") if row["profile"] == "both" else (row["profile"],)


def _place(tables: Tables, one: str, carved: Sequence[str] = ()) -> Location:
    """The place of an id; a scheme's is its parent."""
    for row in tables.of("jurisdictions", "id", one):
        if row["kind"] == "scheme" and row["parent"]:
            return _place(tables, row["parent"], carved)
        up = tables.of("jurisdictions", "id", row["parent"]) if row["parent"] else []
        countries = words(row["countries"]) or [country for top in up for country in words(top["countries"])]
        country = next((country for country in countries if country not in carved), None)
        return Location(JurisdictionId(one), None if country is None else Country(country))
    return Location(JurisdictionId(one))


def _destinations(tables: Tables, row: Row) -> list[Location]:
    """Where a row's `to` leads."""
    carved, to = words(row.get("to_except_countries", "")), row["to"]
    if to == "*":
        return [_place(tables, one) for one in FAR if one != row["from"]]
    if to.startswith("group:"):
        members = [one["member"] for one in tables.of("groups", "group", to.removeprefix("group:")) if one["member"]]
        return [_place(tables, one, carved) for one in members or FAR if one != row["from"]]
    return [_place(tables, to, carved)]


def _specials(tables: Tables, regime: str) -> list[str]:
    return [row["tag"] for row in tables.of("special_categories", "jurisdiction", regime)]


def _tags(tables: Tables, regime: str, listed: Sequence[str]) -> list[str]:
    """The tags that a row names, one special one where it names them all."""
    named = [tag for tag in listed if tag not in ("*", "special_category")]
    return [*named, *(["special_category", *_specials(tables, regime)[:1]] if "special_category" in listed else [])]


def _evidence(origin: str, rows: Sequence[Row], tags: tuple[str, ...] = ("*",)) -> tuple[Instrument, ...]:
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


def _counts(tables: Tables, names: Sequence[str]) -> Iterator[dict[str, int]]:
    """Nothing counted; then for each range named: its lowest count, the lowest of the others named, and none of what is not named."""
    yield {}
    rows = [row for name in names for row in tables.of("thresholds", "id", name)]
    none = {f"{row['jurisdiction']}/{row['tag']}": 0 for row in tables.rows["thresholds"]}
    lowest = {f"{row['jurisdiction']}/{row['tag']}": int(row["min"]) for row in reversed(rows)}
    for chosen in rows:
        yield {**none, **lowest, f"{chosen['jurisdiction']}/{chosen['tag']}": int(chosen["min"])}


def _alternatives(tables: Tables, origin: str) -> list[list[Row]]:
    ways: dict[tuple[str, str], list[Row]] = {}
    for row in tables.of("gateways", "from", origin):
        ways.setdefault((row["to"], row["alternative"]), []).append(row)
    return list(ways.values())


def _transfer(
    regime: str, to: Location, tags: Sequence[str], classes: Sequence[str] | None = (), purpose: str = "service"
) -> TransferQuestion:
    return TransferQuestion(
        regimes=(JurisdictionId(regime),),
        to=to,
        purpose=purpose,
        tags=tuple(tags),
        recipient_classes=None if classes is None else tuple(classes),
    )


def _operator(counts: dict[str, int] | None = None, country: str | None = None) -> Operator:
    return Operator(
        country=None if country is None else Country(country),
        sectors=(),
        overlays=(),
        recipient_classes=(),
        counts=counts or {},
    )


# Files


def _at_edge(tables: Tables, row: Row, only: Location | None = None) -> Iterator[Case]:
    """Without evidence, so that nothing else leads there."""
    tags = _tags(tables, row["from"], words(row["tags_only"]))
    others = [tag for one in tables.of("gateways", "from", row["from"]) for tag in words(one["tags_except"])]
    for at in _days(tables, row, row["from"]):
        for profile in _profiles(row):
            for to in [only] if only else _destinations(tables, row):
                for data in ([], tags[:1], others[:1]):
                    question = _transfer(row["from"], to, data, words(row["recipient_class"]))
                    yield Case(World(profile, _operator(), ()), question, at)


def _at_gateway(tables: Tables, row: Row, only: Location | None = None) -> Iterator[Case]:
    """With the evidence of its alternative, with all of that but its own, and with its own for the data as such alone."""
    origin = row["from"]
    same = [one for way in _alternatives(tables, origin) for one in way if row in way]
    tags = _tags(tables, origin, words(row["tags_only"]))
    others = _specials(tables, origin)[:1]
    rest = _evidence(origin, [one for one in same if one["requirement"] != row["requirement"]])
    held = [_evidence(origin, same), rest, (*rest, *_evidence(origin, [row], ()))]
    for at in _days(tables, row, origin):
        for profile in _profiles(row):
            for counts in _counts(tables, words(row["threshold_id"])):
                for instruments in held:
                    for to in [only] if only else _destinations(tables, row):
                        for data in ([], tags[:1], tags[1:], others):
                            question = _transfer(origin, to, data, words(row["recipient_class"]))
                            yield Case(World(profile, _operator(counts), instruments), question, at)


def _at_member(tables: Tables, row: Row) -> Iterator[Case]:
    """Asked through every row that names the group, for this member."""
    if not row["member"]:
        return
    name, to = f"group:{row['group']}", _place(tables, row["member"])
    for file, aim in (("edges", _at_edge), ("gateways", _at_gateway), ("denies", _at_deny)):
        for one in tables.of(file, "to", name):
            for case in aim(tables, one, to):
                yield case._replace(at=datetime.date.fromisoformat(max(case.at.isoformat(), row["since"])))
    for one in tables.rows["storage"]:
        if name in words(one["region"]):
            for at in _days(tables, one, one["jurisdiction"]):
                for profile in _profiles(one):
                    first = datetime.date.fromisoformat(max(at.isoformat(), row["since"]))
                    yield Case(World(profile, _operator(), ()), _kept(one, to, to, to, to), first)


def _at_deny(tables: Tables, row: Row, only: Location | None = None) -> Iterator[Case]:
    origin = row["from"]
    tags = _tags(tables, origin, [row["tag"]])
    for at in _days(tables, row, origin):
        for profile in _profiles(row):
            for counts in _counts(tables, words(row["threshold_id"])):
                for to in [only] if only else _destinations(tables, row):
                    for data in [[tag] for tag in tags] or [[]]:
                        classes = words(row["recipient_class"])
                        question = _transfer(origin, to, data, classes, row["purpose"] or "service")
                        yield Case(World(profile, _operator(counts), ()), question, at)


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
    inside = [_place(tables, one) for word in words(row["region"]) for one in _named(tables, word)] or [
        _place(tables, own)
    ]
    keeping = [
        {"requirement": word} for one in tables.of("storage", "jurisdiction", own) for word in words(one["lifted_by"])
    ]
    other = [_place(tables, one["parent"]) for one in tables.of("jurisdictions", "id", inside[0].id) if one["parent"]]
    outside = [*(_place(tables, one) for one in FAR if one not in {place.id for place in inside}), *other]
    for at in _days(tables, row, own):
        for profile in _profiles(row):
            for instruments in ((), _evidence(own, keeping, ())):
                for here in inside[:1]:
                    for out in outside:
                        for places in (
                            (out, out, out, out),
                            (out, here, here, here),
                            (here, out, here, here),
                            (here, here, out, here),
                            (here, here, here, out),
                        ):
                            yield Case(World(profile, _operator(), instruments), _kept(row, *places), at)


def _named(tables: Tables, word: str) -> list[str]:
    if not word.startswith("group:"):
        return [word]
    return [row["member"] for row in tables.of("groups", "group", word.removeprefix("group:")) if row["member"]]


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
    data = [[], ["payments"], ["consumer_health"], _specials(tables, own)[:1]]
    for at in _days(tables, row, own)[-1:]:
        for profile in _profiles(row):
            for way in _alternatives(tables, own):
                for to in ("br", "eu", "us"):
                    for tags in data:
                        for purpose in ("service", "sale"):
                            question = _transfer(
                                own, _place(tables, to), tags, words(way[0]["recipient_class"]), purpose
                            )
                            yield Case(World(profile, _operator(), _evidence(own, way)), question, at)


def _at_special(tables: Tables, row: Row) -> Iterator[Case]:
    """Data with the tag, and data that says no more than `special_category`, on every way out and in every place abroad."""
    own = row["jurisdiction"]
    keeping = tables.of("storage", "jurisdiction", own)
    ways = [
        [],
        *([edge] for edge in tables.of("edges", "from", own) if edge["tags_except"]),
        *_alternatives(tables, own),
    ]
    for at in _days(tables, row, own)[-1:]:
        for profile in _profiles(row):
            for data in ([row["tag"]], ["special_category"]):
                for one in keeping:
                    yield from _special_abroad(tables, one, data, profile, at)
                for way in [*ways, *([one] for one in tables.of("denies", "from", own))]:
                    yield from _special_out(tables, own, way, data, profile, at)


def _special_abroad(tables: Tables, one: Row, data: list[str], profile: str, at: datetime.date) -> Iterator[Case]:
    own = one["jurisdiction"]
    out = _place(tables, next(far for far in FAR if far != own))
    asked = msgspec.structs.replace(_kept(one, out, out, out, out), tags=tuple(data))
    for instruments in ((), _evidence(own, [{"requirement": word} for word in words(one["lifted_by"])], ())):
        yield Case(World(profile, _operator(), instruments), asked, at)


def _special_out(
    tables: Tables, own: str, way: list[Row], data: list[str], profile: str, at: datetime.date
) -> Iterator[Case]:
    first: Row = way[0] if way else {}
    wanted = [row for row in way if "requirement" in row]
    to = _destinations(tables, first)[0] if way else _place(tables, next(far for far in FAR if far != own))
    for counts in _counts(tables, words(first.get("threshold_id", ""))):
        world = World(profile, _operator(counts), _evidence(own, wanted))
        question = _transfer(own, to, data, words(first.get("recipient_class", "")), first.get("purpose") or "service")
        yield Case(world, question, at)


def _at_jurisdiction(tables: Tables, row: Row) -> Iterator[Case]:
    """As the origin, as the destination, as the parent or scheme of one, and as where data is kept."""
    own = row["id"]
    here = _place(tables, own)
    for at in _days(tables, row, own):
        for profile in _profiles(row):
            for way in [[], *_alternatives(tables, own)]:
                question = _transfer(
                    own,
                    _place(tables, "br" if own != "br" else "us"),
                    [],
                    words(way[0]["recipient_class"]) if way else (),
                )
                yield Case(World(profile, _operator(), _evidence(own, way)), question, at)
            for origin in ("in", "us", "hk"):
                yield Case(
                    World(profile, _operator(), ()),
                    _transfer(origin, Location(JurisdictionId(own), here.country), []),
                    at,
                )
            for edge in [one for one in tables.rows["edges"] if one["to"] == own]:
                yield Case(
                    World(profile, _operator(), ()),
                    _transfer(edge["from"], here, [], words(edge["recipient_class"])),
                    at,
                )

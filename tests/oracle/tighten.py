"""Rows made stricter, and facts made unknown: neither may ever open a route.

A permission is an edge, a whole gateway alternative (its rows are AND: one of them alone is a condition, not a permission), a member of a
group that no prohibition names, or the row of a jurisdiction. Left out by name, because the page says that they open:
the last edge or gateway row of a subdivision (it becomes silent, section 4.3), and the later start of an enacted subdivision (section 2).
"""

import datetime
import random
from collections.abc import Iterator

import msgspec

from routing_rules.law.questions import Location, StorageQuestion, TransferQuestion
from routing_rules.policy import Operator
from tests.oracle.ask import Asker, Case
from tests.oracle.tables import Row, Tables, words

STRICTER = {
    "copy_local": ("primary_local", "local_only"),
    "process_here_or_copy_local": ("copy_local", "primary_local", "local_only"),
    "primary_local": ("local_only",),
    "local_only": (),
}
"""`process_here_or_copy_local` is the loosest in what it asks, wherever it stands in the order of rules."""
REQUIREMENTS = ("scc", "consent", "approval")


class Tightening(msgspec.Struct, frozen=True):
    """`file` of `tables` is the one that differs."""

    what: str
    file: str
    tables: Tables


def tightened(tables: Tables, case: Case, draw: random.Random) -> Iterator[Tightening]:
    """One of each sort for the rows of a case's regimes, where there are such rows."""
    asker = Asker(tables, draw)
    regime = draw.choice(case.question.regimes or ("eu",))
    yield from _permissions(tables, case, regime, draw, asker)
    yield from _group(tables, case, draw)
    yield from _jurisdiction(tables, case, regime, draw)
    yield from _denies(tables, regime, draw, asker)
    yield from _storage(tables, draw.choice((regime, draw.choice(tables.rows["storage"])["jurisdiction"])), draw, asker)


def _replaced(tables: Tables, file: str, olds: list[Row], news: list[Row]) -> Tables:
    gone = {id(row) for row in olds}
    return tables.with_rows(file, [row for row in tables.rows[file] if id(row) not in gone] + news)


def _later(row: Row, at: datetime.date) -> Row:
    return {**row, "since": (at + datetime.timedelta(days=1)).isoformat()}


def _sooner(row: Row, at: datetime.date) -> Row:
    return {**row, "until": (at - datetime.timedelta(days=1)).isoformat()}


def _off(case: Case, draw: random.Random) -> tuple[str, Row]:
    """One way for a permission to hold no longer, as the columns that change."""
    way = draw.choice(("ended", "not begun", "promised", "disputed", "of no date", "of the other profile"))
    other = "common" if case.world.profile == "cautious" else "cautious"
    changes = {
        "ended": _sooner({}, case.at),
        "not begun": _later({}, case.at),
        "promised": {"status": "promised"},
        "disputed": {"status": "disputed"},
        "of no date": {"since": ""},
        "of the other profile": {"profile": other},
    }
    return way, changes[way]


def _permissions(tables: Tables, case: Case, regime: str, draw: random.Random, asker: Asker) -> Iterator[Tightening]:
    edges, gateways = tables.of("edges", "from", regime), tables.of("gateways", "from", regime)
    is_part = any(row["kind"] == "subdivision" for row in tables.of("jurisdictions", "id", regime))
    for file, rows in (("edges", edges), ("gateways", gateways)):
        if not rows:
            continue
        one = draw.choice(rows)
        unit = (
            [one]
            if file == "edges"
            else [r for r in rows if (r["to"], r["alternative"]) == (one["to"], one["alternative"])]
        )
        name = f"{file[:-1]} {one['from']} -> {one['to']}"
        if not (is_part and len(edges) + len(gateways) == len(unit)):
            yield Tightening(f"{name} removed", file, _replaced(tables, file, unit, []))
        way, changes = _off(case, draw)
        yield Tightening(f"{name} {way}", file, _replaced(tables, file, unit, [{**row, **changes} for row in unit]))
        for what, narrowed in _narrowed(unit, draw, asker):
            yield Tightening(f"{name} {what}", file, _replaced(tables, file, unit, narrowed))
        if file == "gateways":
            more = {**one, "requirement": draw.choice(REQUIREMENTS), "detail_tag": ""}
            yield Tightening(f"{name} needs {more['requirement']} too", file, _replaced(tables, file, [], [more]))


def _narrowed(unit: list[Row], draw: random.Random, asker: Asker) -> Iterator[tuple[str, list[Row]]]:
    one, tag = unit[0], draw.choice(asker.tags)
    only = words(one["tags_only"])
    if len(only) > 1:
        yield f"only for {only[0]}", [{**row, "tags_only": only[0]} for row in unit]
    elif not only:
        yield f"only for {tag}", [{**row, "tags_only": tag, "tags_except": ""} for row in unit]
        wider = ";".join([*words(one["tags_except"]), tag])
        yield f"not for {tag}", [{**row, "tags_except": wider} for row in unit]
    classes = words(one["recipient_class"])
    if len(classes) != 1:
        named = classes[:1] or [draw.choice(asker.classes)]
        yield f"for {named[0]} alone", [{**row, "recipient_class": named[0]} for row in unit]


def _group(tables: Tables, case: Case, draw: random.Random) -> Iterator[Tightening]:
    denied = {row["to"].removeprefix("group:") for row in tables.rows["denies"]}
    free = [row for row in tables.rows["groups"] if row["group"] not in denied]
    near = [row for row in free if isinstance(case.question, TransferQuestion) and row["member"] == case.question.to.id]
    one = draw.choice(near or free)
    name = f"member {one['member']} of {one['group']}"
    yield Tightening(f"{name} removed", "groups", _replaced(tables, "groups", [one], []))
    way, changes = _off(case, draw)
    yield Tightening(f"{name} {way}", "groups", _replaced(tables, "groups", [one], [{**one, **changes}]))


def _jurisdiction(tables: Tables, case: Case, regime: str, draw: random.Random) -> Iterator[Tightening]:
    for row in tables.of("jurisdictions", "id", regime):
        way, changes = _off(case, draw)
        if row["status"] == "enacted" and row["kind"] == "subdivision" and way in ("not begun", "of no date"):
            continue
        rows = [{**one, **changes} if one is row else one for one in tables.rows["jurisdictions"]]
        yield Tightening(f"row of {regime} {way}", "jurisdictions", tables.with_rows("jurisdictions", rows))
        rows = [
            {**one, "general_storage_rule": "unknown"} if one is row else one for one in tables.rows["jurisdictions"]
        ]
        yield Tightening(f"storage rule of {regime} unknown", "jurisdictions", tables.with_rows("jurisdictions", rows))


ALWAYS_ON = {"status": "in_force", "profile": "both", "since": "1900-01-01", "until": ""}


def _denies(tables: Tables, regime: str, draw: random.Random, asker: Asker) -> Iterator[Tightening]:
    model = tables.rows["denies"][0]
    blank = {**model, "from": regime, "threshold_id": "", "purpose": "", "recipient_class": "", **ALWAYS_ON}
    new = {
        **blank,
        "to": draw.choice(("*", "us", "cn", "group:convention108")),
        "tag": draw.choice(("*", draw.choice(asker.tags))),
        "purpose": draw.choice(("", "sale")),
        "recipient_class": draw.choice(("", draw.choice(asker.classes))),
    }
    yield Tightening(f"deny {regime} -> {new['to']} {new['tag']}", "denies", _replaced(tables, "denies", [], [new]))
    rows = tables.of("denies", "from", regime)
    if rows:
        one = draw.choice(rows)
        change = draw.choice(
            ({"tag": "*"}, {"to": "*"}, {"purpose": ""}, {"recipient_class": ""}, {"threshold_id": ""}, ALWAYS_ON)
        )
        what = f"deny {regime} -> {one['to']} {one['tag']} with {change}"
        yield Tightening(what, "denies", _replaced(tables, "denies", [one], [{**one, **change}]))


def _storage(tables: Tables, regime: str, draw: random.Random, asker: Asker) -> Iterator[Tightening]:
    new = {
        **tables.rows["storage"][0],
        **ALWAYS_ON,
        "jurisdiction": regime,
        "tag": draw.choice(("*", draw.choice(asker.tags))),
        "rule": draw.choice(list(STRICTER)),
        "region": draw.choice((regime, regime, "us", "group:eea")),
        "key": draw.choice(("residence", "operator", "citizenship", "place_of_collection")),
        "verbs": ";".join(draw.sample(("store", "process", "access"), draw.randint(1, 3))),
        "ttl_hours_abroad": draw.choice(("", "24")),
    }
    yield Tightening(f"storage {new}", "storage", _replaced(tables, "storage", [], [new]))
    for one in draw.sample(rows := tables.of("storage", "jurisdiction", regime), min(2, len(rows))):
        for what, changed in _stricter(one, draw):
            yield Tightening(
                f"storage {regime} {one['tag']} {what}", "storage", _replaced(tables, "storage", [one], [changed])
            )


def _stricter(one: Row, draw: random.Random) -> Iterator[tuple[str, Row]]:
    yield "always on", {**one, **ALWAYS_ON}
    yield "for every verb", {**one, "verbs": "store;process;access"}
    for rule in STRICTER[one["rule"]]:
        yield f"becomes {rule}", {**one, "rule": rule}
    if not one["lifted_by"]:
        yield "for all data", {**one, "tag": "*"}
    else:
        yield "lifted by nothing", {**one, "lifted_by": ""}
        yield "lifted by more", {**one, "lifted_by": f"{one['lifted_by']};notification"}
    region = words(one["region"])
    yield "in less", {**one, "region": draw.choice(region) if len(region) > 1 else "sm"}
    if one["ttl_hours_abroad"]:
        yield "for less time", {**one, "ttl_hours_abroad": "1"}


def ignorant(case: Case) -> Iterator[tuple[str, Case]]:
    """The same case with one thing less known."""
    world, question = case.world, case.question
    operator = world.operator
    for what, less in _less_of_operator(operator):
        yield what, case._replace(world=world._replace(operator=less))
    for number in range(len(world.instruments)):
        fewer = (*world.instruments[:number], *world.instruments[number + 1 :])
        yield f"without instrument {number}", case._replace(world=world._replace(instruments=fewer))
    for what, less_asked in _less_of_question(question):
        yield what, case._replace(question=less_asked)


def _less_of_operator(operator: Operator) -> Iterator[tuple[str, Operator]]:
    yield "sectors unknown", msgspec.structs.replace(operator, sectors=None)
    yield "overlays unknown", msgspec.structs.replace(operator, overlays=None)
    yield "country unknown", msgspec.structs.replace(operator, country=None)
    yield "counts unknown", msgspec.structs.replace(operator, counts={})
    for key in operator.counts:
        fewer = {name: count for name, count in operator.counts.items() if name != key}
        yield f"count of {key} unknown", msgspec.structs.replace(operator, counts=fewer)


def _less_of_question(
    question: TransferQuestion | StorageQuestion,
) -> Iterator[tuple[str, TransferQuestion | StorageQuestion]]:
    if isinstance(question, TransferQuestion):
        yield "recipient unknown", msgspec.structs.replace(question, recipient_classes=None)
        yield "country of destination unknown", msgspec.structs.replace(question, to=Location(question.to.id))
        return
    yield "citizenships unknown", msgspec.structs.replace(question, citizenships=None)
    yield "hours abroad unknown", msgspec.structs.replace(question, hours_abroad=None)
    yield "country of primary unknown", msgspec.structs.replace(question, primary=Location(question.primary.id))

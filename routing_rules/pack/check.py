"""Mistakes in a pack that reads well: rows that point nowhere, contradict each other, or stand twice. Pure; for tests and people.

What would give a lookup two answers is refused earlier, by `routing_rules.pack.build`. Each line of the answer names file and line.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, assert_never

from foundation.words import JurisdictionId
from routing_rules.pack.pack import TABLES, Pack
from routing_rules.pack.prose import Prose
from routing_rules.pack.references import dangling, names_of, unused_prose, without_prose
from routing_rules.pack.rows import Fact, Gateway, Kind, Status, Unresolved
from routing_rules.pack.triggers import OTHER_TRIGGERS, THRESHOLD_TRIGGER, TRANSFER_TRIGGERS

COUNTRIES = 249
"""Codes that ISO 3166-1 assigns; each belongs to one row, if only to say that nothing is known of its law."""

_KEYS: dict[str, tuple[str, ...]] = {
    "groups": ("group", "member"),
    "special_categories": ("jurisdiction", "tag"),
    "edges": ("origin", "to"),
    "gateways": ("origin", "to", "alternative", "requirement"),
    "denies": ("origin", "to", "tag", "threshold_id", "purpose", "recipient_class", "profile"),
    "storage": ("jurisdiction", "tag", "rule", "region", "profile", "since"),
    "obligations": ("jurisdiction", "trigger", "action", "deadline", "unit"),
    "unresolved": ("fact_ref", "field", "text"),
}
"""What names a row in its file. Jurisdictions, tags and thresholds are looked up by theirs, so `build` holds them apart."""

_ALTERNATIVE = ("tags_only", "tags_except", "recipient_class", "threshold_ids", "status", "profile", "since", "until")
"""Rows of one alternative are joined by AND: they must speak of the same data, recipients and days."""

Row = Fact | Unresolved


def mistakes(pack: Pack) -> tuple[str, ...]:
    """Every mistake, each with its place and what would be right; () means that the files hang together."""
    return tuple(line for check in CHECKS for line in check(pack))


def placed(row: Row, what: str) -> str:
    """A mistake with its place, as all of them are shown."""
    return f"{row.file}.csv: line {row.line}: {row.name}: {what}"


def _of_prose(row: Prose, what: str) -> str:
    return f"prose/{row.ref.partition(':')[0]}: line {row.line}: {row.ref}: {what}"


def _rows(pack: Pack) -> Iterator[tuple[str, tuple[Row, ...]]]:
    for kind in TABLES:
        yield kind.file, getattr(pack, kind.file)


def _facts(pack: Pack) -> Iterator[Fact]:
    for _, rows in _rows(pack):
        yield from (row for row in rows if isinstance(row, Fact))


def _twice(pack: Pack) -> Iterator[str]:
    for file, rows in _rows(pack):
        first: dict[tuple[Any, ...], int] = {}
        for row in rows if file in _KEYS else ():
            line = first.setdefault(tuple(getattr(row, field) for field in _KEYS[file]), row.line)
            if line != row.line:
                yield placed(row, f"is named like line {line} by {', '.join(_KEYS[file])}")


def _references(pack: Pack) -> Iterator[str]:
    names = names_of(pack)
    for _, rows in _rows(pack):
        for row in rows:
            yield from (placed(row, what) for what in dangling(row, names))


def _prose(pack: Pack) -> Iterator[str]:
    for _, rows in _rows(pack):
        for row in rows:
            yield from (placed(row, what) for what in without_prose(row, pack))
    for words in unused_prose(pack):
        yield _of_prose(words, "no row was made from it, and unresolved.csv does not name it")


def _dates(pack: Pack) -> Iterator[str]:
    for row in _facts(pack):
        if row.since is not None and row.until is not None and row.until < row.since:
            yield placed(row, f"ends on {row.until}, before it starts on {row.since}")
    for edge in pack.edges:
        if edge.status is Status.IN_FORCE and edge.since is None:
            yield placed(edge, "is in force and has no since; without one it never counts")
        if edge.status is Status.PROMISED and edge.since is not None:
            yield placed(edge, f"is a promise and has since {edge.since}; a promise has none")


def _groups(pack: Pack) -> Iterator[str]:
    for member in pack.groups:
        if member.member is None and member.membership_complete:
            yield placed(member, "has no member and says that the list is complete")
    for regime in pack.rows:
        yield from _unequal(f"{regime}_adequate", regime, pack)


def _unequal(group: str, regime: JurisdictionId, pack: Pack) -> Iterator[str]:
    """The group `ID_adequate` is what others mean by "whatever ID lists": it must say the same as the edges of ID themselves."""
    listed = {_stay(row.member, row): row for row in pack.groups if row.group == group}
    edges = [row for row in pack.edges if listed and row.origin == regime and row.status is Status.IN_FORCE]
    edged = {_stay(row.to, row): row for row in edges if not row.to.startswith("group:")}
    for stay, member in listed.items():
        if stay not in edged:
            yield placed(member, f"no edge in force of {regime} says so for the same days")
    for stay, edge in edged.items():
        if stay not in listed:
            yield placed(edge, f"group {group} does not list it for the same days")


def _stay(place: str | None, row: Fact) -> tuple[object, ...]:
    return place, row.since, row.until


def _alternatives(pack: Pack) -> Iterator[str]:
    first: dict[tuple[str, str, int], Gateway] = {}
    for row in pack.gateways:
        one = first.setdefault((row.origin, row.to, row.alternative), row)
        for field in _ALTERNATIVE:
            if getattr(row, field) != getattr(one, field):
                yield placed(row, f"differs in {field} from line {one.line}, which is of the same alternative")


def _thresholds(pack: Pack) -> Iterator[str]:
    for row in pack.thresholds:
        if row.max is not None and row.max <= row.min:
            yield placed(row, f"no count is at least {row.min} and below {row.max}")
        if (row.window_kind == "none") != (row.months is None):
            yield placed(row, "months and window_kind disagree: only a window has months")
        if row.months == 0:
            yield placed(row, "counts over 0 months")
    users = [(row, row.origin, row.threshold_ids) for row in pack.gateways]
    denying = [(row, row.origin, (row.threshold_id,)) for row in pack.denies if row.threshold_id is not None]
    for user, origin, names in [*users, *denying]:
        for found in (pack.thresholds_by_id[name] for name in names if name in pack.thresholds_by_id):
            if found.jurisdiction != origin:
                yield placed(user, f"counts by {found.id}, a threshold of {found.jurisdiction}")


def _countries(pack: Pack) -> Iterator[str]:
    """That no country is owned twice is `build`'s to refuse."""
    if len(pack.owners) != COUNTRIES:
        yield f"jurisdictions.csv: {len(pack.owners)} countries belong to a row; ISO 3166-1 has {COUNTRIES}"
    for row in pack.jurisdictions:
        match row.kind:
            case Kind.STATE | Kind.BLOC | Kind.DEFAULT:
                if not row.countries or row.subdivisions:
                    yield placed(row, f"a {row.kind} lists countries and no parts of them")
            case Kind.OVERLAY | Kind.SCHEME:
                if row.countries or row.subdivisions:
                    yield placed(row, f"{row.kind}s are no places and list none")
            case Kind.SUBDIVISION:
                if bool(row.countries) == bool(row.subdivisions):
                    yield placed(row, "a subdivision lists either countries or parts of them")
            case _:
                assert_never(row.kind)


def _parts(pack: Pack) -> Iterator[str]:
    """What a subdivision lists lies in its parent, and no part is in two subdivisions."""
    listed: dict[str, str] = {}
    for row in pack.jurisdictions:
        parent = pack.rows.get(row.parent) if row.parent is not None else None
        inside = parent.countries if parent is not None else ()
        for place in (*row.countries, *row.subdivisions) if row.kind is Kind.SUBDIVISION else ():
            if place.partition("-")[0] not in inside:
                yield placed(row, f"{place} is no part of its parent {row.parent}")
            if listed.setdefault(place, row.id) != row.id:
                yield placed(row, f"{place} stands in {listed[place]} too")


def _clocks(pack: Pack) -> Iterator[str]:
    """A number without its unit, or a unit without a number, is no clock."""
    for row in pack.jurisdictions:
        if (row.dsar_access is None and row.dsar_extension is None) != (row.unit is None):
            yield placed(row, "unit stands if and only if dsar_access or dsar_extension does")
        if (row.breach_notice is None) != (row.breach_unit is None):
            yield placed(row, "breach_unit stands if and only if breach_notice_hours does")


def _triggers(pack: Pack) -> Iterator[str]:
    known = TRANSFER_TRIGGERS | OTHER_TRIGGERS | {f"{THRESHOLD_TRIGGER}{name}" for name in pack.thresholds_by_id}
    for row in pack.obligations:
        if row.trigger not in known:
            yield placed(row, f"trigger {row.trigger} is not in the list of routing_rules/pack/triggers.py")


def _transfers_in_prose(pack: Pack) -> Iterator[str]:
    """A line of the prose on transfers is one edge: one destination, one status."""
    for row in pack.prose.values():
        if not row.ref.startswith("transfers.csv:"):
            continue
        if ";" in row.cells["to"] or " " in row.cells["to"]:
            yield _of_prose(row, "names more than one destination")
        if row.cells["status"] not in set(Status):
            yield _of_prose(row, f"status is {row.cells['status']!r}, but must be one of {', '.join(Status)}")


CHECKS: tuple[Callable[[Pack], Iterable[str]], ...] = (
    *(_twice, _references, _prose, _dates, _groups, _alternatives, _thresholds),
    *(_countries, _parts, _clocks, _triggers, _transfers_in_prose),
)

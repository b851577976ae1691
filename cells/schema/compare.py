"""Two versions of contracts: what becomes readable, writable, deletable by whom that was not, and what no longer is. Pure."""

import enum
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from cells.records.contracts import Class, Column, Columns, Contract
from foundation.words import VIEWS


class Way(enum.StrEnum):
    """Whether a change lets more be seen or done than before."""

    WIDENS = "widens"
    NARROWS = "narrows"
    CHANGES = "changes"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what a contract lets happen. `column` is None where it concerns the table."""

    table: str
    way: Way
    what: str
    column: str | None = None


Purposes: TypeAlias = frozenset[str] | None
"""The only purposes; None: any."""
Reach: TypeAlias = dict[tuple[str, str, str], Purposes]
"""(caller, verb, column) → for which purposes. Verbs: read, write, filter, view; delete has the column ''."""

_STRENGTH = {
    Class.NONE: 0, Class.PSEUDONYMOUS: 1, Class.QUASI: 2, Class.DIRECT: 3, Class.FREE_TEXT: 3, Class.SPECIAL: 4,
}  # fmt: skip
_DROPPED = "drop"


def differences(old: Mapping[str, Contract], new: Mapping[str, Contract]) -> tuple[Difference, ...]:
    """By table, what widens first."""
    found = [
        one for table in sorted(old.keys() | new.keys()) for one in _of_table(table, old.get(table), new.get(table))
    ]
    order = list(Way)
    return tuple(sorted(found, key=lambda one: (one.table, order.index(one.way), one.column or "", one.what)))


def reach(contract: Contract | None) -> Reach:
    """Everything that a contract lets anybody do."""
    if contract is None:
        return {}
    callers = {"the person": contract.access.person}
    callers |= {f"service {name}": stated for name, stated in contract.access.services.items()}
    shown: Reach = {("anybody", "view", name): frozenset({VIEWS}) for name in contract.public}
    return shown | {
        key: purposes for name, stated in callers.items() for key, purposes in _of_caller(contract, name, stated)
    }


def _of_caller(contract: Contract, caller: str, stated: Columns) -> Iterator[tuple[tuple[str, str, str], Purposes]]:
    for name in contract.classified:
        column = contract.columns[name]
        purposes = None if column.purposes is None else frozenset(column.purposes)
        if stated.read == "*" or name in stated.read:
            yield (caller, "read", name), purposes
            if not column.sealed:
                yield (caller, "filter", name), purposes
        if name not in (contract.placed_by, contract.owner) and (stated.write == "*" or name in stated.write):
            yield (caller, "write", name), purposes
    if stated.write == "*":
        yield (caller, "delete", ""), None


def _of_table(table: str, old: Contract | None, new: Contract | None) -> Iterator[Difference]:
    if old is None or new is None:
        way, said = (Way.CHANGES, "has a contract now") if old is None else (Way.NARROWS, "has no contract any more")
        yield Difference(table=table, way=way, what=f"the table {said}")
    yield from _of_reach(table, reach(old), reach(new))
    if old is None or new is None:
        return
    if old.rows != new.rows:
        way = Way.WIDENS if new.rows == "all_of_subject" else Way.NARROWS
        yield Difference(table=table, way=way, what=f"rows: {old.rows} -> {new.rows}")
    for role in ("placed_by", "owner"):
        before, after = getattr(old, role), getattr(new, role)
        if before != after:
            # Other rows are somebody's by now: some person sees what that person did not see.
            yield Difference(table=table, way=Way.WIDENS, what=f"{role}: {before} -> {after}: rows belong to others")
    yield from _of_asking(table, old, new)
    earlier, later = dict(_flat(old.columns)), dict(_flat(new.columns))
    for name in [*earlier, *(name for name in later if name not in earlier)]:
        yield from _of_column(table, name, earlier.get(name), later.get(name))


def _flat(columns: Mapping[str, Column], at: str = "") -> Iterator[tuple[str, Column]]:
    """Columns, and the members of JSON under their paths."""
    for name, column in columns.items():
        yield f"{at}{name}", column
        yield from _flat(column.members, f"{at}{name}.")
        if column.items is not None:
            yield from _flat({"[]": column.items}, f"{at}{name}")


def _of_asking(table: str, old: Contract, new: Contract) -> Iterator[Difference]:
    """Whom rows leave of, and what their values are generalised to."""
    for purpose in sorted(old.asks.keys() ^ new.asks.keys()):
        asked = purpose in new.asks
        what = f"rows leave for {purpose} {'only of who said yes' if asked else 'also of who said nothing'}"
        yield Difference(table=table, way=Way.NARROWS if asked else Way.WIDENS, what=what)
    for name in sorted(old.hierarchies.keys() | new.hierarchies.keys()):
        if old.hierarchies.get(name) != new.hierarchies.get(name):
            yield Difference(table=table, way=Way.CHANGES, what=f"hierarchy {name}")
    if old.consent != new.consent:
        yield Difference(table=table, way=Way.CHANGES, what="where consents stand")


def _of_reach(table: str, old: Reach, new: Reach) -> Iterator[Difference]:
    for caller, verb, name in sorted(old.keys() | new.keys()):
        key = (caller, verb, name)
        if verb == "filter" and ((caller, "read", name) in old) != ((caller, "read", name) in new):
            continue  # said by the reading
        column = name or None
        what = f"{caller} {_MAY[verb]}"
        if key not in old:
            yield Difference(table=table, way=Way.WIDENS, column=column, what=f"{what}{_for(new[key])}")
        elif key not in new:
            yield Difference(table=table, way=Way.NARROWS, column=column, what=f"{what} no more")
        elif old[key] != new[key] and verb != "filter":
            way = Way.NARROWS if _within(new[key], old[key]) else Way.WIDENS
            said = f"{what}{_for(new[key])}, before{_for(old[key])}"
            yield Difference(table=table, way=way, column=column, what=said)


_MAY = {
    "view": "may read, as it leaves,",
    "read": "may read",
    "write": "may write",
    "filter": "may filter and order by",
    "delete": "may delete rows",
}


def _for(purposes: Purposes) -> str:
    return " for any purpose" if purposes is None else f" for {', '.join(sorted(purposes)) or 'no purpose'}"


def _within(one: Purposes, other: Purposes) -> bool:
    return other is None or (one is not None and one <= other)


def _of_column(table: str, name: str, old: Column | None, new: Column | None) -> Iterator[Difference]:
    def said(way: Way, what: str) -> Difference:
        return Difference(table=table, way=way, column=name, what=what)

    if old is None or new is None:
        present = new or old
        unclassified = ", unclassified" if present is not None and present.klass is None else ""
        yield said(
            Way.CHANGES, f"is in the contract now{unclassified}" if old is None else "is no longer in the contract"
        )
        return
    if old.type != new.type:
        yield said(Way.CHANGES, f"type: {old.type} -> {new.type}")
    if old.klass != new.klass:
        yield said(_of_class(old.klass, new.klass), f"class: {_named(old.klass)} -> {_named(new.klass)}")
    if old.sealed != new.sealed:
        yield said(Way.NARROWS if new.sealed else Way.WIDENS, "sealed" if new.sealed else "no longer sealed")
    if old.subject_ref != new.subject_ref:
        yield said(Way.CHANGES, f"subject_ref: {old.subject_ref} -> {new.subject_ref}".lower())
    if old.retention_days != new.retention_days:
        longer = new.retention_days is None or (
            old.retention_days is not None and new.retention_days > old.retention_days
        )
        what = f"kept {_days(new.retention_days)}, before {_days(old.retention_days)}"
        yield said(Way.WIDENS if longer else Way.NARROWS, what)
    if set(old.tags) != set(new.tags):
        # The law is asked about fewer kinds of data, so more may leave.
        way = Way.NARROWS if set(old.tags) <= set(new.tags) else Way.WIDENS
        yield said(way, f"tags: {', '.join(old.tags) or 'none'} -> {', '.join(new.tags) or 'none'}")
    for place in sorted(old.leaving.keys() | new.leaving.keys()):
        before, after = old.leaving.get(place), new.leaving.get(place)
        if before != after:
            yield said(
                _of_leaving(before, after),
                f"leaving ({place}): {before or 'nothing stated'} -> {after or 'nothing stated'}",
            )


def _of_class(old: Class | None, new: Class | None) -> Way:
    """A weaker class lets more be done with the values; from unclassified, what anybody gains by it is said where it is gained."""
    if old is None or new is None:
        return Way.CHANGES if old is None else Way.NARROWS
    if _STRENGTH[old] == _STRENGTH[new]:
        return Way.CHANGES
    return Way.WIDENS if _STRENGTH[new] < _STRENGTH[old] else Way.NARROWS


def _of_leaving(old: str | None, new: str | None) -> Way:
    """Nothing leaves that is dropped, or of which nothing is stated; of two other treatments none can be called the narrower."""
    stays = (None, _DROPPED)
    if new in stays:
        return Way.CHANGES if old in stays else Way.NARROWS
    if old in stays or new == "keep":
        return Way.WIDENS
    return Way.NARROWS if old == "keep" else Way.CHANGES


def _named(klass: Class | None) -> str:
    return "unclassified" if klass is None else klass.value


def _days(number: int | None) -> str:
    return "without end" if number is None else f"{number} days"

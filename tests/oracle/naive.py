"""docs/evaluation.md once more, by brute force on rows of strings. Written from that page and the files alone.

Three values are the words `yes`, `no` and `unknown`. Sections in the docstrings are those of the page.
"""

import datetime
from collections.abc import Iterable
from typing import NamedTuple

from routing_rules.law.questions import Location
from routing_rules.policy import Instrument, Operator
from tests.oracle.tables import Row, Tables, counts, words


class World(NamedTuple):
    """What the operator states: the policy's profile, `[operator]` and `[[instruments]]`."""

    profile: str
    operator: Operator
    instruments: tuple[Instrument, ...]


class Who(NamedTuple):
    """`open`: those of the regimes that leave every answer unknown."""

    regimes: frozenset[str]
    open: frozenset[str]


def every(values: Iterable[str]) -> str:
    found = list(values)
    return "no" if "no" in found else "unknown" if "unknown" in found else "yes"


def some(values: Iterable[str]) -> str:
    found = list(values)
    return "yes" if "yes" in found else "unknown" if "unknown" in found else "no"


class Oracle:
    """One set of tables, one world, one day."""

    def __init__(self, tables: Tables, world: World, at: datetime.date) -> None:
        self.tables, self.world, self.at = tables, world, at

    def counting(self, file: str, column: str, value: str) -> list[Row]:
        return [row for row in self.tables.of(file, column, value) if counts(file, row, self.world.profile, self.at)]

    # Section 2

    def regimes(self, residence: str, subdivision: str | None) -> Who:
        rows = self.tables.rows["jurisdictions"]
        owners = [
            row for row in rows if row["kind"] in ("state", "bloc", "default") and residence in words(row["countries"])
        ]
        found = [row["id"] for row in owners]
        for row in self.tables.of("jurisdictions", "kind", "subdivision"):
            parts, below = words(row["subdivisions"]), row["parent"] in [owner["id"] for owner in owners]
            whole = below and residence in words(row["countries"])
            stated = subdivision is not None and subdivision in parts
            guessed = below and subdivision is None and any(part.startswith(f"{residence}-") for part in parts)
            if whole or stated or (guessed and self.world.profile == "cautious"):
                found.append(row["id"])
        for overlay in self.world.operator.overlays or ():
            if any(
                row["kind"] == "overlay" and row["parent"] in found
                for row in self.tables.of("jurisdictions", "id", overlay)
            ):
                found.append(overlay)
        standing = {regime: self.standing(regime) for regime in found}
        return Who(
            frozenset(regime for regime in found if standing[regime] != "out"),
            frozenset(regime for regime in found if standing[regime] == "unknown")
            or frozenset(() if found else ("nobody",)),
        )

    def standing(self, regime: str) -> str:
        """`out`: left out; `unknown`: every answer is; `in`: its rows speak."""
        rows = self.tables.of("jurisdictions", "id", regime)
        if not rows:
            return "unknown"
        row = rows[0]
        if (
            row["kind"] == "subdivision"
            and row["status"] == "enacted"
            and (not row["since"] or self.at.isoformat() < row["since"])
        ):
            return "out"
        if row["kind"] == "default" or not counts("jurisdictions", row, self.world.profile, self.at):
            return "unknown"
        return "in"

    def kind(self, regime: str) -> str:
        rows = self.tables.of("jurisdictions", "id", regime)
        return rows[0]["kind"] if rows else ""

    def is_place(self, place: Location) -> bool:
        return self.kind(place.id) not in ("", "scheme", "overlay")

    def parent(self, regime: str) -> str:
        rows = self.tables.of("jurisdictions", "id", regime)
        return rows[0]["parent"] if rows else ""

    # Section 3

    def canonical(self, word: str) -> str | None:
        return self.tables.tag_of.get(word)

    def carried(self, tags: Iterable[str]) -> set[str]:
        """The tags that hold for sure, by their own names; words that name no tag are left out here."""
        named = {self.canonical(word) for word in (*tags, *(self.world.operator.sectors or ()))}
        return {tag for tag in named if tag is not None}

    def has_strange(self, tags: Iterable[str]) -> bool:
        return any(self.canonical(word) is None for word in (*tags, *(self.world.operator.sectors or ())))

    def special_in(self, regime: str) -> set[str]:
        owner = regime
        if not self.tables.of("special_categories", "jurisdiction", regime) and self.kind(regime) == "subdivision":
            owner = self.parent(regime)
        return {row["tag"] for row in self.counting("special_categories", "jurisdiction", owner)} | {"special_category"}

    def widened(self, tags: Iterable[str], regime: str) -> set[str]:
        """These tags and all that they may be, followed through."""
        found, fresh = set(), set(tags)
        while fresh:
            tag = fresh.pop()
            found.add(tag)
            named = {m for row in self.tables.of("tags", "tag", tag) for m in words(row["may_be"])}
            if tag == "special_category":
                named |= self.special_in(regime)
            fresh |= named - found
        return found

    def undeclared(self, tag: str) -> bool:
        rows = self.tables.of("tags", "tag", tag)
        return (
            self.world.operator.sectors is None and bool(rows) and rows[0]["kind"] in ("sector", "operator", "volume")
        )

    def restricts(self, tag: str, held: set[str], regime: str) -> str:
        """Does a restriction's tag apply to the data?"""
        if tag == "*":
            return "yes"
        meant = self.special_in(regime) if tag == "special_category" else {tag}
        if meant & self.widened(held, regime):
            return "yes"
        return "unknown" if any(self.undeclared(one) for one in meant) else "no"

    # Section 4

    def is_to(self, name: str, place: Location) -> str:
        """Does an id, not a group, name the destination?"""
        if name in ("*", place.id) or (self.kind(place.id) == "subdivision" and name == self.parent(place.id)):
            return "yes"
        is_scheme = self.kind(name) == "scheme" and self.parent(name) != ""
        return "yes" if is_scheme and self.parent(name) in (place.id, self.parent(place.id)) else "no"

    def is_member(self, name: str, place: Location) -> str:
        """Does the group contain the place? A scheme names a class that a group cannot prove."""
        rows = self.tables.of("groups", "group", name)
        members = [row["member"] for row in self.counting("groups", "group", name) if row["member"]]
        hits = [member for member in members if self.is_to(member, place) == "yes"]
        if any(member == place.id or self.kind(member) != "scheme" for member in hits):
            return "yes"
        incomplete = any(row["membership_complete"] == "false" for row in rows)
        return "unknown" if hits or incomplete or not members else "no"

    def matches(self, row: Row, place: Location) -> str:
        to = row["to"]
        found = self.is_member(to.removeprefix("group:"), place) if to.startswith("group:") else self.is_to(to, place)
        carved = words(row.get("to_except_countries", ""))
        if not carved:
            return found
        return every([found, "unknown" if place.country is None else "no" if place.country in carved else "yes"])

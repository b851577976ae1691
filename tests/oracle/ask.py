"""Questions where the rows are: on their dates, around their thresholds, with the tags, places and recipients that they name.

Everything is drawn from one `random.Random`, so a seed is a set of questions. A `Case` prints as Python that can be pasted.
"""

import datetime
import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from foundation.words import Country, JurisdictionId
from routing_rules.law.questions import Location, StorageQuestion, TransferQuestion
from routing_rules.policy import Instrument, Operator
from tests.oracle.naive import Oracle, World
from tests.oracle.named import members, named_by, tags_of
from tests.oracle.tables import Row, Tables, words

T = TypeVar("T")
FOCUS = (
    "us",
    "cn",
    "eu",
    "uk",
    "ca",
    "ke",
    "za",
    "qa",
    "om",
    "vn",
    "ae",
    "in",
    "ru",
    "kr",
    "jp",
    "co",
    "rs",
    "mk",
    "zm",
    "rw",
    "kz",
    "uz",
)
"""Origins whose rows have most to say; asked about half of the time."""
DAYS = (datetime.date(2026, 11, 21), datetime.date(2027, 6, 1), datetime.date(2028, 6, 1), datetime.date(2032, 1, 1))
PURPOSES = ("service", "service", "analytics", "sale")


class Case(NamedTuple):
    world: World
    question: TransferQuestion | StorageQuestion
    at: datetime.date


class Asker:
    """Draws worlds and, for each, questions about a few origins that the world's instruments are about, too."""

    def __init__(self, tables: Tables, random_: random.Random) -> None:
        self.tables, self.random = tables, random_
        self.ids = [row["id"] for row in tables.rows["jurisdictions"]]
        self.countries = sorted({c for row in tables.rows["jurisdictions"] for c in words(row["countries"])})
        self.tags = [row["tag"] for row in tables.rows["tags"]]
        self.classes = sorted(
            {
                c
                for file in ("edges", "gateways", "denies")
                for row in tables.rows[file]
                for c in words(row["recipient_class"])
            }
        )
        self.sector_tags = [
            row["tag"] for row in tables.rows["tags"] if row["kind"] in ("sector", "operator", "volume")
        ]

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def some_of(self, values: Sequence[T], most: int) -> tuple[T, ...]:
        return tuple(self.random.sample(values, min(len(values), self.random.randint(0, most))))

    # Worlds

    def focus(self) -> tuple[str, ...]:
        """Up to three origins, their parts and overlays among them."""
        start = self.random.choice(FOCUS if self.chance(0.5) else self.ids)
        family = [
            row["id"]
            for row in self.tables.rows["jurisdictions"]
            if start in (row["id"], row["parent"]) and row["kind"] != "scheme"
        ]
        others = [one for one in family if one != start]
        return tuple(
            dict.fromkeys(
                [start, *self.some_of(others, 2), *([self.random.choice(self.ids)] if self.chance(0.3) else [])]
            )
        )

    def world(self, focus: Sequence[str]) -> World:
        rows = named_by(self.tables, focus)
        operator = Operator(
            country=None
            if self.chance(0.2)
            else Country(self.country_of(self.random.choice(focus)) or self.random.choice(self.countries)),
            sectors=None if self.chance(0.2) else self.sectors(rows),
            overlays=None if self.chance(0.15) else self.overlays(focus),
            counts=self.counts(),
        )
        instruments = [
            one for _ in range(self.random.randint(0, 5)) for one in self.instruments(self.random.choice(focus))
        ]
        return World(self.random.choice(("cautious", "common")), operator, tuple(instruments))

    def sectors(self, rows: list[Row]) -> tuple[str, ...]:
        if self.chance(0.5):
            return ()
        named = [tag for tag in tags_of(self.tables, rows) if tag in self.sector_tags]
        return tuple(self.spelt(tag) for tag in self.some_of(named or self.sector_tags, 2))

    def overlays(self, focus: Sequence[str]) -> tuple[JurisdictionId, ...]:
        ids = [row["id"] for row in self.tables.of("jurisdictions", "kind", "overlay")]
        return tuple(JurisdictionId(one) for one in ids if (one in focus) != self.chance(0.2))

    def counts(self) -> dict[str, int]:
        found = {}
        for row in self.tables.rows["thresholds"]:
            if self.chance(0.7):
                edges = [int(row["min"]), int(row["max"] or row["min"])]
                found[f"{row['jurisdiction']}/{row['tag']}"] = max(
                    0, self.random.choice([*edges, 0]) + self.random.choice((-1, 0, 0, 1))
                )
        return found

    def instruments(self, origin: str) -> list[Instrument]:
        """Evidence for a whole alternative or the lifting of a storage row of `origin`, or for nearly that."""
        gateways, keeping = (
            self.tables.of("gateways", "from", origin),
            self.tables.of("storage", "jurisdiction", origin),
        )
        lifted = [row for row in keeping if row["lifted_by"]]
        if not gateways and not lifted:
            return []
        if lifted and (not gateways or self.chance(0.3)):
            row = self.random.choice(lifted)
            wanted, tags = [(word, "") for word in words(row["lifted_by"])], [row["tag"]]
            to = "*"
        else:
            row = self.random.choice(gateways)
            same = [one for one in gateways if (one["to"], one["alternative"]) == (row["to"], row["alternative"])]
            wanted, tags = [(one["requirement"], one["detail_tag"]) for one in same], tags_of(self.tables, gateways)
            to = row["to"]
        destination = "*" if self.chance(0.6) else to if self.chance(0.3) and to in self.ids else self.place(origin).id
        listed = (
            ("*",)
            if self.chance(0.3)
            else tuple(self.spelt(tag) for tag in self.some_of([tag for tag in tags if tag != "*"] or self.tags, 3))
        )
        return [
            self.instrument(origin, word, detail, destination, listed) for word, detail in wanted if self.chance(0.9)
        ]

    def instrument(self, origin: str, word: str, detail: str, to: str, tags: tuple[str, ...]) -> Instrument:
        since, until = datetime.date(2000, 1, 1), datetime.date(2040, 1, 1)
        if self.chance(0.15):
            since = self.random.choice(DAYS) + datetime.timedelta(days=self.random.choice((-1, 0, 1)))
            until = since + datetime.timedelta(days=self.random.choice((0, 1, 400)))
        return Instrument(
            origin=JurisdictionId(origin),
            to=to,
            gateway=word if word != "none" else "consent",
            ref=f"{origin}-{word}-{self.random.randint(0, 999)}",
            detail=None if not detail or self.chance(0.6) else detail if self.chance(0.8) else "another",
            tags=tags,
            since=since,
            until=until,
        )

    # Questions

    def case(self, world: World, focus: Sequence[str]) -> Case:
        at = self.day(focus)
        regimes = self.regimes(world, focus, at)
        rows = named_by(self.tables, regimes or focus)
        question = self.transfer(regimes, rows) if self.chance(0.65) else self.storage(world, regimes, rows, at)
        return Case(world, question, at)

    def day(self, focus: Sequence[str]) -> datetime.date:
        if self.chance(0.5):
            return self.random.choice(DAYS)
        edges = [
            date for row in named_by(self.tables, focus) for date in (row["since"], row["until"]) if date > "1900-01-02"
        ]
        if not edges:
            return self.random.choice(DAYS)
        return datetime.date.fromisoformat(self.random.choice(edges)) + datetime.timedelta(
            days=self.random.choice((-1, 0, 1))
        )

    def regimes(self, world: World, focus: Sequence[str], at: datetime.date) -> tuple[JurisdictionId, ...]:
        if self.chance(0.3):
            return tuple(
                JurisdictionId(one)
                for one in (*focus[: self.random.randint(1, 3)], *(("atlantis",) if self.chance(0.02) else ()))
            )
        start = self.random.choice(focus)
        country = self.country_of(start)
        if country is None:
            return (JurisdictionId(start),)
        parts = [part for one in self.tables.of("jurisdictions", "id", start) for part in words(one["subdivisions"])]
        part = None if self.chance(0.3) else self.random.choice(parts) if parts else f"{country}-ZZ"
        return tuple(
            JurisdictionId(one) for one in sorted(Oracle(self.tables, world, at).regimes(country, part).regimes)
        )

    def transfer(self, regimes: tuple[JurisdictionId, ...], rows: list[Row]) -> TransferQuestion:
        return TransferQuestion(
            regimes=regimes,
            to=self.place(self.random.choice(regimes) if regimes else "eu"),
            purpose=self.random.choice(PURPOSES),
            tags=self.data(rows),
            recipient_classes=None if self.chance(0.2) else self.recipients(rows),
        )

    def storage(
        self, world: World, regimes: tuple[JurisdictionId, ...], rows: list[Row], at: datetime.date
    ) -> StorageQuestion:
        home = self.random.choice(regimes) if regimes else "eu"
        primary = self.place_in_law(home)
        stores = (
            () if self.chance(0.05) else (primary, *(self.place_in_law(home) for _ in range(self.random.randint(0, 1))))
        )
        return StorageQuestion(
            regimes=regimes,
            citizenships=None if self.chance(0.2) else self.citizenships(world, home, at),
            tags=self.data(rows),
            primary=primary,
            stores=stores,
            processes=tuple(self.place_in_law(home) for _ in range(self.random.randint(0, 2))),
            accesses=tuple(self.place_in_law(home) for _ in range(self.random.randint(0, 2))),
            copies=tuple(self.place_in_law(home) for _ in range(self.random.choice((0, 0, 1)))),
            hours_abroad=self.random.choice((None, 0, 23, 24, 25)),
        )

    def citizenships(self, world: World, home: str, at: datetime.date) -> tuple[JurisdictionId, ...]:
        country = (
            "RU"
            if self.chance(0.2)
            else self.country_of(home)
            if self.chance(0.7)
            else self.random.choice(self.countries)
        )
        found = Oracle(self.tables, world, at).regimes(country, None).regimes if country else ()
        return tuple(JurisdictionId(one) for one in sorted(found))

    def data(self, rows: list[Row]) -> tuple[str, ...]:
        named = tags_of(self.tables, rows)
        found = [
            self.random.choice(named if named and self.chance(0.8) else self.tags)
            for _ in range(self.random.choice((0, 1, 1, 2, 3)))
        ]
        return tuple(dict.fromkeys(self.spelt(tag) for tag in found)) + (("no such tag",) if self.chance(0.01) else ())

    def spelt(self, tag: str) -> str:
        """The tag or one of its aliases."""
        aliases = [alias for row in self.tables.of("tags", "tag", tag) for alias in words(row["aliases"])]
        return self.random.choice(aliases) if aliases and self.chance(0.2) else tag

    def recipients(self, rows: list[Row]) -> tuple[str, ...]:
        named = sorted({c for row in rows for c in words(row.get("recipient_class", ""))})
        return tuple(
            dict.fromkeys([*self.some_of(named, 2), *(self.some_of(self.classes, 1) if self.chance(0.2) else ())])
        )

    def place(self, origin: str) -> Location:
        """A destination that rows of `origin` speak of, itself, a part of it, or any other."""
        named = [
            word
            for file in ("edges", "gateways", "denies")
            for row in self.tables.of(file, "from", origin)
            for word in members(self.tables, row["to"])
        ]
        return self.located(origin, named)

    def place_in_law(self, origin: str) -> Location:
        """A place that storage rows of `origin` name, itself, a part of it, or any other."""
        named = [
            word
            for row in self.tables.of("storage", "jurisdiction", origin)
            for words_ in words(row["region"])
            for word in members(self.tables, words_)
        ]
        return self.located(origin, [origin] * (1 + len(named)) + named)

    def located(self, origin: str, named: list[str]) -> Location:
        draw = self.random.random()
        one = self.random.choice(named) if named and draw < 0.6 else self.random.choice([origin, *self.ids])
        if draw > 0.97:
            one = origin
        row = next((row for row in self.tables.of("jurisdictions", "id", one)), None)
        if row is not None and row["kind"] == "scheme" and row["parent"] and self.chance(0.95):
            one = row["parent"]
        parts = [sub["id"] for sub in self.tables.of("jurisdictions", "parent", one) if sub["kind"] == "subdivision"]
        if parts and self.chance(0.3):
            one = self.random.choice(parts)
        country = None if self.chance(0.15) else self.country_of(one, spread=True)
        return Location(JurisdictionId(one), None if country is None else Country(country))

    def country_of(self, regime: str, *, spread: bool = False) -> str | None:
        """A country of the regime or of its parent; `spread`: those that rows carve out are likelier."""
        for row in self.tables.of("jurisdictions", "id", regime):
            countries = words(row["countries"]) or [
                c for up in self.tables.of("jurisdictions", "id", row["parent"]) for c in words(up["countries"])
            ]
            if spread and "LI" in countries and self.chance(0.3):
                return "LI"
            return (countries[0] if self.chance(0.5) else self.random.choice(countries)) if countries else None
        return None

"""One regime's rows on transfers, looked up by destination, and those that are open for a question on a day."""

import bisect
import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.calendar import Turn, eligible, holds, turns
from routing_rules.law.evidence import Register, Tally
from routing_rules.law.obligations import Obligations
from routing_rules.law.places import ANYWHERE, GROUP, Atlas, Place
from routing_rules.law.tags import Data, Specials
from routing_rules.law.truth import Truth
from routing_rules.pack import Kind, Pack
from routing_rules.pack.rows import Deny, Edge, Gateway
from routing_rules.policy import Profile

R = TypeVar("R", Edge, Gateway, Deny)


class Case(msgspec.Struct, frozen=True):
    """A question as its regimes see it. `classes`: what is proven of the recipient, None: nothing is known. `consented`: whether a
    consent scheme on file speaks for these persons."""

    place: Place
    purpose: str
    classes: frozenset[str] | None
    data: Data
    at: datetime.date
    consented: bool = True


class Alternative(msgspec.Struct, frozen=True):
    """The rows of one (from, to, number) that count on some day: all of them together."""

    to: str
    number: int
    rows: tuple[Gateway, ...]


class Ways(msgspec.Struct, frozen=True):
    """What is open for a case as far as day, destination, recipient and counts go. `free` asks for no evidence, `bound` does."""

    edges: Sequence[Edge]
    free: Sequence[tuple[Gateway, ...]]
    bound: Sequence[tuple[Gateway, ...]]


class RegimeRows:
    """A regime's edges, gateways and denies; `silent`: it is a part without any row that could permit. Immutable."""

    def __init__(
        self,
        regime: JurisdictionId,
        *,
        edges: tuple[Edge, ...],
        alternatives: tuple[Alternative, ...],
        denies: tuple[Deny, ...],
        silent: bool,
        turning: Iterable[Turn],
    ) -> None:
        self.regime = regime
        self.silent = silent
        self.alternatives = alternatives
        self.denies = denies
        self._edges: dict[str, list[Edge]] = {}
        for row in edges:
            self._edges.setdefault(row.to, []).append(row)
        self._edge_groups = tuple(to for to in self._edges if to.startswith(GROUP))
        self._turns: list[Turn] = sorted(set(turning), key=lambda turn: (turn[0], turn[1] or ""))
        self._days = [day for day, _ in self._turns]

    def edges_towards(self, place: Place) -> Iterator[Edge]:
        """Those that may name the place, whatever the day."""
        if self._edges:
            for to in (*place.names, *sorted(place.schemes), ANYWHERE, *self._edge_groups):
                yield from self._edges.get(to, ())

    def ways(self, case: Case, atlas: Atlas, tally: Tally) -> Ways:
        edges = [
            row
            for row in self.edges_towards(case.place)
            if holds(row, case.at) and reaches(row, case, atlas) is Truth.YES and proven(row, case)
        ]
        free: list[tuple[Gateway, ...]] = []
        bound: list[tuple[Gateway, ...]] = []
        for alternative in self.alternatives:
            rows = counting(alternative, case, atlas)
            if rows and _fit(rows, case, tally):
                (free if _asks_nothing(rows) else bound).append(rows)
        return Ways(edges, free, bound)

    def changes(self, place: Place, at: datetime.date) -> datetime.date | None:
        """The first day after `at` on which something starts or stops that speaks of the place."""
        for day, to in self._turns[bisect.bisect_right(self._days, at) :]:
            if to is None or to == ANYWHERE or to in place.names or to in place.schemes or to.startswith(GROUP):
                return day
        return None


def counting(alternative: Alternative, case: Case, atlas: Atlas) -> tuple[Gateway, ...]:
    """Its rows of the day, if it reaches the place."""
    if atlas.matches(alternative.to, case.place, case.at) is not Truth.YES:
        return ()
    return tuple([row for row in alternative.rows if holds(row, case.at)])


def _fit(rows: Iterable[Gateway], case: Case, tally: Tally) -> bool:
    """Is the recipient proven to be what each row asks for, and do the counts lie in its ranges?"""
    for row in rows:
        if row.recipient_class and not proven(row, case):
            return False
        if row.threshold_ids and not tally.fits(row.threshold_ids, case.at):
            return False
    return True


def _asks_nothing(rows: Iterable[Gateway]) -> bool:
    return all(row.requirement == "none" for row in rows)


def reaches(row: Edge, case: Case, atlas: Atlas) -> Truth:
    """Does the edge name the place, and not except its country?"""
    found = atlas.matches(row.to, case.place, case.at)
    if not row.to_except_countries or found is Truth.NO:
        return found
    if case.place.country is None:
        return Truth.UNKNOWN
    return Truth.NO if case.place.country in row.to_except_countries else found


def in_class(row: Deny, case: Case) -> Truth:
    """Is the recipient of a class that the prohibition is about?"""
    if not row.recipient_class:
        return Truth.YES
    if case.classes is None:
        return Truth.UNKNOWN
    return Truth.NO if case.classes.isdisjoint(row.recipient_class) else Truth.YES


def proven(row: Edge | Gateway, case: Case) -> bool:
    """Is the recipient proven to be of a class that the permission is for?"""
    if not row.recipient_class:
        return True
    return case.classes is not None and not case.classes.isdisjoint(row.recipient_class)


def rows_of_regimes(
    pack: Pack,
    profile: Profile,
    *,
    atlas: Atlas,
    specials: Specials,
    register: Register,
    tally: Tally,
    obligations: Obligations,
) -> dict[JurisdictionId, RegimeRows]:
    """What every regime says of transfers."""
    edges = _by_origin(eligible(pack.edges, profile))
    gateways = _by_origin(eligible(pack.gateways, profile))
    denies = _by_origin(eligible(pack.denies, profile))
    speaking = {row.origin for row in pack.edges} | {row.origin for row in pack.gateways}
    found = {}
    for jurisdiction in pack.jurisdictions:
        regime = jurisdiction.id
        own = (edges.get(regime, []), gateways.get(regime, []), denies.get(regime, []))
        thresholds = {name for row in own[1] for name in row.threshold_ids}
        thresholds |= {row.threshold_id for row in own[2] if row.threshold_id is not None}
        dated: list[Edge | Gateway | Deny] = [*own[0], *own[1], *own[2]]
        named = {row.to for row in dated if row.to.startswith(GROUP)}
        found[regime] = RegimeRows(
            regime,
            edges=tuple(own[0]),
            alternatives=_alternatives(own[1]),
            denies=tuple(own[2]),
            silent=jurisdiction.kind is Kind.SUBDIVISION and regime not in speaking,
            turning=[
                *(turn for row in dated for turn in turns((row,), row.to)),
                *(turn for group in named if group in atlas.groups for turn in turns(atlas.groups[group].members)),
                *specials.turns(regime),
                *tally.turns(thresholds),
                *obligations.turns(regime),
                *register.turns(regime),
            ],
        )
    return found


def _by_origin(rows: Sequence[R]) -> dict[JurisdictionId, list[R]]:
    found: dict[JurisdictionId, list[R]] = {}
    for row in rows:
        found.setdefault(row.origin, []).append(row)
    return found


def _alternatives(rows: list[Gateway]) -> tuple[Alternative, ...]:
    """By `to` in byte order, then by number: the order in which they are relied on."""
    found: dict[tuple[bytes, int], list[Gateway]] = {}
    for row in rows:
        found.setdefault((row.to.encode(), row.alternative), []).append(row)
    return tuple(Alternative(to.decode(), number, tuple(found[to, number])) for to, number in sorted(found))

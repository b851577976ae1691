"""Where things are: ids of countries and their parts, and whether a row's destination or region names a place.

docs/evaluation.md, section 4, first paragraph, and section 5 on regions.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from foundation.words import Country, JurisdictionId
from routing_rules.law.calendar import eligible, holds
from routing_rules.law.questions import Location
from routing_rules.law.truth import Truth
from routing_rules.pack import Kind, Pack
from routing_rules.pack.rows import Member
from routing_rules.policy import Profile

ANYWHERE = "*"
GROUP = "group:"
UNOWNED = JurisdictionId("unowned")
"""The id of a country that no row owns. It has no row, so every question about it is unknown."""

_PLACES = (Kind.STATE, Kind.BLOC, Kind.SUBDIVISION, Kind.DEFAULT)


class Place(msgspec.Struct, frozen=True):
    """A location that is one. `names`: its id, and the id it is a part of; `schemes`: classes of recipients that live inside those."""

    id: JurisdictionId
    parent: JurisdictionId | None
    names: tuple[JurisdictionId, ...]
    schemes: frozenset[JurisdictionId]
    country: Country | None = None


class Group(msgspec.Struct, frozen=True):
    """A named set: its members that count on some day, and whether who is not listed is known to be outside."""

    members: tuple[Member, ...]
    complete: bool


Groups: TypeAlias = Mapping[str, Group]


class Atlas:
    """The places of a pack under a profile. Pure lookups, made once."""

    def __init__(self, pack: Pack, profile: Profile) -> None:
        self._owners = pack.owners
        rows = pack.jurisdictions
        self._part_ids: dict[str, JurisdictionId] = {}
        self._country_ids: dict[Country, JurisdictionId] = {}
        for row in rows:
            if row.kind is Kind.SUBDIVISION:
                for part in row.subdivisions:
                    self._part_ids.setdefault(part, row.id)
                for country in row.countries:
                    self._country_ids.setdefault(country, row.id)
        schemes = [(row.id, row.parent) for row in rows if row.kind is Kind.SCHEME]
        self._places: dict[JurisdictionId, Place] = {}
        for row in rows:
            if row.kind in _PLACES:
                parent = row.parent if row.kind is Kind.SUBDIVISION else None
                names = (row.id,) if parent is None else (row.id, parent)
                inside = frozenset(scheme for scheme, home in schemes if home in names)
                self._places[row.id] = Place(row.id, parent, names, inside)
        self.groups: Groups = _groups(pack.groups, profile)

    def location(self, country: Country, part: str | None) -> Location:
        """The most exact id: that of the part if a row lists it, else of a row for the country as a part, else of its owner."""
        found = self._part_ids.get(part) if part is not None else None
        exact = found or self._country_ids.get(country) or self._owners.get(country) or UNOWNED
        return Location(exact, country)

    def place(self, location: Location) -> Place | None:
        """None if the id has no row or is of a kind that is no place."""
        known = self._places.get(location.id)
        if known is None or location.country is None:
            return known
        return Place(known.id, known.parent, known.names, known.schemes, location.country)

    def matches(self, to: str, place: Place, at: datetime.date) -> Truth:
        """Does a row's `to` name the place?"""
        if to == ANYWHERE or to in place.names or to in place.schemes:
            return Truth.YES
        return self._in_group(to, place, at) if to.startswith(GROUP) else Truth.NO

    def within(self, region: tuple[str, ...], place: Place, at: datetime.date) -> Truth:
        """Is the place in a region: an id, or a group, of the list? Schemes are no places, so none is a region."""
        found = Truth.NO
        for name in region:
            if name in place.names:
                return Truth.YES
            if name.startswith(GROUP):
                found = max(found, self._in_group(name, place, at))
        return found

    def _in_group(self, to: str, place: Place, at: datetime.date) -> Truth:
        """A member that is only a scheme inside the place, no member that counts, or an incomplete list leave it open."""
        group = self.groups.get(to)
        if group is None:
            return Truth.UNKNOWN
        is_open, any_counts = not group.complete, False
        for row in group.members:
            if holds(row, at):
                if row.member in place.names:
                    return Truth.YES
                any_counts = True
                is_open = is_open or row.member in place.schemes
        return Truth.UNKNOWN if is_open or not any_counts else Truth.NO


def _groups(rows: Iterable[Member], profile: Profile) -> Groups:
    listed: dict[str, list[Member]] = {}
    for row in rows:
        listed.setdefault(f"{GROUP}{row.group}", []).append(row)
    return {
        name: Group(
            members=tuple(row for row in eligible(members, profile) if row.member is not None),
            complete=all(row.membership_complete for row in members),
        )
        for name, members in listed.items()
    }

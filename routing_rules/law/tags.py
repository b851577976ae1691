"""Which tags hold of data, may hold, or are special under a regime, and what a permission covers. docs/evaluation.md, section 3."""

import bisect
import datetime
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from foundation.words import JurisdictionId
from routing_rules.law.calendar import Turn, eligible, holds, turns
from routing_rules.law.truth import Truth, some
from routing_rules.pack import Kind, Pack
from routing_rules.pack.rows import Edge, Gateway, SpecialCategory
from routing_rules.policy import Profile

ANY_DATA = "*"
SPECIAL = "special_category"
UNDECLARED = "undeclared sectors"
"""The item that stands for whatever sectors hold of data whose operator declares none. No tag is spelt so."""

_DECLARED_KINDS = ("sector", "operator", "volume")
_SAY_NOTHING = frozenset({"general", "citizens_general", "any_personal_data", "non_special_category"})
"""They are covered with the data as such."""


class Data(msgspec.Struct, frozen=True):
    """What is known of the data. `held`: tags that hold; `may`: these and what they may be; `unsure`: those of which nothing is known.

    `items` is what a transfer must cover besides the base; `strays`: words that are no tags.
    """

    held: frozenset[str]
    may: frozenset[str]
    unsure: frozenset[str]
    items: tuple[str, ...]
    strays: tuple[str, ...]


class Vocabulary:
    """The tags of a pack, and what the operator declares of all its data."""

    def __init__(self, pack: Pack, sectors: tuple[str, ...] | None) -> None:
        self._names = pack.tag_names
        narrower = {row.tag: row.may_be for row in pack.tags}
        self.may_be = {tag: _reachable(tag, narrower) for tag in narrower}
        self._sectors = sectors or ()
        kinds = frozenset(row.tag for row in pack.tags if row.kind in _DECLARED_KINDS)
        self._unsure = kinds if sectors is None else frozenset()
        self._undeclared = (UNDECLARED,) if sectors is None else ()

    def read(self, words: Iterable[str]) -> Data:
        names = self._names
        known: dict[str, None] = {}
        strays: list[str] = []
        for word in (*words, *self._sectors):
            tag = names.get(word)
            if tag is None:
                strays.append(word)
            else:
                known[tag] = None
        held = frozenset(known)
        return Data(
            held=held,
            may=held.union(*(self.may_be[tag] for tag in held)),
            unsure=self._unsure - held,
            items=(*(tag for tag in known if tag not in _SAY_NOTHING), *self._undeclared),
            strays=tuple(strays),
        )

    def canonical(self, words: Iterable[str]) -> frozenset[str]:
        """The tags that words name; others fall away, `*` stays."""
        return frozenset(tag for word in words if (tag := word if word == ANY_DATA else self._names.get(word)))


def _reachable(tag: str, narrower: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    found, ahead = {tag}, [tag]
    while ahead:
        for one in narrower.get(ahead.pop(), ()):
            if one not in found:
                found.add(one)
                ahead.append(one)
    return frozenset(found)


class Specials:
    """The tags that are special in each regime, by day. A subdivision without rows of its own uses its parent's."""

    def __init__(self, pack: Pack, profile: Profile) -> None:
        rows: dict[JurisdictionId, list[SpecialCategory]] = {}
        for row in pack.special_categories:
            rows.setdefault(row.jurisdiction, []).append(row)
        self._turns: dict[JurisdictionId, list[Turn]] = {}
        self._spans: dict[JurisdictionId, tuple[list[datetime.date], list[frozenset[str]]]] = {}
        for regime in pack.jurisdictions:
            whose = regime.id
            if regime.kind is Kind.SUBDIVISION and whose not in rows and regime.parent is not None:
                whose = regime.parent
            own = eligible(rows.get(whose, ()), profile)
            self._turns[regime.id] = turns(own)
            days = sorted({day for day, _ in self._turns[regime.id]})
            sets = [frozenset(row.tag for row in own if holds(row, day)) for day in days]
            self._spans[regime.id] = (days, [frozenset(), *sets])

    def of(self, regime: JurisdictionId, at: datetime.date) -> frozenset[str]:
        span = self._spans.get(regime)
        return span[1][bisect.bisect_right(span[0], at)] if span is not None else frozenset()

    def turns(self, regime: JurisdictionId) -> list[Turn]:
        return self._turns.get(regime, [])


class Sight:
    """Data as one regime sees it: `special` are the tags that are special there on the day."""

    __slots__ = ("_may_be", "data", "may", "special")

    def __init__(self, data: Data, special: frozenset[str], may_be: Mapping[str, frozenset[str]]) -> None:
        self.data = data
        self.special = special
        self._may_be = may_be
        self.may = self._widened(data.may)

    def _widened(self, tags: frozenset[str]) -> frozenset[str]:
        """Data that is special as such may be anything that is special here."""
        if SPECIAL not in tags or not self.special:
            return tags
        return tags.union(*(self._may_be[tag] for tag in self.special))

    def restricts(self, tag: str) -> Truth:
        """Does a restriction on this tag apply?"""
        if tag == ANY_DATA or tag in self.may:
            return Truth.YES
        if tag == SPECIAL:
            return some(self._narrowly(one) for one in (tag, *self.special))
        return self._narrowly(tag)

    def _narrowly(self, tag: str) -> Truth:
        if tag in self.may:
            return Truth.YES
        return Truth.UNKNOWN if tag in self.data.unsure else Truth.NO

    def special_holds(self) -> bool:
        """Is any tag that holds special here?"""
        return SPECIAL in self.data.held or not self.special.isdisjoint(self.data.held)

    def all_cover(self, rows: Sequence[Gateway], item: str | None) -> bool:
        """Does each row cover the item?"""
        if len(rows) == 1:
            return self.covers(rows[0], item)
        return all(self.covers(row, item) for row in rows)

    def covers(self, row: Edge | Gateway, item: str | None) -> bool:
        """Does a permission's tags let it cover the item (None, UNDECLARED: the data as such)?"""
        if not row.tags_only and not row.tags_except:
            return True
        as_such = item is None or item == UNDECLARED
        if row.tags_only and (as_such or item not in self._meant(row.tags_only)):
            return False
        if not row.tags_except:
            return True
        excluded = self._meant(row.tags_except)
        if not excluded.isdisjoint(self.data.unsure):
            return False
        return as_such or item is None or excluded.isdisjoint(self._widened(self._may_be[item]))

    def _meant(self, tags: tuple[str, ...]) -> frozenset[str]:
        named = frozenset(tags)
        return named | self.special if SPECIAL in named else named

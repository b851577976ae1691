"""Where data lies and is handled, held against the rules that apply: regions, copies, time abroad. docs/evaluation.md, section 5."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from routing_rules.law.evidence import Register, evidence
from routing_rules.law.places import Atlas, Place
from routing_rules.law.questions import Lack
from routing_rules.law.reasons import Citations
from routing_rules.law.tags import ANY_DATA
from routing_rules.law.truth import Truth, every
from routing_rules.pack.rows import DataVerb, Storage, StorageRule

Inside: TypeAlias = tuple[Truth, ...]
"""For each place of a question, in order: is it in a region?"""


class Sites(msgspec.Struct, frozen=True, kw_only=True):
    """The places of a question, each once, the primary first; the others are positions in them.

    `lying`: the primary, the stores and the copies. `hours_abroad`: how long anything is left where it was only processed or accessed;
    None: no bound.
    """

    places: tuple[Place, ...]
    lying: tuple[int, ...]
    processes: tuple[int, ...]
    accesses: tuple[int, ...]
    hours_abroad: int | None

    def of(self, verb: DataVerb) -> tuple[int, ...]:
        match verb:
            case DataVerb.STORE:
                return self.lying
            case DataVerb.PROCESS:
                return self.processes
            case DataVerb.ACCESS:
                return self.accesses


class SiteCheck:
    """One question on one day: which rules are met where its data lies."""

    def __init__(self, sites: Sites, atlas: Atlas, register: Register, at: datetime.date) -> None:
        self._sites = sites
        self._atlas = atlas
        self._register = register
        self._at = at
        self._regions: dict[tuple[str, ...], Inside] = {}

    def lifted_by(self, row: Storage) -> tuple[str, ...] | None:
        """The refs of the instruments that lift the rule for every place outside its region; None: it stands."""
        if not row.lifted_by:
            return None
        refs: dict[str, None] = {}
        for place in self._outside(row):
            for word in row.lifted_by:
                ref = self._shown(row, word, place)
                if ref is None:
                    return None
                refs[ref] = None
        return tuple(refs)

    def unmet(self, rows: Sequence[Storage]) -> tuple[Truth, tuple[Storage, ...]]:
        """Are all these rules met? With the rows that are not, or may not be, met."""
        truth, unmet = Truth.YES, dict[int, Storage]()
        placed = [(row, self._inside(row.region)) for row in rows]
        for verb in DataVerb:
            by_inside: dict[Inside, list[Storage]] = {}
            for row, inside in placed:
                if verb in row.verbs:
                    by_inside.setdefault(inside, []).append(row)
            if by_inside:
                common = tuple(map(min, zip(*by_inside, strict=True)))
                found = self._met(_rules(by_inside.values()), verb, common)
                if found is not Truth.YES:
                    truth = min(truth, found)
                    unmet |= {row.line: row for row in self._blamed(verb, by_inside)}
        for row in rows:
            if row.ttl_hours_abroad is not None:
                found = self._brought_back(row, row.ttl_hours_abroad)
                if found is not Truth.YES:
                    truth = min(truth, found)
                    unmet[row.line] = row
        return truth, tuple(unmet[line] for line in sorted(unmet))

    def lacks(self, row: Storage, citations: Citations) -> Iterable[Lack]:
        """What would lift the rule, for each place outside its region that lacks it."""
        for place in self._outside(row):
            missing = tuple(word for word in row.lifted_by if self._shown(row, word, place) is None)
            if missing:
                items = () if row.tag == ANY_DATA else (row.tag,)
                yield Lack(
                    regime=row.jurisdiction, to=place.id, requirements=missing, items=items, row=citations.ref(row)
                )

    def _blamed(self, verb: DataVerb, by_inside: Mapping[Inside, list[Storage]]) -> list[Storage]:
        """The rows that are not met by themselves; where each is, all: their regions do not meet."""
        alone: list[Storage] = []
        for inside, rows in by_inside.items():
            failing = [rule for rule in _rules((rows,)) if self._met((rule,), verb, inside) is not Truth.YES]
            alone += [row for row in rows if row.rule in failing]
        return alone or [row for rows in by_inside.values() for row in rows]

    def _met(self, rules: Iterable[StorageRule], verb: DataVerb, inside: Inside) -> Truth:
        """Each of the rules for this verb in a region."""
        return every(self._rule_met(rule, verb, inside) for rule in rules)

    def _rule_met(self, rule: StorageRule, verb: DataVerb, inside: Inside) -> Truth:
        match rule:
            case StorageRule.LOCAL_ONLY:
                return _least(inside, self._sites.of(verb))
            case StorageRule.PRIMARY_LOCAL:
                return inside[0]
            case StorageRule.COPY_LOCAL:
                return self._copy(inside)
            case StorageRule.PROCESS_HERE_OR_COPY_LOCAL:
                return max(_least(inside, self._sites.processes), self._copy(inside))

    def _copy(self, inside: Inside) -> Truth:
        return max(inside[place] for place in self._sites.lying)

    def _brought_back(self, row: Storage, hours_max: int) -> Truth:
        """What the row does not name may happen outside for so many hours."""
        hours = self._sites.hours_abroad
        if hours is not None and hours <= hours_max:
            return Truth.YES
        inside = self._inside(row.region)
        return every(_least(inside, self._sites.of(verb)) for verb in DataVerb if verb not in row.verbs)

    def _inside(self, region: tuple[str, ...]) -> Inside:
        found = self._regions.get(region)
        if found is None:
            found = tuple(self._atlas.within(region, place, self._at) for place in self._sites.places)
            self._regions[region] = found
        return found

    def _outside(self, row: Storage) -> list[Place]:
        """The places that are not known to be in its region."""
        inside = self._inside(row.region)
        return [place for place, is_in in zip(self._sites.places, inside, strict=True) if is_in is not Truth.YES]

    def _shown(self, row: Storage, word: str, place: Place) -> str | None:
        item = None if row.tag == ANY_DATA else row.tag
        on_file = self._register.on_file(row.jurisdiction, place, self._at)
        found = evidence(word, None, item, on_file, any_detail=True)
        return None if found is None else found.ref


def _rules(rows: Iterable[list[Storage]]) -> list[StorageRule]:
    """Each rule once."""
    found: list[StorageRule] = []
    for some_rows in rows:
        for row in some_rows:
            if row.rule not in found:
                found.append(row.rule)
    return found


def _least(inside: Inside, places: Sequence[int]) -> Truth:
    return min((inside[place] for place in places), default=Truth.YES)

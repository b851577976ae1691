"""Where data lies and is handled, held against the rules that apply: regions, copies, time abroad. docs/evaluation.md, section 5."""

import datetime
from collections.abc import Iterable, Sequence

import msgspec

from routing_rules.law.evidence import Register, evidence
from routing_rules.law.places import Atlas, Place
from routing_rules.law.questions import Lack
from routing_rules.law.reasons import Citations
from routing_rules.law.tags import ANY_DATA
from routing_rules.law.truth import Truth, every, some
from routing_rules.pack.rows import DataVerb, Storage, StorageRule


class Sites(msgspec.Struct, frozen=True, kw_only=True):
    """The places of a question. `hours_abroad`: how long anything is left where it was only processed or accessed; None: no bound."""

    primary: Place
    stores: tuple[Place, ...]
    processes: tuple[Place, ...]
    accesses: tuple[Place, ...]
    copies: tuple[Place, ...]
    hours_abroad: int | None

    def of(self, verb: DataVerb) -> tuple[Place, ...]:
        match verb:
            case DataVerb.STORE:
                return self.lying
            case DataVerb.PROCESS:
                return self.processes
            case DataVerb.ACCESS:
                return self.accesses

    @property
    def lying(self) -> tuple[Place, ...]:
        return (self.primary, *self.stores, *self.copies)

    @property
    def all(self) -> tuple[Place, ...]:
        """Each place once."""
        return tuple(dict.fromkeys((*self.lying, *self.processes, *self.accesses)))


class Keeping:
    """One question on one day: which rules are met where its data lies."""

    def __init__(self, sites: Sites, atlas: Atlas, register: Register, at: datetime.date) -> None:
        self._sites = sites
        self._atlas = atlas
        self._register = register
        self._at = at
        self._inside: dict[tuple[int, Place], Truth] = {}

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
        for verb in DataVerb:
            named = [row for row in rows if verb in row.verbs]
            found = every(self._met(rule, verb, named) for rule in {row.rule for row in named})
            if found is not Truth.YES:
                truth = min(truth, found)
                unmet |= {row.line: row for row in self._blamed(verb, named)}
        for row in rows:
            found = self._brought_back(row)
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

    def _blamed(self, verb: DataVerb, named: Sequence[Storage]) -> Sequence[Storage]:
        """The rows that are not met by themselves; where each is, all: their regions do not meet."""
        alone = [row for row in named if self._met(row.rule, verb, (row,)) is not Truth.YES]
        return alone or named

    def _met(self, rule: StorageRule, verb: DataVerb, rows: Sequence[Storage]) -> Truth:
        """The rule, for this verb, in the intersection of the rows' regions."""
        match rule:
            case StorageRule.LOCAL_ONLY:
                return self._all_in(rows, self._sites.of(verb))
            case StorageRule.PRIMARY_LOCAL:
                return self._all_in(rows, (self._sites.primary,))
            case StorageRule.COPY_LOCAL:
                return self._copy_in(rows)
            case StorageRule.PROCESS_HERE_OR_COPY_LOCAL:
                return max(self._all_in(rows, self._sites.processes), self._copy_in(rows))

    def _all_in(self, rows: Sequence[Storage], places: Iterable[Place]) -> Truth:
        return every(self._within(row, place) for place in places for row in rows)

    def _copy_in(self, rows: Sequence[Storage]) -> Truth:
        return some(every(self._within(row, place) for row in rows) for place in self._sites.lying)

    def _brought_back(self, row: Storage) -> Truth:
        """What the row does not name may happen outside for so many hours."""
        if row.ttl_hours_abroad is None:
            return Truth.YES
        hours = self._sites.hours_abroad
        if hours is not None and hours <= row.ttl_hours_abroad:
            return Truth.YES
        return every(
            self._within(row, place) for verb in DataVerb if verb not in row.verbs for place in self._sites.of(verb)
        )

    def _within(self, row: Storage, place: Place) -> Truth:
        key = (row.line, place)
        found = self._inside.get(key)
        if found is None:
            found = self._inside[key] = self._atlas.within(row.region, place, self._at)
        return found

    def _outside(self, row: Storage) -> list[Place]:
        """The places that are not known to be in its region."""
        return [place for place in self._sites.all if self._within(row, place) is not Truth.YES]

    def _shown(self, row: Storage, word: str, place: Place) -> str | None:
        item = None if row.tag == ANY_DATA else row.tag
        on_file = self._register.on_file(row.jurisdiction, place, self._at)
        found = evidence(word, None, item, on_file, any_detail=True)
        return None if found is None else found.ref

"""What each field of a table becomes for one person's regimes, one destination and one purpose: contract and law together. Pure.

The law is asked for the data as such, and for each column with its tags. Where the data as such may not go, nothing goes: no treatment
makes personal data anything else. A column whose tags may not go stays behind alone. What nobody states, stays behind.
"""

import datetime
import enum
from collections.abc import Iterable, Mapping

import msgspec

from cells.egress.treatments import kind_of
from cells.egress.values import Kind
from cells.egress.wording import DROP, KEEP, SCAN, WALK, Selector, Treatment, selector, treatment
from cells.records.contracts import Class, Column, Contract
from foundation.words import CellId, DestinationId, JurisdictionId
from routing_rules.facts import SubjectFacts
from routing_rules.home import regimes_of
from routing_rules.law.questions import Answer, Duty, Finding
from routing_rules.policy import Destination
from routing_rules.release import Consent, ReleaseFacts, destination_location, may_transfer
from routing_rules.rules import Rules

DROPPED = Treatment(DROP)
SPECIAL_TAG = "special_category"
_LIFTS: Mapping[str, Mapping[str, str]] = {"geohash": {"precise_location": "location"}}
"""Treatment -> tag that it takes away -> the broader one that stays. A geohash of at most 5 characters is 4.9 km wide; precise is within
1,850 feet (Cal. Civ. Code 1798.140(w)), 1,750 feet in other states."""


class Why(enum.StrEnum):
    """What decides that a field leaves so, or stays."""

    STATED = "stated"
    NOT_STATED = "not_stated"
    UNCLASSIFIED = "unclassified"
    PURPOSE = "purpose"
    AMBIGUOUS = "ambiguous"
    SEALED = "sealed"
    FREE_TEXT = "free_text"
    ASKED = "asked"
    LAW = "law"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One column, or one member of a JSON column. `selector`: the contract's words that chose the treatment. `ground`: the law's, where
    it was asked. `members` and `items`: what a walked one holds."""

    name: str
    type: str
    treatment: Treatment
    why: Why
    selector: str = ""
    ground: str = ""
    masking: bool = False
    members: tuple["Field", ...] = ()
    items: "Field | None" = None

    @property
    def leaves(self) -> bool:
        return self.treatment.kind != DROP


class TablePlan(msgspec.Struct, frozen=True, kw_only=True):
    """All fields of a table for people of the same facts and answer. `answer` and `ground` are the law's for the data as such; where it
    does not allow, no row goes, whatever the fields say."""

    answer: Answer
    ground: str
    reasons: tuple[str, ...]
    duties: tuple[Duty, ...]
    regimes: tuple[JurisdictionId, ...]
    fields: tuple[Field, ...]
    valid_until: datetime.date | None

    @property
    def goes(self) -> bool:
        return self.answer.allows and any(one.leaves for one in self.fields)

    @property
    def owed(self) -> tuple[str, ...]:
        """The duties in words, each with its row."""
        return tuple(
            f"{one.regime}: {one.action} {one.deadline} {one.unit} {one.relative_to} {one.trigger} ({one.row.file} {one.row.line})"
            for one in self.duties
        )


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: a table of a cell, to a destination of policy, for a purpose."""

    cell: CellId
    destination: DestinationId
    purpose: str


def plan(
    contract: Contract, release: Release, subject: SubjectFacts, consent: Consent, rules: Rules, at: datetime.date
) -> TablePlan:
    """Total: whatever is not known refuses."""
    asker = _Asker(release, subject, consent, rules, at)
    base = asker.base
    opted = consent is Consent.GIVEN or release.purpose not in contract.asks
    fields = tuple(
        _field(name, column, release.purpose, asker, asked=not opted) for name, column in contract.columns.items()
    )
    findings = (base, *asker.relied_on)
    return TablePlan(
        answer=base.answer if opted else Answer.DENY,
        ground=base.ground if opted else f"the contract asks for a yes to {release.purpose}, and there is none",
        reasons=tuple(dict.fromkeys(reason.what for finding in findings for reason in finding.reasons)),
        duties=tuple(dict.fromkeys(duty for finding in findings if finding.answer.allows for duty in finding.duties)),
        regimes=asker.regimes,
        fields=fields,
        valid_until=min((one.valid_until for one in findings if one.valid_until is not None), default=None),
    )


class _Asker:
    """Asks the law once for each set of tags, and remembers which answers let a field leave or kept it."""

    def __init__(
        self, release: Release, subject: SubjectFacts, consent: Consent, rules: Rules, at: datetime.date
    ) -> None:
        self._facts = ReleaseFacts(
            subject=subject,
            cell=release.cell,
            destination=release.destination,
            purpose=release.purpose,
            consent=consent,
        )
        self._rules = rules
        self._at = at
        self._answers: dict[tuple[str, ...], Finding] = {}
        self.regimes = regimes_of(subject, rules, at).ids
        to = rules.policy.destinations.get(release.destination)
        self._places = frozenset() if to is None else places_of(to, rules)
        self.base = self.of(())

    @property
    def relied_on(self) -> tuple[Finding, ...]:
        return tuple(found for tags, found in self._answers.items() if tags)

    def of(self, tags: Iterable[str]) -> Finding:
        key = tuple(sorted(set(tags)))
        found = self._answers.get(key)
        if found is None:
            facts = msgspec.structs.replace(self._facts, tags=key)
            found = self._answers[key] = may_transfer(facts, self._rules, self._at)
        return found

    def matches(self, one: Selector) -> bool:
        return (
            one.origin in (None, *self.regimes)
            and (one.to is None or one.to in self._places)
            and one.purpose in (None, self._facts.purpose)
        )


def _field(name: str, column: Column, purpose: str, asker: _Asker, *, asked: bool) -> Field:
    chosen, key, why = _chosen(column, purpose, asker)
    if asked and chosen.kind != DROP:
        chosen, why = DROPPED, Why.ASKED
    ground = ""
    if chosen.kind != DROP:
        found = asker.of(_tags(column, chosen))
        ground = found.ground
        if not found.answer.allows:
            chosen, why = DROPPED, Why.LAW
    walked = chosen.kind == WALK
    members = (
        tuple(_field(one, inner, purpose, asker, asked=asked) for one, inner in column.members.items())
        if walked
        else ()
    )
    items = _field("items", column.items, purpose, asker, asked=asked) if walked and column.items is not None else None
    inside = (*members, *((items,) if items else ()))
    return Field(
        name=name,
        type=column.type,
        treatment=chosen,
        why=why,
        selector=key,
        ground=ground,
        masking=any(one.masking or not one.leaves for one in inside) if walked else chosen.kind not in (DROP, KEEP),
        members=members,
        items=items,
    )


def _chosen(column: Column, purpose: str, asker: _Asker) -> tuple[Treatment, str, Why]:
    """What the contract states, by the selector with the most parts that speaks of this release; two of them that differ state nothing."""
    if column.klass is None:
        return DROPPED, "", Why.UNCLASSIFIED
    if column.sealed:
        return DROPPED, "", Why.SEALED
    fitting = [(key, one) for key in column.leaving if asker.matches(one := selector(key))]
    if not fitting:
        return DROPPED, "", Why.NOT_STATED
    most = max(one.parts for _, one in fitting)
    closest = [(key, one) for key, one in fitting if one.parts == most]
    stated = {treatment(column.leaving[key]) for key, _ in closest}
    if len(stated) > 1:
        return DROPPED, " ".join(key for key, _ in closest), Why.AMBIGUOUS
    key, found = closest[0]
    chosen = stated.pop()
    if chosen.kind == DROP:
        return DROPPED, key, Why.STATED
    elsewhere = column.purposes is not None and purpose not in column.purposes
    if elsewhere and (found.purpose is None or chosen.kind == KEEP):
        # It serves other purposes only; for this one it leaves changed, and only where the contract names this one.
        return DROPPED, key, Why.PURPOSE
    if column.klass is Class.FREE_TEXT and chosen.kind not in (SCAN, WALK):
        return DROPPED, key, Why.FREE_TEXT
    return chosen, key, Why.STATED


def _tags(column: Column, chosen: Treatment) -> tuple[str, ...]:
    """The kinds of data that are left in what leaves."""
    tags = column.tags or ((SPECIAL_TAG,) if column.klass is Class.SPECIAL else ())
    lifts = _LIFTS.get(chosen.kind, {})
    return tuple(lifts.get(tag, tag) for tag in tags)


def schema(contract: Contract, release: Release, rules: Rules) -> tuple[tuple[str, Kind], ...]:
    """Every column that may leave for some person, and what it holds; text where two people's may hold different things. Of one release
    all parts look alike, whoever's rows are in them."""
    to = rules.policy.destinations.get(release.destination)
    places = frozenset() if to is None else places_of(to, rules)
    found: list[tuple[str, Kind]] = []
    for name, column in contract.columns.items():
        fitting = [one for one in column.leaving if _may_match(selector(one), release.purpose, places)]
        kinds = {kind for one in fitting if (kind := kind_of(treatment(column.leaving[one]), column.type)) is not None}
        if kinds and column.klass is not None and not column.sealed:
            found.append((name, kinds.pop() if len(kinds) == 1 else Kind.TEXT))
    return tuple(found)


def _may_match(one: Selector, purpose: str, places: frozenset[str]) -> bool:
    return one.purpose in (None, purpose) and (one.to is None or one.to in places)


def places_of(to: Destination, rules: Rules) -> frozenset[str]:
    """The destination's place by its own id and that of the whole it is a part of."""
    place = destination_location(to, rules)
    row = rules.pack.rows.get(place.id)
    return frozenset(one for one in (place.id, row.parent if row else None) if one is not None)

"""Batches of a table, treated: each row under the plan of its person; strings that passed are scanned, and a finding holds the batch back.

Memory is bounded by the batch. Nothing is read or written here.
"""

import collections
import datetime
import enum
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from cells.egress.compiled import UNNAMED, Compiled, Counts, Watch, Workshop
from cells.egress.plan import Release, TablePlan, plan, schema
from cells.egress.scan import Scan
from cells.egress.treatments import Means, kind_of
from cells.egress.values import Reader
from cells.records.contracts import Contract
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent
from routing_rules.rules import Rules

PEOPLE_KINDS_MAX = 2_000
"""Sets of facts with a plan made ready; beyond it the oldest is forgotten and made anew when it comes again."""


UNSCANNED = "unscanned"
"""What a scanner that does not answer for every string has found."""
UNPLACED = "it is not known whose law the person is under"


class Person(msgspec.Struct, frozen=True):
    """What decides about a row: the facts of whoever it is about, and what they said to the purpose."""

    subject: SubjectFacts
    consent: Consent


class Nobody(enum.Enum):
    """There is nobody whose word counts for a row, so that it stays; by the ground."""

    UNOWNED = "it is not said whose it is"
    UNHEARD = "its owner may have said no where this cell does not hear it"


Whose: TypeAlias = Person | Nobody | None
"""By whose law a row goes, and what its owner said. None: nothing is known of the person."""


class Batch(msgspec.Struct, frozen=True):
    """Rows as columns, all of one length. Rows without a person stay.

    `drifted`: columns of the contract that the source does not have as stated; `unnamed`: values in them that no contract names; `plain`:
    columns in which every value is as its reader would give it, and none null.
    """

    people: Sequence[Whose]
    columns: Mapping[str, Sequence[Any]]
    drifted: tuple[str, ...] = ()
    unnamed: int = 0
    plain: frozenset[str] = frozenset()


class Held(msgspec.Struct, frozen=True):
    """Why a batch is in quarantine: in which field, what, how often."""

    field: str
    kind: str
    count: int


class Treated(msgspec.Struct, frozen=True, kw_only=True):
    """What may leave of a batch: its rows as columns in the order of the schema, none where it is `held`.

    `stayed`: rows that did not go, by the ground. `counts`: field → fate → values."""

    rows: int
    columns: dict[str, list[Any]]
    stayed: dict[str, int]
    counts: dict[str, dict[str, int]]
    held: tuple[Held, ...] = ()


class Treater:
    """One release's treatments: plans by person, made ready once."""

    def __init__(
        self,
        contract: Contract,
        release: Release,
        rules: Rules,
        at: datetime.date,
        *,
        means: Means,
        readers: Mapping[str, Reader],
        scan: Scan | None,
    ) -> None:
        self.contract = contract
        self.release = release
        self.schema = schema(contract, release, rules)
        self._rules = rules
        self._at = at
        self.counts, self.watch, self._scan = Counts(), Watch(), scan
        self._workshop = Workshop(means, readers, scan, self.counts, self.watch)
        self._plans: dict[Person, tuple[TablePlan, Compiled, Mapping[str, Callable[[Any], Any]]]] = {}

    @property
    def scans(self) -> bool:
        """Whether a second detector looks at what passes."""
        return self._scan is not None

    def plan_of(self, person: Person) -> TablePlan:
        return self.ready(person)[0]

    def unmade(self, person: Person) -> dict[str, str]:
        """Fields that the plan lets leave and that cannot be made, with the reason."""
        return self.ready(person)[1].stays

    def treat(self, batch: Batch) -> Treated:
        columns: dict[str, list[Any]] = {name: [] for name, _ in self.schema}
        stayed: collections.Counter[str] = collections.Counter()
        rows = 0
        for person, indexes in kinds_of(batch.people):
            own = batch if indexes is None else _taken(batch, indexes)
            count = len(own.people)
            if not isinstance(person, Person) or not self.plan_of(person).goes:
                stayed[self.why_none_goes(person)] += count
                continue
            stated, made, convert = self.ready(person)
            self.count_staying(stated, made, count, batch.drifted)
            found = {
                one.name: one.treat(own.columns[one.name], one.name in batch.plain)
                for one in made.fields
                if one.name not in batch.drifted
            }
            for name, filled in columns.items():
                values = found.get(name)
                change = convert.get(name)
                if values is not None and change is not None:
                    values = [None if one is None else change(one) for one in values]
                values = [None] * count if values is None else values
                if rows:
                    filled.extend(values)
                else:
                    columns[name] = values
            rows += count
        return self.ended(rows, columns, stayed, batch.unnamed)

    def ended(self, rows: int, columns: dict[str, list[Any]], stayed: Mapping[str, int], unnamed: int) -> Treated:
        """What is told of a batch of which so many rows were treated: nothing of it leaves where the second detector found something."""
        self.counts.add("", UNNAMED, unnamed)
        held, counts = self.scanned(), self.counts.take()
        if held:
            return Treated(rows=0, columns={}, stayed=dict(stayed), counts={}, held=held)
        return Treated(rows=rows, columns=columns, stayed=dict(stayed), counts=counts)

    def forget(self) -> None:
        """What was counted and noted of a batch whose treatment broke off is none of the next one's."""
        self.counts.take()
        self.watch.take()

    def why_none_goes(self, whose: Whose) -> str:
        """The ground on which rows stay of somebody of whom none goes."""
        if not isinstance(whose, Person):
            return UNPLACED if whose is None else whose.value
        stated = self.plan_of(whose)
        return "no field of it leaves" if stated.answer.allows else stated.ground

    def ready(self, person: Person) -> tuple[TablePlan, Compiled, Mapping[str, Callable[[Any], Any]]]:
        """The plan, its functions, and what else becomes of fields that hold something else for other people."""
        held = self._plans.get(person)
        if held is None:
            while len(self._plans) >= PEOPLE_KINDS_MAX:
                del self._plans[next(iter(self._plans))]
            made = plan(self.contract, self.release, person.subject, person.consent, self._rules, self._at)
            held = self._plans[person] = (made, self._workshop.compiled(made), self._conversions(made))
        return held

    def _conversions(self, stated: TablePlan) -> dict[str, Callable[[Any], Any]]:
        """Of fields that hold something else for other people: all as text."""
        kinds = dict(self.schema)
        own = {one.name: kind_of(one.treatment, one.type) for one in stated.fields}
        return {name: as_text for name, kind in own.items() if kind is not None and kinds.get(name, kind) is not kind}

    def count_staying(self, stated: TablePlan, made: Compiled, count: int, drifted: Sequence[str]) -> None:
        """Values that stay with their whole field."""
        for field in stated.fields:
            if field.name in drifted:
                self.counts.add(field.name, "changed_type", count)
            elif field.name in made.stays:
                self.counts.add(field.name, "unmade", count)
            elif not field.leaves:
                self.counts.add(field.name, f"dropped:{field.why.value}", count)

    def scanned(self) -> tuple[Held, ...]:
        """What the second detector found in what passed as it was. It is shown each distinct string of a field once: what it finds in one
        rests on that and the field's name alone."""
        taken = self.watch.take()
        if self._scan is None:
            return ()
        found: collections.Counter[tuple[str, str]] = collections.Counter()
        for (field, named), strings in taken.items():
            times = collections.Counter(strings)
            looked = self._scan(list(times), named)
            if len(looked) != len(times):
                found[field, UNSCANNED] += len(strings)
            for each, count in zip(looked, times.values(), strict=False):
                for one in each:
                    found[field, str(one.kind)] += count
        return tuple(Held(field, kind, count) for (field, kind), count in sorted(found.items()))


def kinds_of(people: Sequence[Whose]) -> list[tuple[Whose, list[int] | None]]:
    """Where the rows are of people of whom the same is known, in the order in which these come first; None: all rows are."""
    if people and all(map(operator.is_, people, itertools.repeat(people[0]))):
        return [(people[0], None)]
    known = {id(person): person for person in people}  # to compare facts takes longer
    places: dict[Whose, list[int]] = {}
    rows = {key: places.setdefault(person, []) for key, person in known.items()}
    if len(places) == 1:
        return [(people[0], None)]
    for index, person in enumerate(people):
        rows[id(person)].append(index)
    return list(places.items())


def _taken(batch: Batch, indexes: Sequence[int]) -> Batch:
    columns = {name: [values[index] for index in indexes] for name, values in batch.columns.items()}
    return Batch([batch.people[index] for index in indexes], columns, batch.drifted)


def as_text(value: Any) -> str:
    """A treated value as text: days and moments as ISO 8601, lists and objects as JSON."""
    if type(value) is str:
        return value
    if isinstance(value, datetime.date):
        return value.isoformat()
    return msgspec.json.encode(value).decode()

"""A plan made ready to run: for every field that leaves, one function over a column of values. What it counts, `Counts` says."""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from cells.egress.columns import Column, over
from cells.egress.looks import Look, look_at
from cells.egress.plan import Field, TablePlan
from cells.egress.scan import Scan, redacted
from cells.egress.tokens import Digests, digests
from cells.egress.treatments import Function, Means, Unmeant, key_of, made
from cells.egress.values import NULL, OF_JSON, QUICK, UNFIT, Kinds, Reader, Unfit
from cells.egress.wording import KEEP, SCAN, WALK

Typed: TypeAlias = Callable[[Sequence[Any], bool], tuple[list[Any], Kinds]]
"""Of a column as it was given, and whether that is plainly as it would be read, without nulls: what becomes of its values, and which types
of that say that something is null or unfit."""
_NONE: Kinds = frozenset()
PASSED, NULLS, UNFIT_COUNT, UNNAMED, DROPPED = "passed", "null", "unfit", "unnamed", "dropped"


class Counts:
    """How many values of which field met which fate, since they were taken last. Names are the contract's, never a document's own."""

    def __init__(self) -> None:
        self._held: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(self, field: str, fate: str, count: int = 1) -> None:
        if count:
            self._held[field, fate] += count

    def of_column(self, field: str, *, rows: int, nulls: int, unfit: int) -> None:
        """`nulls`: those that were, and those that stand for what is unfit."""
        self.add(field, UNFIT_COUNT, unfit)
        self.add(field, NULLS, nulls - unfit)
        self.add(field, PASSED, rows - nulls)

    def take(self) -> dict[str, dict[str, int]]:
        taken: dict[str, dict[str, int]] = {}
        for (field, fate), count in sorted(self._held.items()):
            taken.setdefault(field, {})[fate] = count
        self._held.clear()
        return taken


class Ready(msgspec.Struct, frozen=True):
    """A field that leaves. `values` treats and counts nothing: what does not fit is UNFIT; `treat` counts, and puts null for it;
    it does not read what it is told to be plain. `plain` is `values` for what is known to be as it would be read. `look`: what passes as
    it is and the scanner has to see; None: it sees nothing of the field. `digests`: where it leaves as tokens, what these are made of."""

    field: Field
    values: Column
    plain: Column
    treat: Callable[[Sequence[Any], bool], list[Any]]
    look: Look | None
    digests: Digests | None

    @property
    def name(self) -> str:
        return self.field.name


class Compiled(msgspec.Struct, frozen=True):
    """`stays`: fields that the contract lets leave and cannot be made, with the reason."""

    fields: tuple[Ready, ...]
    stays: dict[str, str]


class Watch:
    """What the scanner has to see of what passed as it is, by field and the name that it is told, since it was taken last."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], list[str]] = {}

    def note(self, look: Look, values: Sequence[Any]) -> None:
        self._held.setdefault((look.field, look.named), []).extend(look.shown(values))

    def take(self) -> dict[tuple[str, str], list[str]]:
        taken, self._held = self._held, {}
        return taken


class Workshop(msgspec.Struct, frozen=True):
    """What fields are made with. `readers`: by contract type, of a database or of JSON."""

    means: Means
    readers: Mapping[str, Reader]
    scan: Scan | None
    counts: Counts
    watch: Watch

    def compiled(self, plan: TablePlan) -> Compiled:
        fields: list[Ready] = []
        stays: dict[str, str] = {}
        for field in plan.fields if plan.goes else ():
            if not field.leaves:
                continue
            try:
                fields.append(self._ready(field))
            except Unmeant as exc:
                stays[field.name] = str(exc)
        return Compiled(tuple(fields), stays)

    def _ready(self, field: Field) -> Ready:
        """Raises Unmeant."""
        plain, typed = self._values(field)
        look, name, counts, watch = self._look(field, field.name), field.name, self.counts, self.watch

        def treat(given: Sequence[Any], plain: bool = False) -> list[Any]:
            found, kinds = typed(given, plain)
            unfit = found.count(UNFIT) if Unfit in kinds else 0
            if unfit:
                found = [None if one is UNFIT else one for one in found]
            nulls = found.count(None) if unfit or NULL in kinds else 0
            counts.of_column(name, rows=len(found), nulls=nulls, unfit=unfit)
            if look is not None:
                watch.note(look, found)
            return found

        digested = digests(key_of(field.treatment, self.means)) if field.treatment.kind == "token" else None
        return Ready(field, lambda given: typed(given, False)[0], plain, treat, look, digested)

    def _values(self, field: Field) -> tuple[Column, Typed]:
        """Of what was read, and of what was given. Raises Unmeant."""
        read = self.readers.get(field.type)
        if read is None:
            raise Unmeant(f"values of type {field.type} never leave")
        treat, kept = self._function(field, field.name), field.treatment.kind == KEEP
        quick, whole = QUICK.get(field.type, _never), over(field.treatment, self.means, treat)

        def plain(held: Sequence[Any]) -> list[Any]:
            return whole(held) if kept or None not in held else _between_nulls(held, whole)

        def typed(given: Sequence[Any], plain: bool) -> tuple[list[Any], Kinds]:
            if plain:
                found = whole(given)
                return found, _NONE if kept else set(map(type, found))
            kinds = set(map(type, given))
            held = quick(given, kinds)
            if held is None:
                found = [None if one is None else UNFIT if (got := read(one)) is UNFIT else treat(got) for one in given]
            elif kept:
                return whole(held), kinds  # as many nulls as were given, and nothing unfit
            else:
                found = _between_nulls(held, whole) if NULL in kinds else whole(held)
            return found, set(map(type, found))

        return plain, typed

    def _look(self, field: Field, path: str) -> Look | None:
        return look_at(path, field.type) if self.scan is not None and field.treatment.kind == KEEP else None

    def _function(self, field: Field, path: str) -> Function:
        """Raises Unmeant."""
        if field.treatment.kind == SCAN:
            if self.scan is None:
                raise Unmeant("there is no scanner")
            return _redacting(self.scan, path)
        if field.treatment.kind != WALK:
            return made(field.treatment, self.means)
        if field.items is not None:
            return self._elements(field.items, f"{path}[]")
        return self._members({one.name: one for one in field.members}, path)

    def _members(self, fields: Mapping[str, Field], path: str) -> Function:
        functions = {name: self._inner(one, f"{path}.{name}") for name, one in fields.items()}
        counts = self.counts

        def walk(value: Any) -> Any:
            if type(value) is not dict:
                return UNFIT
            found = {}
            for name, inner in value.items():
                function = functions.get(name)
                if function is None:
                    counts.add(path, UNNAMED)
                elif (treated := function(inner)) is not UNFIT:
                    found[name] = treated
            return found

        return walk

    def _elements(self, field: Field, path: str) -> Function:
        function = self._inner(field, path)

        def walk(value: Any) -> Any:
            if type(value) is not list:
                return UNFIT
            return [treated for one in value if (treated := function(one)) is not UNFIT]

        return walk

    def _inner(self, field: Field, path: str) -> Function:
        """A member's value: treated, or UNFIT where it stays; counted either way."""
        counts, watch, look = self.counts, self.watch, self._look(field, path)
        if not field.leaves:
            return _staying(counts, path)
        try:
            read, treat = OF_JSON[field.type], self._function(field, path)
        except (Unmeant, KeyError):
            return _staying(counts, path)

        def one(value: Any) -> Any:
            if value is None:
                counts.add(path, NULLS)
                return None
            got = read(value)
            found = UNFIT if got is UNFIT else treat(got)
            counts.add(path, UNFIT_COUNT if found is UNFIT else PASSED)
            if look is not None and found is not UNFIT:
                watch.note(look, [found])
            return found

        return one


def _never(_values: Sequence[Any], _kinds: Kinds) -> None:
    return None


def _between_nulls(held: Sequence[Any], whole: Column) -> list[Any]:
    treated = iter(whole([one for one in held if one is not None]))
    return [None if one is None else next(treated) for one in held]


def _staying(counts: Counts, path: str) -> Function:
    def stay(_value: Any) -> Any:
        counts.add(path, DROPPED)
        return UNFIT

    return stay


def _redacting(scan: Scan, name: str) -> Function:
    def redact(value: str) -> Any:
        found = scan((value,), name)
        return redacted(value, found[0]) if len(found) == 1 else UNFIT

    return redact

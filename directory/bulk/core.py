"""A batch of existing users: each row decided by the rules within the registry, or refused by name. Pure.

Rows repeat few facts, so the rules are asked once for each set of them; the cell and shard of a row follow from its new subject id alone.
"""

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from directory.aliases.core import first_twins
from directory.bulk.answers import BulkRow, Refused
from directory.bulk.packed import Common
from directory.placement.answers import PlaceRequest
from directory.placement.asked import facts_of, refused
from directory.placement.core import Facts, Placement
from directory.placement.provenance import Basis, facts_kept, provenance
from directory.registry.core import Registry, shares
from foundation.problems import Code, Problem
from foundation.words import CellId, FeedSeq, LookupKey, RulesDigest, ShardId, SubjectId
from routing_rules.choose import Candidates, candidates
from routing_rules.facts import PlaceFacts
from routing_rules.place import place
from routing_rules.rules import Rules
from routing_rules.verdicts import NoCell


class Ruled(msgspec.Struct, frozen=True):
    """What the rules say of one set of facts: where such people may live, and what is kept of why (JSON)."""

    asked: PlaceFacts
    facts: Facts
    provenance: str
    candidates: Candidates


class NewRow(msgspec.Struct, frozen=True, gc=False):
    """A row that becomes a subject."""

    subject_id: SubjectId
    cell: CellId
    shard: ShardId
    ruled: Ruled
    row: BulkRow


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A batch decided under `under` and the registry as of `registry`; nothing is stored yet. `known`: rows that are placed already."""

    new: tuple[NewRow, ...]
    known: int
    refused: tuple[Refused, ...]
    under: RulesDigest
    registry: FeedSeq

    @property
    def cells(self) -> dict[CellId, int]:
        return dict(sorted(Counter(one.cell for one in self.new).items()))


class Ruling:
    """The rules of one day within one registry, remembered by facts. One per batch: a batch is decided under one of each."""

    def __init__(self, rules: Rules, registry: Registry, at: datetime.date) -> None:
        self.under = rules.digest
        self.registry = registry.seq
        self._rules = rules
        self._registry = registry
        self._at = at
        self._known: dict[tuple[object, ...], Ruled | Problem] = {}

    def of(self, row: BulkRow | Common) -> Ruled | Problem:
        key = (
            row.residence, row.services, row.tags, row.terms, row.verified_residence, row.subdivision, row.citizenships,
        )  # fmt: skip
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._ask(row)
        return found

    def _ask(self, row: BulkRow | Common) -> Ruled | Problem:
        facts = facts_of(_request(row), self._rules)
        if isinstance(facts, Problem):
            return facts
        allowed = place(facts, self._rules, self._at)
        if isinstance(allowed, NoCell):
            return refused(allowed)
        weights = shares(self._registry, self._rules.policy, facts.services)
        taking = candidates(allowed, self._rules, shares=weights)
        if not taking.cells:
            return Problem(
                code=Code.NOT_READY, detail="the cells that may hold this person take nobody new: they are drained"
            )
        basis = Basis.DECLARED if row.verified_residence is None else Basis.VERIFIED
        why = provenance(facts, basis, allowed, self._rules, self._at)
        return Ruled(facts, facts_kept(facts, allowed), msgspec.json.encode(why).decode(), taking)


def decide(
    rows: Sequence[BulkRow],
    held: Mapping[LookupKey, Placement],
    rules: Rules,
    registry: Registry,
    at: datetime.date,
    *,
    mint: Callable[[], SubjectId],
) -> Decided:
    """Every row becomes new, known or refused. `held`: where those of the rows' keys lead that are taken."""
    ruling = Ruling(rules, registry, at)
    new: list[NewRow] = []
    refusals: list[Refused] = []
    known = 0
    taken: dict[str, BulkRow] = {}
    for row in rows:
        ruled = ruling.of(row)
        if isinstance(ruled, Problem):
            refusals.append(refusal(row.row, ruled))
            continue
        standing = _standing(row, ruled, held, taken)
        if isinstance(standing, Problem):
            refusals.append(refusal(row.row, standing))
            continue
        if standing:
            known += 1
            continue
        subject_id = mint()
        home = ruled.candidates.choose(subject_id)
        if home is None:
            raise RuntimeError("candidates hold a cell")
        new.append(NewRow(subject_id, *home, ruled, row))
        taken.update((one.key, row) for one in row.keys)
    return Decided(new=tuple(new), known=known, refused=tuple(refusals), under=rules.digest, registry=registry.seq)


def _standing(
    row: BulkRow, ruled: Ruled, held: Mapping[LookupKey, Placement], taken: Mapping[str, BulkRow]
) -> bool | Problem:
    """True: placed already as the row says; False: all its keys are free; else what is in the way."""
    keys = [one.key for one in row.keys]
    if len(set(keys)) != len(keys):
        return Problem(code=Code.BAD_REQUEST, detail="a lookup key stands twice in this row")
    if taken.keys().isdisjoint(keys) and held.keys().isdisjoint(keys):
        return False
    before = [taken.get(key) for key in keys]
    leads = [held.get(LookupKey(key)) for key in keys]
    first_row = before[0]
    if first_row is not None and all(one is first_row for one in before):
        return True if _same(row, first_row) else _other(f"row {first_row.row} of this batch")
    first = next((one for one in leads if one is not None), None)
    if first is not None and not any(before) and _all_lead_to(first, row, leads):
        same = first.facts.subject == ruled.asked.subject and set(ruled.asked.services) <= set(first.services)
        return True if same else _other("the directory")
    return Problem(code=Code.KEY_TAKEN, detail="a lookup key of this row belongs to another subject")


def _all_lead_to(subject: Placement, row: BulkRow, leads: Sequence[Placement | None]) -> bool:
    """Whether every identifier of a row leads to this subject, under one blinding key at least, and none to another."""
    if any(one is not None and one.subject_id != subject.subject_id for one in leads):
        return False
    identifiers = [twin or one.key for one, twin in zip(row.keys, first_twins(row.keys), strict=True)]
    return set(identifiers) == {one for one, lead in zip(identifiers, leads, strict=True) if lead is not None}


def _same(row: BulkRow, other: BulkRow) -> bool:
    return msgspec.structs.replace(row, row=other.row) == other


def _other(where: str) -> Problem:
    return Problem(code=Code.CONFLICT, detail=f"{where} has this person already, with other facts or services")


def refusal(row: int, problem: Problem) -> Refused:
    """`row`: its number."""
    ground = problem.extra.get("ground")
    detail = problem.detail if ground is None else f"{problem.detail} ({ground})"
    return Refused(row=row, code=problem.code.value, detail=detail)


def _request(row: BulkRow | Common) -> PlaceRequest:
    """As far as rules are concerned, which ask for no keys."""
    return PlaceRequest(
        residence=row.residence,
        services=row.services,
        keys=(),
        reason="bulk",
        tags=row.tags,
        terms=row.terms,
        verified_residence=row.verified_residence,
        subdivision=row.subdivision,
        citizenships=row.citizenships,
    )


def keys_of(rows: Iterable[BulkRow]) -> list[LookupKey]:
    """Every key that a batch names, once, sorted."""
    return sorted({LookupKey(one.key) for row in rows for one in row.keys})

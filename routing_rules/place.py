"""`place`: which cells may hold a new subject. Pure and total; it never guesses."""

import datetime

import msgspec

from foundation.problems import Code
from foundation.words import CellId
from routing_rules.facts import PlaceFacts
from routing_rules.hints import shown
from routing_rules.home import Handling, earliest, hosting, may_hold, regimes_of, serves, unmet, within_terms
from routing_rules.law.questions import Finding, Lack, Regimes
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, NoCell

_UNKNOWN = "The rules do not know this case, and what is unknown is refused"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that policy lets serve these regimes: why policy rules it out all the same, or what the law says of it."""

    cell: CellId
    policy: str | None
    law: Finding | None

    @property
    def allowed(self) -> bool:
        return self.law is not None and self.law.answer.allows

    @property
    def ground(self) -> str:
        if self.policy is not None or self.law is None:
            return f"{self.cell}: {self.policy}"
        return f"{self.cell}: {self.law.answer.value}: {self.law.ground}"


def place(facts: PlaceFacts, rules: Rules, at: datetime.date) -> Allowed | NoCell:
    """The cells that may hold this person on day `at`. Never raises, never guesses."""
    unknown = unmet_by_facts(facts, rules)
    if unknown is not None:
        return _no_cell(unknown, _UNKNOWN, None, rules)
    regimes = regimes_of(facts.subject, rules, at)
    if regimes.unknown is not None:
        return _no_cell(f"unknown: {regimes.unknown.what}", _UNKNOWN, regimes.valid_until, rules)
    found = candidates(facts, regimes, rules, at)
    changes = earliest((regimes.valid_until, *(one.law.valid_until for one in found if one.law is not None)))
    if not found:
        ground = f"policy: no cell serves {regimes.owner}"
        return _no_cell(ground, "No cell serves this jurisdiction", regimes.valid_until, rules)
    cells = tuple(one.cell for one in found if one.allowed)
    if not cells:
        return _refused(found, changes, rules)
    return Allowed(
        regimes=regimes.ids,
        cells=cells,
        questions=questions(facts),
        ground="; ".join(one.ground for one in found if one.allowed),
        valid_until=changes,
        digest=rules.digest,
    )


def candidates(facts: PlaceFacts, regimes: Regimes, rules: Rules, at: datetime.date) -> tuple[Candidate, ...]:
    """Every cell that policy lets serve these regimes, sorted, with what stands against it."""
    names = sorted(name for name, cell in rules.policy.cells.items() if serves(cell, regimes))
    return tuple(_candidate(name, facts, regimes, rules, at) for name in names)


def _candidate(name: CellId, facts: PlaceFacts, regimes: Regimes, rules: Rules, at: datetime.date) -> Candidate:
    if not within_terms(name, facts.subject, rules.policy):
        return Candidate(cell=name, policy=f"terms.{facts.subject.terms}.cells does not name it", law=None)
    if not hosting(name, facts.services, rules.policy):
        return Candidate(cell=name, policy=f"does not run all of {', '.join(facts.services)}", law=None)
    law = may_hold(facts.subject, regimes, name, Handling(services=facts.services), rules, at)
    return Candidate(cell=name, policy=None, law=law)


def questions(facts: PlaceFacts) -> tuple[str, ...]:
    """What does not decide but should be asked of the person or looked into."""
    found = []
    if facts.declared is not None and facts.declared != facts.subject.residence:
        found.append("residence_verified_otherwise")
    if facts.observed is not None and facts.observed != facts.subject.residence:
        found.append("residence_observed_elsewhere")
    return tuple(found)


def unmet_by_facts(facts: PlaceFacts, rules: Rules) -> str | None:
    """Why the case is not known before any law is asked: a ground, or None."""
    if not facts.services:
        return "unknown: the placement is made for no service"
    missing = [service for service in facts.services if service not in rules.policy.services]
    if missing:
        return f"unknown: policy declares no service {shown(missing[0])}"
    return unmet(facts.subject, rules)


def _refused(found: tuple[Candidate, ...], changes: datetime.date | None, rules: Rules) -> NoCell:
    lacks: tuple[tuple[CellId, Lack], ...] = tuple(
        (one.cell, lack) for one in found if one.law is not None for lack in one.law.lacks
    )
    detail = "No cell may hold this person's data"
    if all(one.law is None for one in found):
        detail = "The services do not all run in a cell that serves this jurisdiction"
    elif lacks:
        detail += "; an instrument on file would allow one (`domicile rules explain`)"
    ground = "; ".join(one.ground for one in found)
    answer = _no_cell(ground, detail, changes, rules)
    return msgspec.structs.replace(answer, lacks=lacks)


def _no_cell(ground: str, detail: str, changes: datetime.date | None, rules: Rules) -> NoCell:
    return NoCell(code=Code.NO_CELL_ALLOWED, detail=detail, ground=ground, valid_until=changes, digest=rules.digest)

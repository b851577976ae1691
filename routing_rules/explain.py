"""Why an answer is what it is: the trail of rows and policy entries behind `place`, `decide` and a transfer, for people and machines. Pure.

The answer itself always comes from `place`, `decide` or the law; the steps only show what they read, so the two cannot part.
"""

import datetime
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from foundation.words import JurisdictionId
from routing_rules.decide import carried, decide, held, placed_for, travel_of, unfit_actor
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.hints import shown
from routing_rules.home import regimes_of, serves, unmet
from routing_rules.law.questions import Duty, Finding, Reason, Regimes, RowRef, TransferQuestion
from routing_rules.pack.rows import Fact, Unresolved
from routing_rules.place import Candidate, candidates, place, unmet_by_facts
from routing_rules.remedies import clause, grouped, suffice
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, Elsewhere, Hairpin, NoCell, Refuse, Serve, Verdict

NOT_LEGAL_ADVICE = "Not legal advice: compiled from secondary sources and statutes; no lawyer has checked it."

Answer: TypeAlias = Verdict | Allowed | NoCell | Finding


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was asked and what answered it. A step that rests on policy alone has no row and nothing after it.

    `row`: `edges.csv:17 eu -> us-dpf`. `status`: the row's, with its profile where it counts in one only.
    """

    asked: str
    answer: str
    row: str | None = None
    law: str | None = None
    source: str | None = None
    as_of: str | None = None
    confidence: str | None = None
    status: str | None = None
    holds_from: datetime.date | None = None
    holds_until: datetime.date | None = None
    note: str | None = None
    instruments: tuple[str, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome`: the kind of answer in a word (allowed, no_cell, serve, hairpin, elsewhere, refuse, or the law's own answer).

    `would_change`: what would make it another: instruments that are lacking, and the next day on which a row or instrument starts or ends.
    """

    outcome: str
    ground: str
    answer: Answer
    steps: tuple[Step, ...]
    would_change: tuple[str, ...]
    duties: tuple[Duty, ...]
    at: datetime.date
    notice: str = NOT_LEGAL_ADVICE


def explain_place(facts: PlaceFacts, rules: Rules, at: datetime.date) -> Explanation:
    answer = place(facts, rules, at)
    open_fact = unmet_by_facts(facts, rules)
    if open_fact is not None:
        steps = [Step(asked="Do the rules know every fact?", answer=open_fact)]
        return _explanation(answer, steps, (), at)
    regimes = regimes_of(facts.subject, rules, at)
    steps = _regime_steps(facts.subject, regimes, rules, at)
    if regimes.unknown is not None:
        return _explanation(answer, steps, (), at)
    found = candidates(facts, regimes, rules, at)
    named = ", ".join(one.cell for one in found) or "none"
    steps.append(Step(asked=f"Which cells does policy let serve {regimes.owner}?", answer=named))
    for one in found:
        steps += _candidate_steps(one, rules)
    return _explanation(answer, steps, tuple(one.law for one in found if one.law is not None), at)


def explain_decide(facts: RequestFacts, rules: Rules, at: datetime.date) -> Explanation:
    answer = decide(facts, rules, at)
    steps = _policy_steps(facts, rules)
    laws: list[Finding] = []
    regimes = regimes_of(facts.subject, rules, at)
    steps += _regime_steps(facts.subject, regimes, rules, at)
    cell = rules.policy.cells.get(facts.cell)
    known = cell is not None and facts.service in rules.policy.services and facts.ingress in rules.policy.regions
    if cell is not None and known and regimes.unknown is None and unmet(facts.subject, rules) is None:
        asked = f"Does policy let cell {facts.cell} serve {regimes.owner}?"
        steps.append(Step(asked=asked, answer="yes" if serves(cell, regimes) else "no"))
        laws.append(held(facts, regimes, rules, at))
        steps += _law_steps(f"May {facts.cell} hold and handle the data?", laws[-1], rules)
        if facts.actor is not None:
            unfit = unfit_actor(facts, regimes, rules)
            steps.append(Step(asked=f"May {shown(facts.actor)} act for this person here?", answer=unfit or "yes"))
        elif cell.region != facts.ingress:
            key, travel = travel_of(facts, regimes, rules.policy)
            asked = f"What does policy say of people of {regimes.owner} who are in region {facts.ingress}?"
            steps.append(Step(asked=asked, answer=f"{travel} (travellers.{key})" if key else "home (nothing stated)"))
            if travel == "hairpin":
                laws.append(carried(facts, regimes, rules, at))
                steps += _law_steps(f"May region {facts.ingress} carry the request home?", laws[-1], rules)
    return _explanation(answer, steps, tuple(laws), at)


def explain_transfer(question: TransferQuestion, rules: Rules, at: datetime.date) -> Explanation:
    found = rules.law.transfer(question, at)
    named = ", ".join(question.regimes)
    asked = f"May data under {named} go to {question.to.id} for {shown(question.purpose)}?"
    return _explanation(found, _law_steps(asked, found, rules), (found,), at)


def outcome(answer: Answer) -> str:
    match answer:
        case Serve():
            return "serve"
        case Hairpin():
            return "hairpin"
        case Elsewhere():
            return "elsewhere"
        case Refuse():
            return "refuse"
        case Allowed():
            return "allowed"
        case NoCell():
            return "no_cell"
        case Finding():
            return answer.answer.value


def _explanation(answer: Answer, steps: list[Step], laws: tuple[Finding, ...], at: datetime.date) -> Explanation:
    duties = tuple(dict.fromkeys(duty for law in laws for duty in law.duties))
    changes = tuple(dict.fromkeys(change for law in laws for change in _changes(law)))
    if answer.valid_until is not None:
        changes += (f"on {answer.valid_until} a row or instrument starts or ends: ask again for that day",)
    return Explanation(
        outcome=outcome(answer),
        ground=answer.ground,
        answer=answer,
        steps=tuple(steps),
        would_change=changes,
        duties=duties,
        at=at,
    )


def _changes(law: Finding) -> Iterator[str]:
    """What is lacking, as one sentence a regime: `or` between ways, `and` between regimes; said so where it would not be enough."""
    for number, remedy in enumerate(grouped(law.lacks)):
        rows = ", ".join(cited(way.row) for way in remedy.ways)
        yield f"{'and ' if number else ''}{clause(remedy)}, on file as instruments ({rows})"
    if law.lacks and not suffice(law):
        yield "and that alone would not open it: what else forbids it, or is not known, stands above"


def cited(ref: RowRef) -> str:
    return f"{ref.file}.csv:{ref.line} {ref.name}"


def _policy_steps(facts: RequestFacts, rules: Rules) -> list[Step]:
    placed = "yes" if placed_for(facts) else "no"
    steps = [Step(asked=f"Is the placement made for service {shown(facts.service)}?", answer=placed)]
    open_fact = unmet(facts.subject, rules)
    if open_fact is not None:
        steps.append(Step(asked="Do the rules know every fact?", answer=open_fact))
    cell = rules.policy.cells.get(facts.cell)
    service = rules.policy.services.get(facts.service)
    runs = (
        "unknown: policy declares no such service"
        if service is None
        else "yes"
        if service.hosts.get(facts.cell)
        else "no"
    )
    steps.append(Step(asked=f"Does {shown(facts.service)} run in cell {shown(facts.cell)}?", answer=runs))
    where = "unknown: policy declares no such cell" if cell is None else f"region {cell.region}"
    steps.append(Step(asked=f"Where is cell {shown(facts.cell)}? (ingress {shown(facts.ingress)})", answer=where))
    return steps


def _regime_steps(subject: SubjectFacts, regimes: Regimes, rules: Rules, at: datetime.date) -> list[Step]:
    part = f", {subject.subdivision}" if subject.subdivision else ""
    asked = f"Whose law is it in {shown(subject.residence)}{part} on {at}?"
    if regimes.unknown is not None:
        return [_reason_step(asked, regimes.unknown, rules, answer=f"unknown: {regimes.unknown.what}")]
    return [_jurisdiction_step(asked, one, rules) for one in regimes.ids]


def _jurisdiction_step(asked: str, regime: JurisdictionId, rules: Rules) -> Step:
    row = rules.pack.rows[regime]
    step = Step(asked=asked, answer=f"{row.id}: {row.label}", law=row.law or None)
    return _with_row(step, RowRef(row.file, row.line, row.name), row, rules)


def _candidate_steps(one: Candidate, rules: Rules) -> list[Step]:
    asked = f"May {one.cell} hold and handle the data?"
    if one.law is None:
        return [Step(asked=asked, answer=f"no: {one.policy}")]
    return _law_steps(asked, one.law, rules)


def _law_steps(asked: str, law: Finding, rules: Rules) -> list[Step]:
    """The law's answer, then each row that it rests on."""
    steps = [Step(asked=asked, answer=law.answer.value if law.reasons else f"{law.answer.value}: {law.ground}")]
    return steps + [_reason_step("  because", reason, rules) for reason in law.reasons]


def _reason_step(asked: str, reason: Reason, rules: Rules, answer: str | None = None) -> Step:
    about = f" ({reason.item})" if reason.item else ""
    step = Step(
        asked=asked,
        answer=answer or f"{reason.effect.value.replace('_', ' ')}{about}: {reason.what}",
        instruments=reason.instruments,
    )
    if reason.row is None:
        return step
    return _with_row(step, reason.row, row_at(reason.row, rules), rules)


def row_at(ref: RowRef, rules: Rules) -> Fact | Unresolved:
    """The row that a reference of this pack names. Raises LookupError for another pack's."""
    rows: tuple[Fact | Unresolved, ...] = getattr(rules.pack, ref.file)
    for row in rows:
        if row.line == ref.line:
            return row
    raise LookupError(f"the pack has no row {cited(ref)}")


def _with_row(step: Step, ref: RowRef, row: Fact | Unresolved, rules: Rules) -> Step:
    if isinstance(row, Unresolved):
        return msgspec.structs.replace(step, row=cited(ref), note=f"{row.text}: {row.why}")
    profile = "" if row.profile == "both" else f", counts under {row.profile} only"
    return msgspec.structs.replace(
        step,
        row=cited(ref),
        source=rules.pack.source_of(row),
        as_of=rules.pack.as_of(row),
        confidence=row.confidence,
        status=f"{row.status.value}{profile}",
        holds_from=row.since,
        holds_until=row.until,
        note=row.note or None,
    )

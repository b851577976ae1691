"""Why an answer is what it is: the trail of rows and policy entries behind `place` and `decide`, for people and machines. Pure.

The answer itself always comes from `place` and `decide`; the steps only show what they read, so the two cannot part.
"""

import datetime
from typing import TypeAlias

import msgspec

from foundation.words import ServiceId
from routing_rules.decide import decide, placed_for
from routing_rules.facts import PlaceFacts, RequestFacts
from routing_rules.mistakes import shown
from routing_rules.pack import Jurisdiction
from routing_rules.place import hosting, place, serving
from routing_rules.regimes import Standing, covers, of_country, open_questions
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, Elsewhere, Hairpin, NoCell, Refuse, Serve, Verdict

NOT_LEGAL_ADVICE = "Not legal advice: compiled from secondary sources and statutes; no lawyer has checked it."

Answer: TypeAlias = Verdict | Allowed | NoCell


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was asked and what answered it. A step that rests on policy alone has no row, source, as_of or confidence."""

    asked: str
    answer: str
    row: str | None = None
    law: str | None = None
    source: str | None = None
    as_of: str | None = None
    confidence: str | None = None
    holds_from: datetime.date | None = None
    holds_until: datetime.date | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome` is the kind of answer in a word: allowed, no_cell, serve, elsewhere, refuse."""

    outcome: str
    answer: Answer
    steps: tuple[Step, ...]
    at: datetime.date
    notice: str = NOT_LEGAL_ADVICE


def explain_place(facts: PlaceFacts, rules: Rules, at: datetime.date) -> Explanation:
    standing = of_country(facts.subject.residence, rules, at)
    steps = [_row_step(f"Whose law is it in {shown(facts.subject.residence)} on {at}?", standing, rules)]
    steps += _open_step(facts.subject.tags, facts.services, facts.subject.terms, rules)
    if standing.unknown is None and standing.row is not None:
        served = serving(standing.row, rules.policy)
        steps.append(
            Step(asked=f"Which cells does policy let serve {standing.row.id}?", answer=", ".join(served) or "none")
        )
        steps += [_hosts_step(service, served, rules) for service in facts.services]
    answer = place(facts, rules, at)
    return Explanation(outcome=outcome(answer), answer=answer, steps=tuple(steps), at=at)


def explain_decide(facts: RequestFacts, rules: Rules, at: datetime.date) -> Explanation:
    steps = [
        _row_step(
            f"Whose law is it in {shown(facts.subject.residence)} on {at}?",
            of_country(facts.subject.residence, rules, at),
            rules,
        )
    ]
    steps += _open_step(facts.subject.tags, (facts.service,), facts.subject.terms, rules)
    steps += _cell_steps(facts, rules, at)
    made_for = f"Is the placement made for service {shown(facts.service)}?"
    steps.append(Step(asked=made_for, answer="yes" if placed_for(facts) else "no"))
    steps.append(_hosts_step(facts.service, (facts.cell,), rules))
    answer = decide(facts, rules, at)
    return Explanation(outcome=outcome(answer), answer=answer, steps=tuple(steps), at=at)


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


def _row_step(asked: str, standing: Standing, rules: Rules) -> Step:
    row: Jurisdiction | None = standing.row
    if row is None:
        return Step(asked=asked, answer=standing.unknown or "unknown")
    return Step(
        asked=asked,
        answer=standing.unknown or f"{row.id}: {row.label}",
        row=row.id,
        law=row.law or None,
        source=rules.pack.source_of(row),
        as_of=row.as_of,
        confidence=row.confidence,
        holds_from=row.since,
        holds_until=row.until,
    )


def _open_step(tags: tuple[str, ...], services: tuple[ServiceId, ...], terms: str | None, rules: Rules) -> list[Step]:
    declared = [rules.policy.services[service] for service in services if service in rules.policy.services]
    question = open_questions((*tags, *(tag for service in declared for tag in service.tags)), terms)
    return [Step(asked="Do tags or terms ask for more than these rules know?", answer=question)] if question else []


def _cell_steps(facts: RequestFacts, rules: Rules, at: datetime.date) -> list[Step]:
    cell = rules.policy.cells.get(facts.cell)
    if cell is None:
        return [Step(asked=f"Where is cell {shown(facts.cell)}?", answer="unknown: policy declares no such cell")]
    rows = [of_country(facts.subject.residence, rules, at).row]
    served = all(row is not None and covers(cell, row) for row in rows) and bool(rows)
    region = f"region {cell.region}" + (", where the request came in" if cell.region == facts.ingress else "")
    return [
        Step(asked=f"Does cell {facts.cell} serve every regime?", answer="yes" if served else "no"),
        Step(asked=f"Where is cell {facts.cell}? (ingress {shown(facts.ingress)})", answer=region),
    ]


def _hosts_step(service: ServiceId, cells: tuple[str, ...], rules: Rules) -> Step:
    asked = f"Which of these cells run service {shown(service)}?"
    if service not in rules.policy.services:
        return Step(asked=asked, answer="unknown: policy declares no such service")
    running = [cell for cell in rules.policy.cells if cell in cells and hosting(cell, (service,), rules.policy)]
    return Step(asked=asked, answer=", ".join(sorted(running)) or "none")

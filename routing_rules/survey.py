"""A policy looked over for a day: each country x service, what runs out, what is disputed, who objects to the directory. Pure."""

import datetime
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from foundation.words import Country, JurisdictionId, RulesDigest, ServiceId
from routing_rules.compare import resident
from routing_rules.explain import cited, row_at
from routing_rules.facts import PlaceFacts
from routing_rules.law.questions import Finding, Regimes, RowRef, TransferQuestion
from routing_rules.pack import Kind
from routing_rules.pack.check import mistakes
from routing_rules.pack.rows import Fact, Member, Status, Unresolved
from routing_rules.place import candidates, place, unmet_by_facts
from routing_rules.remedies import clause, clauses, remedies
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, NoCell

INSTRUMENTS_AHEAD = datetime.timedelta(days=90)
CHANGES_AHEAD = datetime.timedelta(days=180)
DIRECTORY_PURPOSE = "directory"

Verdict = Literal["placed", "refused", "unknown"]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """People who live in the country and are its citizens, for one service. `lacks`: for each cell that instruments would open,
    all that are needed, in a sentence; one of these cells is enough.

    `unknown`: refused because the law, or a fact that it asks for, is not known; `ground` says which.
    """

    country: Country
    service: ServiceId
    jurisdiction: JurisdictionId
    verdict: Verdict
    cells: tuple[str, ...]
    confidence: str
    as_of: str
    ground: str
    lacks: tuple[str, ...] = ()
    duties: tuple[str, ...] = ()
    valid_until: datetime.date | None = None


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument whose last day is `until`; `days` from the day of the survey, below 0: it is over."""

    ref: str
    origin: JurisdictionId
    to: str
    gateway: str
    until: datetime.date
    days: int


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A row that starts or ends soon under a regime that a cell serves."""

    day: datetime.date
    starts: bool
    row: str
    regimes: tuple[JurisdictionId, ...]
    note: str


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """A weak row that decided an answer of the survey. `why`: disputed, low confidence, or counted in one profile only."""

    row: str
    why: tuple[str, ...]
    jurisdictions: tuple[JurisdictionId, ...]
    source: str
    note: str


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """A served regime whose law does not let pseudonymous rows lie where the directory is. `lacks`: all instruments that would open it."""

    regime: JurisdictionId
    answer: str
    ground: str
    row: str | None
    lacks: tuple[str, ...]


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    digest: RulesDigest
    at: datetime.date
    directory: Country
    lines: tuple[Line, ...]
    instruments: tuple[Ending, ...]
    turns: tuple[Turn, ...]
    disputed: tuple[InUse, ...]
    objections: tuple[Objection, ...]
    undeclared: tuple[str, ...]
    pack_mistakes: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(line.verdict == verdict for line in self.lines)


class _Answered(msgspec.Struct, frozen=True, kw_only=True):
    answer: Allowed | NoCell
    findings: tuple[Finding, ...]
    unknown: bool


def survey(rules: Rules, at: datetime.date) -> Survey:
    """Total. Countries under the same regimes are asked once: the rules know no more of them."""
    standings = {country: rules.law.regimes_of(resident(country), at) for country in sorted(rules.pack.owners)}
    answered: dict[tuple[Regimes, ServiceId], _Answered] = {}
    lines = []
    for country, regimes in standings.items():
        for service in sorted(rules.policy.services):
            held = answered.get((regimes, service))
            if held is None:
                held = answered[regimes, service] = _answered(country, regimes, service, rules, at)
            lines.append(_line(country, service, held, rules))
    return Survey(
        digest=rules.digest,
        at=at,
        directory=rules.policy.directory.country,
        lines=tuple(lines),
        instruments=_endings(rules, at),
        turns=_turns(rules, at),
        disputed=_disputed(answered, rules),
        objections=_objections(standings.values(), rules, at),
        undeclared=_undeclared(rules),
        pack_mistakes=mistakes(rules.pack),
    )


def _answered(country: Country, regimes: Regimes, service: ServiceId, rules: Rules, at: datetime.date) -> _Answered:
    facts = PlaceFacts(subject=resident(country), services=(service,))
    answer = place(facts, rules, at)
    if regimes.unknown is not None or unmet_by_facts(facts, rules) is not None:
        return _Answered(answer=answer, findings=(), unknown=True)
    findings = tuple(one.law for one in candidates(facts, regimes, rules, at) if one.law is not None)
    denied = any(one.answer.value == "deny" for one in findings)
    return _Answered(answer=answer, findings=findings, unknown=bool(findings) and not denied)


def _line(country: Country, service: ServiceId, held: _Answered, rules: Rules) -> Line:
    row = rules.pack.rows[rules.pack.owners[country]]
    answer = held.answer
    placed = isinstance(answer, Allowed)
    return Line(
        country=country,
        service=service,
        jurisdiction=row.id,
        verdict="placed" if placed else "unknown" if held.unknown else "refused",
        cells=answer.cells if isinstance(answer, Allowed) else (),
        confidence=row.confidence,
        as_of=row.as_of,
        ground=answer.ground,
        lacks=() if placed else tuple(dict.fromkeys(told for one in held.findings if (told := clauses(one)))),
        duties=tuple(sorted({f"{duty.regime}: {duty.action}" for one in held.findings for duty in one.duties}))
        if placed
        else (),
        valid_until=answer.valid_until,
    )


def _endings(rules: Rules, at: datetime.date) -> tuple[Ending, ...]:
    found = [
        Ending(
            ref=one.ref,
            origin=one.origin,
            to=one.to,
            gateway=one.gateway,
            until=one.until,
            days=(one.until - at).days,
        )
        for one in rules.policy.instruments
        if one.until - at <= INSTRUMENTS_AHEAD
    ]
    return tuple(sorted(found, key=lambda one: (one.until, one.ref, one.gateway)))


def served(rules: Rules) -> frozenset[JurisdictionId]:
    """The regimes that cells serve, and the parts of those."""
    named = {regime for cell in rules.policy.cells.values() for regime in cell.serves}
    parts = {row.id for row in rules.pack.jurisdictions if row.kind is Kind.SUBDIVISION and row.parent in named}
    overlays = set(rules.policy.operator.overlays or ())
    return frozenset(named | parts | overlays)


def _turns(rules: Rules, at: datetime.date) -> tuple[Turn, ...]:
    ours = served(rules)
    groups = _groups(rules, ours)
    before = at + CHANGES_AHEAD if at <= datetime.date.max - CHANGES_AHEAD else datetime.date.max
    found = []
    for change in rules.law.expiring(at, before):
        if change.row is None:
            continue
        row = row_at(change.row, rules)
        touched = _regimes_of(row, groups) & ours
        if touched:
            note = row.note if isinstance(row, Fact) else ""
            found.append(
                Turn(
                    day=change.day,
                    starts=change.starts,
                    row=cited(change.row),
                    regimes=tuple(sorted(touched)),
                    note=note,
                )
            )
    return tuple(found)


def _groups(rules: Rules, ours: frozenset[JurisdictionId]) -> Mapping[str, frozenset[JurisdictionId]]:
    """Group -> the served regimes whose rows name it."""
    named: dict[str, set[JurisdictionId]] = {}
    pairs = [(row.origin, row.to) for row in rules.pack.edges]
    pairs += [(row.origin, row.to) for row in rules.pack.gateways]
    pairs += [(row.origin, row.to) for row in rules.pack.denies]
    pairs += [(row.jurisdiction, to) for row in rules.pack.storage for to in row.region]
    for regime, to in pairs:
        if to.startswith("group:") and regime in ours:
            named.setdefault(to.removeprefix("group:"), set()).add(regime)
    return {group: frozenset(regimes) for group, regimes in named.items()}


def _regimes_of(row: Fact | Unresolved, groups: Mapping[str, frozenset[JurisdictionId]]) -> frozenset[JurisdictionId]:
    if isinstance(row, Member):
        return groups.get(row.group, frozenset())
    owner = getattr(row, "origin", None) or getattr(row, "jurisdiction", None) or getattr(row, "id", None)
    return frozenset() if owner is None else frozenset({JurisdictionId(owner)})


def _disputed(answered: Mapping[tuple[Regimes, ServiceId], _Answered], rules: Rules) -> tuple[InUse, ...]:
    used: dict[RowRef, set[JurisdictionId]] = {}
    for (regimes, _), held in answered.items():
        reasons = [reason for finding in held.findings for reason in finding.reasons]
        for reason in [*reasons, *([regimes.unknown] if regimes.unknown is not None else [])]:
            if reason.row is not None:
                used.setdefault(reason.row, set()).add(regimes.owner)
    found = []
    for ref in sorted(used, key=lambda one: (one.file, one.line)):
        row = row_at(ref, rules)
        why = weakness(row) if isinstance(row, Fact) else ()
        if why and isinstance(row, Fact):
            owners = tuple(sorted(used[ref]))
            source = rules.pack.source_of(row)
            found.append(InUse(row=cited(ref), why=why, jurisdictions=owners, source=source, note=row.note))
    return tuple(found)


def weakness(row: Fact) -> tuple[str, ...]:
    """Why an answer that rests on the row might be another tomorrow; nothing where the row is firm."""
    found = []
    if row.status is Status.DISPUTED:
        found.append("disputed")
    if row.confidence == "low":
        found.append("low confidence")
    if row.profile != "both":
        found.append(f"{row.profile} only")
    return tuple(found)


def _objections(standings: Iterable[Regimes], rules: Rules, at: datetime.date) -> tuple[Objection, ...]:
    named = {regime for cell in rules.policy.cells.values() for regime in cell.serves}
    records = {(one.owner, one.ids) for one in standings if one.owner in named}
    for regime in named:
        row = rules.pack.rows[regime]
        if row.kind is Kind.SUBDIVISION and row.parent is not None:
            records.add((regime, (row.parent, regime)))
    to = rules.law.location(rules.policy.directory.country)
    found: dict[tuple[JurisdictionId, str], Objection] = {}
    for regime, ids in sorted(records):
        classes = rules.policy.operator.recipient_classes
        question = TransferQuestion(regimes=ids, to=to, purpose=DIRECTORY_PURPOSE, recipient_classes=classes)
        finding = rules.law.transfer(question, at)
        if not finding.answer.allows:
            rows = [reason.row for reason in finding.reasons if reason.row is not None]
            found[regime, finding.ground] = Objection(
                regime=regime,
                answer=finding.answer.value,
                ground=finding.ground,
                row=cited(rows[0]) if rows else None,
                lacks=tuple(clause(one) for one in remedies(finding)),
            )
    return tuple(found.values())


def _undeclared(rules: Rules) -> tuple[str, ...]:
    operator = rules.policy.operator
    asked = {
        "country": (operator.country, "whether rules for operators of a country bind it is unknown"),
        "sectors": (operator.sectors, "it may be in any sector that a rule names"),
        "overlays": (operator.overlays, "it may be in any free zone"),
        "recipient_classes": (operator.recipient_classes, "no class of recipients is proven, and none is ruled out"),
    }
    return tuple(f"operator.{key} is not declared: {what}" for key, (stated, what) in asked.items() if stated is None)

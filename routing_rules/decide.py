"""`decide`: may this service of this cell serve this request that came in here? Pure and total."""

import datetime

import msgspec

from foundation.problems import Code
from foundation.words import RECORDS, Verb
from routing_rules.facts import RequestFacts
from routing_rules.mistakes import shown
from routing_rules.policy import Policy
from routing_rules.regimes import cited, covers, earliest, of_country, open_questions
from routing_rules.rules import Rules
from routing_rules.verdicts import Elsewhere, Refuse, Serve, Verdict


class _Why(msgspec.Struct, frozen=True):
    code: Code
    detail: str
    ground: str


class Law(msgspec.Struct, frozen=True, kw_only=True):
    """What the regimes of a subject say of one cell: `refusal` is a ground, or None when every one of them lets the cell hold the data."""

    ground: str
    refusal: str | None
    changes: datetime.date | None


def decide(facts: RequestFacts, rules: Rules, at: datetime.date) -> Verdict:
    """The verdict on day `at`. Never raises; whatever the rules do not know is refused."""
    why = _unmet_by_policy(facts, rules.policy)
    if why is not None:
        return Refuse(code=why.code, detail=why.detail, ground=why.ground, valid_until=None, digest=rules.digest)
    law = law_of(facts, rules, at)
    if law.refusal is not None:
        return Refuse(
            code=Code.RESIDENCY_REFUSED,
            detail="The rules do not let this person's data be handled there; `domicile rules explain` shows the rows",
            ground=law.refusal,
            valid_until=law.changes,
            digest=rules.digest,
        )
    cell = rules.policy.cells[facts.cell]
    if cell.region != facts.ingress:
        return Elsewhere(
            home=rules.policy.regions[cell.region].origin,
            region=cell.region,
            ground=f"{law.ground}; its region is {cell.region}",
            valid_until=law.changes,
            digest=rules.digest,
        )
    return Serve(
        cell=facts.cell,
        region=cell.region,
        purpose=rules.policy.services[facts.service].purpose,
        ground=law.ground,
        valid_until=law.changes,
        digest=rules.digest,
    )


def law_of(facts: RequestFacts, rules: Rules, at: datetime.date) -> Law:
    """Every regime of the subject must be known on that day and served by the cell, which policy declares (checked before)."""
    cell = rules.policy.cells[facts.cell]
    standings = [of_country(facts.subject.residence, rules, at)]
    changes = earliest(standing.changes for standing in standings)
    tags = (*facts.subject.tags, *rules.policy.services[facts.service].tags)
    refusal = open_questions(tags, facts.subject.terms)
    served: list[str] = []
    for standing in standings:
        if standing.unknown is not None or standing.row is None:
            refusal = refusal or standing.unknown
        elif covers(cell, standing.row):
            served.append(cited(standing.row))
        else:
            refusal = refusal or f"{cited(standing.row)}: cell {facts.cell} does not serve {standing.row.id}"
    return Law(ground=f"{', '.join(served)}: served by cell {facts.cell}", refusal=refusal, changes=changes)


def _unmet_by_policy(facts: RequestFacts, policy: Policy) -> _Why | None:
    """What policy itself lacks for this request, in the order that tells a stranger least; None if nothing."""
    service = policy.services.get(facts.service)
    if service is None:
        return _Why(
            Code.UNKNOWN_SERVICE, "Policy declares no such service", f"policy: no service {shown(facts.service)}"
        )
    if facts.ingress not in policy.regions:
        ground = f"unknown: policy declares no region {shown(facts.ingress)}"
        return _Why(Code.RESIDENCY_REFUSED, "The region that took this request is not declared in policy", ground)
    cell = policy.cells.get(facts.cell)
    if cell is None or cell.region not in policy.regions:
        ground = f"unknown: policy declares no cell {shown(facts.cell)}"
        return _Why(Code.RESIDENCY_REFUSED, "The cell of this placement is not declared in policy", ground)
    if facts.verb is Verb.SIGNUP and not service.signup:
        ground = f"policy: services.{facts.service} has no signup route"
        return _Why(Code.RESIDENCY_REFUSED, "This service signs nobody up", ground)
    if not placed_for(facts):
        ground = (
            f"the placement was made for {', '.join(shown(one) for one in sorted(facts.services)[:10]) or 'no service'}"
        )
        return _Why(Code.NOT_PLACED_FOR_SERVICE, "Add the service to the placement first", ground)
    if not service.hosts.get(facts.cell):
        ground = f"policy: services.{facts.service}.hosts has no address in cell {facts.cell}"
        return _Why(Code.RESIDENCY_REFUSED, "The service does not run in this person's home", ground)
    return None


def placed_for(facts: RequestFacts) -> bool:
    """A sign-up has no placement yet; records belongs to every placement, since it is where services keep their rows."""
    return (
        facts.verb is Verb.SIGNUP
        or facts.service in facts.services
        or (facts.service == RECORDS and bool(facts.services))
    )

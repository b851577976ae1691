"""The verdict on a request: everything gathered goes in, an admission or a refusal comes out. Pure, total, synchronous."""

from typing import assert_never

from directory.placement.core import Placement, State, refusal
from foundation.problems import Code, Problem
from foundation.words import RegionId, Verb
from gateway.edge.acting import acted, beyond, nobody, not_across, out_of_bounds, stranger
from gateway.edge.outcome import (
    CONTRADICTION,
    RETRY_AFTER_S,
    UNKNOWN_HOME,
    Admitted,
    Carried,
    Gathered,
    Outcome,
    Refused,
    denied,
    no,
)
from gateway.edge.ports import Homeless, Ruling
from gateway.edge.signing_up import sign_up
from gateway.edge.target import Route
from gateway.edge.unidentified import unidentified
from gateway.edge.viewing import judge_view
from gateway.identity.actors import Actor
from gateway.identity.tokens import Unidentified
from routing_rules.facts import RequestFacts
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse, Serve


def judge(facts: Gathered, ruling: Ruling, region: RegionId) -> Outcome:
    """The verdict. Known refusals fall before the directory's answer counts; without a placement only sign-up goes on."""
    if facts.acting is not None:
        return _for_somebody(facts, facts.acting, ruling, region)
    if facts.target.route is Route.ANONYMOUS:
        if facts.ingress is not None:
            return no(Code.FORBIDDEN, "nobody is carried home to an anonymous route")
        return _anonymous(facts, ruling, region)
    if isinstance(facts.who, Unidentified):
        return Refused(problem=unidentified(facts.who))
    match facts.home:
        case None | Homeless.UNKNOWN:
            return UNKNOWN_HOME
        case Homeless.NONE:
            if facts.target.route is Route.SIGNUP and facts.ingress is None:
                return sign_up(facts, facts.who, ruling, region)
            return no(Code.NO_HOME, "sign up first")
        case Placement() as placement if facts.target.route is Route.VIEW:
            return judge_view(facts, placement, ruling, region)
        case Placement() as placement:
            return _placed(facts, placement, ruling, region)
        case _:
            assert_never(facts.home)


def _for_somebody(facts: Gathered, acting: Actor | Problem, ruling: Ruling, region: RegionId) -> Outcome:
    """A service that acts for a subject: inside its bounds, and decided as any request for that subject, but never as a traveller."""
    if isinstance(acting, Problem):
        return Refused(problem=acting)
    why = beyond(acting, facts.target, facts.verb, ruling.policy)
    if why is not None:
        return out_of_bounds(acting, why, None)
    match facts.home:
        case None | Homeless.UNKNOWN:
            return UNKNOWN_HOME
        case Homeless.NONE:
            return out_of_bounds(acting, nobody(acting), None)
        case Placement() as placement:
            why = stranger(acting, placement, ruling.policy)
            if why is not None:
                return out_of_bounds(acting, why, placement.subject_id)
            return _placed(facts, placement, ruling, region, acting)
        case _:
            assert_never(facts.home)


def _placed(
    facts: Gathered, placement: Placement, ruling: Ruling, region: RegionId, acting: Actor | None = None
) -> Outcome:
    if placement.state in (State.MOVED, State.ERASED):
        return no(Code.SUBJECT_GONE, "this home is no more")
    verb = Verb.WRITE if facts.target.route is Route.SIGNUP else facts.verb
    verdict = ruling.decide(
        RequestFacts(
            service=facts.target.service,
            verb=verb,
            ingress=facts.ingress or region,
            cell=placement.cell,
            subject=placement.facts.subject,
            services=placement.services,
            actor=None if acting is None else acting.name,
        )
    )
    if acting is not None and not isinstance(verdict, Serve):
        return not_across(verdict, placement.subject_id, acting)
    match verdict:
        case Hairpin():
            return _hairpin(facts, placement, verdict, verb, ruling, region)
        case Elsewhere() | Refuse():
            return denied(verdict, placement.subject_id)
        case Serve():
            if verdict.cell != placement.cell or verdict.region != region or facts.ingress is not None:
                return CONTRADICTION
            admitted = _into_cell(facts, placement, verdict, verb, ruling)
            return admitted if acting is None else acted(admitted, acting)
        case _:
            assert_never(verdict)


def _hairpin(
    facts: Gathered, placement: Placement, verdict: Hairpin, verb: Verb, ruling: Ruling, region: RegionId
) -> Outcome:
    """Away from home: here it goes on its one hop, at home it is admitted; a request that came by a hop takes no second."""
    if verdict.cell != placement.cell:
        return CONTRADICTION
    if facts.ingress is None:
        return CONTRADICTION if verdict.region == region else Carried(verdict, placement.subject_id)
    if verdict.region != region:
        return denied(verdict, placement.subject_id)
    return _into_cell(facts, placement, verdict, verb, ruling)


def _into_cell(
    facts: Gathered, placement: Placement, verdict: Serve | Hairpin, verb: Verb, ruling: Ruling
) -> Admitted | Refused:
    """What the placement's state and the service's addresses make of a verdict that lets the request into the home cell."""
    code = refusal(placement.state, verb)
    if code is not None:
        return Refused(
            problem=Problem(code=code, detail=f"the placement is {placement.state}", retry_after_s=RETRY_AFTER_S)
        )
    hosts = ruling.hosts(facts.target.service, placement.cell)
    if not hosts:
        return no(Code.UNKNOWN_SERVICE, "this service does not run in the home cell")
    return Admitted(
        cell=placement.cell,
        service=facts.target.service,
        hosts=hosts,
        verb=verb,
        purpose=verdict.purpose,
        subject=placement.subject_id,
        epoch=placement.epoch,
        digest=verdict.digest,
        crosses=verdict if isinstance(verdict, Hairpin) else None,
    )


def _anonymous(facts: Gathered, ruling: Ruling, region: RegionId) -> Outcome:
    """A stateless service of this region that policy names; it gets no decision and nobody's identity."""
    service = ruling.policy.services[facts.target.service]
    for cell in sorted(service.hosts):
        known = ruling.policy.cells.get(cell)
        hosts = ruling.hosts(facts.target.service, cell)
        if known is not None and known.region == region and hosts:
            return Admitted(
                cell=cell,
                service=facts.target.service,
                hosts=hosts,
                verb=facts.verb,
                purpose=service.purpose,
            )
    return no(Code.UNKNOWN_SERVICE, "this service does not run in this region")

"""The verdict on a request: everything gathered goes in, an admission or a refusal comes out. Pure, total, synchronous."""

from typing import assert_never

import msgspec

from directory.placement.core import Placement, State, refusal
from foundation.blinding import EMAIL, LOGIN
from foundation.decision_header import ProvenKey
from foundation.problems import Code, Problem
from foundation.words import (
    ActorId,
    CellId,
    Country,
    Epoch,
    RegionId,
    RulesDigest,
    ServiceId,
    SubjectId,
    Verb,
)
from gateway.edge.acting import beyond, nobody, stranger
from gateway.edge.declared import subject_of
from gateway.edge.ports import Home, Homeless, Ruling
from gateway.edge.target import Route, Target
from gateway.edge.unidentified import unidentified
from gateway.identity.actors import Actor
from gateway.identity.tokens import Identity, Unidentified
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.verdicts import Elsewhere, Hairpin, NoCell, Refuse, Serve

RETRY_AFTER_S = 1
DRAINED_RETRY_S = 30
_HOME_UNKNOWN = Problem(code=Code.HOME_UNKNOWN, detail="the directory cannot be asked", retry_after_s=RETRY_AFTER_S)


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """All that the verdict may depend on. `home` is None only where nobody is identified or the route asks nobody. `upgrade`: a websocket
    is asked for.

    `acting`: the service that acts for somebody, or why none may; `home` is then the home of that somebody. `ingress`: the region that
    took the request in, where another has carried it here. The last four speak of a sign-up: what the person declared, as sent, and the
    country that the address points at."""

    target: Target
    verb: Verb
    who: Identity | Unidentified
    home: Home | None
    upgrade: bool = False
    acting: Actor | Problem | None = None
    ingress: RegionId | None = None
    residence: str | None
    subdivision: str | None = None
    citizenship: str | None = None
    observed: Country | None = None


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Goes on to `service` in `cell`. `subject` is None on anonymous routes (then no decision is minted) and on sign-up.

    `declared` and `observed` are a sign-up's. `actor`: the service that acts for the subject, None: the subject itself. `crosses`: for a
    request that another region carried here, what its crossing rests on; it is booked before anything is forwarded."""

    cell: CellId
    service: ServiceId
    hosts: tuple[str, ...]
    verb: Verb
    purpose: str
    subject: SubjectId | None = None
    epoch: Epoch | None = None
    digest: RulesDigest | None = None
    keys: tuple[ProvenKey, ...] = ()
    declared: SubjectFacts | None = None
    observed: Country | None = None
    actor: ActorId | None = None
    crosses: Hairpin | None = None


class Carried(msgspec.Struct, frozen=True):
    """Goes to the gateways of the home region, which decide it again."""

    verdict: Hairpin
    subject: SubjectId


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Goes no further. `recorded`: residency refused an identified person, which is remembered."""

    problem: Problem
    recorded: bool = False
    subject: SubjectId | None = None
    digest: RulesDigest | None = None
    ground: str | None = None
    actor: ActorId | None = None


Outcome = Admitted | Carried | Refused


def judge(facts: Gathered, ruling: Ruling, region: RegionId) -> Outcome:
    """The verdict. Known refusals fall before the directory's answer counts; without a placement only sign-up goes on."""
    if facts.acting is not None:
        return _for_somebody(facts, facts.acting, ruling, region)
    if facts.target.route is Route.ANONYMOUS:
        if facts.ingress is not None:
            return _no(Code.FORBIDDEN, "nobody is carried home to an anonymous route")
        return _anonymous(facts, ruling, region)
    if isinstance(facts.who, Unidentified):
        return Refused(problem=unidentified(facts.who))
    match facts.home:
        case None | Homeless.UNKNOWN:
            return Refused(problem=_HOME_UNKNOWN)
        case Homeless.NONE:
            if facts.target.route is Route.SIGNUP and facts.ingress is None:
                return _sign_up(facts, facts.who, ruling, region)
            return _no(Code.NO_HOME, "sign up first")
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
        return _out_of_bounds(acting, why, None)
    match facts.home:
        case None | Homeless.UNKNOWN:
            return Refused(problem=_HOME_UNKNOWN)
        case Homeless.NONE:
            return _out_of_bounds(acting, nobody(acting), None)
        case Placement() as placement:
            why = stranger(acting, placement, ruling.policy)
            if why is not None:
                return _out_of_bounds(acting, why, placement.subject_id)
            return _placed(facts, placement, ruling, region, acting)
        case _:
            assert_never(facts.home)


def _out_of_bounds(actor: Actor, why: str, subject: SubjectId | None) -> Refused:
    problem = Problem(
        code=Code.FORBIDDEN, detail="this service may not do that for this subject", extra={"ground": why}
    )
    return Refused(problem=problem, recorded=True, subject=subject, ground=why, actor=actor.id)


def _placed(
    facts: Gathered, placement: Placement, ruling: Ruling, region: RegionId, acting: Actor | None = None
) -> Outcome:
    if placement.state in (State.MOVED, State.ERASED):
        return _no(Code.SUBJECT_GONE, "this home is no more")
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
        return _not_across(verdict, placement.subject_id, acting)
    match verdict:
        case Hairpin():
            return _hairpin(facts, placement, verdict, verb, ruling, region)
        case Elsewhere() | Refuse():
            return denied(verdict, placement.subject_id)
        case Serve():
            if verdict.cell != placement.cell or verdict.region != region or facts.ingress is not None:
                return _CONTRADICTION
            admitted = _into_cell(facts, placement, verdict, verb, ruling)
            return admitted if acting is None else _acted(admitted, acting)
        case _:
            assert_never(verdict)


def _hairpin(
    facts: Gathered, placement: Placement, verdict: Hairpin, verb: Verb, ruling: Ruling, region: RegionId
) -> Outcome:
    """Away from home: here it goes on its one hop, at home it is admitted; a request that came by a hop takes no second."""
    if verdict.cell != placement.cell:
        return _CONTRADICTION
    if facts.ingress is None:
        return _CONTRADICTION if verdict.region == region else Carried(verdict, placement.subject_id)
    if verdict.region != region:
        return denied(verdict, placement.subject_id)
    return _into_cell(facts, placement, verdict, verb, ruling)


def _not_across(verdict: Hairpin | Elsewhere | Refuse, subject: SubjectId, acting: Actor) -> Refused:
    """Traveller verdicts are a person's own; a service is at home with the subject or refused."""
    if isinstance(verdict, Refuse):
        return msgspec.structs.replace(denied(verdict, subject), actor=acting.id)
    problem = Problem(
        code=Code.RESIDENCY_REFUSED,
        detail="a service acts for a subject in its home region only; across a border data goes through egress",
        extra={"ground": verdict.ground},
    )
    return Refused(
        problem=problem, recorded=True, subject=subject, digest=verdict.digest, ground=verdict.ground, actor=acting.id
    )


def _acted(outcome: Outcome, acting: Actor) -> Outcome:
    return outcome if isinstance(outcome, Carried) else msgspec.structs.replace(outcome, actor=acting.id)


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
        return _no(Code.UNKNOWN_SERVICE, "this service does not run in the home cell")
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
    return _no(Code.UNKNOWN_SERVICE, "this service does not run in this region")


def _sign_up(facts: Gathered, who: Identity, ruling: Ruling, region: RegionId) -> Outcome:
    """Residence first: the cell is one that the rules allow for it, in this region, or the person is sent to the right region."""
    declared = subject_of(facts.residence, facts.subdivision, facts.citizenship)
    if isinstance(declared, Problem):
        return Refused(problem=declared)
    answer = ruling.place(PlaceFacts(subject=declared, services=(facts.target.service,), observed=facts.observed))
    if isinstance(answer, NoCell):
        return Refused(
            problem=Problem(code=answer.code, detail=answer.detail, extra={"ground": answer.ground}),
            recorded=True,
            digest=answer.digest,
            ground=answer.ground,
        )
    policy = ruling.policy
    service = facts.target.service
    taking = [cell for cell in answer.cells if ruling.takes(cell, service)]
    if not taking:
        return _DRAINED
    for cell in taking:
        if policy.cells[cell].region == region and ruling.hosts(service, cell):
            return _into(cell, facts, who, declared, ruling, region)
    home = policy.cells[taking[0]].region
    return Refused(
        problem=_elsewhere(policy.regions[home].origin, home, answer.ground),
        recorded=True,
        digest=answer.digest,
        ground=answer.ground,
    )


def _into(
    cell: CellId, facts: Gathered, who: Identity, declared: SubjectFacts, ruling: Ruling, region: RegionId
) -> Outcome:
    """The sign-up's verdict once a cell of this region is found: the same rules as for any request."""
    service = facts.target.service
    verdict = ruling.decide(
        RequestFacts(
            service=service,
            verb=Verb.SIGNUP,
            ingress=region,
            cell=cell,
            subject=declared,
            services=(service,),
        )
    )
    if isinstance(verdict, Serve):
        return Admitted(
            cell=cell,
            service=service,
            hosts=ruling.hosts(service, cell),
            verb=Verb.SIGNUP,
            purpose=verdict.purpose,
            digest=verdict.digest,
            keys=_proven(who),
            declared=declared,
            observed=facts.observed,
        )
    return denied(verdict, subject=None)


def _proven(who: Identity) -> tuple[ProvenKey, ...]:
    logins = [ProvenKey(LOGIN, key, kid) for key, kid in zip(who.login, who.kids, strict=True)]
    return (*logins, *(ProvenKey(EMAIL, key, kid) for key, kid in zip(who.email, who.kids, strict=False)))


def denied(verdict: Elsewhere | Hairpin | Refuse, subject: SubjectId | None) -> Refused:
    if isinstance(verdict, Elsewhere | Hairpin):
        problem = _elsewhere(verdict.home, verdict.region, verdict.ground)
    else:
        problem = Problem(code=verdict.code, detail=verdict.detail, extra={"ground": verdict.ground})
    return Refused(problem=problem, recorded=True, subject=subject, digest=verdict.digest, ground=verdict.ground)


def _elsewhere(home: str, region: RegionId, ground: str) -> Problem:
    return Problem(
        code=Code.HOME_ELSEWHERE,
        detail="ask the gateway at home",
        extra={"home": home, "region": region, "ground": ground},
    )


def _no(code: Code, detail: str) -> Refused:
    return Refused(problem=Problem(code=code, detail=detail))


_DRAINED = Refused(
    problem=Problem(
        code=Code.NOT_READY,
        detail="the cells that may hold this person take nobody new just now",
        retry_after_s=DRAINED_RETRY_S,
    )
)
_CONTRADICTION = Refused(
    problem=Problem(
        code=Code.HOME_UNKNOWN,
        detail="what is known of the home contradicts itself just now",
        retry_after_s=RETRY_AFTER_S,
    )
)

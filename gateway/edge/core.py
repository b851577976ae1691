"""The verdict on a request: everything gathered goes in, an admission or a refusal comes out. Pure, total, synchronous."""

from typing import assert_never

import msgspec

from directory.placement.core import Placement, State, refusal
from foundation.blinding import EMAIL, LOGIN
from foundation.decision_header import ProvenKey
from foundation.problems import Code, Problem
from foundation.words import (
    CellId,
    Country,
    Epoch,
    RegionId,
    RulesDigest,
    ServiceId,
    SubjectId,
    Verb,
)
from gateway.edge.declared import subject_of
from gateway.edge.ports import Home, Homeless, Ruling
from gateway.edge.target import Route, Target
from gateway.identity.tokens import Identity, Unidentified
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.verdicts import Elsewhere, Hairpin, NoCell, Refuse, Serve

RETRY_AFTER_S = 1


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """All that the verdict may depend on. `home` is None only where nobody is identified or the route asks nobody.

    The last four speak of a sign-up: what the person declared, as sent, and the country that the address points at."""

    target: Target
    verb: Verb
    acts_for: bool
    who: Identity | Unidentified
    home: Home | None
    residence: str | None
    subdivision: str | None = None
    citizenship: str | None = None
    observed: Country | None = None


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Goes on to `service` in `cell`. `subject` is None on anonymous routes (then no decision is minted) and on sign-up.

    `declared` and `observed` are a sign-up's."""

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


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Goes no further. `recorded`: residency refused an identified person, which is remembered."""

    problem: Problem
    recorded: bool = False
    subject: SubjectId | None = None
    digest: RulesDigest | None = None
    ground: str | None = None


Outcome = Admitted | Refused


def judge(facts: Gathered, ruling: Ruling, region: RegionId) -> Outcome:
    """The verdict. Known refusals fall before the directory's answer counts; without a placement only sign-up goes on."""
    if facts.acts_for:
        return _no(Code.FORBIDDEN, "no service may act for a subject here")
    if facts.target.route is Route.ANONYMOUS:
        return _anonymous(facts, ruling, region)
    if isinstance(facts.who, Unidentified):
        return Refused(problem=unidentified(facts.who))
    match facts.home:
        case None | Homeless.UNKNOWN:
            return Refused(
                problem=Problem(
                    code=Code.HOME_UNKNOWN, detail="the directory cannot be asked", retry_after_s=RETRY_AFTER_S
                )
            )
        case Homeless.NONE:
            if facts.target.route is Route.SIGNUP:
                return _sign_up(facts, facts.who, ruling, region)
            return _no(Code.NO_HOME, "sign up first")
        case Placement() as placement:
            return _placed(facts, placement, ruling, region)
        case _:
            assert_never(facts.home)


def _placed(facts: Gathered, placement: Placement, ruling: Ruling, region: RegionId) -> Outcome:
    if placement.state in (State.MOVED, State.ERASED):
        return _no(Code.SUBJECT_GONE, "this home is no more")
    verb = Verb.WRITE if facts.target.route is Route.SIGNUP else facts.verb
    verdict = ruling.decide(
        RequestFacts(
            service=facts.target.service,
            verb=verb,
            ingress=region,
            cell=placement.cell,
            subject=placement.facts.subject,
            services=placement.services,
        )
    )
    match verdict:
        case Elsewhere() | Hairpin() | Refuse():
            return _denied(verdict, placement.subject_id)
        case Serve():
            return _serve(facts, placement, verdict, verb, ruling, region)
        case _:
            assert_never(verdict)


def _serve(
    facts: Gathered, placement: Placement, verdict: Serve, verb: Verb, ruling: Ruling, region: RegionId
) -> Outcome:
    code = refusal(placement.state, verb)
    if code is not None:
        return Refused(
            problem=Problem(code=code, detail=f"the placement is {placement.state}", retry_after_s=RETRY_AFTER_S)
        )
    if verdict.cell != placement.cell or verdict.region != region:
        return _no(Code.HOME_UNKNOWN, "placement and rules contradict each other")
    hosts = ruling.policy.services[facts.target.service].hosts.get(placement.cell, ())
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
    )


def _anonymous(facts: Gathered, ruling: Ruling, region: RegionId) -> Outcome:
    """A stateless service of this region that policy names; it gets no decision and nobody's identity."""
    service = ruling.policy.services[facts.target.service]
    for cell in sorted(service.hosts):
        known = ruling.policy.cells.get(cell)
        if known is not None and known.region == region and service.hosts[cell]:
            return Admitted(
                cell=cell,
                service=facts.target.service,
                hosts=service.hosts[cell],
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
    service = policy.services[facts.target.service]
    for cell in answer.cells:
        if policy.cells[cell].region == region and service.hosts.get(cell):
            return _into(cell, facts, who, declared, ruling, region)
    home = policy.cells[answer.cells[0]].region
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
            hosts=ruling.policy.services[service].hosts[cell],
            verb=Verb.SIGNUP,
            purpose=verdict.purpose,
            digest=verdict.digest,
            keys=_proven(who),
            declared=declared,
            observed=facts.observed,
        )
    return _denied(verdict, subject=None)


def _proven(who: Identity) -> tuple[ProvenKey, ...]:
    logins = [ProvenKey(LOGIN, key) for key in who.login]
    return (*logins, *(ProvenKey(EMAIL, key) for key in who.email))


def _denied(verdict: Elsewhere | Hairpin | Refuse, subject: SubjectId | None) -> Refused:
    if isinstance(verdict, Elsewhere | Hairpin):
        problem = _elsewhere(verdict.home, verdict.region, verdict.ground)
    else:
        problem = Problem(code=verdict.code, detail=verdict.detail, extra={"ground": verdict.ground})
    return Refused(problem=problem, recorded=True, subject=subject, digest=verdict.digest, ground=verdict.ground)


def unidentified(why: Unidentified) -> Problem:
    match why:
        case Unidentified.NO_TOKEN:
            return Problem(code=Code.UNAUTHENTICATED, detail="send Authorization: Bearer with a token")
        case Unidentified.MALFORMED:
            return Problem(code=Code.MALFORMED_TOKEN, detail="the Authorization header holds no bearer token")
        case Unidentified.REFUSED:
            return Problem(code=Code.UNAUTHENTICATED, detail="the token is refused or has run out")
        case Unidentified.KEYS_UNAVAILABLE:
            return Problem(
                code=Code.NOT_READY, detail="the token's issuer cannot be asked", retry_after_s=RETRY_AFTER_S
            )
        case _:
            assert_never(why)


def challenge(why: Unidentified) -> str:
    """`WWW-Authenticate` of a 401 (RFC 6750 section 3): no error code where no credential was sent."""
    match why:
        case Unidentified.MALFORMED:
            return 'Bearer error="invalid_request"'
        case Unidentified.REFUSED:
            return 'Bearer error="invalid_token"'
        case _:
            return "Bearer"


def _elsewhere(home: str, region: RegionId, ground: str) -> Problem:
    return Problem(
        code=Code.HOME_ELSEWHERE,
        detail="ask the gateway at home",
        extra={"home": home, "region": region, "ground": ground},
    )


def _no(code: Code, detail: str) -> Refused:
    return Refused(problem=Problem(code=code, detail=detail))

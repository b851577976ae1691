"""The verdict on a sign-up: residence first, then a cell that the rules allow for it. Pure, total."""

from foundation.blinding import EMAIL, LOGIN
from foundation.decision import ProvenKey
from foundation.problems import Code, Problem
from foundation.words import CellId, RegionId, Verb
from gateway.edge.declared import subject_of
from gateway.edge.outcome import Admitted, Gathered, Outcome, Refused, denied, elsewhere
from gateway.edge.ports import Ruling
from gateway.identity.identity import Identity
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.verdicts import NoCell, Serve

DRAINED_RETRY_S = 30
_DRAINED = Refused(
    problem=Problem(
        code=Code.NOT_READY,
        detail="the cells that may hold this person take nobody new just now",
        retry_after_s=DRAINED_RETRY_S,
    )
)


def sign_up(facts: Gathered, who: Identity, ruling: Ruling, region: RegionId) -> Outcome:
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
        problem=elsewhere(policy.regions[home].origin, home, answer.ground),
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

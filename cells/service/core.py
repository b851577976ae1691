"""What the cell service decides by itself: who calls, whether a decision counts here, what a job may get. Pure."""

from cells.shards.core import Home
from directory.placement.core import refusal
from foundation.decision import Decision
from foundation.http import Caller
from foundation.problems import Code, Problem
from foundation.words import ActorId, CellId, Epoch, RulesDigest, ServiceId, SubjectId, Verb
from routing_rules.policy import Policy


def service_of(caller: Caller, cell: CellId) -> ServiceId | Problem:
    """The product service of this cell that the credential stands for: exactly one role `service:<id>@<cell>`."""
    suffix = f"@{cell}"
    found = [role for role in caller.roles if role.startswith("service:") and role.endswith(suffix)]
    if len(found) != 1:
        return Problem(code=Code.FORBIDDEN, detail=f"needs one role service:<id>{suffix}")
    return ServiceId(found[0][len("service:") : -len(suffix)])


def gateway_problem(caller: Caller, policy: Policy, cell: CellId) -> Problem | None:
    """None when the caller is a gateway of this cell's region."""
    declared = policy.cells.get(cell)
    if declared is None or f"gateway:{declared.region}" not in caller.roles:
        return Problem(code=Code.FORBIDDEN, detail="only gateways of this cell's region hand events over")
    return None


def signup_problem(decision: Decision, policy: Policy, services: tuple[ServiceId, ...]) -> Problem | None:
    """None when the decision is one of sign-up and policy knows the services to place for in this cell."""
    if (
        decision.verb is not Verb.SIGNUP
        or decision.subject is not None
        or not decision.keys
        or decision.residence is None
    ):
        return Problem(code=Code.FORBIDDEN, detail="a sign-up needs a decision of verb signup")
    for service in services:
        declared = policy.services.get(service)
        if declared is None or decision.cell not in declared.hosts:
            return Problem(
                code=Code.UNKNOWN_SERVICE,
                detail="a service to place for is not one of this cell's",
                extra={"service": service},
            )
    return None


def first_decision(
    asked: Decision,
    subject: SubjectId,
    epoch: Epoch,
    *,
    purpose: str,
    rules: RulesDigest,
    expires: float,
    decision_id: str,
) -> Decision:
    """The new subject's first decision, for the service that signed it up."""
    return Decision(
        cell=asked.cell,
        service=asked.service,
        subject=subject,
        actor=ActorId(subject),
        epoch=epoch,
        verb=Verb.WRITE,
        purpose=purpose,
        rules=rules,
        expires=expires,
        id=decision_id,
    )


def job_decision(
    policy: Policy,
    *,
    cell: CellId,
    service: ServiceId,
    subject: SubjectId,
    home: Home | None,
    verb: Verb,
    rules: RulesDigest,
    expires: float,
    decision_id: str,
) -> Decision | Problem:
    """A decision for a background job of `service`, as policy's `jobs` and the subject's home allow."""
    declared = policy.services.get(service)
    if declared is None or declared.jobs is None or verb not in declared.jobs.verbs:
        return Problem(code=Code.FORBIDDEN, detail=f"policy allows this service no jobs that {verb.value}")
    if home is None:
        return Problem(code=Code.NO_HOME, detail="this subject has no home in this cell")
    if service not in home.services:
        return Problem(code=Code.NOT_PLACED_FOR_SERVICE, detail="the placement was not made for this service")
    code = refusal(home.state, verb)
    if code is not None:
        return Problem(code=code, detail=f"the subject is {home.state.value}", retry_after_s=1)
    return Decision(
        cell=cell,
        service=service,
        subject=subject,
        actor=ActorId(f"service:{service}"),
        epoch=home.epoch,
        verb=verb,
        purpose=declared.jobs.purpose,
        rules=rules,
        expires=expires,
        id=decision_id,
    )

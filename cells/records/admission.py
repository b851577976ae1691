"""Who asks and with which decision: what every request on records is held to before anything of it is read."""

import msgspec
from starlette.requests import Request

from cells.records import errors
from cells.records.limits import Limiter
from cells.service.context import Context
from cells.shards.core import Home, Refused, check
from foundation.decision_header import Decision
from foundation.problems import Code, refuse
from foundation.words import Epoch, ServiceId, SubjectId, Verb, verb_of_method


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that holds here for the subject at home, as far as memory tells. `service`: whose decision it is."""

    service: ServiceId
    decision: Decision
    subject: SubjectId
    epoch: Epoch
    verb: Verb
    home: Home


async def admitted(context: Context, request: Request, limiter: Limiter) -> Admitted:
    """Raises ProblemError."""
    service = await context.audience(request)
    decision = context.decision(request, service)
    verb = verb_of_method(request.method)
    if decision.subject is None or decision.epoch is None or decision.verb is Verb.SIGNUP:
        raise refuse(Code.FORBIDDEN, "a decision about a subject is needed")
    limiter.count(decision.subject)
    if verb is Verb.WRITE and decision.verb is not Verb.WRITE:
        raise refuse(Code.FORBIDDEN, "a decision to read does not write")
    home = context.homes.get(decision.subject)
    refused = check(home, decision.epoch, verb)
    if refused is not None or home is None:
        raise errors.fenced(refused or Refused(Code.CELL_BEHIND, "this cell does not know the subject yet"))
    return Admitted(
        service=service, decision=decision, subject=decision.subject, epoch=decision.epoch, verb=verb, home=home
    )

"""Who asks and with which decision: what every request on records is held to before anything of it is read."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from starlette.requests import Request

from cells.records import errors
from cells.records.limits import Limiter
from cells.service.context import Context
from cells.shards.core import Home, Refused, check
from foundation.decision import Decision
from foundation.decision_header import HEADER
from foundation.problems import Code, refuse
from foundation.words import RECORDS, Epoch, ServiceId, SubjectId, Verb, verb_of_method

DECISION = HEADER.encode("ascii")
AUTHORIZATION = b"authorization"


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that holds here for the subject at home, as far as memory tells. `service`: whose decision it is; `fields`: the
    request's, of several of one name the first."""

    service: ServiceId
    decision: Decision
    subject: SubjectId
    epoch: Epoch
    verb: Verb
    home: Home
    fields: Mapping[bytes, bytes]


def text(fields: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode("latin-1")


def first_of(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """A request's fields, of several of one name the first; once: each look-up in Starlette's headers goes through all of them."""
    return dict(reversed(headers))


async def admitted(context: Context, request: Request, limiter: Limiter) -> Admitted:
    """The decision is for the service whose token the request bears; without one for `records`, as from a gateway. Raises ProblemError."""
    fields = first_of(request.scope["headers"])
    service = RECORDS if AUTHORIZATION not in fields else await context.product_service(request)
    return admit(context, fields, request.method, service, limiter.count)


def admitted_now(context: Context, fields: Mapping[bytes, bytes], method: str) -> Admitted | None:
    """The same, and nothing is counted; None where the service's token is not known yet. Raises ProblemError."""
    bearing = fields.get(AUTHORIZATION)
    service = RECORDS if bearing is None else context.known_service(bearing.decode("latin-1"))
    return None if service is None else admit(context, fields, method, service, None)


def admit(
    context: Context,
    fields: Mapping[bytes, bytes],
    method: str,
    service: ServiceId,
    count: Callable[[SubjectId], None] | None,
) -> Admitted:
    """`count`, if any, hears of the subject once the decision has been checked. Raises ProblemError, and what `count` does."""
    decision = context.decision(text(fields, DECISION), service)
    verb = verb_of_method(method)
    if decision.subject is None or decision.epoch is None or decision.verb is Verb.SIGNUP:
        raise refuse(Code.FORBIDDEN, "a decision about a subject is needed")
    if count is not None:
        count(decision.subject)
    if verb is Verb.WRITE and decision.verb is not Verb.WRITE:
        raise refuse(Code.FORBIDDEN, "a decision to read does not write")
    home = context.homes.get(decision.subject)
    refused = check(home, decision.epoch, verb)
    if refused is not None or home is None:
        raise errors.fenced(refused or Refused(Code.CELL_BEHIND, "this cell does not know the subject yet"))
    return Admitted(
        service=service,
        decision=decision,
        subject=decision.subject,
        epoch=decision.epoch,
        verb=verb,
        home=home,
        fields=fields,
    )

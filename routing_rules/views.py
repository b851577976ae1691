"""`view`: may this person ask for what somebody of another cell shows? What is shown, that cell says. Pure, total.

A reader asks at home, by the gateway there. Where the other's home is another region, the request goes there with the reader's token, which
is processing of the reader's data in that region: the law of the reader is asked about it as for a traveller (`may_carry`).
"""

import datetime

from foundation.problems import Code
from foundation.words import VIEWS, CellId, DestinationId
from routing_rules.decide import decide, ground_of
from routing_rules.facts import ViewFacts
from routing_rules.hints import shown
from routing_rules.home import earliest, may_carry, regimes_of
from routing_rules.policy import Policy
from routing_rules.rules import Rules
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse, Serve, Verdict

_NOBODY_READS = "Policy lets nobody of this person's cell read what others show"
_NOT_CARRIED = "The rules do not let this person's request be handled there; `domicile rules explain` shows the rows"


def reads_as(cell: CellId, policy: Policy) -> DestinationId | None:
    """The destination that people of a cell read at, None: they read nothing of others."""
    return next((name for name, one in policy.destinations.items() if cell in one.readers), None)


def view(facts: ViewFacts, rules: Rules, at: datetime.date) -> Verdict:
    """Serve: the other's home is in the reader's region. Hairpin: in that of the verdict. Elsewhere: the reader is away from home."""
    own = decide(facts.reader, rules, at)
    if isinstance(own, Hairpin):
        return Elsewhere(
            home=own.home, region=own.region, ground=own.ground, valid_until=own.valid_until, digest=own.digest
        )
    if not isinstance(own, Serve):
        return own
    policy, reader = rules.policy, facts.reader
    service, to = policy.services.get(VIEWS), policy.cells.get(facts.to)
    if service is None:
        return _refused(own, Code.UNKNOWN_SERVICE, "Policy declares no such service", f"policy: no service {VIEWS}")
    if to is None or to.region not in policy.regions:
        ground = f"unknown: policy declares no cell {shown(facts.to)}"
        return _refused(own, Code.RESIDENCY_REFUSED, "The cell of that placement is not declared in policy", ground)
    if reads_as(reader.cell, policy) is None:
        ground = f"policy: no destination has readers of {reader.cell}"
        return _refused(own, Code.RESIDENCY_REFUSED, _NOBODY_READS, ground)
    if to.region == reader.ingress:
        return Serve(
            cell=facts.to,
            region=to.region,
            purpose=service.purpose,
            ground=own.ground,
            valid_until=own.valid_until,
            digest=own.digest,
        )
    regimes = regimes_of(reader.subject, rules, at)
    law = may_carry(reader.subject, regimes, reader.cell, to.region, VIEWS, rules, at)
    changes = earliest((own.valid_until, law.valid_until))
    if not law.answer.allows:
        return _refused(own, Code.RESIDENCY_REFUSED, _NOT_CARRIED, ground_of(law), changes)
    return Hairpin(
        cell=facts.to,
        region=to.region,
        home=policy.regions[to.region].origin,
        purpose=service.purpose,
        basis=ground_of(law),
        ground=f"a reader of {reader.cell} asks cell {facts.to}; {ground_of(law)}",
        valid_until=changes,
        digest=own.digest,
    )


def _refused(own: Serve, code: Code, detail: str, ground: str, changes: datetime.date | None = None) -> Refuse:
    return Refuse(code=code, detail=detail, ground=ground, valid_until=changes or own.valid_until, digest=own.digest)

"""The verdict on a websocket. Pure, total.

What it will carry is not known when it is decided, and nothing of it is decided again: so it has to be allowed to read as well as to
write, and the service gets a decision to write. It is opened at home only: a crossing is booked for a request whose end is known, and
what a tunnel carries over a border for an hour is not one.
"""

import msgspec

from foundation.problems import Code, Problem
from foundation.words import RegionId, Verb
from gateway.edge.core import judge
from gateway.edge.outcome import Admitted, Carried, Gathered, Outcome, Refused, denied
from gateway.edge.ports import Ruling

_NOT_CARRIED = Refused(problem=Problem(code=Code.FORBIDDEN, detail="no websocket is carried home"))


def judge_upgrade(facts: Gathered, ruling: Ruling, region: RegionId) -> Outcome:
    """As for two requests, one that reads and one that writes. Away from home 421 names the home, whatever policy says of travellers."""
    if facts.ingress is not None:
        return _NOT_CARRIED
    outcome = judge(msgspec.structs.replace(facts, verb=Verb.READ), ruling, region)
    if isinstance(outcome, Admitted):
        outcome = judge(msgspec.structs.replace(facts, verb=Verb.WRITE), ruling, region)
    return denied(outcome.verdict, outcome.subject) if isinstance(outcome, Carried) else outcome

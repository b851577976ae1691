"""What goes into the verdict on a request, and what comes out of it. Values only."""

import msgspec

from foundation.decision import ProvenKey
from foundation.problems import Code, Problem
from foundation.words import ActorId, CellId, Country, Epoch, RegionId, RulesDigest, ServiceId, SubjectId, Verb
from gateway.edge.ports import Home
from gateway.edge.target import Target
from gateway.identity.actors import Actor
from gateway.identity.identity import Identity
from gateway.identity.tokens import Unidentified
from routing_rules.facts import SubjectFacts
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse

RETRY_AFTER_S = 1


class Gathered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that the verdict may depend on. `home` is None only where nobody is identified or the route asks nobody. `upgrade`: a websocket
    is asked for.

    `acting`: the service that acts for somebody, or why none may; `home` is then the home of that somebody. `ingress`: the region that
    took the request in, where another has carried it here. `viewed`: the home of the person whose view is asked for. The last four speak
    of a sign-up: what the person declared, as sent, and the country that the address points at."""

    target: Target
    verb: Verb
    who: Identity | Unidentified
    home: Home | None
    upgrade: bool = False
    acting: Actor | Problem | None = None
    ingress: RegionId | None = None
    viewed: Home | None = None
    residence: str | None
    subdivision: str | None = None
    citizenship: str | None = None
    observed: Country | None = None


class Admitted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Goes on to `service` in `cell`. `subject` is None on anonymous routes (then no decision is minted) and on sign-up.

    `declared` and `observed` are a sign-up's. `actor`: the service that acts for the subject, None: the subject itself. `crosses`: for a
    request that another region carried here, what its crossing rests on; it is booked before anything is forwarded. `viewer`: who reads
    what the subject shows; what of that crosses a border, the cell books."""

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
    viewer: SubjectId | None = None
    claims: bytes = b""
    """What its decisions state, written out, where the same admission is given again (`gateway.edge.book`)."""
    told: tuple[tuple[bytes, bytes], ...] = ()
    """And what clients are told of it."""
    told_lines: bytes = b""


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
UNKNOWN_HOME = Refused(
    problem=Problem(code=Code.HOME_UNKNOWN, detail="the directory cannot be asked", retry_after_s=RETRY_AFTER_S)
)
CONTRADICTION = Refused(
    problem=Problem(
        code=Code.HOME_UNKNOWN,
        detail="what is known of the home contradicts itself just now",
        retry_after_s=RETRY_AFTER_S,
    )
)


def no(code: Code, detail: str) -> Refused:
    """A refusal that is not remembered."""
    return Refused(problem=Problem(code=code, detail=detail))


def denied(verdict: Elsewhere | Hairpin | Refuse, subject: SubjectId | None) -> Refused:
    """What a verdict that is no admission makes of the request; it is remembered."""
    if isinstance(verdict, Elsewhere | Hairpin):
        problem = elsewhere(verdict.home, verdict.region, verdict.ground)
    else:
        problem = Problem(code=verdict.code, detail=verdict.detail, extra={"ground": verdict.ground})
    return Refused(problem=problem, recorded=True, subject=subject, digest=verdict.digest, ground=verdict.ground)


def elsewhere(home: str, region: RegionId, ground: str) -> Problem:
    """421: the client is to go to `home`, the origin of that region."""
    return Problem(
        code=Code.HOME_ELSEWHERE,
        detail="ask the gateway at home",
        extra={"home": home, "region": region, "ground": ground},
    )
